"""What the fields of a row mean: texts, seconds, splits, the piece of a recording."""

import math
from typing import Any

from kws.corpus.columns import shown

SPLIT_NAMES = {
    "train": "training", "training": "training",
    "dev": "validation", "development": "validation", "val": "validation", "valid": "validation",
    "validation": "validation",
    "test": "testing", "testing": "testing",
}  # fmt: skip
LONGEST_LABEL = 200
MOST_SECONDS = 1e7
CONTRADICTION = 0.05  # s by which a length and an end may differ that were rounded


class Unusable(ValueError):
    """A row that is left out; the text says why."""


def text_of(value: Any, field: str) -> str:
    """A field as text without blanks around it; empty where there is nothing.

    Raises:
        Unusable: a list, a truth value or the like.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unusable(f"its {field} is {shown(value)}, which is no text")
    return str(value).strip()


def seconds_of(value: Any, field: str) -> float | None:
    """A field as seconds; None where there is nothing.

    Raises:
        Unusable: no number, a negative one, or more than a recording can have.
    """
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < MOST_SECONDS:
        raise Unusable(f"its {field} is {shown(value)}, which is no number of seconds")
    return number


def split_of(value: Any) -> str:
    """The split that a field names, whatever it is called; empty where there is nothing.

    Raises:
        Unusable: it is none of the three.
    """
    name = text_of(value, "split")
    if not name:
        return ""
    split = SPLIT_NAMES.get(name.casefold())
    if split is None:
        raise Unusable(f"its split is {shown(name)}, which is neither train, validation nor test")
    return split


def piece_of(start: float | None, end: float | None, duration: float | None) -> tuple[float | None, float | None]:
    """Start and duration of a piece, in seconds; None for the beginning, and for all that follows.

    Raises:
        Unusable: it has no length, or two that contradict each other.
    """
    if end is not None:
        length = round(end - (start or 0.0), 6)
        if length <= 0:
            raise Unusable("its end is not after its start")
        if duration is not None and abs(length - duration) > CONTRADICTION:
            raise Unusable("its end and its duration contradict each other")
        return start, length
    if duration == 0:
        raise Unusable("its duration is 0")
    return start, duration
