"""ELL models from plain numbers: featurizer, classifier with or without a VAD, VAD alone.

The structure follows what ELL's ``make_featurizer.py``, ``make_vad.py`` and its ONNX importer write.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kws.ell import metadata as meta
from kws.ell import nodes as n
from kws.ell.model import Model, ModelBuilder
from kws.ell.properties import floats
from kws.program import FEATURES, Program, Step
from kws.program import steps as s
from kws.support.errors import KwsError

# PyTorch's order of gates, as positions of ELL's gates: z r n out of r z n; ELL's i f c o is PyTorch's i f g o.
GATES = {s.GRU: (1, 0, 2), s.LSTM: (0, 1, 2, 3)}
RECURRENT = {"gru": n.GRUNode, "lstm": n.LSTMNode}

VAD_KEYS = (
    "sample_rate",
    "frame_duration",
    "tau_up",
    "tau_down",
    "large_input",
    "gain_att",
    "threshold_up",
    "threshold_down",
    "level_threshold",
)


class NoNode(KwsError):
    """A step that ELL cannot compute.

    Args:
        step: the step.
        reason: where ELL has a node of the kind and yet cannot compute it.
    """

    def __init__(self, step: Step, reason: str = ""):
        reason = reason or f"ELL has no node for a {type(step).__name__}"
        super().__init__(f"{reason} (the step {step.name!r}); the ONNX files hold it (export=[onnx,onnx_stream]).")


def featurizer(steps: Sequence[Step]) -> Model:
    """A featurizer, from samples to features, as `kws.spotter.Featurizer.steps` says it.

    It takes one hop of samples per call. On samples of the 16-bit scale the file is the same; only the metadata that
    makes ELL's audio tools scale their input is absent.

    Raises:
        KwsError: what ELL has no node for, naming the key.
    """
    window = next(step for step in steps if isinstance(step, s.Window))
    builder = ModelBuilder()
    scale = {"auto_scale": "True"} if window.scale == 1 else {}
    x = builder.add(n.InputNode, "samples", metadata=scale, layout=n.MemoryLayout.of(window.hop_size))
    size = window.hop_size
    for step in steps:
        match step:
            case s.Clean():
                continue  # ELL has no such node; its tools hand over integers
            case s.PreEmphasis():
                emphasis = n.IIRFilter(b=floats([1, -step.factor]), a=floats([]))
                x = builder.add(n.IIRFilterNode, "pre-emphasis", metadata={"iir": "true"}, input=x, filter=emphasis)
            case s.Window():
                facts = {"window_size": str(step.window_size)}
                x = builder.add(n.BufferNode, "window", metadata=facts, input=x, window_size=step.window_size)
                if step.weights is not None:
                    if not np.allclose(step.weights, np.hamming(step.window_size), rtol=0, atol=1e-6):
                        raise NoNode(step, "ELL has no window but Hamming's")
                    x = builder.add(n.HammingWindowNode, "hamming", input=x)
            case s.Spectrum():
                x = _spectrum(builder, x, step)
            case s.Filterbank():
                x = _filterbank(builder, x, step)
            case s.Logarithm():
                delta = _constant(builder, "log delta", np.full(size, step.delta))
                x = _binary(builder, "plus delta", "add", x, delta, (size,))
                x = builder.add(n.UnaryOperationNode, "log", metadata={"log": "true"}, input=x, operation="log")
            case s.Cosines():
                # ELL's node computes as many coefficients as it has inputs, and throws when it is asked for fewer.
                x = builder.add(n.DCTNode, "cepstra", metadata={"dct": "true"}, input=x, num_filters=size)
                if step.size(size) < size:
                    count = step.size(size)
                    layout = n.MemoryLayout.of(count)
                    x = builder.add(n.SliceNode, "first cepstra", input=x, start=0, count=count, layout=layout)
            case _:
                raise NoNode(step)
        size = step.size(size)
    x = builder.add(n.OutputNode, "features", input=x, layout=n.MemoryLayout.of(size))
    return builder.model(x)


def vad(settings: Mapping[str, Any], num_features: int) -> Model:
    """The voice activity detector alone: `num_features` raw features to 0.0 or 1.0.

    Args:
        settings: `VAD_KEYS`; Hz, seconds and factors.
        num_features: features per frame.
    """
    builder = ModelBuilder()
    x = builder.add(n.InputNode, "features", layout=n.MemoryLayout.of(num_features))
    x = builder.add(n.VadNode, "voice activity", input=x, vad=vad_settings(settings, num_features))
    x = builder.add(n.TypeCastNode, "as float", input=x)
    x = builder.add(n.OutputNode, "signal", input=x, layout=n.MemoryLayout.of(1))
    return builder.model(x)


def classifier(
    program: Program,
    *,
    labels: Sequence[str] = (),
    vad: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Model:
    """A recurrent classifier: one feature vector per call to the probabilities of the classes.

    Args:
        program: its network is written, from the features to the log-probabilities.
        labels: names of the classes, in order.
        vad: settings of the VAD that resets the layers (see `vad`), or None for a trigger that never fires. It hears
            the features before the normalisation, which its thresholds are made for.
        metadata: further plain facts for whoever finds the file.

    Raises:
        KwsError: a step that ELL has no node for, no recurrent layer, or another number of labels than of classes.
    """
    sizes, features = program.sizes, program.sizes[FEATURES]
    classes = sizes[program.output]
    if not any(isinstance(step, s.Recurrent | s.FastGRNN) for step in program.network):
        raise NoNode(program.steps[-1], "A classifier needs at least one recurrent layer")
    if labels and len(labels) != classes:
        raise KwsError(f"There are {len(labels)} labels for {classes} classes.")
    builder = ModelBuilder()
    facts = meta.encode_facts(metadata or {})
    raw = builder.add(n.InputNode, "features", metadata=facts, layout=n.MemoryLayout.of(1, features, 1))
    trigger = add_vad(builder, raw, features, vad) if vad is not None else None
    made, layers = {FEATURES: raw}, 0
    for step in program.network:
        x = made[step.source]
        match step:
            case s.Normalize():
                if not np.all(step.deviation > 0):
                    raise KwsError("The standard deviation of the normalisation must be above 0 for every feature.")
                shape = (1, len(step.mean), 1)
                x = add_elementwise(builder, x, "mean", "subtract", step.mean, shape)
                x = add_elementwise(builder, x, "deviation", "divide", step.deviation, shape)
            case s.Recurrent() | s.FastGRNN():
                layers += 1
                name = f"{type(step).__name__.lower()} {layers}"
                reset = trigger or builder.trigger(f"no reset {layers}")
                if isinstance(step, s.FastGRNN) and step.update not in n.FastGRNNNode.UPDATES:
                    raise NoNode(step, f"ELL does not compute a FastGRNN whose update nonlinearity is {step.update}")
                add = add_fastgrnn if isinstance(step, s.FastGRNN) else _recurrent
                x = add(builder, x, name, step, reset)
            case s.Linear():
                bias = "bias" if step.name == "linear" else f"{step.name} bias"
                x = add_bias(builder, add_linear(builder, x, step.weight, step.name), step.bias, bias)
            case s.Add():
                x = _binary(builder, step.name, "add", x, made[step.other], (sizes[step.name],))
            case s.LogSoftmax():
                x = add_softmax(builder, x, sizes[step.name])
            case _:
                raise NoNode(step)
        made[step.name] = x
    x = builder.add(
        n.OutputNode,
        "probabilities",
        metadata=meta.encode_labels(labels) if labels else None,
        input=x,
        layout=n.MemoryLayout.of(1, 1, classes),
    )
    return builder.model(x)


# --- pieces, shared with the importer and the editor -----------------------------------------------------------------


def vad_settings(settings: Mapping[str, Any], num_features: int) -> n.VoiceActivityDetector:
    """`settings` as ELL's object; names what is missing or unknown."""
    missing = [key for key in VAD_KEYS if key not in settings]
    unknown = [key for key in settings if key not in VAD_KEYS and key != "num_features"]
    if missing:
        raise KwsError(f"The VAD settings lack {', '.join(missing)}.")
    if unknown:
        raise KwsError(f"The VAD has no setting {', '.join(unknown)}; it has {', '.join(VAD_KEYS)}.")
    if settings.get("num_features", num_features) != num_features:
        raise KwsError(f"The VAD is set for {settings['num_features']} features, but gets {num_features}.")
    return n.VoiceActivityDetector(num_features, **{key: _real(settings[key]) for key in VAD_KEYS})


