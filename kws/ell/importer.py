"""ONNX classifiers as ELL models, like ELL's own ONNX importer, but with a reason where it would be silently wrong.

Taken are classifiers that see one frame per call: shape [1, 1, F] (or [1, F]), GRU, LSTM or FastGRNN layers in a row,
linear layers, softmax. Operators that only rearrange the one frame fall away.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kws.ell import build, fastgrnn
from kws.ell import metadata as meta
from kws.ell import nodes as n
from kws.ell.model import Model, ModelBuilder
from kws.support.errors import KwsError

# ONNX's order of gates, as positions of ELL's gates: GRU z r h is the same; LSTM i f c o out of i o f c.
GATES = {"GRU": (0, 1, 2), "LSTM": (0, 2, 3, 1)}
DEFAULT_ACTIVATIONS = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
LARGEST_FILE = 1 << 30


@dataclass
class _Signal:
    """What flows at run time: where it comes from in the ELL model, and where each of its values stands."""

    source: str
    index: np.ndarray  # any shape; holds 0, 1, 2, … when nothing has been left out or moved


class _State:
    """The recurrent state, or whatever is made of it alone. ELL keeps it itself."""


def read(path: str | Path) -> Model:
    """The classifier in the ONNX file `path`.

    Raises:
        KwsError: the file cannot be read, or holds something that has no ELL form; names the node.
    """
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise KwsError(f"'{path}' is larger than {LARGEST_FILE} bytes, which no classifier for ELL is.")
        proto = onnx.load(str(path))
    except OSError as error:
        raise KwsError(f"'{path}' cannot be read: {error.strerror or error}.") from None
    except KwsError:
        raise
    except Exception as error:  # protobuf's own exceptions differ between its versions
        raise KwsError(f"'{path}' is no ONNX model ({type(error).__name__}).") from None
    try:
        return from_onnx(proto)
    except KwsError as error:
        raise KwsError(f"'{path}': {error}") from None


def from_onnx(proto: onnx.ModelProto) -> Model:
    """`proto` as an ELL model."""
    try:
        return _Importer(proto.graph).model({p.key: p.value for p in proto.metadata_props})
    except KwsError:
        raise
    except Exception as error:  # a graph that contradicts itself: shapes, indices, missing attributes
        raise KwsError(f"The ONNX graph does not hold together: {error}") from error


class _Importer:
    def __init__(self, graph: onnx.GraphProto):
        self.graph = graph
        self.builder = ModelBuilder()
        self.values: dict[str, Any] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.recurrent = 0

    def model(self, facts: dict[str, str]) -> Model:
        self.input(facts)
        for node in self.graph.node:
            self.convert(node)
        signals = [o.name for o in self.graph.output if isinstance(self.values.get(o.name), _Signal)]
        if len(signals) > 1:  # a streaming model hands its states back as well
            signals = [name for name in signals if not isinstance(self.producer(self.values[name]), n.RecurrentNode)]
        if len(signals) != 1:
            raise KwsError(f"The graph must have one output that follows from its input; it has {len(signals)}.")
        if not self.recurrent:
            raise KwsError("The graph has no GRU, LSTM or FastGRNN, so it is no recurrent classifier.")
        result = self.values[signals[0]]
        classes = result.index.size
        labels = _labels(facts.get("labels", ""))
        output = self.builder.add(
            n.OutputNode,
            "probabilities",
            metadata=meta.encode_labels(labels) if len(labels) == classes else None,
            input=result.source,
            layout=n.MemoryLayout.of(1, 1, classes),
        )
        model = self.builder.model(output)
        model.check_computable()
        return model

    def input(self, facts: dict[str, str]) -> None:
        """Which graph input is the frame; the others may only be recurrent states."""
        inputs = [i for i in self.graph.input if i.name not in self.values]
        states = self.state_names()
        frames = [i for i in inputs if i.name not in states]
        for i in inputs:
            if i.name in states:
                self.values[i.name] = _State()
        if len(frames) != 1:
            names = ", ".join(i.name for i in frames) or "none"
            raise KwsError(f"The graph must have one input beside the recurrent state; it has {names}.")
        shape = []
        for dim in frames[0].type.tensor_type.shape.dim:
            if not dim.HasField("dim_value") or dim.dim_value < 1:
                raise KwsError(
                    f"Input {frames[0].name!r} has the symbolic size {dim.dim_param or '?'}; "
                    "export with fixed sizes, one clip and one frame: [1, 1, F]."
                )
            shape.append(dim.dim_value)
        if not shape or any(length != 1 for length in shape[:-1]):
            raise KwsError(f"Input {frames[0].name!r} has the shape {shape}; ELL takes one frame at a time, [1, 1, F].")
        features = shape[-1]
        facts = meta.encode_facts({key: value for key, value in facts.items() if key != "labels"})
        layout = n.MemoryLayout.of(1, features, 1)
        source = self.builder.add(n.InputNode, "features", metadata=facts, layout=layout)
        self.values[frames[0].name] = _Signal(source, np.arange(features).reshape(shape))

    def state_names(self) -> set[str]:
        """Graph inputs that reach nothing but the initial states of recurrent nodes."""
        needed = {name for node in self.graph.node if node.op_type in GATES for name in node.input[5:7] if name}
        for node in reversed(self.graph.node):
            if node.op_type not in GATES and any(name in needed for name in node.output):
                needed.update(node.input)
        # The frame itself may be what a state's shape is computed from; then it is no state.
        frames = {node.input[0] for node in self.graph.node if node.op_type in GATES}
        for node in reversed(self.graph.node):
            if node.op_type not in GATES and any(name in frames for name in node.output):
                frames.update(node.input)
        return needed - frames

    # - nodes -

    def convert(self, node: onnx.NodeProto) -> None:
        where = f"{node.op_type} {(node.name or (node.output[0] if node.output else ''))!r}"
        if node.domain not in ("", "ai.onnx"):
            raise KwsError(f"{where} is of the domain {node.domain!r}, which is not supported.")
        missing = [name for name in node.input if name and name not in self.values]
        if missing:
            raise KwsError(f"{where} uses {missing[0]!r}, which nothing before it computes.")
        inputs = [self.values[name] if name else None for name in node.input]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        method = getattr(self, f"op_{node.op_type.lower()}", None)
        if method is not None:
            try:
                outputs = method(where, inputs, attributes)
            except (ValueError, IndexError, TypeError) as error:
                raise KwsError(f"{where} has a form that is not supported: {error}.") from error
        elif node.op_type in _REARRANGING:
            outputs = (self.rearrange(where, node.op_type, inputs, attributes),)
        else:
            raise KwsError(f"{where}: the operator {node.op_type} has no ELL form here.")
        for name, value in zip(node.output, outputs, strict=False):
            self.values[name] = value

    def rearrange(self, where: str, kind: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> Any:
        """An operator that moves values: computed for constants, dropped for the frame."""
        if any(isinstance(value, _State) for value in inputs):
            return _State()
        arrays = [value.index if isinstance(value, _Signal) else value for value in inputs]
        try:
            result = _REARRANGING[kind](arrays, attributes)
        except Exception as error:
            raise KwsError(f"{where} cannot be followed: {error}.") from error
        signals = [value for value in inputs if isinstance(value, _Signal)]
        if not signals or kind == "Shape":
            return result
        if len(signals) > 1 or not isinstance(inputs[0], _Signal):
            raise KwsError(f"{where} mixes several signals, which is not supported.")
        if not np.array_equal(result.reshape(-1), np.arange(signals[0].index.size)):
            raise KwsError(f"{where} drops or moves values of the frame, which has no ELL form here.")
        return _Signal(signals[0].source, result)

    def op_constant(self, where, inputs, attributes):
        for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            if key in attributes:
                value = attributes[key]
                return (numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value),)
        raise KwsError(f"{where} has no value that is supported.")

    def op_constantofshape(self, where, inputs, attributes):
        if not isinstance(inputs[0], np.ndarray):
            return (_State(),)
        shape = [int(length) for length in inputs[0].reshape(-1)]
        if any(length < 0 for length in shape) or np.prod(shape, dtype=float) > n.LARGEST:
            raise KwsError(f"{where} makes a constant of the shape {shape}.")
        fill = numpy_helper.to_array(attributes["value"]).reshape(-1)[0] if "value" in attributes else np.float32(0)
        return (np.full(shape, fill),)

    def op_sub(self, where, inputs, attributes):
        return (self.elementwise(where, "subtract", inputs),)

    def op_div(self, where, inputs, attributes):
        return (self.elementwise(where, "divide", inputs),)

    def op_add(self, where, inputs, attributes):
        a, b = inputs
        if isinstance(b, _Signal) and isinstance(a, np.ndarray):
            a, b = b, a
        if isinstance(a, _Signal) and isinstance(self.producer(a), n.FullyConnectedNode):
            return (_Signal(build.add_bias(self.builder, a.source, self.spread(where, a, b)), a.index),)
        return (self.elementwise(where, "add", [a, b]),)

    def op_gru(self, where, inputs, attributes):
        if attributes.get("linear_before_reset", 0) != 1:
            raise KwsError(
                f"{where} has linear_before_reset=0, another GRU than PyTorch's and ELL's; ELL would compute the "
                "other one without a word. Export with linear_before_reset=1."
            )
        return self.layer(where, "GRU", inputs, attributes)

    def op_lstm(self, where, inputs, attributes):
        if attributes.get("input_forget", 0):
            raise KwsError(f"{where} couples its input and forget gates (input_forget), which ELL does not.")
        if len(inputs) > 7 and inputs[7] is not None and np.any(np.asarray(inputs[7]) != 0):
            raise KwsError(f"{where} has peephole weights, which ELL does not.")
        return self.layer(where, "LSTM", inputs, attributes)

    def op_fastgrnn(self, where, inputs, attributes):
        x = self.signal(where, inputs[0])
        if not all(isinstance(value, np.ndarray) for value in inputs[1:]):
            raise KwsError(f"{where}: its weights must be constants.")
        self.recurrent += 1
        layer = fastgrnn.layer(f"fastgrnn {self.recurrent}", inputs[1:], attributes)
        layer.size(x.index.size)
        if layer.update not in n.FastGRNNNode.UPDATES:
            raise KwsError(
                f"{where} has the update nonlinearity {layer.update}. ELL imports it without a word and then cannot "
                f"compute it; it computes {', '.join(n.FastGRNNNode.UPDATES)}."
            )
        trigger = self.builder.trigger(f"no reset {self.recurrent}")
        source = build.add_fastgrnn(self.builder, x.source, layer.name, layer, trigger)
        return (_Signal(source, np.arange(layer.hidden_size).reshape(1, 1, 1, -1)),)

    def op_gemm(self, where, inputs, attributes):
        if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1 or attributes.get("transA", 0):
            raise KwsError(f"{where} must have alpha = beta = 1 and transA = 0.")
        x, weight = inputs[0], self.weight(where, inputs[1])
        signal = self.linear(where, x, weight if attributes.get("transB", 0) else weight.T)
        if len(inputs) > 2 and inputs[2] is not None:
            bias = self.spread(where, signal, inputs[2])
            signal = _Signal(build.add_bias(self.builder, signal.source, bias), signal.index)
        return (signal,)

    def op_matmul(self, where, inputs, attributes):
        return (self.linear(where, inputs[0], self.weight(where, inputs[1]).T),)

    def op_softmax(self, where, inputs, attributes):
        x = self.signal(where, inputs[0])
        axis = attributes.get("axis", -1) % x.index.ndim
        # Before opset 13 the softmax runs over everything from the axis on; with ones around it that is the same.
        if x.index.shape[axis] != x.index.size:
            raise KwsError(f"{where} does not run over the classes.")
        return (_Signal(build.add_softmax(self.builder, x.source, x.index.size), x.index),)

    op_logsoftmax = op_softmax  # ELL's importer does the same: its models end in probabilities

    # - pieces -

    def signal(self, where: str, value: Any) -> _Signal:
        if not isinstance(value, _Signal):
            raise KwsError(f"{where} does not follow from the input of the graph.")
        return value

    def producer(self, signal: _Signal) -> n.Node:
        return next(node for node in reversed(self.builder.nodes) if node.output == signal.source)

    def weight(self, where: str, value: Any) -> np.ndarray:
        if not isinstance(value, np.ndarray) or value.ndim != 2:
            raise KwsError(f"{where}: its weight must be a constant matrix.")
        return value

    def spread(self, where: str, signal: _Signal, value: Any) -> np.ndarray:
        """A constant, broadcast to the size of `signal`."""
        if not isinstance(value, np.ndarray):
            raise KwsError(f"{where}: one side must be a constant.")
        if np.broadcast_shapes(value.shape, signal.index.shape) != signal.index.shape:
            raise KwsError(f"{where}: a constant of the shape {value.shape} does not fit {signal.index.shape}.")
        return np.broadcast_to(value, signal.index.shape).reshape(-1)

    def elementwise(self, where: str, operation: str, inputs: Sequence[Any]) -> Any:
        if all(isinstance(value, np.ndarray) for value in inputs):
            return {"add": np.add, "subtract": np.subtract, "divide": np.divide}[operation](*inputs)
        x = self.signal(where, inputs[0])
        values = self.spread(where, x, inputs[1])
        name = f"constant {len(self.builder.nodes)}"
        shape = (1, x.index.size, 1)
        return _Signal(build.add_elementwise(self.builder, x.source, name, operation, values, shape), x.index)

    def linear(self, where: str, value: Any, weight: np.ndarray) -> _Signal:
        x = self.signal(where, value)
        if weight.shape[1] != x.index.size:
            raise KwsError(f"{where}: a weight of the shape {weight.shape} does not fit {x.index.size} inputs.")
        source = build.add_linear(self.builder, x.source, weight)
        return _Signal(source, np.arange(len(weight)).reshape(*x.index.shape[:-1], len(weight)))

    def layer(self, where: str, kind: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> tuple:
        x = self.signal(where, inputs[0])
        direction = attributes.get("direction", b"forward").decode()
        activations = [a.decode() for a in attributes.get("activations", [])]
        if direction != "forward":
            raise KwsError(f"{where} has direction={direction}; ELL runs forward only.")
        if activations and activations != DEFAULT_ACTIVATIONS[kind]:
            raise KwsError(f"{where} has the activations {', '.join(activations)}; ELL takes the usual ones only.")
        if "clip" in attributes or attributes.get("layout", 0):
            raise KwsError(f"{where} has clip or layout=1, which is not supported.")
        if len(inputs) < 4 or inputs[3] is None:
            raise KwsError(f"{where} has no bias (B); ELL needs it, zeros if nothing else.")
        if len(inputs) > 4 and inputs[4] is not None:
            raise KwsError(f"{where} has sequence_lens, which ELL would take for its reset trigger.")
        for name, value in zip("WRB", inputs[1:4], strict=True):
            if not isinstance(value, np.ndarray):
                raise KwsError(f"{where}: {name} must be a constant.")
        if any(isinstance(value, _Signal) for value in inputs[5:7]):
            raise KwsError(f"{where} starts from a state that follows from the frame.")

        W, R, B = (np.asarray(value, np.float32) for value in inputs[1:4])
        gates, hidden = len(GATES[kind]), R.shape[-1]
        expected = [(1, gates * hidden, x.index.size), (1, gates * hidden, hidden), (1, 2 * gates * hidden)]
        if [W.shape, R.shape, B.shape] != expected:
            raise KwsError(f"{where} has weights of the shapes {W.shape}, {R.shape}, {B.shape}; needed are {expected}.")
        if attributes.get("hidden_size", hidden) != hidden:
            raise KwsError(f"{where} has hidden_size={attributes['hidden_size']} and weights for {hidden}.")
        input_bias, hidden_bias = np.split(B[0], 2)
        weights = [
            np.concatenate([np.split(array, gates)[gate] for gate in GATES[kind]])
            for array in (W[0], R[0], input_bias, hidden_bias)
        ]
        self.recurrent += 1
        name = f"{kind.lower()} {self.recurrent}"
        trigger = self.builder.trigger(f"no reset {self.recurrent}")
        source = build.add_recurrent(self.builder, x.source, name, kind.lower(), weights, trigger)
        last = np.arange(hidden)
        # Y is [frames, directions, batch, hidden]; Y_h is [directions, batch, hidden] and the same values.
        return _Signal(source, last.reshape(1, 1, 1, hidden)), _Signal(source, last.reshape(1, 1, hidden)), _State()


def _labels(text: str) -> list[str]:
    """Labels as the project's ONNX files carry them: a list in JSON. Anything else is none."""
    try:
        labels = json.loads(text)
    except ValueError:
        return []
    valid = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    return labels if valid else []


