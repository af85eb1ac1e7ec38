"""Runs found under folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kws.runs.record import MARKS, Run, read_run
from kws.support.errors import KwsError


def find_runs(folders: Iterable[str | Path], measure: bool = False) -> list[Run]:
    """All runs below some folders, the most accurate first, then those without a result.

    Raises:
        KwsError: a folder does not exist, or there is no run at all.
    """
    folders = [Path(folder) for folder in folders]
    runs: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise KwsError(f"there is no folder {str(folder)!r}; name one that holds runs, such as outputs.")
        for directory in walk(folder):
            name = directory.relative_to(folder).as_posix() if directory != folder else directory.resolve().name
            runs.setdefault(directory.resolve(), read_run(directory, name, measure))
    if not runs:
        raise KwsError(f"there is no run in {', '.join(map(str, folders))}; train one with train.py.")
    return sorted(runs.values(), key=lambda run: (not run.done, -(run.test or 0.0), run.name))


def walk(folder: Path) -> Iterator[Path]:
    """Run directories, in order of their names; a run's own folders are not searched, links not followed."""
    for path, folders, names in os.walk(folder):
        if any(mark in names for mark in MARKS):
            folders.clear()
            yield Path(path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
