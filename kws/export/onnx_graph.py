"""Building ONNX graphs by hand: every node is known, so nothing depends on what a tracer saw."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kws.networks import RecurrentClassifier

OPSET = 17
IR_VERSION = 8  # read by every runtime since 2022

# Rows of PyTorch's stacked gates in ONNX's order: GRU r,z,n to z,r,h; LSTM i,f,g,o to i,o,f,c.
GATES = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}


class Graph:
    """A graph under construction. Names are deterministic: the operator and a running number."""

    def __init__(self, name: str):
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        """A graph input; a string in `shape` is a free dimension."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> None:
        """Hand `value` out of the graph as `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output_{name}"))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def constant(self, name: str, array: np.ndarray) -> str:
        """An initializer."""
        self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes) -> Any:
        """Add a node; its output's name, or a list of names where it has several."""
        number = len(self.nodes)
        names = [f"{operator}_{number}" if outputs == 1 else f"{operator}_{number}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=f"{operator}_{number}", **attributes))
        return names[0] if outputs == 1 else names

    def model(self, metadata: Mapping[str, Any]) -> onnx.ModelProto:
        """The checked model; values of `metadata` that are no strings are written as JSON."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "kws"
        text = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
        helper.set_model_props(model, text)
        onnx.checker.check_model(model, full_check=True)
        return model


def array(tensor) -> np.ndarray:
    """A float32 NumPy copy of a tensor."""
    return tensor.detach().cpu().float().numpy().copy()


def normalize(graph: Graph, features: str, normalization) -> str:
    """(…, F) raw features to normalised ones."""
    mean = graph.constant("mean", array(normalization.mean))
    deviation = graph.constant("deviation", array(normalization.deviation))
    return graph.node("Div", graph.node("Sub", features, mean), deviation)


def recurrent_weights(layer, cell: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (1, gates · H, I), R (1, gates · H, H) and B (1, 2 · gates · H) of a layer, in ONNX's gate order."""

    def reorder(parameter):
        stacked = array(parameter)
        gates = stacked.reshape(len(GATES[cell]), layer.hidden_size, *stacked.shape[1:])
        return gates[list(GATES[cell])].reshape(stacked.shape)

    bias = np.concatenate([reorder(layer.bias_ih_l0), reorder(layer.bias_hh_l0)])
    return reorder(layer.weight_ih_l0)[None], reorder(layer.weight_hh_l0)[None], bias[None]


def recurrent_classifier(
    graph: Graph, frames: str, classifier: RecurrentClassifier, state: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The layers of `classifier`: normalised (T, B, F) frames to (T, B, C) log-probabilities.

    Args:
        graph: where the nodes go.
        frames: the value to start from; ONNX counts time before batch.
        classifier: the network.
        state: a value (B, H) per tensor of the state; none for zeros.

    Returns:
        the log-probabilities, and the state after the last frame, (B, H) each.
    """
    lstm = classifier.cell == "lstm"
    per_layer = 2 if lstm else 1
    direction_axis = graph.constant("direction_axis", np.array([1], dtype=np.int64))
    state_axis = graph.constant("state_axis", np.array([0], dtype=np.int64))
    after: list[str] = []
    for i, layer in enumerate(classifier.layers):
        weights = [
            graph.constant(f"layer{i + 1}.{name}", weight)
            for name, weight in zip("WRB", recurrent_weights(layer, classifier.cell), strict=True)
        ]
        before = [graph.node("Unsqueeze", s, state_axis) for s in state[per_layer * i : per_layer * (i + 1)]]
        # PyTorch's GRU applies the reset gate to W h + b, which ONNX calls linear_before_reset.
        attributes = {"hidden_size": layer.hidden_size} | ({} if lstm else {"linear_before_reset": 1})
        frames, *ends = graph.node(
            "LSTM" if lstm else "GRU",
            frames,
            *weights,
            "",  # sequence_lens: all frames count
            *before,
            outputs=1 + per_layer,
            **attributes,
        )
        frames = graph.node("Squeeze", frames, direction_axis)  # (T, B, H)
        after += [graph.node("Squeeze", end, state_axis) for end in ends]  # (B, H)
    weight = graph.constant("linear.weight", array(classifier.linear.weight).T)
    bias = graph.constant("linear.bias", array(classifier.linear.bias))
    scores = graph.node("Add", graph.node("MatMul", frames, weight), bias)
    return graph.node("LogSoftmax", scores, axis=-1), after


def state_names(classifier) -> list[str]:
    """What the tensors of a classifier's state are called in an exported model."""
    return [f"state_{i}" for i in range(len(classifier.state_sizes))]
