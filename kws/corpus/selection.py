"""Which of the clips are taken: so many per word, others as `_unknown_`, silence cut from the background noise.

Every choice follows from the seed and the clips' names, not from their order: adding a clip changes little else.
"""

import hashlib
import math
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kws.corpus import audio
from kws.corpus.base import Refusal
from kws.corpus.clips import SPLITS, Clip, ClipTable, stem
from kws.support.errors import BrokenRecording
from kws.support.strings import plain

UNKNOWN, SILENCE, NULL = "_unknown_", "_silence_", "_null_"
NO_SPEECH = (SILENCE, NULL)


def is_other_speech(label: str) -> bool:
    """Whether a label is that of words that are not to be reported: `_unknown_`, or one of them for itself."""
    return label.startswith("_") and label.endswith("_") and label not in NO_SPEECH


# Stretches of each background recording, from its beginning, in which the silence of a split is cut. Evaluation gets
# more than its share of clips: it needs pieces that differ.
STRETCHES = {"training": (0.0, 0.6), "validation": (0.6, 0.8), "testing": (0.8, 1.0)}


def limit_per_word(clips: Iterable[Clip], limit: int, seed: int) -> ClipTable:
    """At most `limit` training clips of each label; validation and testing stay whole.

    Balanced over speakers: every speaker's first clip comes before anybody's second.
    """
    clips = ClipTable.of(clips)
    training = clips.split == SPLITS.index("training")
    candidates = clips.take(training)
    drawn, label = draws(candidates, seed), candidates.label
    turn = _turns(drawn, label, candidates.speakers.codes())
    order = np.lexsort((drawn, turn, _appearance(label)[label]))
    kept = order[_places(label[order]) < limit]
    return ClipTable.joined([clips.take(~training), candidates.take(kept)])


def wanted(clips: Iterable[Clip], keywords: Sequence[str], share: float) -> dict[str, int]:
    """How many clips `share` asks for in each split, relative to the mean number of clips of a keyword there."""
    clips = ClipTable.of(clips)
    spoken = clips.split[clips.labelled(keywords)]
    return {split: round(share * int((spoken == code).sum()) / len(keywords)) for code, split in enumerate(SPLITS)}


def unknown(
    rest: Iterable[Clip], counts: dict[str, int], seed: int, own_labels: bool = False
) -> tuple[ClipTable, list[str]]:
    """`counts[split]` clips of other words, as `_unknown_`, evenly over these words; and notes on what is lacking.

    With `own_labels` each word is a label of its own, `_word_`: still none that is reported.
    """
    rest = ClipTable.of(rest)
    words = np.array([_number(draw(seed, Path(word))) for word in rest.labels], np.uint64)
    chosen, notes = [], []
    for split, count in counts.items():
        pool = rest.in_split(split)
        if len(pool) > count:
            drawn, label = draws(pool, seed, pieces=True), pool.label
            turn = _turns(drawn, label, np.zeros_like(label))
            # Words whose draws are the same, if there ever are two, come in the order of their first clips.
            order = np.lexsort((_appearance(label)[label], words[label], turn))
            pool = pool.take(order[:count])
        elif len(pool) < count:
            notes.append(f"{UNKNOWN}: {len(pool)} clips of other words for {split}, {count} were asked for")
        chosen.append(pool)
    return ClipTable.joined(chosen).relabelled(lambda word: f"_{word}_" if own_labels else UNKNOWN), notes


def draws(clips: ClipTable, seed: int, pieces: bool = False) -> np.ndarray:
    """(N,) uint64: `draw` of each clip's file, or of each piece of it."""
    key = str(seed).encode()
    parents = [b"".join(os.fsencode(part) + b"/" for part in Path(folder).parts[-1:]) for folder in clips.folders]
    starts = plain(clips.start if pieces else np.full(len(clips), np.nan))
    numbers = (
        hashlib.blake2b(
            parents[folder] + stem(name) + (b"" if math.isnan(start) else b"/%a" % start), digest_size=8, key=key
        ).digest()
        for folder, name, start in zip(plain(clips.folder), clips.names, starts, strict=True)
    )
    return np.frombuffer(b"".join(numbers), ">u8").astype(np.uint64)