# --- operators that only move values ---------------------------------------------------------------------------------


def _axes(arrays, attributes):
    """``axes`` as an attribute (opset 12 and before) or as an input."""
    if "axes" in attributes:
        return tuple(attributes["axes"])
    if len(arrays) > 1 and arrays[1] is not None:
        return tuple(int(axis) for axis in np.reshape(arrays[1], -1))
    return None


def _slice(arrays, attributes):
    data = arrays[0]
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes"), None
    else:
        starts, ends, axes, steps = (*(None if a is None else a.tolist() for a in arrays[1:]), None, None)[:4]
    axes = range(len(starts)) if axes is None else axes
    index = [slice(None)] * data.ndim
    for i, axis in enumerate(axes):
        index[axis] = slice(starts[i], ends[i], steps[i] if steps is not None else 1)
    return data[tuple(index)]


def _unsqueeze(arrays, attributes):
    return np.expand_dims(arrays[0], _axes(arrays, attributes))


def _reshape(arrays, attributes):
    data, shape = arrays[0], [int(length) for length in arrays[1]]
    if not attributes.get("allowzero", 0):
        shape = [data.shape[i] if length == 0 else length for i, length in enumerate(shape)]
    return data.reshape(shape)


def _flatten(arrays, attributes):
    axis = attributes.get("axis", 1) % (arrays[0].ndim + 1)
    return arrays[0].reshape(int(np.prod(arrays[0].shape[:axis])), -1)


def _transpose(arrays, attributes):
    return np.transpose(arrays[0], attributes.get("perm"))


def _gather(arrays, attributes):
    return np.take(arrays[0], np.asarray(arrays[1], np.int64), axis=attributes.get("axis", 0))


def _concat(arrays, attributes):
    return np.concatenate(arrays, axis=attributes["axis"])


def _cast(arrays, attributes):
    return np.asarray(arrays[0]).astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


_REARRANGING = {
    "Squeeze": lambda arrays, attributes: np.squeeze(arrays[0], _axes(arrays, attributes)),
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Gather": _gather,
    "Concat": _concat,
    "Identity": lambda arrays, attributes: arrays[0],
    "Dropout": lambda arrays, attributes: arrays[0],
    "Cast": _cast,
    "Shape": lambda arrays, attributes: np.array(arrays[0].shape, np.int64),
}
