"""What tells a file from another and from what it was before, for many files.

Run as a script, by a second process that shares the work: what `identities` takes comes in, its numbers go out.
"""

import marshal
import os
import stat
import sys
from array import array
from itertools import islice

ABSENT = (1 << 64) - 1
"""Stands in place of all four numbers of what is no regular file."""


def identities(beginnings: list[bytes], folder: bytes, edges: bytes, names: bytes) -> array:
    """Size, inode, time of change and of the inode's change (ns) of each of N files, four numbers a file.

    Args:
        beginnings: what the paths of the files in each folder begin with.
        folder: N int32, the index of each file's folder.
        edges: N + 1 int64, where each file's name begins and ends.
        names: all of them end to end.
    """
    found, status_of, regular, absent = array("Q"), os.stat, stat.S_ISREG, (ABSENT,) * 4
    folders, places = array("i", folder), array("q", edges)
    before, within = None, None  # the folder of the file before, open once two of its files have followed each other
    for code, first, last in zip(folders, places, islice(places, 1, None)):  # noqa: B905 - one more place than folders
        if code != before:
            within = _close(within)
        elif within is None:
            within = _open(beginnings[code])
        before = code
        try:
            if within is None:
                status = status_of(beginnings[code] + names[first:last])
            else:  # a short way for the kernel
                status = status_of(names[first:last], dir_fd=within)
        except (OSError, ValueError):
            found.extend(absent)
            continue
        if regular(status.st_mode):
            # Times before 1970 are negative.
            times = status.st_mtime_ns & ABSENT, status.st_ctime_ns & ABSENT
            found.extend((status.st_size, status.st_ino & ABSENT, *times))
        else:
            found.extend(absent)
    _close(within)
    return found


def _open(folder: bytes) -> int | None:
    """A handle of a folder; None where there is none to be had, and whole paths have to do."""
    if os.stat not in os.supports_dir_fd:
        return None
    try:
        return os.open(folder or b".", getattr(os, "O_PATH", os.O_RDONLY))
    except (OSError, ValueError):
        return None


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


if __name__ == "__main__":
    sys.stdout.buffer.write(identities(*marshal.load(sys.stdin.buffer)).tobytes())