def add_vad(builder: ModelBuilder, source: str, num_features: int, settings: Mapping[str, Any]) -> str:
    """A VAD that listens to `source`, through a flat view as in ELL's ``add_vad.py``; returns its signal."""
    flat = builder.add(
        n.ReinterpretLayoutNode, "raw features", input=source, output_layout=n.MemoryLayout.of(num_features)
    )
    return builder.add(n.VadNode, "voice activity", input=flat, vad=vad_settings(settings, num_features))


def add_recurrent(
    builder: ModelBuilder, source: str, name: str, cell: str, weights: Sequence[np.ndarray], trigger: str
) -> str:
    """A recurrent layer whose `weights` (input, hidden, input bias, hidden bias) are in ELL's gate order."""
    names = ("input weights", "hidden weights", "input bias", "hidden bias")
    sources = [_constant(builder, f"{name} {what}", w) for what, w in zip(names, weights, strict=True)]
    return builder.add(
        RECURRENT[cell],
        name,
        input=source,
        reset_trigger=trigger,
        hidden_units=int(weights[1].shape[1]),
        input_weights=sources[0],
        hidden_weights=sources[1],
        input_bias=sources[2],
        hidden_bias=sources[3],
    )


def add_fastgrnn(builder: ModelBuilder, source: str, name: str, step: s.FastGRNN, trigger: str) -> str:
    """A FastGRNN layer; constants in the order of ELL's importer."""
    # A full matrix has no second factor; ELL asks for one all the same.
    w1, w2 = [*step.input_weights, np.zeros(1)][:2]
    u1, u2 = [*step.hidden_weights, np.zeros(1)][:2]
    zeta, nu = step.gains
    weights = {
        "input_weights1": w1,
        "input_weights2": w2,
        "update_weights1": u1,
        "update_weights2": u2,
        "gate_bias": step.gate_bias,
        "update_bias": step.update_bias,
        "zeta": zeta,
        "nu": nu,
    }
    sources = {key: _constant(builder, f"{name} {key.replace('_', ' ')}", value) for key, value in weights.items()}
    return builder.add(
        n.FastGRNNNode,
        name,
        input=source,
        reset_trigger=trigger,
        hidden_units=step.hidden_size,
        w_rank=len(w1) if len(step.input_weights) == 2 else 0,
        u_rank=len(u1) if len(step.hidden_weights) == 2 else 0,
        **sources,
        gate=step.gate,
        update=step.update,
    )


