"""What is inside files, as digests, without reading files again that have not changed."""

import contextlib
import hashlib
import marshal
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from kws.support import identities
from kws.support.files import atomic
from kws.support.strings import Strings, plain

SETTLED = 2.0  # seconds; a file younger than this may change again within one tick of the file system's clock
CHUNK = 64
MANY = 100_000  # files from which on a second process helps to look at them
RECORD = np.dtype([("path", "<u8"), ("identity", "<u8", 4), ("content", "<u8", 2), ("check", "<u8")])
"""Of the index: hash of a file's path, what told it from others, digest of its content, and a sum over these."""
_FACTORS = np.random.default_rng(1).integers(1, 1 << 63, 7, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True)
class Files:
    """N files as columns.

    beginnings   what the paths of the files in each folder begin with
    known_as     the same as the index is to know it; the folders may have moved, or lie elsewhere from here
    folder       (N,) index of each file's folder
    names        of the files
    """

    beginnings: tuple[str, ...]
    known_as: tuple[str, ...]
    folder: np.ndarray
    names: Strings

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Files":
        """One by one."""
        paths = list(paths)
        folders = {folder: code for code, folder in enumerate(dict.fromkeys(path.parent for path in paths))}
        beginnings = tuple(str(folder / "_")[:-1] for folder in folders)
        names = Strings.of(os.fsencode(path.name) for path in paths)
        return cls(beginnings, beginnings, np.array([folders[path.parent] for path in paths], np.int64), names)

    @classmethod
    def joined(cls, one: "Files", two: "Files") -> "Files":
        """The files of one behind those of the other."""
        if not len(two):
            return one
        return cls(
            one.beginnings + two.beginnings,
            one.known_as + two.known_as,
            np.concatenate([one.folder, two.folder + len(one.beginnings)]),
            Strings.joined([one.names, two.names]),
        )

    def __len__(self) -> int:
        return len(self.names)

    def paths(self) -> Iterator[bytes]:
        """The path of each file."""
        beginnings = [os.fsencode(beginning) for beginning in self.beginnings]
        return (beginnings[folder] + name for folder, name in zip(plain(self.folder), self.names, strict=True))

    def plain(self) -> tuple[list[bytes], bytes, bytes, bytes]:
        """The columns as `identities` takes them."""
        edges = self.names.edges
        return (
            list(map(os.fsencode, self.beginnings)),
            self.folder.astype(np.int32).tobytes(),
            (edges - edges[0]).tobytes(),
            self.names.data[edges[0] : edges[-1]].tobytes(),
        )

    def part(self, first: int, last: int) -> "Files":
        """Those from `first` to before `last`."""
        return replace(self, folder=self.folder[first:last], names=self.names.part(first, last))

    def take(self, indices: np.ndarray) -> "Files":
        """Those at some indices."""
        return replace(self, folder=self.folder[indices], names=self.names.take(indices))

    def hashes(self) -> np.ndarray:
        """(N,) uint64 of the paths that the index knows them by."""
        folders = [hashlib.blake2b(os.fsencode(folder), digest_size=8).digest() for folder in self.known_as]
        return self.names.hashes() + np.frombuffer(b"".join(folders), "<u8")[self.folder]


@dataclass(frozen=True)
class Content:
    """What is inside N files.

    identity   (N, 4) uint64: size, inode, time of change and of the inode's change, taken before a file was read
    digest     (N, 2) uint64, of its content; zeros for what is no readable file
    readable   (N,) bool
    """

    identity: np.ndarray
    digest: np.ndarray
    readable: np.ndarray


def digests(
    files: Files, index: Path | None = None, workers: int = 2, advance: Callable[[int], None] | None = None
) -> Content:
    """A digest of the content of each file.

    `index` is a file that remembers digests by path, size, inode, time of change and time of the inode's change. The
    last is set by the kernel on every write, rename and `touch`, so a clip that is replaced by one of the same size
    and time stamp is noticed as well. As in Git's index, files changed within the last two seconds are not
    remembered: a second change could leave the same times. What has changed is appended, the rest is not written
    again. A missing, damaged or unwritable index costs time only.

    `advance(n)` is called as files are done.
    """
    now = time.time()
    known, path = Index(index), files.hashes()
    identity = look_at(files, workers)
    digest, readable = known.find(path, identity), identity[:, 0] != identities.ABSENT
    unknown = np.flatnonzero(readable & ~digest.any(axis=1))
    if advance is not None:
        advance(len(files) - len(unknown))
    for start, found in _read(files.take(unknown), workers):
        rows = unknown[start : start + len(found)]
        readable[rows] = [content is not None for content in found]
        digest[rows] = np.frombuffer(b"".join(content or bytes(16) for content in found), "<u8").reshape(-1, 2)
        if advance is not None:
            advance(len(rows))
    settled = identity[unknown][:, 2:].view(np.int64).max(axis=1, initial=0) < (now - SETTLED) * 1e9
    new = unknown[settled & readable[unknown]]
    with contextlib.suppress(OSError):
        known.add(path[new], identity[new], digest[new])
    return Content(identity, digest, readable)


