"""A graph of steps as a picture: DOT text, or SVG and PNG drawn here, the wires of a reset in their own colour.

Boxes are what is drawn; `boxes` makes those of a program, `kws.ell.graph` those of an ELL model.
"""

from dataclasses import dataclass, field
from pathlib import Path

from kws.program import quantized as q
from kws.program import steps as s
from kws.program.program import Program
from kws.support.errors import KwsError
from kws.support.files import atomic, write_text

RESET_COLOUR = "#c0392b"
PLAIN, OUTSIDE, VOICE, STATEFUL, LAYER = "#ffffff", "#eceff1", "#fadbd8", "#d6eaf8", "#d5f5e3"
"""Colours of boxes: arithmetic, what goes in and out, a voice activity detector, layers that remember, other layers."""


@dataclass
class Box:
    """One drawn node: lines of text, a colour, and the boxes it listens to (True: as its reset)."""

    id: str
    lines: list[str]
    colour: str
    sources: list[tuple[str, bool]] = field(default_factory=list)
    row: int = 0


def boxes(program: Program) -> list[Box]:
    """What is drawn of a program: its input, its steps, and the wires from the detector to what it resets."""
    size = program.sizes[program.source]
    drawn = {program.source: Box(program.source, [program.source, f"{size:,}"], OUTSIDE)}
    network = {step.name for step in program.network}
    for step in program.steps:
        if isinstance(step, s.Reset):
            for name in dict.fromkeys(state.step for state in program.states if state.step in network):
                drawn[name].sources.append((step.source, True))
            continue
        box = Box(step.name, _lines(program, step), _colour(step), [(source, False) for source in step.sources])
        box.row = 1 + max(drawn[source].row for source in step.sources)
        drawn[step.name] = box
    return list(drawn.values())


def _colour(step: s.Step) -> str:
    match step:
        case s.Detector():
            return VOICE
        case s.Recurrent() | s.FastGRNN() | q.IntegerRecurrent() | q.IntegerFastGRNN():
            return STATEFUL
        case s.Picture() | s.Linear() | q.Scores():
            return LAYER
        case s.LogSoftmax():
            return OUTSIDE
    return PLAIN


def _lines(program: Program, step: s.Step) -> list[str]:
    """Name, kind and sizes of a step."""
    inputs, outputs = program.sizes[step.source], program.sizes[step.name]
    detail = f"{type(step).__name__} {inputs:,} → {outputs:,}" if inputs != outputs else type(step).__name__
    if step.num_weights:
        detail += f", {step.num_weights:,} weights"
    return [step.name, detail]


def dot(drawn: list[Box]) -> str:
    """Boxes in the language of Graphviz."""
    lines = ["digraph model {", '  node [shape=box, style="filled,rounded", fontname="Helvetica"];']
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


def write(drawn: list[Box], path: str | Path) -> None:
    """Draw boxes into `path`; the suffix says how: .dot, .svg or .png."""
    suffix = Path(path).suffix.lower()
    if suffix in (".dot", ".gv"):
        write_text(path, dot(drawn))
    elif suffix in (".svg", ".png"):
        _draw(drawn, path)
    else:
        raise KwsError(f"'{path}': a graph is written as .dot, .svg or .png, not {suffix or 'without a suffix'!r}.")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


WIDTH, HEIGHT, COLUMN, ROW = 2.9, 0.55, 3.4, 0.95  # inches


def _draw(drawn: list[Box], path: str | Path) -> None:
    # Matplotlib takes a second to load; reading and writing models does not need it.
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    place = places(drawn)
    columns = [x for x, _ in place.values()]
    low, high = min(columns) - WIDTH / 2 - 0.4, max(columns) + WIDTH / 2 + 0.9
    bottom = min(y for _, y in place.values()) - HEIGHT
    # A fixed salt, text kept as text and no date: the same model makes the same file.
    with matplotlib.rc_context({"svg.hashsalt": "kws", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(high - low, HEIGHT - bottom), dpi=120)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(low, high), ylim=(bottom, HEIGHT))
        axes.set_axis_off()
        for box in drawn:
            x, y = place[box.id]
            voice = box.colour == VOICE
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


def places(drawn: list[Box]) -> dict[str, tuple[float, float]]:
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
    if not reset and start[0] == end[0] and start[1] - end[1] > 1.5 * ROW:
        # What skips the boxes between goes around them.
        edge, aside = start[0] - WIDTH / 2, start[0] - WIDTH / 2 - 0.25
        axes.plot([edge, aside, aside], [start[1], start[1], end[1]], color=colour, lw=1, zorder=1)
        tail, head, style = (aside, end[1]), (edge, end[1]), {"connectionstyle": "arc3"}
    arrow = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, **style}
    axes.annotate("", xy=head, xytext=tail, arrowprops=arrow, zorder=1)
    if reset:
        axes.text(head[0] + 0.08, head[1] + 0.05, "reset", color=colour, fontsize=7)
