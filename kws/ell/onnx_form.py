"""The ONNX form of a classifier that ELL's own importer takes.

The importer looks at the structure, not at the opset number: one input called ``input`` of shape [1, 1, F], the
initial state as constants, ``linear_before_reset=1``, axes as attributes (opset 9), means and deviations as
``Constant`` nodes of the input's shape. The files it was seen to import are built like this.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kws.ell import fastgrnn
from kws.ell.build import check_layer
from kws.errors import KwsError

OPSET, IR_VERSION = 9, 4

# PyTorch's order of gates, as positions of ONNX's gates: z r h out of r z n; i o f c out of i f g o.
GATES = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
STATES = {"gru": ("h",), "lstm": ("h", "c")}


def classifier_onnx(
    layers: Sequence[Mapping[str, Any]],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    *,
    labels: Sequence[str] = (),
    mean: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> onnx.ModelProto:
    """The same facts as `kws.ell.build.classifier` takes, as an ONNX model for ELL's importer.

    A layer may also be a ``fastgrnn``, see `kws.ell.fastgrnn`; onnxruntime has no such operator.

    One call computes one frame from the zero state, (1, 1, F) to (1, C) log-probabilities. ELL makes a softmax of the
    log-softmax and keeps the state itself.
    """
    checked = [_check(index, layer) for index, layer in enumerate(layers)]
    if not checked:
        raise KwsError("A classifier needs at least one recurrent layer.")
    features, classes = _input_size(checked[0]), len(output_weight)
    graph = _Graph()
    x = "input"
    if mean is not None and deviation is not None:
        x = graph.node("Sub", [x, graph.constant("mean", np.reshape(mean, (1, 1, features)))], ["centred"])
        x = graph.node("Div", [x, graph.constant("deviation", np.reshape(deviation, (1, 1, features)))], ["normal"])
    for index, layer in enumerate(checked, start=1):
        x = _fastgrnn(graph, x, index, layer) if layer["cell"] == "fastgrnn" else _recurrent(graph, x, index, layer)
    x = graph.node("Slice", [x], ["last_frame"], axes=[0], starts=[-1], ends=[np.iinfo(np.int64).max])
    x = graph.node("Squeeze", [x], ["last"], axes=[0])
    weight, bias = graph.initializer("weight", output_weight), graph.initializer("bias", output_bias)
    x = graph.node("Gemm", [x, weight, bias], ["scores"], alpha=1.0, beta=1.0, transB=1)
    x = graph.node("LogSoftmax", [x], ["output"], axis=1)

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "classifier",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, features])],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, classes])],
            graph.initializers,
        ),
        producer_name="kws",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    facts = dict(sorted((metadata or {}).items()))
    if labels:
        facts["labels"] = list(labels)
    # As in the project's other ONNX files: what is no text is JSON.
    texts = {key: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for key, v in facts.items()}
    helper.set_model_props(model, texts)
    onnx.checker.check_model(_checkable(model))
    return model


class _Graph:
    """Nodes and weights as they come."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], outputs: list[str], name: str = "", **attributes) -> str:
        # Without a name ELL's importer takes the first output for it, which is what it looks nodes up by.
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name or None, **attributes))
        return outputs[0]

    def initializer(self, name: str, values: np.ndarray) -> str:
        self.initializers.append(_tensor(name, values))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        return self.node("Constant", [], [name], value=_tensor(name, values))


def _check(index: int, layer: Mapping[str, Any]) -> dict[str, Any]:
    return (fastgrnn.check_layer if layer.get("cell") == "fastgrnn" else check_layer)(index, layer)


def _input_size(layer: Mapping[str, Any]) -> int:
    return (layer["input_weights"][0] if layer["cell"] == "fastgrnn" else layer["weight_ih"]).shape[1]


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with ELL's own operator in a domain of its own, where the checker lets it pass and checks the rest."""
    if all(node.op_type != fastgrnn.OPERATOR for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import.append(helper.make_opsetid("ell", 1))
    for node in copy.graph.node:
        if node.op_type == fastgrnn.OPERATOR:
            node.domain = "ell"
    return copy


def _tensor(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)


def _recurrent(graph: _Graph, x: str, index: int, layer: Mapping[str, Any]) -> str:
    cell, hidden = layer["cell"], layer["weight_hh"].shape[1]

    def gates(key: str) -> np.ndarray:
        parts = np.split(layer[key], len(GATES[cell]))
        return np.concatenate([parts[gate] for gate in GATES[cell]])

    inputs = [
        x,
        graph.initializer(f"W{index}", gates("weight_ih")[None]),
        graph.initializer(f"R{index}", gates("weight_hh")[None]),
        graph.initializer(f"B{index}", np.concatenate([gates("bias_ih"), gates("bias_hh")])[None]),
        "",
        *(graph.initializer(f"{state}{index}", np.zeros((1, 1, hidden))) for state in STATES[cell]),
    ]
    outputs = [f"Y{index}", *(f"Y_{state}{index}" for state in STATES[cell])]
    attributes = {"linear_before_reset": 1} if cell == "gru" else {}
    y = graph.node(cell.upper(), inputs, outputs, f"{cell.upper()}_{index}", hidden_size=hidden, **attributes)
    return graph.node("Squeeze", [y], [f"S{index}"], axes=[1])


def _fastgrnn(graph: _Graph, x: str, index: int, layer: Mapping[str, Any]) -> str:
    names = [graph.initializer(f"{name}_{index}", values) for name, values in fastgrnn.weights(layer).items()]
    # Without a name, so that the importer, which sees one output, finds the node by it.
    y = graph.node(fastgrnn.OPERATOR, [x, *names], [f"Y{index}"], **fastgrnn.attributes(layer))
    return graph.node("Squeeze", [y], [f"S{index}"], axes=[1])
