"""``last`` in the place of a run directory: the newest below outputs/, so that nobody has to copy its name."""

from pathlib import Path

from kws.runs.names import COMPOSITION, SPOTTER
from kws.support.errors import KwsError

LAST = "last"
OUTPUTS = "outputs"


def find(run: str | Path, begun: bool = False) -> Path:
    """The directory that `run` means: itself, or for ``last`` the newest run that is finished.

    Args:
        run: a directory or file, or ``last``.
        begun: an unfinished one will do.

    Raises:
        KwsError: ``last``, and there is no such run.
    """
    if str(run) != LAST:
        return Path(run)
    marks = Path(OUTPUTS).rglob(COMPOSITION if begun else SPOTTER)
    newest = max(marks, key=lambda path: path.stat().st_mtime_ns, default=None)
    if newest is None:
        raise KwsError(f"there is no run in {OUTPUTS}/ yet, so none is the last; run train.py, or name a directory.")
    return newest.parent
