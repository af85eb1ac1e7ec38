"""What a corpus is: clips with a word, a speaker and a split, and what was refused on the way."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("training", "validation", "testing")
MAX_WAVS_PER_CLASS = 2**27 - 1  # about 134 million; the constant of the dataset's own rule
SPEAKER_MARK = "_nohash_"


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: a recording, or the piece of it from `start` on that is `duration` seconds long."""

    path: Path
    label: str
    speaker: str
    split: str  # training | validation | testing
    start: float | None = None  # seconds; None: from the beginning
    duration: float | None = None  # seconds; None: to the end


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
    clips   every clip, sorted by split, label and path
    noise   recordings of background noise, for augmentation
    refused what scanning left out
    notes   what a reader of a report should know: sentences with counts
    noise_share   the share of each background recording, from its beginning, that training may hear; less than 1
            where evaluation has clips of silence cut from the rest. The cache keeps this share only.
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]
    noise: tuple[Path, ...] = ()
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    noise_share: float = 1.0

    def split(self, name: str) -> tuple[Clip, ...]:
        """The clips of one split: training, validation or testing."""
        if name not in SPLITS:
            raise ValueError(f"no split is called {name!r}; there are {', '.join(SPLITS)}")
        return tuple(clip for clip in self.clips if clip.split == name)

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

    def fingerprint(self) -> str:
        """32 hexadecimal digits of the choice of clips: labels, names, speakers, splits, pieces, noise.

        The same wherever the corpus lies. Says nothing of what is inside the recordings: the cache's key does.
        """
        rows = [("labels", *self.labels)]
        rows += [
            (self.relative(clip.path), clip.label, clip.speaker, clip.split, repr(clip.start), repr(clip.duration))
            for clip in self.clips
        ]
        rows += [("noise", self.relative(path), repr(self.noise_share)) for path in self.noise]
        return digest(rows)


def digest(rows: Iterable[tuple[str, ...]]) -> str:
    """32 hexadecimal digits of rows of strings; each string's length goes in, so that no two tables look alike."""
    state = hashlib.blake2b(digest_size=16)
    for row in rows:
        state.update(b"%d;" % len(row))
        for field in row:
            data = os.fsencode(field)
            state.update(b"%d:" % len(data) + data)
    return state.hexdigest()


def printable(name: str) -> str:
    """A name with whatever cannot be printed as an escape.

    Names go into tables, JSON and file metadata, none of which can hold the bytes of a name that is no UTF-8.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def speaker_of(filename: str) -> str:
    """The speaker in a name of Speech Commands, `<speaker>_nohash_<n>.wav`; of another name, all but the ending."""
    stem = Path(filename).stem
    return stem.split(SPEAKER_MARK, 1)[0]


def which_set(filename: str, validation_percentage: float = 10.0, testing_percentage: float = 10.0) -> str:
    """The split of a clip by Speech Commands' own rule: `training`, `validation` or `testing`.

    The SHA-1 of the file's name, without `_nohash_` and what follows, decides: a clip stays in its split when others
    are added, and all clips of a speaker are in the same one. Source: `which_set` in the dataset's README and in
    Warden, "Speech Commands" (2018), section 7.
    """
    base = os.fsencode(Path(filename).name).split(SPEAKER_MARK.encode(), 1)[0]
    number = int(hashlib.sha1(base, usedforsecurity=False).hexdigest(), 16) % (MAX_WAVS_PER_CLASS + 1)
    percentage = number * (100.0 / MAX_WAVS_PER_CLASS)
    if percentage < validation_percentage:
        return "validation"
    if percentage < testing_percentage + validation_percentage:
        return "testing"
    return "training"
