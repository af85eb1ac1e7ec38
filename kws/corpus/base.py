"""What a corpus is: clips with a word, a speaker and a split, and what was refused on the way."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kws.corpus.clips import SPLITS, ClipTable, beginning, stem
from kws.corpus.clips import Clip as Clip
from kws.support.content import Files
from kws.support.strings import plain

MAX_WAVS_PER_CLASS = 2**27 - 1  # about 134 million; the constant of the dataset's own rule
SPEAKER_MARK = "_nohash_"
_MARK = SPEAKER_MARK.encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recording, folder or line of a list that was left out, and why. The path is one that can be printed."""

    path: str
    reason: str

    def __post_init__(self):
        object.__setattr__(self, "path", printable(self.path))


def by_reason(refused: Iterable[Refusal]) -> list[dict[str, Any]]:
    """What was left out, counted: ``reason``, ``count`` and up to three ``examples`` each, the most frequent first.

    Reasons that differ in their numbers alone are one.
    """
    groups: dict[str, list[Refusal]] = {}
    for refusal in refused:
        groups.setdefault(re.sub(r"\d+(\.\d+)?", "0", refusal.reason), []).append(refusal)
    rows = sorted(groups.values(), key=len, reverse=True)
    return [{"reason": g[0].reason, "count": len(g), "examples": [r.path for r in g[:3]]} for g in rows]


@dataclass(frozen=True)
class Corpus:
    """Which clips there are. Scanning reads names and lists, not audio; the cache finds the broken recordings.

    labels  word of each class, in the order of the class index; those that start with `_` are no keywords
    clips   every clip, sorted by split, label and path; any sequence of them becomes a table
    noise   recordings of background noise, for augmentation
    refused what scanning left out
    notes   what a reader of a report should know: sentences with counts
    noise_share   the share of each background recording, from its beginning, that training may hear; less than 1
            where evaluation has clips of silence cut from the rest. The cache keeps this share only.
    unrecorded    labels that hardly any recording in `root` trains: recordings of other words tell nothing of them
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: ClipTable
    noise: tuple[Path, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    noise_share: float = 1.0
    unrecorded: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "clips", ClipTable.of(self.clips))

    @classmethod
    def recalled(cls, fingerprint: str, **fields: Any) -> "Corpus":
        """A corpus whose fingerprint is known."""
        corpus = cls(**fields)
        corpus.__dict__["_fingerprint"] = fingerprint
        return corpus

    def recorded(self, clips: ClipTable) -> np.ndarray:
        """(N,) bool: which clips are recordings of words, in the folders of `root`, that are not `unrecorded`."""
        return self._in_word_folders(clips) & ~clips.labelled(self.unrecorded)

    def shares(self, clips: ClipTable, few: float = 0.25) -> np.ndarray:
        """(N,): how often to draw each training clip.

        The few recordings of an `unrecorded` label come so often that they are the share `few` of its clips, for each
        tells more of people than many voices do; every other clip comes once.
        """
        found = np.ones(len(clips))
        recorded = self._in_word_folders(clips)
        for label in self.unrecorded:
            of = clips.labelled([label])
            there = of & recorded
            if there.any():
                found[there] = max(1.0, few / (1 - few) * (of & ~recorded).sum() / there.sum())
        return found

    def _in_word_folders(self, clips: ClipTable) -> np.ndarray:
        folders = map(Path, clips.folders)
        words = [folder.parent == self.root and not folder.name.startswith("_") for folder in folders]
        return np.array(words, bool)[clips.folder]

    def split(self, name: str) -> ClipTable:
        """The clips of one split: training, validation or testing."""
        if name not in SPLITS:
            raise ValueError(f"no split is called {name!r}; there are {', '.join(SPLITS)}")
        return self.clips.in_split(name)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The labels that are words to spot, without `_unknown_`, `_silence_` and their like."""
        return tuple(label for label in self.labels if not label.startswith("_"))

    def relative(self, path: Path) -> str:
        """A path's name inside the corpus, with `/`; the whole path for a file outside its folder."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - links stay as they are

    def _place(self, folder: str) -> str:
        """What `relative` of all files in a folder begins with."""
        return self.relative(Path(folder) / "_")[:-1]

    def files(self) -> Files:
        """The recordings: the clips' in their order, each once however many pieces are cut from it, then the noise."""
        pieces, seen = np.flatnonzero(~np.isnan(self.clips.start)), set()
        once = np.ones(len(self.clips), bool)
        for row, path in zip(pieces.tolist(), self.clips.take(pieces).paths(), strict=True):
            once[row] = path not in seen
            seen.add(path)
        clips = self.clips.take(once)
        places = tuple(map(beginning, clips.folders)), tuple(map(self._place, clips.folders))
        return Files.joined(Files(*places, clips.folder, clips.names), Files.of(self.noise))

    def fingerprint(self) -> str:
        """32 hexadecimal digits of the choice of clips: labels, names, speakers, splits, pieces, noise.

        The same wherever the corpus lies. Says nothing of what is inside the recordings: the cache's key does.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return digest_of(self._rows())

    def _rows(self) -> Iterator[bytes]:
        """A row of six fields for each clip, as `encoded` would make it, between those of the labels and the noise."""
        clips = self.clips
        yield encoded(("labels", *self.labels))
        begin = [os.fsencode(self._place(folder)) for folder in clips.folders]
        labels = [_field(label) for label in clips.labels]
        ends = [_field(split) + _field("None") * 2 for split in SPLITS]
        whole = np.isnan(clips.start) & np.isnan(clips.duration)
        columns = map(plain, (clips.folder, clips.names, clips.label, clips.speakers, clips.split, whole))
        for row, (folder, name, label, speaker, split, is_whole) in enumerate(zip(*columns, strict=True)):
            end = ends[split]
            if not is_whole:
                clip = clips[row]
                end = _field(clip.split) + _field(repr(clip.start)) + _field(repr(clip.duration))
            path = begin[folder] + name
            yield b"6;%d:%b%b%d:%b%b" % (len(path), path, labels[label], len(speaker), speaker, end)
        for path in self.noise:
            yield encoded(("noise", self.relative(path), repr(self.noise_share)))


def digest(rows: Iterable[tuple[str, ...]]) -> str:
    """32 hexadecimal digits of rows of strings; each string's length goes in, so that no two tables look alike."""
    return digest_of(map(encoded, rows))


