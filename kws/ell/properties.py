"""How one property of an ELL object is typed: the vocabulary in which `kws.ell.model` describes the format.

A class of the format is a dataclass whose fields stand in the order in which ELL's reader asks for them. Each field
carries a `Property`, which names the key in the file (a key may occur twice: a recurrent layer has two
``activation``) and the kind of value behind it.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class Property:
    """One key of an object in the file.

    Attributes:
        key: the name in the file.
        kind: text | unique_id | integer | real | integers | floats | object | activation | port | nodes | bag.
        type_name: ELL's name of the object behind the key (`port` only).
        port_type: ELL's number for what flows through a port: 1 float, 3 integer.
        struct: the class of the object (`object` only).
        choices: the texts (`text`; empty for any) or names out of `ACTIVATIONS` (`activation`) that are understood.
        optional: ELL's reader does without it.
    """

    key: str
    kind: str
    type_name: str = ""
    port_type: int = 0
    struct: type | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False


FLOAT, INTEGER = 1, 3
ACTIVATIONS = {
    "tanh": "TanhActivation<float>",
    "sigmoid": "SigmoidActivation<float>",
    "hard_sigmoid": "HardSigmoidActivation<float>",
    "hard_tanh": "HardTanhActivation<float>",
    "relu": "ReLUActivation<float>",
}
"""ELL's types by the names that the project's networks have for them."""


def prop(key: str, kind: str, *, default: Any = dataclasses.MISSING, **facts) -> Any:
    """A dataclass field for the property `key`."""
    return field(default=default, metadata={"property": Property(key, kind, **facts)})


def float_port(key: str = "input") -> Any:
    """An input that takes floats: the source, written as ``ID.output``."""
    return prop(key, "port", type_name="InputPort<float>", port_type=FLOAT)


def integer_port(key: str, type_name: str) -> Any:
    """An input that takes integers."""
    return prop(key, "port", type_name=type_name, port_type=INTEGER)


def nonlinearity(default: str, *choices: str) -> Any:
    """A nonlinearity, one of `choices`. ELL writes two under one key; which is which follows from their order."""
    return prop("activation", "activation", default=default, choices=choices)


def floats(values) -> np.ndarray:
    """`values` as ELL holds them: a flat float32 array."""
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1)


@dataclass(eq=False)
class Struct:
    """Anything that the file writes as an object with ``_type`` and ``_version``."""

    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[str] = "0"

    @classmethod
    def properties(cls) -> tuple[tuple[str, Property], ...]:
        """(attribute, Property) in the reader's order."""
        cached = cls.__dict__.get("_properties")
        if cached is None:
            fields = ((f.name, f.metadata.get("property")) for f in dataclasses.fields(cls))
            cached = cls._properties = tuple((name, p) for name, p in fields if p is not None)
        return cached

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_equal(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self) if f.compare)

    __hash__ = None


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return a == b
