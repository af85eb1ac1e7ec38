"""A program in C: its tables, its states, the memory of a hop and the calls, step by step."""

import re
import textwrap
from dataclasses import dataclass, field

import numpy as np

from kws.native import front, integer, network  # noqa: F401  they make their translations known
from kws.native.memory import Block, arrange
from kws.native.parts import Part, Value, number, translate
from kws.program import FEATURES, SAMPLES, Program, Step
from kws.program.steps import Detector, Reset, Window
from kws.support.errors import KwsError

LINE = 120
PER_LINE = 8  # numbers of a table
CTYPES = {"float32": "float", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "uint16": "uint16_t"}


@dataclass(frozen=True)
class Table:
    """An array in flash."""

    name: str
    values: np.ndarray

    @property
    def declaration(self) -> str:
        """Without its numbers."""
        ctype = CTYPES[self.values.dtype.name]
        alignment = "ALIGNED " if self.values.size >= 64 else ""
        return f"{alignment}static const {ctype} {self.name}[{self.values.size}]"

    @property
    def definition(self) -> str:
        """With its numbers."""
        texts = [number(x) if self.values.dtype == np.float32 else str(x) for x in self.values.ravel()]
        rows = [", ".join(texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE)]
        return f"{self.declaration} = {{\n    " + ",\n    ".join(rows) + "};\n"


@dataclass(frozen=True)
class Member:
    """Of a struct: an array that a stream keeps."""

    name: str
    size: int
    ctype: str

    def __str__(self) -> str:
        return f"{self.ctype} {self.name}[{self.size}];"


@dataclass
class Road:
    """What C says of a program.

    Attributes:
        files: under kws/native/c with what it calls.
        tables: its arrays.
        constants: declarations that stand behind those of the tables.
        front_states: what the featurizer keeps from hop to hop, but for the window.
        states: what the network keeps.
        work: scratch of a hop.
        arrival: lines that treat `count` samples as they arrive.
        hop: lines that treat a hop.
        window_size: samples in a window.
    """

    files: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    front_states: list[Member] = field(default_factory=list)
    states: list[Member] = field(default_factory=list)
    work: list[Member] = field(default_factory=list)
    arrival: list[str] = field(default_factory=list)
    hop: list[str] = field(default_factory=list)
    window_size: int = 0


def road(program: Program) -> Road:
    """A program in C.

    Raises:
        KwsError: there is no C for a step, or a constant is not finite.
    """
    return _Builder(program).road


