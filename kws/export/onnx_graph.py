"""Building ONNX graphs by hand: every node is known, so nothing depends on what a tracer saw."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # read by every runtime since 2022


class Graph:
    """A graph under construction. Names are deterministic: the operator and a running number.

    Args:
        name: of the graph.
        prefix: of all its values; needed in the body of a loop, whose names must differ from those around it.
    """

    def __init__(self, name: str, prefix: str = ""):
        self.name = name
        self.prefix = prefix
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
        """An initializer. The same one may be asked for again; another one needs another name."""
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        if self.initializers.setdefault(name, tensor) != tensor:
            raise ValueError(f"the graph has another constant of the name {name!r} already")
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes) -> Any:
        """Add a node; its output's name, or a list of names where it has several."""
        number = len(self.nodes)
        name = f"{self.prefix}{operator}_{number}"
        names = [name if outputs == 1 else f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def proto(self) -> onnx.GraphProto:
        """The graph as it stands; the body of a loop or part of a model."""
        return helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, list(self.initializers.values()))

    def model(self, metadata: Mapping[str, Any]) -> onnx.ModelProto:
        """The checked model; see `with_metadata`."""
        model = helper.make_model(self.proto(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return with_metadata(model, metadata)


def with_metadata(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """The model, checked; values of `metadata` that are no strings are written as JSON."""
    model.producer_name = "kws"
    text = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    helper.set_model_props(model, text)
    onnx.checker.check_model(model, full_check=True)
    return model
