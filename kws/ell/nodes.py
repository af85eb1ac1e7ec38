"""The nodes of an ELL model, as dataclasses whose fields stand in the order in which ELL's reader asks for them.

Each class knows ELL's name for it, the version ELL writes, and what its sizes must be. ``infer`` gets the sizes of
the inputs and returns the size of the output; it raises `ValueError` with the reason when they do not fit.
"""

# ruff: noqa: RUF009 (prop() makes a dataclass field)

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kws.ell.properties import FLOAT, INTEGER, Property, Struct, float_port, integer_port, nonlinearity, prop

LARGEST = 1 << 24  # elements; beyond it a size in a file is damage, not a model

Sizes = Callable[[str], int]


@dataclass(eq=False)
class MemoryLayout(Struct):
    """How a port's values lie in memory. Only contiguous row-major layouts are supported."""

    TYPE = "MemoryLayout"
    size: list[int] = prop("size", "integers")
    extent: list[int] = prop("extent", "integers")
    offset: list[int] = prop("offset", "integers")
    order: list[int] | None = prop("order", "integers", default=None, optional=True)
    increment: list[int] | None = prop("increment", "integers", default=None, optional=True)

    @classmethod
    def of(cls, *size: int) -> "MemoryLayout":
        """The row-major layout of this size, e.g. ``MemoryLayout.of(1, 40, 1)``."""
        # Each dimension steps over everything that lies behind it.
        increment = [math.prod(size[i + 1 :]) for i in range(len(size))]
        return cls(list(size), list(size), [0] * len(size), list(range(len(size))), increment)

    def elements(self) -> int:
        """Number of values; ValueError when the layout is not a plain one."""
        lengths = {len(v) for v in (self.size, self.extent, self.offset, self.order, self.increment) if v is not None}
        if len(lengths) != 1 or not self.size:
            raise ValueError("the lists of a MemoryLayout must be equally long and not empty")
        if min(self.size) < 1:
            raise ValueError(f"a MemoryLayout of size {self.size} holds nothing")
        if self.extent != self.size or any(self.offset):
            raise ValueError("a padded MemoryLayout (extent larger than size, or an offset) is not supported")
        plain = MemoryLayout.of(*self.size)
        if self.order not in (None, plain.order) or self.increment not in (None, plain.increment):
            raise ValueError("a MemoryLayout that is not row-major is not supported")
        count = 1
        for length in self.size:
            count *= length
            if count > LARGEST:
                raise ValueError(f"a MemoryLayout of size {self.size} is larger than {LARGEST} values")
        return count


@dataclass(eq=False)
class Node(Struct):
    """One step of the computation.

    Attributes:
        id: unique in the model; ports name their source as ``ID.output``.
        metadata: free text by name; ELL's audio tools read some of it.
        version: ELL's archive version of the node.
    """

    OUTPUT: ClassVar[int | None] = FLOAT
    id: str = prop("id", "unique_id")
    metadata: dict[str, str] = field(
        default_factory=dict, kw_only=True, metadata={"property": Property("metadata", "bag", optional=True)}
    )
    version: str = field(default="", kw_only=True, compare=False)

    def __post_init__(self):
        self.version = self.version or self.VERSION

    @property
    def output(self) -> str:
        """What another node's port writes to listen to this one."""
        return f"{self.id}.output"

    def ports(self) -> Iterator[tuple[str, Property, str]]:
        """(attribute, Property, source) of every input."""
        for name, p in self.properties():
            if p.kind == "port":
                yield name, p, getattr(self, name)

    def infer(self, size: Sizes) -> int:
        """Size of the output, given the size of any source; ValueError when the sizes do not fit."""
        raise NotImplementedError

    def obstacle(self, size: Sizes) -> str:
        """Why ELL cannot compute the node, which it loads without a word; empty where it can."""
        return ""

    @property
    def label(self) -> str:
        """How messages name the node: type, id and, where there is one, its name."""
        name = self.metadata.get("name")
        return f"{self.TYPE} {self.id!r}" + (f" ({name})" if name else "")


def _same(what: str, found: int, expected: int) -> int:
    if found != expected:
        raise ValueError(f"{what} has {found} values where {expected} are needed")
    return expected


def _positive(name: str, value: int) -> int:
    if not 1 <= value <= LARGEST:
        raise ValueError(f"{name} is {value}; it must lie between 1 and {LARGEST}")
    return value


@dataclass(eq=False)
class InputNode(Node):
    TYPE, VERSION = "InputNode<float>", "3"
    layout: MemoryLayout = prop("layout", "object", struct=MemoryLayout)

    def infer(self, size):
        return self.layout.elements()