def look_at(files: Files, workers: int = 2) -> np.ndarray:
    """(N, 4) uint64, the identity of each file; of many, a second process looks at half."""
    found = None
    if workers > 1 and len(files) >= MANY:
        with contextlib.suppress(OSError):
            found = _look_together(files.part(0, len(files) // 2), files.part(len(files) // 2, len(files)))
    return _table(identities.identities(*files.plain())) if found is None else found


def _look_together(mine: Files, theirs: Files) -> np.ndarray | None:
    """What this process and another find; None where the other has failed."""
    # Not a thread, for they would wait for each other; and nothing but the standard library has to be started.
    command = [sys.executable, "-I", "-S", identities.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        marshal.dump(theirs.plain(), helper.stdin)
        helper.stdin.close()
        tables = _table(identities.identities(*mine.plain())), _table(helper.stdout.read())
    return np.concatenate(tables) if helper.returncode == 0 and len(tables[1]) == len(theirs) else None


def _table(numbers: bytes | array) -> np.ndarray:
    return np.frombuffer(numbers, np.uint64).reshape(-1, 4)


def _read(files: Files, workers: int) -> Iterator[tuple[int, list[bytes | None]]]:
    """Digests of the files, chunk by chunk with the place of the first; None for what cannot be read."""
    paths = files.paths()
    chunks = iter(lambda: list(islice(paths, CHUNK)), [])
    with ThreadPoolExecutor(workers) as pool:
        start = 0
        while several := list(islice(chunks, 16 * workers)):  # a few at a time, so that memory stays small
            for found in pool.map(_digest_all, several):
                yield start, found
                start += len(found)


def _digest_all(paths: Sequence[bytes]) -> list[bytes | None]:
    return [_digest(path) for path in paths]


def _digest(path: bytes) -> bytes | None:
    state = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - for speed
            while block := file.read(1 << 20):
                state.update(block)
    except OSError:
        return None
    return state.digest()


class Index:
    """Digests by path and identity, in a file of records that is appended to; later ones count.

    Records that do not add up are left out: of a write that was cut off, or of another version.
    """

    def __init__(self, path: Path | None):
        self.path, self.whole = path, True
        self.records = np.zeros(0, RECORD)
        try:
            records = np.fromfile(path, RECORD) if path is not None else self.records
            self.whole = path is None or path.stat().st_size == records.nbytes
        except OSError:
            return
        good = records["check"] == _sums(records)
        self.whole &= bool(good.all())
        self.records = records if self.whole else records[good]

    def find(self, path: np.ndarray, identity: np.ndarray) -> np.ndarray:
        """(N, 2) digests of files by the hashes of their paths and their identities; zeros for those not known."""
        digest, records = np.zeros((len(path), 2), np.uint64), self.records
        first = slice(min(len(path), len(records)))  # mostly they come in the order of last time
        _copy(records[first], path[first], identity[first], digest[first])
        left = np.flatnonzero(~digest.any(axis=1))
        if len(left) and len(records):
            order = np.argsort(records["path"], kind="stable")
            at = np.searchsorted(records["path"][order], path[left], side="right") - 1
            found = np.zeros((len(left), 2), np.uint64)
            _copy(records[order[np.maximum(at, 0)]], path[left], identity[left], found)
            digest[left] = found
        return digest

    def add(self, path: np.ndarray, identity: np.ndarray, digest: np.ndarray) -> None:
        """Remember some more. A file with more records out of date than others is written anew."""
        if self.path is None or not len(path):
            return
        new = np.zeros(len(path), RECORD)
        new["path"], new["identity"], new["content"] = path, identity, digest
        new["check"] = _sums(new)
        count = len(self.records) + len(new)
        if self.whole and count <= 2 * len(np.union1d(self.records["path"], path)) + 1000:
            with self.path.open("ab") as file:
                file.write(new.data)
            return
        records = np.concatenate([self.records, new])
        _, last = np.unique(records["path"][::-1], return_index=True)
        with atomic(self.path) as temporary:
            temporary.write_bytes(records[np.sort(count - 1 - last)].data)


def _copy(records: np.ndarray, path: np.ndarray, identity: np.ndarray, digest: np.ndarray) -> None:
    """Fill in (N, 2) digests from N records where these are of the same paths and identities."""
    same = records["path"] == path
    for column in range(identity.shape[1]):
        same &= records["identity"][:, column] == identity[:, column]
    digest[same] = records["content"][same]


def _sums(records: np.ndarray) -> np.ndarray:
    """(N,) uint64 over everything but the sum itself."""
    columns = [records["path"], *records["identity"].T, *records["content"].T]
    return sum((column * factor for column, factor in zip(columns, _FACTORS, strict=True)), np.zeros((), np.uint64))
