"""Millions of names as two arrays: a name takes its bytes and eight more, where Python's own take fifty."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

BLOCK = 1 << 16  # strings handled at a time, so that what is needed meanwhile stays small
LONGEST = 1 << 12  # bytes of a name that count in its hash; no file system has longer ones
_FACTORS = np.random.default_rng(0).integers(1, 1 << 63, LONGEST, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def plain(column: "np.ndarray | Strings") -> Iterator:
    """The values of a column as Python's own numbers and bytes, made block by block."""
    if isinstance(column, Strings):
        yield from column
    else:
        for start in range(0, len(column), BLOCK):
            yield from column[start : start + BLOCK].tolist()


class Strings(Sequence):
    """N byte strings without zero bytes, immutable.

    Attributes:
        data: (bytes,) uint8, all of them end to end.
        edges: (N + 1,) int64; string i lies from ``edges[i]`` to ``edges[i + 1]``.
    """

    __slots__ = ("data", "edges")

    def __init__(self, data: np.ndarray, edges: np.ndarray):
        self.data, self.edges = data, edges

    @classmethod
    def of(cls, strings: Iterable[bytes]) -> "Strings":
        """Gathered one by one."""
        builder = StringsBuilder()
        builder.extend(list(strings))
        return builder.built()

    @classmethod
    def joined(cls, parts: Sequence["Strings"]) -> "Strings":
        """One after the other."""
        edges = [np.zeros(1, np.int64), *(np.diff(part.edges) for part in parts)]
        return cls(
            np.concatenate([np.zeros(0, np.uint8), *(part.data[part.edges[0] : part.edges[-1]] for part in parts)]),
            np.concatenate(edges).cumsum(),
        )

    def __len__(self) -> int:
        return len(self.edges) - 1

    def __getitem__(self, index: int) -> bytes:
        index = range(len(self))[index]
        return self.data[self.edges[index] : self.edges[index + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            edges = self.edges[start : start + BLOCK + 1]
            data, places = self.data[edges[0] : edges[-1]].tobytes(), (edges - edges[0]).tolist()
            yield from map(data.__getitem__, map(slice, places[:-1], places[1:]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Strings):
            return NotImplemented
        mine, theirs = (part.data[part.edges[0] : part.edges[-1]] for part in (self, other))
        return np.array_equal(np.diff(self.edges), np.diff(other.edges)) and np.array_equal(mine, theirs)

    __hash__ = None

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.edges[-1] - self.edges[0]) + self.edges.nbytes

    def part(self, first: int, last: int) -> "Strings":
        """Those from `first` to before `last`; nothing is copied."""
        return Strings(self.data, self.edges[first : last + 1])

    def take(self, indices: np.ndarray) -> "Strings":
        """Those at (M,) indices, in their order."""
        lengths = np.diff(self.edges)[indices]
        edges = np.zeros(len(indices) + 1, np.int64)
        np.cumsum(lengths, out=edges[1:])
        data = np.empty(edges[-1], np.uint8)
        for start in range(0, len(indices), BLOCK):
            block = slice(start, start + BLOCK)
            target = slice(edges[start], edges[min(start + BLOCK, len(indices))])
            moved = np.repeat(self.edges[:-1][indices[block]] - edges[:-1][block], lengths[block])
            data[target] = self.data[moved + np.arange(target.start, target.stop)]
        return Strings(data, edges)

    def order(self, order: np.ndarray) -> np.ndarray:
        """(N,) indices sorted by the strings' bytes, equals as they come in `order`."""
        longest = int(np.diff(self.edges).max(initial=0))
        for place in reversed(range(0, longest, 8)):
            column = self._eight(place)[order]
            if len(column) and (column != column[0]).any():
                order = order[np.argsort(column, kind="stable")]
        return order

    def _eight(self, place: int) -> np.ndarray:
        """(N,) uint64: the eight bytes of each string from `place` on, zeros behind its end."""
        column = np.empty(len(self), np.uint64)
        for start in range(0, len(self), BLOCK):
            edges = self.edges[start : start + BLOCK + 1]
            at = edges[:-1, None] + np.arange(place, place + 8)
            inside = at < edges[1:, None]
            found = np.where(inside, self.data[np.where(inside, at, 0)], 0).astype(np.uint8)
            column[start : start + BLOCK] = found.view(">u8")[:, 0]
        return column

    def codes(self) -> np.ndarray:
        """(N,) int64: the same number for the same string, counted up as they come."""
        known: dict[bytes, int] = {}
        return np.fromiter((known.setdefault(string, len(known)) for string in self), np.int64, len(self))

    def hashes(self) -> np.ndarray:
        """(N,) uint64, the same in every process: sums of the bytes times fixed odd factors, one for each place.

        For finding, where what is found is looked at: two strings may have the same hash.
        """
        hashes = np.zeros(len(self), np.uint64)
        for start in range(0, len(self), BLOCK):
            edges = self.edges[start : start + BLOCK + 1]
            lengths = np.diff(edges)
            places = np.arange(edges[0], edges[-1]) - np.repeat(edges[:-1], lengths)
            parts = (self.data[edges[0] : edges[-1]] + np.uint64(1)) * _FACTORS[np.minimum(places, LONGEST - 1)]
            sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(parts, dtype=np.uint64)])
            hashes[start : start + BLOCK] = sums[edges[1:] - edges[0]] - sums[edges[:-1] - edges[0]]
        return hashes


class StringsBuilder:
    """Grows `Strings`."""

    def __init__(self):
        self.data, self.lengths = bytearray(), []

    def extend(self, strings: Sequence[bytes]) -> None:
        """Add some."""
        self.data += b"".join(strings)
        self.lengths.append(np.fromiter(map(len, strings), np.int64, len(strings)))

    def built(self) -> Strings:
        """All of them."""
        lengths = [np.zeros(1, np.int64), *self.lengths]
        return Strings(np.frombuffer(bytes(self.data), np.uint8), np.concatenate(lengths).cumsum())
