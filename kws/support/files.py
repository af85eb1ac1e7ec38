"""Files and folders that appear whole or not at all."""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kws.support.errors import KwsError
from kws.support.locking import free, hold

DAY = 86400
ROOM = 50_000_000  # bytes: a run's checkpoints, exports and pictures
REMAINS = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp(\.\w+)?")
"""Names of what is being written: of a hidden file, with eight letters that tempfile chose."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it into place when the block ends without an error.

    The temporary name keeps the suffix, since many writers choose their format by it. A crash or an
    exception leaves the earlier file, if any, as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    temporary = Path(name)
    if not hold(handle):  # as long as it is held, `clear_remains` leaves it alone
        os.close(handle)
        handle = None
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; these are ordinary results
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; rename it to `path` when the block ends without an error.

    What killed processes have left beside it is deleted first.

    When another process has put `path` in place meanwhile, theirs is kept and ours is dropped: callers name
    folders by their content, so the two are the same.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_remains(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    handle = os.open(temporary, os.O_RDONLY) if os.name == "posix" else None
    if handle is not None:
        hold(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def clear_remains(directory: str | Path) -> None:
    """Delete what processes that were killed have left half-written in a directory, not in those below it.

    What is being written by a process that lives is held by it and stays; where the file system knows no locks, what
    is younger than a day does.
    """
    directory = Path(directory)
    for path in directory.iterdir() if directory.is_dir() else ():
        if not REMAINS.fullmatch(path.name):
            continue
        try:
            unused = free(path)
            if unused is None:
                unused = time.time() - path.stat().st_mtime > DAY
            if unused and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif unused:
                path.unlink(missing_ok=True)
        except OSError:  # its writer was faster, or it is somebody else's
            continue


def refuse_unwritable(directory: str | Path, room: int = ROOM) -> None:
    """Raise KwsError where nothing can be written, before hours of computing end there. Makes the directory.

    Args:
        directory: where results are to go.
        room: bytes that should be free.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
        free_bytes = shutil.disk_usage(directory).free
    except OSError as error:
        raise KwsError(f"{str(directory)!r} cannot be written ({error.strerror}); choose another directory.") from error
    if free_bytes < room:
        raise KwsError(
            f"{str(directory)!r}: the disk is full ({free_bytes / 1e6:.0f} MB are free); make room, or choose another "
            "directory."
        )


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 with line feeds, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