@dataclass(eq=False)
class OutputNode(Node):
    TYPE, VERSION = "OutputNode<float>", "2"
    input: str = float_port()
    layout: MemoryLayout = prop("layout", "object", struct=MemoryLayout)

    def infer(self, size):
        return _same("layout", self.layout.elements(), size(self.input))


@dataclass(eq=False)
class ConstantNode(Node):
    TYPE, VERSION = "ConstantNode<float>", "8"
    values: np.ndarray = prop("values", "floats")
    layout: MemoryLayout = prop("layout", "object", struct=MemoryLayout)

    def infer(self, size):
        return _same("values", len(self.values), self.layout.elements())


@dataclass(eq=False)
class IntegerConstantNode(Node):
    TYPE, VERSION, OUTPUT = "ConstantNode<int>", "8", INTEGER
    values: list[int] = prop("values", "integers")
    layout: MemoryLayout = prop("layout", "object", struct=MemoryLayout)

    def infer(self, size):
        return _same("values", len(self.values), self.layout.elements())


@dataclass(eq=False)
class ReinterpretLayoutNode(Node):
    TYPE, VERSION = "ReinterpretLayoutNode<float>", "8"
    input: str = float_port()
    output_layout: MemoryLayout = prop("outputLayout", "object", struct=MemoryLayout)

    def infer(self, size):
        return _same("outputLayout", self.output_layout.elements(), size(self.input))


@dataclass(eq=False)
class TypeCastNode(Node):
    TYPE, VERSION = "TypeCastNode<int,float>", "3"
    input: str = integer_port("input", "InputPort<int>")

    def infer(self, size):
        return size(self.input)


@dataclass(eq=False)
class BufferNode(Node):
    """The last `window_size` samples, zeros at first."""

    TYPE, VERSION = "BufferNode<float>", "3"
    input: str = float_port()
    window_size: int = prop("windowSize", "integer")

    def infer(self, size):
        return _positive("windowSize", self.window_size)


@dataclass(eq=False)
class HammingWindowNode(Node):
    TYPE, VERSION = "HammingWindowNode<float>", "3"
    input: str = float_port()

    def infer(self, size):
        return size(self.input)


@dataclass(eq=False)
class FFTNode(Node):
    """Magnitudes of the real FFT: fftSize / 2 + 1 values."""

    TYPE, VERSION = "FFTNode<float>", "3"
    input: str = float_port()
    fft_size: int = prop("fftSize", "integer")

    def infer(self, size):
        points = _positive("fftSize", self.fft_size)
        if points & (points - 1):
            raise ValueError(f"fftSize is {points}; ELL's FFT needs a power of two")
        if size(self.input) > points:
            raise ValueError(f"fftSize is {points}, too small for {size(self.input)} samples")
        return points // 2 + 1


@dataclass(eq=False)
class MelFilters(Struct):
    TYPE = "MelFilterBank"
    window_size: int = prop("windowSize", "integer")
    rate: float = prop("rate", "real")
    num_filters: int = prop("numFilters", "integer")
    begin: int = prop("begin", "integer")
    end: int = prop("end", "integer")
    offset: int = prop("offset", "integer")
    fft_size: int = prop("fftSize", "integer")


@dataclass(eq=False)
class LinearFilters(Struct):
    TYPE = "LinearFilterBank"
    window_size: int = prop("windowSize", "integer")
    rate: float = prop("rate", "real")
    num_filters: int = prop("numFilters", "integer")
    begin: int = prop("begin", "integer")
    end: int = prop("end", "integer")
    offset: int = prop("offset", "integer")


@dataclass(eq=False)
class FilterBankNode(Node):
    input: str = float_port()

    def infer(self, size):
        filters = self.filters
        _same("filters.windowSize", filters.window_size, size(self.input))
        count = _positive("filters.numFilters", filters.num_filters)
        if count * filters.window_size > LARGEST:
            raise ValueError(f"{count} filters on {filters.window_size} points are too many")
        if not 0 < filters.rate <= 1e9:
            raise ValueError(f"filters.rate is {filters.rate:g} Hz, which is no sample rate")
        if (filters.begin, filters.end, filters.offset) != (0, count, 0):
            raise ValueError("a part of a filterbank (begin, end, offset) is not supported")
        if isinstance(filters, MelFilters) and filters.fft_size // 2 + 1 != filters.window_size:
            raise ValueError(f"filters.fftSize is {filters.fft_size}, which has not {filters.window_size} points")
        return count