def digest_of(rows: Iterable[bytes]) -> str:
    """The same of rows that are `encoded` already."""
    state, rows = hashlib.blake2b(digest_size=16), iter(rows)
    while block := b"".join(islice(rows, 4096)):
        state.update(block)
    return state.hexdigest()


def encoded(row: tuple[str, ...]) -> bytes:
    """A row of strings as bytes: their number, then each behind its length."""
    return b"%d;" % len(row) + b"".join(map(_field, row))


def _field(text: str) -> bytes:
    data = os.fsencode(text)
    return b"%d:%b" % (len(data), data)


def printable(name: str) -> str:
    """A name with whatever cannot be printed as an escape.

    Names go into tables, JSON and file metadata, none of which can hold the bytes of a name that is no UTF-8.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def speaker_of(filename: str) -> str:
    """The speaker in a name of Speech Commands, `<speaker>_nohash_<n>.wav`; of another name, all but the ending."""
    return os.fsdecode(speaker_in(os.fsencode(Path(filename).name)))


def speaker_in(name: bytes) -> bytes:
    """`speaker_of` of a name as the file system spells it."""
    return stem(name).partition(_MARK)[0]


def which_set(filename: str, validation_percentage: float = 10.0, testing_percentage: float = 10.0) -> str:
    """The split of a clip by Speech Commands' own rule: `training`, `validation` or `testing`.

    The SHA-1 of the file's name, without `_nohash_` and what follows, decides: a clip stays in its split when others
    are added, and all clips of a speaker are in the same one. Source: `which_set` in the dataset's README and in
    Warden, "Speech Commands" (2018), section 7.
    """
    base = os.fsencode(Path(filename).name).split(_MARK, 1)[0]
    return set_of(base, validation_percentage, testing_percentage)


def set_of(base: bytes, validation_percentage: float, testing_percentage: float) -> str:
    """`which_set` of what stands before `_nohash_` in a name."""
    number = int.from_bytes(hashlib.sha1(base, usedforsecurity=False).digest()[-4:], "big") & MAX_WAVS_PER_CLASS
    percentage = number * (100.0 / MAX_WAVS_PER_CLASS)
    if percentage < validation_percentage:
        return "validation"
    if percentage < testing_percentage + validation_percentage:
        return "testing"
    return "training"
