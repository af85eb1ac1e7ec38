"""What a step becomes in C: functions in files under kws/native/c, the tables they are handed, and the call.

A new kind of step takes a C file, and a function in a module beside `front` and `network` that `translates` it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from kws.program import Step
from kws.support.errors import KwsError


@dataclass(frozen=True)
class Value:
    """A row of numbers that a step makes.

    Attributes:
        name: of its step.
        size: numbers in it.
        ctype: of each, in C.
        picture: (channels, filters), where it lies as (filters, channels) in memory; None where it lies as in Python.
    """

    name: str
    size: int
    ctype: str = "float"
    picture: tuple[int, int] | None = None

    def columns(self, weight: np.ndarray) -> np.ndarray:
        """A matrix (rows, size) that is multiplied with this value, its columns in the order of the memory."""
        if self.picture is None:
            return weight
        rows = len(weight)
        return weight.reshape(rows, *self.picture).swapaxes(1, 2).reshape(rows, -1)

    def read_by(self, step: Any) -> None:
        """KwsError where it does not lie as (filters, channels) of the picture that a convolution or a pool reads."""
        one_row = 1 in (step.channels, step.filters)
        if self.picture != (step.channels, step.filters) and not (one_row and self.picture is None):
            kind = "row" if one_row else "picture"
            raise KwsError(f"export=c: {step.name!r} takes a {kind} for which {self.name!r} lies in the wrong order.")


@dataclass(frozen=True)
class Part:
    """What one step becomes.

    Attributes:
        files: under kws/native/c, with the functions that are called.
        call: lines of C. In braces stand ``source``, ``other`` (a second value), ``out``, ``work`` (scratch) and the
            names of `tables`, `constants` and `states`; they become C expressions.
        about: what they do, for the comment above them.
        tables: arrays that lie in flash.
        constants: by name, type and initialiser of what is declared beside the tables.
        states: by name, how many numbers the step keeps from hop to hop; zeros at the start.
        state_type: of these numbers.
        work: numbers of scratch.
        work_type: of these numbers.
        over: `out` may lie where the source lies.
        is_state: name of the state that is the value; `out` is not written to then.
        ctype: of the value's numbers.
        picture: how the value lies, see `Value`; None: not as a picture.
        room: numbers for which the source's place must have room.
        spoils: the source is no longer there afterwards.
        arrives: it treats samples as they arrive, ``count`` at a time, in their place.
    """

    files: tuple[str, ...]
    call: str
    about: str
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    constants: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    state_type: str = "float"
    work: int = 0
    work_type: str = "float"
    over: bool = False
    is_state: str | None = None
    ctype: str = "float"
    picture: tuple[int, int] | None = None
    room: int = 0
    spoils: bool = False
    arrives: bool = False


TRANSLATIONS: dict[type[Step], Callable[[Step, Value], Part]] = {}
Function = TypeVar("Function", bound=Callable)


def translates(kind: type[Step]) -> Callable[[Function], Function]:
    """Make known that a function translates a kind of step: from the step and the value it reads to a part."""

    def register(function: Function) -> Function:
        TRANSLATIONS[kind] = function
        return function

    return register


def translate(step: Step, source: Value) -> Part:
    """The part that a step becomes.

    Raises:
        KwsError: there is no C for it.
    """
    function = TRANSLATIONS.get(type(step))
    if function is None:
        known = ", ".join(kind.__name__ for kind in TRANSLATIONS)
        raise KwsError(
            f"export=c knows no C for the step {step.name!r}, a {type(step).__name__}; it knows {known}. Leave c out "
            "of export, or add a file to kws/native/c and a function that translates it."
        )
    return function(step, source)


def shape(ctype: str, step: Any, **kernel: int) -> dict[str, tuple[str, str]]:
    """A constant ``shape``: of a convolution or a pool as c/convolution.h, or its twin for integers, has it."""
    outputs, output_filters = step.outputs
    picture = {"channels": step.channels, "filters": step.filters, "outputs": outputs, "output_filters": output_filters}
    members = {**picture, "dilation": step.dilation, **kernel}
    return {"shape": (ctype, ", ".join(f".{name} = {value}" for name, value in members.items()))}


def number(value: float) -> str:
    """A float32 as C reads it back to the last bit."""
    return f"{np.float32(value)!s}f"


def by_columns(matrix: np.ndarray) -> np.ndarray:
    """A matrix (rows, columns) as c/product.h wants it, column after column."""
    return np.ascontiguousarray(matrix.T)