@dataclass(eq=False)
class MelFilterBankNode(FilterBankNode):
    TYPE, VERSION = "MelFilterBankNode<float>", "3"
    filters: MelFilters = prop("filters", "object", struct=MelFilters)


@dataclass(eq=False)
class LinearFilterBankNode(FilterBankNode):
    TYPE, VERSION = "LinearFilterBankNode<float>", "3"
    filters: LinearFilters = prop("filters", "object", struct=LinearFilters)


@dataclass(eq=False)
class BinaryOperationNode(Node):
    TYPE, VERSION = "BinaryOperationNode<float>", "7"
    input1: str = float_port("input1")
    input2: str = float_port("input2")
    input_layout1: MemoryLayout = prop("inputLayout1", "object", struct=MemoryLayout)
    input_layout2: MemoryLayout = prop("inputLayout2", "object", struct=MemoryLayout)
    operation: str = prop("operation", "text", choices=("add", "subtract", "divide"))
    output_layout: MemoryLayout = prop("outputLayout", "object", struct=MemoryLayout)
    padding: float = prop("padding", "real", default=0.0)

    def infer(self, size):
        count = _same("inputLayout1", self.input_layout1.elements(), size(self.input1))
        _same("input2", size(self.input2), count)
        _same("inputLayout2", self.input_layout2.elements(), count)
        return _same("outputLayout", self.output_layout.elements(), count)


@dataclass(eq=False)
class UnaryOperationNode(Node):
    TYPE, VERSION = "UnaryOperationNode<float>", "3"
    input: str = float_port()
    operation: str = prop("operation", "text", choices=("log", "square"))

    def infer(self, size):
        return size(self.input)


@dataclass(eq=False)
class DCTNode(Node):
    TYPE, VERSION = "DCTNode<float>", "3"
    input: str = float_port()
    num_filters: int = prop("numFilters", "integer")

    def infer(self, size):
        count = _positive("numFilters", self.num_filters)
        if count > size(self.input):
            raise ValueError(f"numFilters is {count}, more than its {size(self.input)} inputs")
        return count

    def obstacle(self, size):
        inputs = size(self.input)
        if self.num_filters == inputs:
            return ""
        return f"ELL does not compute {self.num_filters} coefficients of {inputs}; take all, and a SliceNode of them"


@dataclass(eq=False)
class SliceNode(Node):
    """`count` values from number `start` on."""

    TYPE, VERSION = "SliceNode<float>", "3"
    input: str = float_port()
    start: int = prop("start", "integer")
    count: int = prop("count", "integer")
    layout: MemoryLayout = prop("layout", "object", struct=MemoryLayout)

    def infer(self, size):
        count, inputs = _positive("count", self.count), size(self.input)
        if not 0 <= self.start <= inputs - count:
            raise ValueError(f"start is {self.start} and count {count}, which does not lie within its {inputs} inputs")
        return _same("layout", self.layout.elements(), count)


@dataclass(eq=False)
class IIRFilter(Struct):
    TYPE = "IIRFilter<float>"
    b: np.ndarray = prop("b", "floats")
    a: np.ndarray = prop("a", "floats")


@dataclass(eq=False)
class IIRFilterNode(Node):
    """y[t] = Σ b[k] x[t-k]. Feedback (a) was never seen in use and is not supported."""

    TYPE, VERSION = "IIRFilterNode<float>", "3"
    input: str = float_port()
    filter: IIRFilter = prop("filter", "object", struct=IIRFilter)

    def infer(self, size):
        if len(self.filter.a):
            raise ValueError("a filter with feedback coefficients (a) is not supported")
        _positive("the number of coefficients b", len(self.filter.b))
        return size(self.input)


@dataclass(eq=False)
class RecurrentNode(Node):
    """A layer that remembers: its state is cleared after the frame on which `reset_trigger` falls to 0.

    Its weights are constants of their own, which it listens to; matrices are row-major.
    """

    input: str = float_port()
    reset_trigger: str = integer_port("resetTrigger", "InputPortBase")
    hidden_units: int = prop("hiddenUnits", "integer")

    def infer(self, size):
        hidden = _positive("hiddenUnits", self.hidden_units)
        needed = self.weight_sizes(size(self.input)) | {"resetTrigger": 1}
        for _, p, source in self.ports():
            if p.key in needed:
                _same(p.key, size(source), needed[p.key])
        return hidden

    def weight_sizes(self, inputs: int) -> dict[str, int]:
        """How many values each weight has, by the key of its port, when `inputs` flow in."""
        raise NotImplementedError


