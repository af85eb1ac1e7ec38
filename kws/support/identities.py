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
    found, status_of, regular = array("Q"), os.stat, stat.S_ISREG
    folders, places = array("i", folder), array("q", edges)
    for code, first, last in zip(folders, places, islice(places, 1, None)):  # noqa: B905 - one more place than folders
        try:
            status = status_of(beginnings[code] + names[first:last])
        except (OSError, ValueError):
            found.extend((ABSENT,) * 4)
            continue
        if regular(status.st_mode):
            # Times before 1970 are negative.
            found.extend(
                (status.st_size, status.st_ino & ABSENT, status.st_mtime_ns & ABSENT, status.st_ctime_ns & ABSENT)
            )
        else:
            found.extend((ABSENT,) * 4)
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(identities(*marshal.load(sys.stdin.buffer)).tobytes())
