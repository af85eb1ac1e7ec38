"""How often pairs of classes come together, as a list of the pairs that do: of ten thousand classes few of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PairCounts:
    """Counts of (row, column) pairs of `size` classes; in the order of rows, then of columns.

    row, column   (P,) int64, classes
    count         (P,) int64, at least 1
    """

    size: int
    row: np.ndarray
    column: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, columns: np.ndarray, size: int, counts: np.ndarray | None = None) -> "PairCounts":
        """Of N pairs, each once, or `counts` times."""
        codes, places = np.unique(np.asarray(rows, np.int64) * size + columns, return_inverse=True)
        weights = None if counts is None else np.asarray(counts, np.float64)  # whole numbers up to 2^53
        count = np.bincount(places.reshape(-1), weights, minlength=len(codes)).astype(np.int64)
        return cls(size, codes // size, codes % size, count)

    @classmethod
    def dense(cls, counts: Any) -> "PairCounts":
        """Of a matrix (size, size)."""
        counts = np.asarray(counts)
        rows, columns = np.nonzero(counts)
        return cls(len(counts), rows, columns, counts[rows, columns].astype(np.int64))

    @property
    def row_totals(self) -> np.ndarray:
        """(size,) int64."""
        return np.bincount(self.row, self.count, self.size).astype(np.int64)

    @property
    def diagonal(self) -> np.ndarray:
        """(size,) int64."""
        same = self.row == self.column
        return np.bincount(self.row[same], self.count[same], self.size).astype(np.int64)

    def confused(self) -> np.ndarray:
        """Indices of the pairs of two different classes, the most frequent first."""
        different = np.flatnonzero(self.row != self.column)
        return different[np.argsort(-self.count[different], kind="stable")]

    def matrix(self, classes: np.ndarray | None = None) -> np.ndarray:
        """(M, M) int64 of some classes, or of all."""
        classes = np.arange(self.size) if classes is None else np.asarray(classes)
        place = np.full(self.size, -1)
        place[classes] = np.arange(len(classes))
        row, column = place[self.row], place[self.column]
        inside = (row >= 0) & (column >= 0)
        counts = np.zeros((len(classes), len(classes)), np.int64)
        counts[row[inside], column[inside]] = self.count[inside]
        return counts

    def that_matter(self, most: int) -> np.ndarray:
        """At most so many classes, ascending: those of the most frequent confusions, then others."""
        if self.size <= most:
            return np.arange(self.size)
        pairs = self.confused()[: self.size]
        ranked = np.stack([self.row[pairs], self.column[pairs]], axis=1).ravel()
        ranked = np.concatenate([ranked, np.arange(self.size)])
        _, first = np.unique(ranked, return_index=True)
        return np.sort(ranked[np.sort(first)[:most]])
