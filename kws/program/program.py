"""A program: the steps of a spotter in the order in which a hop goes through them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kws.program.steps import FEATURES, SAMPLES, Detector, LogSoftmax, Reset, Step
from kws.support.errors import KwsError


@dataclass(frozen=True)
class State:
    """Something that a step keeps from hop to hop.

    Attributes:
        name: what exported files call it.
        size: numbers in it.
        step: name of the step that keeps it.
    """

    name: str
    size: int
    step: str


class Chain:
    """Steps in a row, each reading the one before it unless told otherwise.

    Args:
        source: name of the value that the first step reads.
    """

    def __init__(self, source: str):
        self.last = source
        self.steps: list[Step] = []

    def add(self, kind: type[Step], name: str, /, source: str | None = None, **constants: Any) -> str:
        """Append a step; the name of the value it makes."""
        self.steps.append(kind(name=name, source=source or self.last, **constants))
        self.last = name
        return name


@dataclass(frozen=True, eq=False)
class Program:
    """What a spotter computes of one hop.

    Attributes:
        steps: in an order in which each reads only what stands before it.
        input_size: numbers in the value that comes from outside: samples of a hop.
        source: what that value is called; a network alone starts from the features.

    Raises:
        KwsError: a step reads what is not there, has a name that is taken, or does not fit its source.
    """

    steps: tuple[Step, ...]
    input_size: int
    source: str = SAMPLES

    def __post_init__(self):
        object.__setattr__(self, "steps", tuple(self.steps))
        _ = self.sizes

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Numbers in every value, by name."""
        sizes = {self.source: self.input_size}
        for step in self.steps:
            if step.name in sizes:
                raise KwsError(f"the program has two steps of the name {step.name!r}; give each a name of its own.")
            missing = [source for source in step.sources if source not in sizes]
            if missing:
                raise KwsError(f"the step {step.name!r} reads {missing[0]!r}, which nothing before it makes.")
            try:
                sizes[step.name] = step.size(*(sizes[source] for source in step.sources))
            except ValueError as error:
                raise KwsError(f"the program does not fit together: {error}.") from None
        return sizes

    def step(self, name: str) -> Step:
        """The step that makes a value."""
        return next(step for step in self.steps if step.name == name)

    def of_type(self, kind: type[Step]) -> list[Step]:
        """Its steps of a kind."""
        return [step for step in self.steps if isinstance(step, kind)]

    @property
    def detector(self) -> Detector | None:
        """The voice activity detector, if there is one."""
        return next(iter(self.of_type(Detector)), None)

    @property
    def output(self) -> str:
        """Name of the value that is the result: the log-probabilities."""
        return self.of_type(LogSoftmax)[-1].name

    @cached_property
    def front(self) -> tuple[Step, ...]:
        """Samples to features."""
        if self.source == FEATURES:
            return ()
        return self.steps[: [step.name for step in self.steps].index(FEATURES) + 1]

    @cached_property
    def network(self) -> tuple[Step, ...]:
        """Features to log-probabilities; what a falling voice resets."""
        return tuple(step for step in self.steps[len(self.front) :] if not isinstance(step, Detector | Reset))

    @cached_property
    def states(self) -> tuple[State, ...]:
        """Every state, in the order of the steps; a network's are called ``state_0``, ``state_1`` …

        A state outside the network that holds nothing (windows that do not overlap) is left out.
        """
        network = {step.name for step in self.network}
        states, number = [], 0
        for step in self.steps:
            for i, size in enumerate(step.state_sizes):
                if step.name in network:
                    states.append(State(f"state_{number}", size, step.name))
                    number += 1
                elif size:
                    states.append(State(step.STATES[i], size, step.name))
        return tuple(states)

    def states_of(self, steps: Iterable[Step]) -> list[State]:
        """The states that some steps keep."""
        names = {step.name for step in steps}
        return [state for state in self.states if state.step in names]

    def multiply_adds(self, steps: Iterable[Step] | None = None) -> float:
        """Multiply-adds of a hop, of some steps or of all."""
        steps = self.steps if steps is None else steps
        return sum(step.multiply_adds(*(self.sizes[source] for source in step.sources)) for step in steps)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants: float32, or the types of an integer network."""
        return sum(step.weight_bytes for step in self.steps)

    @property
    def state_bytes(self) -> int:
        """Bytes of all states of one stream: float32, or int16 in an integer network."""
        return sum(state.size * self.step(state.step).STATE_BYTES for state in self.states)