def _number(drawn: bytes) -> int:
    return int.from_bytes(drawn, "big")


def _turns(drawn: np.ndarray, label: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(N,): how many of the same label and member are drawn before each."""
    order = np.lexsort((drawn, member, label))
    turns = np.empty(len(order), np.int64)
    turns[order] = _places(label[order], member[order])
    return turns


def _places(*columns: np.ndarray) -> np.ndarray:
    """(N,): the place of each row among its neighbours that have the same values, from 0."""
    rows = np.arange(len(columns[0]))
    new = np.zeros(len(rows), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return rows - np.maximum.accumulate(np.where(new, rows, 0))


def _appearance(label: np.ndarray) -> np.ndarray:
    """Of each code, where it comes first."""
    first = np.zeros(int(label.max(initial=-1)) + 1, np.int64)
    codes, places = np.unique(label, return_index=True)
    first[codes] = places
    return first


def silence(
    noise: Iterable[Path], counts: dict[str, int], seconds: float, seed: int
) -> tuple[list[Clip], list[Refusal]]:
    """`counts[split]` pieces of `seconds` seconds as `_silence_`, from other stretches of each recording per split.

    Recordings too short for one piece in every stretch, or unreadable, are refused. Longer ones give more pieces.
    """
    lengths, refused = {}, []
    for path in noise:
        try:
            length = audio.length(path)
        except BrokenRecording as error:
            refused.append(Refusal(error.path, error.reason))
            continue
        if all((last - first) * length >= seconds for first, last in STRETCHES.values()):
            lengths[path] = length
        else:
            refused.append(Refusal(str(path), f"{length:.1f} s are too short to cut silence of {seconds:g} s from"))
    clips = []
    for split, count in counts.items() if lengths else ():
        rng = random.Random(f"silence {seed} {split}")
        for path in rng.choices(list(lengths), weights=list(lengths.values()), k=count):
            first, last = (edge * lengths[path] for edge in STRETCHES[split])
            start = round(rng.uniform(first, last - seconds), 3)
            # Rounding must not carry a piece over the edge of its stretch.
            start = min(max(start, first), last - seconds)
            clips.append(Clip(path, SILENCE, f"{path.stem} ({split})", split, start, seconds))
    return clips, refused


def pieces(paths: Iterable[Path], seconds: float) -> tuple[ClipTable, list[Refusal]]:
    """Long recordings cut into pieces of `seconds` seconds from their beginning, as `_unknown_` clips for training."""
    recordings, counts, refused = [], [], []
    for path in paths:
        try:
            length = audio.length(path)
        except BrokenRecording as error:
            refused.append(Refusal(error.path, error.reason))
            continue
        count = int(length / seconds)
        if not count:
            refused.append(Refusal(str(path), f"{length:.1f} s are too short for a piece of {seconds:g} s"))
        recordings.append(Clip(path, UNKNOWN, path.stem, "training", 0.0, seconds))
        counts.append(count)
    rows = np.repeat(np.arange(len(recordings)), np.array(counts, np.int64))
    return replace(ClipTable.of(recordings).take(rows), start=_places(rows) * float(seconds)), refused


def draw(seed: int, path: Path, start: float | None = None) -> bytes:
    """A number for a clip, or a word, that is as good as random and always the same; its ending does not count.

    With `start` the pieces of one recording have numbers of their own.
    """
    name = "/".join((*path.parts[-2:-1], path.stem))
    if start is not None:
        name += f"/{start!r}"
    return hashlib.blake2b(os.fsencode(name), digest_size=8, key=str(seed).encode()).digest()
