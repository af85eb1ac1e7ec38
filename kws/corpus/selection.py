"""Which of the clips are taken: so many per word, others as `_unknown_`, silence cut from the background noise.

Every choice follows from the seed and the clips' names, not from their order: adding a clip changes little else.
"""

import hashlib
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kws.corpus import audio
from kws.corpus.base import SPLITS, Clip, Refusal
from kws.support.errors import BrokenRecording

UNKNOWN, SILENCE, NULL = "_unknown_", "_silence_", "_null_"
NO_SPEECH = (SILENCE, NULL)


def is_other_speech(label: str) -> bool:
    """Whether a label is that of words that are not to be reported: `_unknown_`, or one of them for itself."""
    return label.startswith("_") and label.endswith("_") and label not in NO_SPEECH


# Stretches of each background recording, from its beginning, in which the silence of a split is cut. Evaluation gets
# more than its share of clips: it needs pieces that differ.
STRETCHES = {"training": (0.0, 0.6), "validation": (0.6, 0.8), "testing": (0.8, 1.0)}


def limit_per_word(clips: Iterable[Clip], limit: int, seed: int) -> list[Clip]:
    """At most `limit` training clips of each label; validation and testing stay whole.

    Balanced over speakers: every speaker's first clip comes before anybody's second.
    """
    kept, training = [], defaultdict(list)
    for clip in clips:
        if clip.split == "training":
            training[clip.label].append(clip)
        else:
            kept.append(clip)
    for candidates in training.values():
        takes: Counter[str] = Counter()
        ranked = []
        for clip in sorted(candidates, key=lambda clip: draw(seed, clip.path)):
            ranked.append((takes[clip.speaker], draw(seed, clip.path), clip))
            takes[clip.speaker] += 1
        ranked.sort(key=lambda row: row[:2])
        kept += [clip for _, _, clip in ranked[:limit]]
    return kept


def wanted(clips: Iterable[Clip], keywords: Sequence[str], share: float) -> dict[str, int]:
    """How many clips `share` asks for in each split, relative to the mean number of clips of a keyword there."""
    counts = Counter(clip.split for clip in clips if clip.label in set(keywords))
    return {split: round(share * counts[split] / len(keywords)) for split in SPLITS}


def unknown(
    rest: Iterable[Clip], counts: dict[str, int], seed: int, own_labels: bool = False
) -> tuple[list[Clip], list[str]]:
    """`counts[split]` clips of other words, as `_unknown_`, evenly over these words; and notes on what is lacking.

    With `own_labels` each word is a label of its own, `_word_`: still none that is reported.
    """
    pools: dict[str, dict[str, list[Clip]]] = {split: defaultdict(list) for split in SPLITS}
    for clip in rest:
        pools[clip.split][clip.label].append(clip)
    chosen, notes = [], []
    for split, count in counts.items():
        rows = []
        for word, candidates in pools[split].items():
            candidates.sort(key=lambda clip: draw(seed, clip.path, clip.start))
            rows += [(turn, draw(seed, Path(word)), clip) for turn, clip in enumerate(candidates)]
        rows.sort(key=lambda row: row[:2])
        chosen += [replace(clip, label=f"_{clip.label}_" if own_labels else UNKNOWN) for _, _, clip in rows[:count]]
        if len(rows) < count:
            notes.append(f"{UNKNOWN}: {len(rows)} clips of other words for {split}, {count} were asked for")
    return chosen, notes


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


def pieces(paths: Iterable[Path], seconds: float) -> tuple[list[Clip], list[Refusal]]:
    """Long recordings cut into pieces of `seconds` seconds from their beginning, as `_unknown_` clips for training."""
    clips, refused = [], []
    for path in paths:
        try:
            length = audio.length(path)
        except BrokenRecording as error:
            refused.append(Refusal(error.path, error.reason))
            continue
        count = int(length / seconds)
        if not count:
            refused.append(Refusal(str(path), f"{length:.1f} s are too short for a piece of {seconds:g} s"))
        clips += [Clip(path, UNKNOWN, path.stem, "training", number * seconds, seconds) for number in range(count)]
    return clips, refused


def draw(seed: int, path: Path, start: float | None = None) -> bytes:
    """A number for a clip, or a word, that is as good as random and always the same; its ending does not count.

    With `start` the pieces of one recording have numbers of their own.
    """
    name = "/".join((*path.parts[-2:-1], path.stem))
    if start is not None:
        name += f"/{start!r}"
    return hashlib.blake2b(os.fsencode(name), digest_size=8, key=str(seed).encode()).digest()