def add_linear(builder: ModelBuilder, source: str, weight: np.ndarray, name: str = "linear") -> str:
    """A fully connected layer, weight (C, H), without bias."""
    classes, width = weight.shape
    return builder.add(
        n.FullyConnectedNode,
        name,
        input=source,
        **_shapes((1, width, 1), (1, 1, classes)),
        layer=n.FullyConnectedLayer(output_shape=[1, 1, classes], rows=classes, columns=width, weights=floats(weight)),
    )


def add_bias(builder: ModelBuilder, source: str, bias: np.ndarray, name: str = "bias") -> str:
    """Adds `bias` (C,)."""
    shape = (1, 1, len(bias))
    layer = n.BiasLayer(output_shape=list(shape), bias=floats(bias))
    return builder.add(n.BiasNode, name, input=source, **_shapes(shape, shape), layer=layer)


def add_softmax(builder: ModelBuilder, source: str, classes: int, name: str = "softmax") -> str:
    """Scores to probabilities."""
    shape = (1, 1, classes)
    layer = n.SoftmaxLayer(output_shape=list(shape))
    return builder.add(n.SoftmaxNode, name, input=source, **_shapes(shape, shape), layer=layer)


def add_elementwise(
    builder: ModelBuilder, source: str, name: str, operation: str, values: np.ndarray, shape: Sequence[int]
) -> str:
    """`source` and a constant of the same size, element by element."""
    flat = _constant(builder, name, values)
    layout = n.MemoryLayout.of(*shape)
    constant = builder.add(n.ReinterpretLayoutNode, f"{name} as input", input=flat, output_layout=layout)
    return _binary(builder, f"{operation} {name}", operation, source, constant, shape)