class _Builder:
    def __init__(self, program: Program):
        self.program = program
        self.inside = set(program.network)
        self.road = Road()
        self.values = {SAMPLES: Value(SAMPLES, program.input_size)}
        self.parts = [self.part(step) for step in program.steps]
        self.last_use = {
            source: i for i, step in enumerate(program.steps) for source in step.sources
        }  # number of the last step that reads a value
        self.places: dict[str, str] = {SAMPLES: "samples"}
        self.scratch: dict[int, tuple[str, Block]] = {}
        self.blocks: dict[str, dict[str, Block]] = {}  # by type of the numbers, then by name of a place
        for i, (step, part) in enumerate(zip(program.steps, self.parts, strict=True)):
            self.place(i, step, part)
        for ctype, blocks in self.blocks.items():
            size = arrange(list(blocks.values()))
            self.road.work.append(Member(_work_name(ctype), size, ctype))
        declared: set[str] = set()
        for i, (step, part) in enumerate(zip(program.steps, self.parts, strict=True)):
            self.write(i, step, part, declared)

    def part(self, step: Step) -> Part:
        """Translate a step, and note how the value that it makes lies."""
        for name, array in step.constants.items():
            if not np.isfinite(array).all():
                raise KwsError(
                    f"export=c: {name} of the step {step.name!r} holds numbers that are not finite; a network in such "
                    "a state hears nothing, so train it again."
                )
        part = translate(step, self.values[step.source])
        self.values[step.name] = Value(step.name, self.program.sizes[step.name], part.ctype, part.picture)
        for other in step.sources[1:]:
            if self.values[other].picture != self.values[step.source].picture:
                raise KwsError(f"export=c: {step.name!r} joins values that lie in different orders.")
        if isinstance(step, Window):
            self.road.window_size = step.window_size
        return part

    def place(self, i: int, step: Step, part: Part) -> None:
        """Find out where the value of a step lies, and reserve memory for it."""
        name, source = step.name, step.source
        if part.work:
            block = Block(part.work, i, i)
            self.scratch[i] = part.work_type, block
            self.blocks.setdefault(part.work_type, {})[f"scratch {i}"] = block
        if part.arrives:
            self.places[name] = self.places[source]
        elif isinstance(step, Detector | Reset):
            self.places[name] = "state->voice"
        elif part.is_state:
            self.places[name] = f"state->network.{self.member(step, part, part.is_state)}"
        elif name == FEATURES:
            self.places[name] = "state->features"
        elif name == self.program.output:
            self.places[name] = "state->log_probabilities"
        else:
            self.reserve(i, step, part)

    def reserve(self, i: int, step: Step, part: Part) -> None:
        """Memory for a value that is needed for the rest of the hop at most."""
        name, source = step.name, step.source
        blocks = self.blocks.setdefault(part.ctype, {})
        size, last = self.values[name].size, self.last_use.get(name, i)
        for reader, other in zip(self.program.steps, self.parts, strict=True):
            if reader.source == name:
                size = max(size, other.room)
        shared = blocks.get(self.places[source])
        if part.over and shared is not None and self.last_use[source] == i and shared.size >= size:
            self.places[name] = self.places[source]
            shared.last = last
        else:
            self.places[name] = f"y_{identifier(name)}"
            blocks[self.places[name]] = Block(size, i, last)

    def member(self, step: Step, part: Part, state: str) -> str:
        """What a state is called in its struct."""
        if step not in self.inside:
            return state
        return identifier(step.name) + ("" if len(part.states) == 1 else f"_{state}")

    def write(self, i: int, step: Step, part: Part, declared: set[str]) -> None:
        """The lines of a step, and the tables and states that they name."""
        prefix = identifier(step.name)
        names = {"source": self.places[step.source], "out": self.places[step.name]}
        if isinstance(step, Window):
            names["source"] = "state->heard"
        if len(step.sources) > 1:
            names["other"] = self.places[step.sources[1]]
        if i in self.scratch:
            ctype, block = self.scratch[i]
            names["work"] = _offset(ctype, block)
        for state, size in part.states.items():
            member = Member(self.member(step, part, state), size, part.state_type)
            (self.road.states if step in self.inside else self.road.front_states).append(member)
            names[state] = f"state->network.{member.name}" if step in self.inside else f"state->{member.name}"
        for table, array in part.tables.items():
            names[table] = f"{prefix}_{table}"
            self.road.tables.append(Table(names[table], np.ascontiguousarray(array)))
        for constant, (ctype, initialiser) in part.constants.items():
            names[constant] = f"{prefix}_{constant}"
            text = f"static const {ctype} {names[constant]} = {{{initialiser.format(**names)}}};"
            self.road.constants.append(_wrapped(text, ""))
        self.road.files += part.files

        lines = [f"/* {step.name}: {part.about} */"]
        place = names["out"]
        block = self.blocks.get(part.ctype, {}).get(place)
        if block is not None and place not in declared:
            declared.add(place)
            size = self.values[step.name].size
            lines.append(f"{part.ctype} *const {place} = {_offset(part.ctype, block)}; /* ({size}) */")
        lines += part.call.format(**names).split("\n")
        (self.road.arrival if part.arrives else self.road.hop).extend(_wrapped(line, "    ") for line in lines)


def identifier(name: str) -> str:
    """A step's name as a name in C."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _work_name(ctype: str) -> str:
    return "work" if ctype == "float" else f"work_{ctype.removesuffix('_t')}"


def _offset(ctype: str, block: Block) -> str:
    return f"state->{_work_name(ctype)}" + (f" + {block.offset}" if block.offset else "")


def _wrapped(line: str, indent: str) -> str:
    """A line of C, indented, and broken where it is too long."""
    inner = line.lstrip()
    indent += line[: len(line) - len(inner)]
    return textwrap.fill(
        inner,
        LINE,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
