"""A lock between processes that the system takes back from a process that dies."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


@contextmanager
def lock(path: str | Path, waiting: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the lock file `path` for the length of the block; yields whether it is truly held.

    Waits for another holder, after calling `waiting` once. Yields False where the system or the file system has no
    such locks: callers then rely on renames alone. The file itself stays: removing it would let a third process
    lock a new one while the second still waits for the old one.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        yield _acquire(handle, waiting)
    finally:
        os.close(handle)  # gives the lock back too


def _acquire(handle: int, waiting: Callable[[], None] | None) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        pass
    except OSError:
        return False
    if waiting is not None:
        waiting()
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def hold(handle: int) -> bool:
    """Lock an open file that this process has just made, until it is closed; whether there are such locks here."""
    return fcntl is not None and _acquire(handle, None)


def free(path: str | Path) -> bool | None:
    """Whether no living process holds a file or folder; None where that cannot be known."""
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(handle)