def _real(value: float) -> float:
    """`value` as it will be read back from the file, so that model and file compute the same."""
    return float(f"{float(value):.9g}")


def _constant(builder: ModelBuilder, name: str, values: np.ndarray) -> str:
    values = floats(values)
    return builder.add(n.ConstantNode, name, values=values, layout=n.MemoryLayout.of(len(values)))


def _binary(builder: ModelBuilder, name: str, operation: str, a: str, b: str, shape: Sequence[int]) -> str:
    layouts = [n.MemoryLayout.of(*shape) for _ in range(3)]
    return builder.add(
        n.BinaryOperationNode,
        name,
        input1=a,
        input2=b,
        input_layout1=layouts[0],
        input_layout2=layouts[1],
        operation=operation,
        output_layout=layouts[2],
    )


def _shapes(inputs: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    return {
        "input_layout": n.MemoryLayout.of(*inputs),
        "output_layout": n.MemoryLayout.of(*outputs),
        "input_shape": list(inputs),
    }


def _spectrum(builder: ModelBuilder, x: str, step: s.Spectrum) -> str:
    points = step.fft_size
    if points & (points - 1):
        raise KwsError(
            f"featurizer.fft_size={points} has no ELL form: it must be a power of two; leave it null to have it follow "
            "the window."
        )
    x = builder.add(n.FFTNode, "spectrum", input=x, fft_size=points)
    if step.power:
        size = points // 2 + 1
        x = builder.add(n.UnaryOperationNode, "square", input=x, operation="square")
        divisor = _constant(builder, "fft size", np.full(size, points))
        x = _binary(builder, "power", "divide", x, divisor, (size,))
    return x


def _filterbank(builder: ModelBuilder, x: str, step: s.Filterbank) -> str:
    if step.kind not in ("mel", "linear"):
        raise NoNode(step, f"ELL has no filterbank of the kind {step.kind}")
    bins, filters = step.weights.shape
    facts = {
        "num_filters": str(filters),
        "filterbank_type": step.kind,
        "filterbank_size": str(filters),
        "sample_rate": str(step.sample_rate),
    }
    whole = {"window_size": bins, "rate": _real(step.sample_rate), "num_filters": filters}
    whole |= {"begin": 0, "end": filters, "offset": 0}
    if step.kind == "mel":
        bank, node = n.MelFilters(**whole, fft_size=2 * (bins - 1)), n.MelFilterBankNode
    else:
        bank, node = n.LinearFilters(**whole), n.LinearFilterBankNode
    return builder.add(node, "filterbank", metadata=facts, input=x, filters=bank)


def _recurrent(builder: ModelBuilder, source: str, name: str, step: s.Recurrent, trigger: str) -> str:
    order = GATES[type(step)]
    weights = [
        np.concatenate([np.split(array, len(order))[gate] for gate in order]) for array in step.constants.values()
    ]
    return add_recurrent(builder, source, name, type(step).__name__.lower(), weights, trigger)
