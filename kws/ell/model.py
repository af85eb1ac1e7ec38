"""A whole ELL model: nodes in order, what goes in, what comes out; and a builder that makes one in code."""

# ruff: noqa: RUF009 (prop() makes a dataclass field)

import copy
from dataclasses import dataclass, field
from typing import ClassVar

from kws.ell.nodes import IntegerConstantNode, MemoryLayout, Node, RecurrentNode, VadNode
from kws.ell.properties import Property, Struct, prop
from kws.support.errors import KwsError


class ModelError(KwsError):
    """A model that does not hold together. ``node`` is the place of the faulty node in the list, or None."""

    def __init__(self, message: str, node: int | None = None):
        self.node = node
        super().__init__(message)


@dataclass(eq=False)
class Model(Struct):
    """What ELL calls a map: a model with named inputs and outputs.

    Attributes:
        nodes: every node after the nodes it listens to.
        metadata: of the model as a whole; ELL's own tools leave it empty.
        input_names, input_ids: the inputs, and the nodes that they are.
        output_names, output_elements: the outputs, and their sources (``ID.output``).
        version, model_version: archive versions of the map and of the model inside it, "2" or "3".
    """

    TYPE: ClassVar[str] = "Map"
    nodes: list[Node] = prop("nodes", "nodes")
    metadata: dict[str, str] = field(
        default_factory=dict, kw_only=True, metadata={"property": Property("metadata", "bag", optional=True)}
    )
    input_names: list[str] = field(default_factory=list)
    input_ids: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    output_elements: list[str] = field(default_factory=list)
    version: str = field(default="2", kw_only=True, compare=False)
    model_version: str = field(default="2", kw_only=True, compare=False)

    def node(self, source: str) -> Node:
        """The node with this id, or behind this source (``ID.output``)."""
        wanted = source.removesuffix(".output")
        for node in self.nodes:
            if node.id == wanted:
                return node
        raise ModelError(f"The model has no node {wanted!r}.")

    def named(self, name: str) -> Node:
        """The first node with this name in its metadata; models of `kws.ell.build` name every node."""
        for node in self.nodes:
            if node.metadata.get("name") == name:
                return node
        raise ModelError(f"The model has no node called {name!r}.")

    def of_type(self, kind: type[Node]) -> list[Node]:
        """The nodes of a class, in order."""
        return [node for node in self.nodes if isinstance(node, kind)]

    def users(self, node: Node) -> list[Node]:
        """The nodes that listen to `node`."""
        return [user for user in self.nodes if any(source == node.output for _, _, source in user.ports())]

    def sizes(self) -> dict[str, int]:
        """Size of every node's output, by id. Checks the model on the way.

        Raises:
            ModelError: a source that does not exist or comes later, a port of the wrong type, sizes that do not
                fit, an id used twice, an input or output that is none.
        """
        sizes: dict[str, int] = {}
        kinds: dict[str, int | None] = {}
        ids = {node.id for node in self.nodes}

        for index, node in enumerate(self.nodes):
            if not node.id or any(character.isspace() for character in node.id):
                raise ModelError(f"{node.label}: the id {node.id!r} has a blank, and ELL cannot refer to it", index)
            if node.id in sizes:
                raise ModelError(f"{node.label}: the id {node.id!r} is used twice", index)
            for _, p, source in node.ports():
                name = source.removesuffix(".output")
                if not source.endswith(".output") or name not in ids:
                    raise ModelError(f"{node.label}: its {p.key} listens to {source!r}, which does not exist", index)
                if name not in sizes:
                    raise ModelError(
                        f"{node.label}: its {p.key} listens to {source!r}, which comes later in the file", index
                    )
                if kinds[name] != p.port_type:
                    raise ModelError(f"{node.label}: its {p.key} and {source!r} are of different types", index)
            try:
                sizes[node.id] = node.infer(lambda source: sizes[source.removesuffix(".output")])
            except ValueError as error:
                raise ModelError(f"{node.label}: {error}", index) from None
            kinds[node.id] = node.OUTPUT

        if len(self.input_names) != len(self.input_ids) or not self.input_ids:
            raise ModelError("inputNames and inputIds must be equally long and not empty")
        if len(self.output_names) != len(self.output_elements) or not self.output_elements:
            raise ModelError("outputNames and outputElements must be equally long and not empty")
        for name in self.input_ids:
            if name not in sizes or not self.node(name).TYPE.startswith("InputNode"):
                raise ModelError(f"inputIds names {name!r}, which is no input node")
        for source in self.output_elements:
            if not source.endswith(".output") or source.removesuffix(".output") not in sizes:
                raise ModelError(f"outputElements names {source!r}, which does not exist")
        return sizes

    def check_computable(self) -> dict[str, int]:
        """As `sizes`, for a model that is to be computed; also refuses what ELL loads and then cannot compute."""
        sizes = self.sizes()
        for index, node in enumerate(self.nodes):
            if obstacle := node.obstacle(lambda source: sizes[source.removesuffix(".output")]):
                raise ModelError(f"{node.label}: {obstacle}.", index)
        return sizes

    @property
    def input_size(self) -> int:
        """Values per call."""
        return self.node(self.input_ids[0]).layout.elements()

    @property
    def output_size(self) -> int:
        """Values that come back per call."""
        return self.sizes()[self.output_elements[0].removesuffix(".output")]

    @property
    def recurrent(self) -> list[RecurrentNode]:
        """The layers that remember."""
        return self.of_type(RecurrentNode)

    @property
    def vad(self) -> VadNode | None:
        """The voice activity detector, if there is one."""
        found = self.of_type(VadNode)
        return found[0] if found else None

    def copy(self) -> "Model":
        """An independent copy."""
        return copy.deepcopy(self)


class ModelBuilder:
    """Makes a model node by node; ids are given in order, so the same calls make the same model.

    ``add`` returns the source to listen to:

        builder = ModelBuilder()
        x = builder.add(InputNode, "input", layout=MemoryLayout.of(256))
        x = builder.add(FFTNode, "spectrum", input=x, fft_size=256)
    """

    def __init__(self, first_id: int = 1000):
        self.nodes: list[Node] = []
        self._next = first_id

    def add(self, kind: type[Node], name: str, *, metadata: dict[str, str] | None = None, **properties) -> str:
        """Append a node called `name` and return its output.

        Every node carries at least its name as metadata: ELL writes these node versions only with metadata.
        """
        node = kind(str(self._next), metadata={"name": name, **(metadata or {})}, **properties)
        self._next += 1
        self.nodes.append(node)
        return node.output

    def trigger(self, name: str = "never") -> str:
        """An integer 0 that never changes: what a recurrent node listens to when nothing resets it."""
        return self.add(IntegerConstantNode, name, values=[0], layout=MemoryLayout.of(1))

    def model(self, output: str, *, input_name: str = "input", output_name: str = "output") -> Model:
        """The model of all nodes added so far: the first is the input, `output` names the last."""
        model = Model(
            self.nodes,
            input_names=[input_name],
            input_ids=[self.nodes[0].id],
            output_names=[output_name],
            output_elements=[output],
        )
        model.sizes()
        return model
