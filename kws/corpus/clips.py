"""Clips: one of them, and a table that holds millions of them as columns."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np

from kws.support.strings import Strings, plain

SPLITS = ("training", "validation", "testing")
_CODES = {split: code for code, split in enumerate(SPLITS)} | {"": -1}
_SPLIT = {code: split for split, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: a recording, or the piece of it from `start` on that is `duration` seconds long."""

    path: Path
    label: str
    speaker: str
    split: str  # training | validation | testing
    start: float | None = None  # seconds; None: from the beginning
    duration: float | None = None  # seconds; None: to the end


@dataclass(frozen=True, eq=False, repr=False)
class ClipTable(Sequence):
    """N clips, immutable: a sequence of `Clip`, each made when it is asked for.

    A clip takes the bytes of its file's name and of its speaker's, and 41 more. What looks at all clips looks at the
    columns.

    folders   the folders that recordings lie in
    labels    the labels that clips have
    folder    (N,) int32, index of each clip's folder
    names     of the files
    label     (N,) int32, index of each clip's label
    speakers  as the file system would spell them
    split     (N,) int8, index in `SPLITS`; -1 for a clip that is in none yet
    start, duration   (N,) float64, seconds; NaN for None
    """

    folders: tuple[str, ...]
    labels: tuple[str, ...]
    folder: np.ndarray
    names: Strings
    label: np.ndarray
    speakers: Strings
    split: np.ndarray
    start: np.ndarray
    duration: np.ndarray

    @classmethod
    def of(cls, clips: "Iterable[Clip] | ClipTable") -> "ClipTable":
        """A table of any clips; a table is handed back."""
        if isinstance(clips, ClipTable):
            return clips
        clips = list(clips)
        folders: dict[Path, int] = {}
        labels: dict[str, int] = {}
        folder = [folders.setdefault(clip.path.parent, len(folders)) for clip in clips]
        label = [labels.setdefault(clip.label, len(labels)) for clip in clips]
        return cls(
            folders=tuple(map(str, folders)),
            labels=tuple(labels),
            folder=np.array(folder, np.int32),
            names=Strings.of(os.fsencode(clip.path.name) for clip in clips),
            label=np.array(label, np.int32),
            speakers=Strings.of(os.fsencode(clip.speaker) for clip in clips),
            split=np.array([_CODES[clip.split] for clip in clips], np.int8),
            start=np.array([clip.start for clip in clips], np.float64),
            duration=np.array([clip.duration for clip in clips], np.float64),
        )

    @classmethod
    def joined(cls, tables: "Sequence[ClipTable]") -> "ClipTable":
        """The clips of several, one table after the other."""
        folders: dict[str, int] = {}
        labels: dict[str, int] = {}
        folder, label = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
        for table in tables:
            for codes, names, known, column in (
                (folder, table.folders, folders, table.folder),
                (label, table.labels, labels, table.label),
            ):
                codes.append(np.array([known.setdefault(name, len(known)) for name in names], np.int32)[column])
        empty = np.zeros(0)
        return cls(
            folders=tuple(folders),
            labels=tuple(labels),
            folder=np.concatenate(folder),
            names=Strings.joined([table.names for table in tables]),
            label=np.concatenate(label),
            speakers=Strings.joined([table.speakers for table in tables]),
            split=np.concatenate([empty.astype(np.int8), *(table.split for table in tables)]),
            start=np.concatenate([empty, *(table.start for table in tables)]),
            duration=np.concatenate([empty, *(table.duration for table in tables)]),
        )

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: Any) -> "Clip | ClipTable":
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            return self.part(first, max(first, last)) if step == 1 else self.take(np.arange(first, last, step))
        first = range(len(self))[index]
        return next(iter(self.part(first, first + 1)))

    def __iter__(self) -> Iterator[Clip]:
        folders: dict[int, Path] = {}  # of a few clips few are needed
        columns = (self.folder, self.names, self.label, self.speakers, self.split, self.start, self.duration)
        for folder, name, label, speaker, split, start, duration in zip(*map(plain, columns), strict=True):
            if folder not in folders:
                folders[folder] = Path(self.folders[folder])
            yield Clip(
                folders[folder] / os.fsdecode(name),
                self.labels[label],
                os.fsdecode(speaker),
                _SPLIT[split],
                None if math.isnan(start) else start,
                None if math.isnan(duration) else duration,
            )

    def __repr__(self) -> str:
        return f"ClipTable of {len(self)} clips"

    def __add__(self, other: Iterable[Clip]) -> "ClipTable":
        return ClipTable.joined([self, ClipTable.of(other)])

    def __radd__(self, other: Iterable[Clip]) -> "ClipTable":
        return ClipTable.joined([ClipTable.of(other), self])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        if not isinstance(other, ClipTable):
            return len(self) == len(other) and all(map(eq, self, other))
        if len(self) != len(other):
            return False
        both = ClipTable.joined([self, other])  # where folders and labels have one code each
        one, two = both.part(0, len(self)), both.part(len(self), len(both))
        numbers = (("folder", False), ("label", False), ("split", False), ("start", True), ("duration", True))
        return (
            all(np.array_equal(getattr(one, name), getattr(two, name), equal_nan=nan) for name, nan in numbers)
            and one.names == two.names
            and one.speakers == two.speakers
        )

    __hash__ = None

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        columns = (self.folder, self.names, self.label, self.speakers, self.split, self.start, self.duration)
        return sum(column.nbytes for column in columns)

    def part(self, first: int, last: int) -> "ClipTable":
        """The clips from `first` to before `last`; nothing is copied."""
        return self._mapped(lambda column: column[first:last], lambda strings: strings.part(first, last))

    def take(self, chosen: np.ndarray) -> "ClipTable":
        """The clips at (M,) indices, in their order, or where an (N,) mask is true; all are the table itself."""
        if chosen.dtype == bool:
            if chosen.all():
                return self
            chosen = np.flatnonzero(chosen)
        return self._mapped(lambda column: column[chosen], lambda strings: strings.take(chosen))

    def _mapped(self, numbers: Callable, strings: Callable) -> "ClipTable":
        return replace(
            self,
            folder=numbers(self.folder),
            names=strings(self.names),
            label=numbers(self.label),
            speakers=strings(self.speakers),
            split=numbers(self.split),
            start=numbers(self.start),
            duration=numbers(self.duration),
        )

    def in_split(self, name: str) -> "ClipTable":
        """The clips of one split; of a sorted table nothing is copied."""
        chosen = np.flatnonzero(self.split == _CODES[name])
        if len(chosen) and chosen[-1] - chosen[0] == len(chosen) - 1:
            return self.part(int(chosen[0]), int(chosen[-1]) + 1)
        return self.take(chosen)

    def labelled(self, labels: Iterable[str]) -> np.ndarray:
        """(N,) bool: which clips have one of some labels."""
        labels = set(labels)
        return np.array([label in labels for label in self.labels], bool)[self.label]

    def relabelled(self, rename: Callable[[str], str]) -> "ClipTable":
        """The same clips under other labels."""
        renamed = [rename(label) for label in self.labels]
        labels = {label: code for code, label in enumerate(dict.fromkeys(renamed))}
        codes = np.array([labels[label] for label in renamed], np.int32)
        return replace(self, labels=tuple(labels), label=codes[self.label])

    def counts(self) -> dict[tuple[str, str], int]:
        """How many clips there are of each split and label that has some."""
        codes, counts = np.unique(self.split.astype(np.int64) * len(self.labels) + self.label, return_counts=True)
        pairs = (divmod(code, len(self.labels)) for code in codes.tolist())
        return {
            (_SPLIT[split], self.labels[label]): n for (split, label), n in zip(pairs, counts.tolist(), strict=True)
        }

    def paths(self) -> Iterator[str]:
        """The path of each clip's file."""
        begin = [beginning(folder) for folder in self.folders]
        return (begin[folder] + os.fsdecode(name) for folder, name in zip(plain(self.folder), self.names, strict=True))

    def sorted(self) -> "ClipTable":
        """By split, label, path as the file system spells it, and start."""
        begin = [os.fsencode(beginning(folder)) for folder in self.folders]
        if any(two.startswith(one) for one, two in pairwise(sorted(begin))):
            return self._sorted_by_whole_paths()
        order = np.argsort(np.nan_to_num(self.start), kind="stable")
        order = self.names.order(order)
        split = np.where(self.split < 0, len(SPLITS), self.split)
        for column in (_ranks(begin)[self.folder], _ranks(self.labels)[self.label], split):
            order = order[np.argsort(column[order], kind="stable")]
        return self.take(order)

    def _sorted_by_whole_paths(self) -> "ClipTable":
        """Where folders lie in others, names of files and of folders have to be compared with each other."""
        paths = [os.fsencode(path) for path in self.paths()]
        ranks, start = _ranks(self.labels)[self.label], np.nan_to_num(self.start)
        rows = zip(plain(self.split), plain(ranks), paths, plain(start), range(len(self)), strict=True)
        return self.take(np.array([row[-1] for row in sorted(rows)], np.int64))


def beginning(folder: str) -> str:
    """What the paths of all files in a folder begin with."""
    return str(Path(folder) / "_")[:-1]


def stem(name: bytes) -> bytes:
    """A file's name without its ending, as pathlib has it."""
    at = name.rfind(b".")
    return name[:at] if 0 < at < len(name) - 1 else name


def _ranks(names: Sequence) -> np.ndarray:
    ranks = {name: rank for rank, name in enumerate(sorted(set(names)))}
    return np.array([ranks[name] for name in names], np.int32)
