"""A model as a picture: DOT text, or SVG and PNG drawn here, with the VAD and its reset wires in their own colour.

Constants are not drawn as boxes of their own; the node they feed says how large they are.
"""

from dataclasses import dataclass, field
from pathlib import Path

from kws.ell import nodes as n
from kws.ell.model import Model
from kws.errors import KwsError
from kws.files import atomic, write_text

RESET_COLOUR = "#c0392b"
COLOURS = {
    n.InputNode: "#eceff1",
    n.OutputNode: "#eceff1",
    n.VadNode: "#fadbd8",
    n.RecurrentNode: "#d6eaf8",
    n.LayerNode: "#d5f5e3",
}
_PLAIN = "#ffffff"


@dataclass
class Box:
    """One drawn node: lines of text, a colour, and the boxes it listens to (True: as its reset)."""

    id: str
    lines: list[str]
    colour: str
    sources: list[tuple[str, bool]] = field(default_factory=list)
    row: int = 0


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
    lines = ["digraph model {", '  node [shape=box, style="filled,rounded", fontname="Helvetica"];']
    drawn = boxes(model)
    for box in drawn:
        label = "\\n".join(_escape(line) for line in box.lines)
        lines.append(f'  "{_escape(box.id)}" [label="{label}", fillcolor="{box.colour}"];')
    for box in drawn:
        for source, reset in box.sources:
            style = (
                f' [label="reset", style=dashed, color="{RESET_COLOUR}", fontcolor="{RESET_COLOUR}"]' if reset else ""
            )
            lines.append(f'  "{_escape(source)}" -> "{_escape(box.id)}"{style};')
    return "\n".join([*lines, "}", ""])


def write(model: Model, path: str | Path) -> None:
    """Draw `model` into `path`; the suffix says how: .dot, .svg or .png."""
    suffix = Path(path).suffix.lower()
    if suffix in (".dot", ".gv"):
        write_text(path, dot(model))
    elif suffix in (".svg", ".png"):
        _draw(boxes(model), path)
    else:
        raise KwsError(f"'{path}': a graph is written as .dot, .svg or .png, not {suffix or 'without a suffix'!r}.")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _colour(node: n.Node) -> str:
    return next((colour for kind, colour in COLOURS.items() if isinstance(node, kind)), _PLAIN)


def _lines(node: n.Node, sizes: dict[str, int]) -> list[str]:
    """Name, type and sizes of a node."""
    kind = node.TYPE.split("<")[0].removesuffix("Node").removesuffix("Layer").removesuffix("Code")
    name = node.metadata.get("name")
    head = f"{name}" if name else kind
    size = sizes[node.id]
    match node:
        case n.RecurrentNode():
            inputs = sizes[node.input.removesuffix(".output")]
            weights = sum(
                sizes[source.removesuffix(".output")]
                for source in (node.input_weights, node.hidden_weights, node.input_bias, node.hidden_bias)
            )
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


WIDTH, HEIGHT, COLUMN, ROW = 2.9, 0.55, 3.4, 0.95  # inches


def _draw(drawn: list[Box], path: str | Path) -> None:
    # Matplotlib takes a second to load; reading and writing models does not need it.
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    place = _places(drawn)
    columns = [x for x, _ in place.values()]
    low, high = min(columns) - WIDTH / 2 - 0.3, max(columns) + WIDTH / 2 + 0.9
    bottom = min(y for _, y in place.values()) - HEIGHT
    # A fixed salt, text kept as text and no date: the same model makes the same file.
    with matplotlib.rc_context({"svg.hashsalt": "kws", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(high - low, HEIGHT - bottom), dpi=120)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(low, high), ylim=(bottom, HEIGHT))
        axes.set_axis_off()
        for box in drawn:
            x, y = place[box.id]
            voice = box.colour == COLOURS[n.VadNode]
            axes.add_patch(
                FancyBboxPatch(
                    (x - WIDTH / 2, y - HEIGHT / 2),
                    WIDTH,
                    HEIGHT,
                    boxstyle="round,pad=0,rounding_size=0.08",
                    facecolor=box.colour,
                    edgecolor=RESET_COLOUR if voice else "#455a64",
                    zorder=2,
                )
            )
            axes.text(x, y, "\n".join(box.lines), ha="center", va="center", zorder=3, parse_math=False)
            for source, reset in box.sources:
                _arrow(axes, place[source], (x, y), reset)
        with atomic(path) as temporary:
            metadata = {"Date": None} if str(path).endswith(".svg") else {"Software": None}
            figure.savefig(temporary, metadata=metadata)


def _places(drawn: list[Box]) -> dict[str, tuple[float, float]]:
    """Centre of each box. The road runs down the first column; whatever leads only to a reset stands beside it."""
    feeds: dict[str, list[tuple[str, bool]]] = {box.id: [] for box in drawn}
    for box in drawn:
        for source, reset in box.sources:
            feeds[source].append((box.id, reset))
    # Last users first, so that a box knows whether all it feeds stands aside.
    aside: set[str] = set()
    for box in reversed(drawn):
        users = feeds[box.id]
        if users and all(reset or user in aside for user, reset in users):
            aside.add(box.id)
    rows: dict[bool, int] = {False: 0, True: 0}
    place = {}
    for box in drawn:
        side = box.id in aside
        row = max(rows[side], box.row)
        place[box.id] = (COLUMN * side, -ROW * row)
        rows[side] = row + 1
    return place


def _arrow(axes, start: tuple[float, float], end: tuple[float, float], reset: bool) -> None:
    """From the lower edge of one box to the upper edge of another; a reset arrives from the side, dashed."""
    if reset:
        tail, head = (start[0], start[1] - HEIGHT / 2), (end[0] + WIDTH / 2, end[1])
        style = {"connectionstyle": "angle,angleA=-90,angleB=0,rad=8", "linestyle": "--"}
    elif start[0] == end[0]:
        tail, head = (start[0], start[1] - HEIGHT / 2), (end[0], end[1] + HEIGHT / 2)
        style = {"connectionstyle": "arc3"}
    else:
        tail, head = (start[0] + WIDTH / 2, start[1]), (end[0], end[1] + HEIGHT / 2)
        style = {"connectionstyle": "angle,angleA=0,angleB=90,rad=8"}
    colour = RESET_COLOUR if reset else "#455a64"
    arrow = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", xy=head, xytext=tail, arrowprops=arrow, zorder=1)
    if reset:
        axes.text(head[0] + 0.08, head[1] + 0.05, "reset", color=colour, fontsize=7)
