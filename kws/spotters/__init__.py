"""Trained spotters that come with the project, to hear a first word before anything has been trained.

Each is a folder with ``spotter.ckpt`` and ``card.md``; `python -m kws.spotters RUN` makes one of a run.
"""

from pathlib import Path

from kws.runs.names import SPOTTER
from kws.support.errors import KwsError

FOLDER = Path(__file__).parent
CARD = "card.md"
DEFAULT = "commands_small"
"""What listens where no run is named."""


def names() -> list[str]:
    """Of the spotters that there are."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{SPOTTER}"))


def named(name: str = DEFAULT) -> Path:
    """The file of a spotter that comes with the project, for `Spotter.load`.

    Raises:
        KwsError: there is none of that name.
    """
    if name not in names():
        raise KwsError(f"there is no spotter {name!r} in the project; it has {', '.join(names()) or 'none'}.")
    return FOLDER / name / SPOTTER
