"""Listening to a whole corpus before anyone trains on it: lengths, levels, what is broken, twofold or misplaced."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kws.corpus import audio
from kws.corpus.base import Corpus, Refusal, printable
from kws.corpus.clips import SPLITS, Clip, ClipTable
from kws.support.errors import BrokenRecording

CLIPPED_RUN = 3  # samples in a row at full scale: a waveform that was cut off, not one that just reaches it
FULL_SCALE = 32767 / 32768
SILENT = -50.0  # dBFS of the loudest tenth of a second, about where 16-bit room noise of a quiet microphone lies
FLOOR = -120.0  # dBFS that stands for digital silence
CHUNK = 32


@dataclass(frozen=True, slots=True)
class Measurement:
    """One clip: its rate and length as stored, and levels in dB of full scale (a full-scale square wave is 0)."""

    rate: int  # Hz
    seconds: float
    level: float  # root mean square of the whole clip
    loudest: float  # root mean square of its loudest tenth of a second
    clipped: bool
    content: str  # digest of the samples, so that copies show under another name, split or file format

    @property
    def silent(self) -> bool:
        return self.loudest < SILENT


COLUMNS = np.dtype(
    [("rate", "i4"), ("seconds", "f8"), ("level", "f8"), ("loudest", "f8"), ("clipped", "?"), ("content", "S32")]
)
"""Measurements of many clips: their fields."""


@dataclass(frozen=True)
class Survey:
    """A corpus and what listening to it found. Paths are relative to the corpus and printable.

    clips       those that could be read
    measured    (N,) of `COLUMNS`, a row for each of them
    unreadable  the others
    """

    corpus: Corpus
    clips: ClipTable
    measured: np.ndarray
    unreadable: tuple[Refusal, ...]

    @cached_property
    def cells(self) -> dict[tuple[str | None, str | None], dict]:
        """`totals` of every label and split that has clips; None stands for all."""
        clips, speakers = self.clips, self.clips.speakers.codes()
        labels, splits = (*clips.labels, None), (*SPLITS, None)
        found = {}
        for label in (clips.label, np.full_like(clips.label, len(clips.labels))):
            for split in (clips.split, np.full_like(clips.split, len(SPLITS))):
                cell = label.astype(np.int64) * len(splits) + split
                size = len(labels) * len(splits)
                counts, seconds = np.bincount(cell, minlength=size), np.bincount(cell, self.measured["seconds"], size)
                different = np.unique(np.stack([cell, speakers]), axis=1)[0]
                people = np.bincount(different, minlength=size)
                for code in np.flatnonzero(counts).tolist():
                    found[labels[code // len(splits)], splits[code % len(splits)]] = {
                        "clips": int(counts[code]),
                        "speakers": int(people[code]),
                        "seconds": round(float(seconds[code]), 2),
                    }
        return found

    def totals(self, label: str | None = None, split: str | None = None) -> dict:
        """Clips, speakers and seconds of a label and split; None: of all."""
        return self.cells.get((label, split), {"clips": 0, "speakers": 0, "seconds": 0})

    def name(self, path: Path | str) -> str:
        """A path as it is shown."""
        return printable(self.corpus.relative(Path(path)))

    @property
    def clipped(self) -> list[str]:
        return [self.name(clip.path) for clip in self.clips.take(self.measured["clipped"])]

    @property
    def silent(self) -> list[str]:
        silent = self.clips.take(self.measured["loudest"] < SILENT)
        return [self.name(clip.path) for clip in silent if not clip.label.startswith("_")]

    @cached_property
    def duplicates(self) -> list[list[Clip]]:
        """Groups of clips with the same samples."""
        _, which, counts = np.unique(self.measured["content"], return_inverse=True, return_counts=True)
        groups = defaultdict(list)
        for row in np.flatnonzero(counts[which] > 1).tolist():
            groups[which[row]].append(self.clips[row])
        return list(groups.values())

    @property
    def misplaced_duplicates(self) -> list[list[Clip]]:
        """Those of them that lie in more than one split, or under more than one word."""
        return [group for group in self.duplicates if len({(clip.split, clip.label) for clip in group}) > 1]

    @property
    def straddling_speakers(self) -> dict[str, list[str]]:
        """Speakers with clips in more than one split, and which."""
        clips, codes = self.corpus.clips, self.corpus.clips.speakers.codes()
        pairs, first = np.unique(np.stack([codes, clips.split]), axis=1, return_index=True)
        several = np.flatnonzero(np.bincount(pairs[0])[pairs[0]] > 1).tolist()
        splits = defaultdict(list)
        for pair in several:
            splits[os.fsdecode(clips.speakers[first[pair]])].append(SPLITS[pairs[1, pair]])
        return {printable(speaker): found for speaker, found in sorted(splits.items())}

    def as_dict(self) -> dict:
        """Everything, for a JSON file."""
        corpus, show = self.corpus, self.name
        rates, counts = np.unique(self.measured["rate"], return_counts=True)
        return {
            "name": corpus.name,
            "fingerprint": corpus.fingerprint(),
            "labels": list(corpus.labels),
            "total": self.totals(),
            "splits": {split: self.totals(split=split) for split in SPLITS},
            "words": {
                label: {"total": self.totals(label)} | {split: self.totals(label, split) for split in SPLITS}
                for label in corpus.labels
            },
            "rates": {str(rate): n for rate, n in zip(rates.tolist(), counts.tolist(), strict=True)},
            "seconds": _quantiles(self.measured["seconds"]),
            "level_dbfs": _quantiles(self.measured["level"]),
            "noise": [show(path) for path in corpus.noise],
            "clipped": self.clipped,
            "silent": self.silent,
            "duplicates": [[show(clip.path) for clip in group] for group in self.duplicates],
            "misplaced_duplicates": [[show(clip.path) for clip in group] for group in self.misplaced_duplicates],
            "straddling_speakers": self.straddling_speakers,
            "unreadable": [{"path": show(r.path), "reason": r.reason} for r in self.unreadable],
            "refused": [asdict(r) for r in corpus.refused],
            "notes": list(corpus.notes),
        }


def survey(corpus: Corpus, workers: int = 2, advance: Callable[[int], None] | None = None) -> Survey:
    """Listen to every clip of `corpus`; `advance(n)` is called as clips are done."""
    clips, rows, unreadable = corpus.clips, [], []
    readable = np.ones(len(clips), bool)
    chunks = [clips[first : first + CHUNK] for first in range(0, len(clips), CHUNK)]
    with ThreadPoolExecutor(workers) as pool:
        for number, results in enumerate(pool.map(_measure_all, chunks)):
            for row, result in enumerate(results, start=number * CHUNK):
                if isinstance(result, Refusal):
                    unreadable.append(result)
                    readable[row] = False
            good = [astuple(result) for result in results if not isinstance(result, Refusal)]
            rows.append(np.array(good, COLUMNS))
            if advance is not None:
                advance(len(results))
    return Survey(corpus, clips.take(readable), np.concatenate([np.zeros(0, COLUMNS), *rows]), tuple(unreadable))


def _measure_all(clips: Iterable[Clip]) -> list[Measurement | Refusal]:
    results: list[Measurement | Refusal] = []
    for clip in clips:
        try:
            results.append(measure(*audio.read(clip.path, clip.start, clip.duration)))
        except BrokenRecording as error:
            results.append(Refusal(os.fspath(clip.path), error.reason))
    return results


def measure(waveform: np.ndarray, rate: int) -> Measurement:
    """Measure a waveform (S,) float32."""
    squares = np.square(waveform, dtype=np.float64)
    tenth = max(rate // 10, 1)
    parts = np.add.reduceat(squares, np.arange(0, len(squares), tenth)) / tenth
    full = np.abs(waveform) >= FULL_SCALE
    run = full[CLIPPED_RUN - 1 :].copy()
    for shift in range(CLIPPED_RUN - 1):
        run &= full[shift : len(full) - CLIPPED_RUN + 1 + shift]
    return Measurement(
        rate=rate,
        seconds=len(waveform) / rate,
        level=_decibels(squares.mean()),
        loudest=_decibels(parts.max()),
        clipped=bool(run.any()),
        content=hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest(),
    )


def _decibels(power: float) -> float:
    return round(max(10 * float(np.log10(power)), FLOOR), 2) if power > 0 else FLOOR


def _quantiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    names = {"lowest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1.0}
    return {name: round(float(np.quantile(values, share)), 3) for name, share in names.items()}
