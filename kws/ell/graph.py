"""An ELL model as a picture, see `kws.program.drawing`.

Constants are not drawn as boxes of their own; the node they feed says how large they are.
"""

from pathlib import Path

from kws.ell import nodes as n
from kws.ell.model import Model
from kws.program import drawing
from kws.program.drawing import Box

COLOURS = {
    n.InputNode: drawing.OUTSIDE,
    n.OutputNode: drawing.OUTSIDE,
    n.VadNode: drawing.VOICE,
    n.RecurrentNode: drawing.STATEFUL,
    n.LayerNode: drawing.LAYER,
}


def boxes(model: Model) -> list[Box]:
    """What is drawn of `model`, in its order; ``row`` counts from the input downwards."""
    sizes = model.sizes()
    constants = {node.id for node in model.nodes if isinstance(node, n.ConstantNode | n.IntegerConstantNode)}
    for node in model.of_type(n.ReinterpretLayoutNode):  # a constant in another shape is still a constant
        if node.input.removesuffix(".output") in constants:
            constants.add(node.id)
    drawn: dict[str, Box] = {}
    for node in model.nodes:
        if node.id in constants:
            continue
        box = Box(node.id, _lines(node, sizes), _colour(node))
        for attribute, _, source in node.ports():
            name = source.removesuffix(".output")
            if name in drawn:
                box.sources.append((name, attribute == "reset_trigger"))
        box.row = max((drawn[name].row + 1 for name, _ in box.sources), default=0)
        drawn[node.id] = box
    return list(drawn.values())


def dot(model: Model) -> str:
    """`model` in the language of Graphviz."""
    return drawing.dot(boxes(model))


def write(model: Model, path: str | Path) -> None:
    """Draw `model` into `path`; the suffix says how: .dot, .svg or .png."""
    drawing.write(boxes(model), path)


def _colour(node: n.Node) -> str:
    return next((colour for kind, colour in COLOURS.items() if isinstance(node, kind)), drawing.PLAIN)


def _lines(node: n.Node, sizes: dict[str, int]) -> list[str]:
    """Name, type and sizes of a node."""
    kind = node.TYPE.split("<")[0].removesuffix("Node").removesuffix("Layer").removesuffix("Code")
    name = node.metadata.get("name")
    head = f"{name}" if name else kind
    size = sizes[node.id]
    match node:
        case n.RecurrentNode():
            inputs = sizes[node.input.removesuffix(".output")]
            weights = sum(node.weight_sizes(inputs).values())
            detail = f"{kind} {inputs} → {size}, {weights:,} weights"
        case n.FullyConnectedNode():
            detail = f"{kind} {node.layer.columns} → {node.layer.rows}, {len(node.layer.weights):,} weights"
        case n.VadNode():
            detail = f"VAD of {node.vad.window_size} features, {1000 * node.vad.frame_duration:g} ms"
        case n.BinaryOperationNode() | n.UnaryOperationNode():
            detail = f"{node.operation} {size}"
        case _:
            detail = f"{kind} {size}"
    return [head, detail] if head != detail else [head]