@dataclass(eq=False)
class GatedNode(RecurrentNode):
    """What GRU and LSTM share. Weights are [gates · hidden, inputs], with the gates stacked as `GATES` says."""

    GATES: ClassVar[str] = ""
    input_weights: str = float_port("inputWeights")
    hidden_weights: str = float_port("hiddenWeights")
    input_bias: str = float_port("inputBias")
    hidden_bias: str = float_port("hiddenBias")
    activation: str = nonlinearity("tanh", "tanh", "sigmoid")
    recurrent_activation: str = nonlinearity("sigmoid", "tanh", "sigmoid")  # of the gates; ELL asks for it second

    def weight_sizes(self, inputs):
        rows = len(self.GATES) * self.hidden_units
        return {
            "inputWeights": rows * inputs,
            "hiddenWeights": rows * self.hidden_units,
            "inputBias": rows,
            "hiddenBias": rows,
        }


@dataclass(eq=False)
class GRUNode(GatedNode):
    TYPE, VERSION, GATES = "GRUNode<float>", "3", "zrn"


@dataclass(eq=False)
class LSTMNode(GatedNode):
    TYPE, VERSION, GATES = "LSTMNode<float>", "3", "ifco"


@dataclass(eq=False)
class FastGRNNNode(RecurrentNode):
    """W [H, I] and U [H, H]; with a rank r the product of a second factor [H, r] and a first one [r, I] or [r, H].

    Attributes:
        w_rank, u_rank: 0 for a full matrix. The port of the second factor even then names a constant; ELL ignores it.
        zeta, nu: one value each, after the sigmoid.
        gate, update: the nonlinearities, the other way round than a GRU's.
    """

    TYPE, VERSION = "FastGRNNNode<float>", "3"
    # What ELL was seen to compute. Some more it loads; those a reader must know.
    GATES: ClassVar[tuple[str, ...]] = ("sigmoid", "hard_sigmoid", "tanh")
    UPDATES: ClassVar[tuple[str, ...]] = ("tanh", "sigmoid")
    w_rank: int = prop("wRank", "integer")
    u_rank: int = prop("uRank", "integer")
    input_weights1: str = float_port("inputWeights1")
    input_weights2: str = float_port("inputWeights2")
    update_weights1: str = float_port("updateWeights1")
    update_weights2: str = float_port("updateWeights2")
    gate_bias: str = float_port("biasGate")
    update_bias: str = float_port("biasUpdate")
    zeta: str = float_port("zeta")
    nu: str = float_port("nu")
    gate: str = nonlinearity("sigmoid", *GATES)
    update: str = nonlinearity("tanh", *UPDATES, "hard_tanh", "relu")

    def infer(self, size):
        for name, rank in (("wRank", self.w_rank), ("uRank", self.u_rank)):
            if rank:
                _positive(name, rank)
        return super().infer(size)

    def weight_sizes(self, inputs):
        hidden = self.hidden_units
        sizes = {"biasGate": hidden, "biasUpdate": hidden, "zeta": 1, "nu": 1}
        for key, rank, columns in (("inputWeights", self.w_rank, inputs), ("updateWeights", self.u_rank, hidden)):
            sizes[f"{key}1"] = (rank or hidden) * columns
            if rank:
                sizes[f"{key}2"] = hidden * rank
        return sizes

    def obstacle(self, size):
        for name, value, computed in (("gate", self.gate, self.GATES), ("update", self.update, self.UPDATES)):
            if value not in computed:
                return (
                    f"ELL does not compute a FastGRNN whose {name} nonlinearity is {value}, even where it loads one; "
                    f"it computes {', '.join(computed)}"
                )
        return ""


@dataclass(eq=False)
class Layer(Struct):
    input_padding_scheme: int = prop("inputPaddingScheme", "integer", default=0)
    input_padding_size: int = prop("inputPaddingSize", "integer", default=0)
    output_shape: list[int] = prop("outputShape", "integers", default=None)
    output_padding_scheme: int = prop("outputPaddingScheme", "integer", default=0)
    output_padding_size: int = prop("outputPaddingSize", "integer", default=0)


@dataclass(eq=False)
class FullyConnectedLayer(Layer):
    TYPE = "FullyConnectedLayer<float>"
    rows: int = prop("weights_rows", "integer", default=0)
    columns: int = prop("weights_columns", "integer", default=0)
    weights: np.ndarray = prop("weights_values", "floats", default=None)


@dataclass(eq=False)
class BiasLayer(Layer):
    TYPE = "BiasLayer<float>"
    bias: np.ndarray = prop("bias", "floats", default=None)


