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
from kws.ell.build import NoNode
from kws.program import FEATURES, Program
from kws.program import steps as s

OPSET, IR_VERSION = 9, 4

# PyTorch's order of gates, as positions of ONNX's gates: z r h out of r z n; i o f c out of i f g o.
GATES = {s.GRU: (1, 0, 2), s.LSTM: (0, 3, 1, 2)}
STATES = {s.GRU: ("h",), s.LSTM: ("h", "c")}


def classifier_onnx(
    program: Program, *, labels: Sequence[str] = (), metadata: Mapping[str, Any] | None = None
) -> onnx.ModelProto:
    """The same as `kws.ell.build.classifier` takes, as an ONNX model for ELL's importer.

    A FastGRNN becomes the operator of `kws.ell.fastgrnn`; onnxruntime has no such operator.

    One call computes one frame from the zero state, (1, 1, F) to (1, C) log-probabilities. ELL makes a softmax of the
    log-softmax and keeps the state itself.
    """
    features, classes = program.sizes[FEATURES], program.sizes[program.output]
    graph, made, layers = _Graph(), {FEATURES: "input"}, 0
    scores = program.step(program.output).source
    for step in program.network:
        x = made[step.source]
        match step:
            case s.Normalize():
                shape = (1, 1, features)
                x = graph.node("Sub", [x, graph.constant("mean", np.reshape(step.mean, shape))], ["centred"])
                x = graph.node("Div", [x, graph.constant("deviation", np.reshape(step.deviation, shape))], ["normal"])
            case s.Recurrent() | s.FastGRNN():
                layers += 1
                layer = _fastgrnn if isinstance(step, s.FastGRNN) else _recurrent
                x = layer(graph, x, layers, step)
            case s.Linear() if step.name != scores:
                weight = graph.initializer(f"{step.name}.weight", step.weight.T)
                x = graph.node("MatMul", [x, weight], [f"{step.name}.product"])
                x = graph.node("Add", [x, graph.initializer(f"{step.name}.bias", step.bias)], [step.name])
            case s.Linear():
                x = graph.node("Slice", [x], ["last_frame"], axes=[0], starts=[-1], ends=[np.iinfo(np.int64).max])
                x = graph.node("Squeeze", [x], ["last"], axes=[0])
                weight, bias = graph.initializer("weight", step.weight), graph.initializer("bias", step.bias)
                x = graph.node("Gemm", [x, weight, bias], ["scores"], alpha=1.0, beta=1.0, transB=1)
            case s.Add():
                x = graph.node("Add", [x, made[step.other]], [step.name])
            case s.LogSoftmax():
                x = graph.node("LogSoftmax", [x], ["output"], axis=1)
            case _:
                raise NoNode(step)
        made[step.name] = x

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


def _recurrent(graph: _Graph, x: str, index: int, step: s.Recurrent) -> str:
    cell, hidden = type(step).__name__, step.hidden_size

    def gates(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, step.GATES)
        return np.concatenate([parts[gate] for gate in GATES[type(step)]])

    inputs = [
        x,
        graph.initializer(f"W{index}", gates(step.weight_ih)[None]),
        graph.initializer(f"R{index}", gates(step.weight_hh)[None]),
        graph.initializer(f"B{index}", np.concatenate([gates(step.bias_ih), gates(step.bias_hh)])[None]),
        "",
        *(graph.initializer(f"{state}{index}", np.zeros((1, 1, hidden))) for state in STATES[type(step)]),
    ]
    outputs = [f"Y{index}", *(f"Y_{state}{index}" for state in STATES[type(step)])]
    attributes = {"linear_before_reset": 1} if cell == "GRU" else {}
    y = graph.node(cell, inputs, outputs, f"{cell}_{index}", hidden_size=hidden, **attributes)
    return graph.node("Squeeze", [y], [f"S{index}"], axes=[1])


def _fastgrnn(graph: _Graph, x: str, index: int, step: s.FastGRNN) -> str:
    names = [graph.initializer(f"{name}_{index}", values) for name, values in fastgrnn.weights(step).items()]
    # Without a name, so that the importer, which sees one output, finds the node by it.
    y = graph.node(fastgrnn.OPERATOR, [x, *names], [f"Y{index}"], **fastgrnn.attributes(step))
    return graph.node("Squeeze", [y], [f"S{index}"], axes=[1])