@dataclass(eq=False)
class SoftmaxLayer(Layer):
    TYPE = "SoftmaxLayer<float>"


@dataclass(eq=False)
class LayerNode(Node):
    """A layer of a feed-forward network, wrapped."""

    input: str = float_port()
    input_layout: MemoryLayout = prop("inputLayout", "object", struct=MemoryLayout)
    output_layout: MemoryLayout = prop("outputLayout", "object", struct=MemoryLayout)
    input_shape: list[int] = prop("inputShape", "integers")

    def infer(self, size):
        layer, inputs = self.layer, size(self.input)
        _same("inputLayout", self.input_layout.elements(), inputs)
        _same("inputShape", MemoryLayout.of(*self.input_shape).elements(), inputs)
        if layer.input_padding_size or layer.output_padding_size:
            raise ValueError("a padded layer is not supported")
        outputs = self.outputs(inputs)
        _same("layer.outputShape", MemoryLayout.of(*layer.output_shape).elements(), outputs)
        return _same("outputLayout", self.output_layout.elements(), outputs)

    def outputs(self, inputs: int) -> int:
        """Size of the output for this many inputs."""
        return inputs


@dataclass(eq=False)
class FullyConnectedNode(LayerNode):
    TYPE, VERSION = "FullyConnectedLayerNode<float>", "5"
    layer: FullyConnectedLayer = prop("layer", "object", struct=FullyConnectedLayer)

    def outputs(self, inputs):
        rows = _positive("layer.weights_rows", self.layer.rows)
        _same("layer.weights_columns", self.layer.columns, inputs)
        _same("layer.weights_values", len(self.layer.weights), rows * inputs)
        return rows


@dataclass(eq=False)
class BiasNode(LayerNode):
    TYPE, VERSION = "BiasLayerNode<float>", "5"
    layer: BiasLayer = prop("layer", "object", struct=BiasLayer)

    def outputs(self, inputs):
        return _same("layer.bias", len(self.layer.bias), inputs)


@dataclass(eq=False)
class SoftmaxNode(LayerNode):
    TYPE, VERSION = "SoftmaxLayerNode<float>", "5"
    layer: SoftmaxLayer = prop("layer", "object", struct=SoftmaxLayer)


@dataclass(eq=False)
class VoiceActivityDetector(Struct):
    """Settings of ELL's VAD; seconds, Hz and factors. `window_size` is the number of features."""

    TYPE = "VoiceActivityDetector"
    window_size: int = prop("windowSize", "integer")
    sample_rate: float = prop("sampleRate", "real")
    frame_duration: float = prop("frameDuration", "real")
    tau_up: float = prop("tauUp", "real")
    tau_down: float = prop("tauDown", "real")
    large_input: float = prop("largeInput", "real")
    gain_att: float = prop("gainAtt", "real")
    threshold_up: float = prop("thresholdUp", "real")
    threshold_down: float = prop("thresholdDown", "real")
    level_threshold: float = prop("levelThreshold", "real")


@dataclass(eq=False)
class VadNode(Node):
    """1 while somebody speaks, else 0. Not to be confused with ELL's older VoiceActivityDetectorNode."""

    TYPE, VERSION, OUTPUT = "VoiceActivityDetectorCodeNode", "3", INTEGER
    input: str = prop("input", "port", type_name="InputPortBase", port_type=FLOAT)
    vad: VoiceActivityDetector = prop("vad", "object", struct=VoiceActivityDetector)

    def infer(self, size):
        _same("vad.windowSize", self.vad.window_size, size(self.input))
        for name in ("sample_rate", "frame_duration", "tau_up", "tau_down"):
            if not getattr(self.vad, name) > 0:
                raise ValueError(f"vad.{name} is {getattr(self.vad, name):g}; it must be above 0")
        return 1


NODE_TYPES: dict[str, type[Node]] = {
    cls.TYPE: cls
    for cls in (
        InputNode,
        OutputNode,
        ConstantNode,
        IntegerConstantNode,
        ReinterpretLayoutNode,
        TypeCastNode,
        BufferNode,
        HammingWindowNode,
        FFTNode,
        MelFilterBankNode,
        LinearFilterBankNode,
        BinaryOperationNode,
        UnaryOperationNode,
        DCTNode,
        SliceNode,
        IIRFilterNode,
        GRUNode,
        LSTMNode,
        FastGRNNNode,
        FullyConnectedNode,
        BiasNode,
        SoftmaxNode,
        VadNode,
    )
}
