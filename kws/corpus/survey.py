"""Listening to a whole corpus before anyone trains on it: lengths, levels, what is broken, twofold or misplaced."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kws.corpus import audio
from kws.corpus.base import SPLITS, Clip, Corpus, Refusal, printable
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


@dataclass(frozen=True)
class Survey:
    """A corpus and what listening to it found. Paths are relative to the corpus and printable."""

    corpus: Corpus
    measured: dict[Clip, Measurement]
    unreadable: tuple[Refusal, ...]

    @cached_property
    def cells(self) -> dict[tuple[str | None, str | None], list[Clip]]:
        """The readable clips by label and split; None stands for all."""
        groups = defaultdict(list)
        for clip in self.measured:
            for label in (clip.label, None):
                for split in (clip.split, None):
                    groups[label, split].append(clip)
        return dict(groups)

    def totals(self, label: str | None = None, split: str | None = None) -> dict:
        """Clips, speakers and seconds of a label and split; None: of all."""
        clips = self.cells.get((label, split), [])
        return {
            "clips": len(clips),
            "speakers": len({clip.speaker for clip in clips}),
            "seconds": round(sum(self.measured[clip].seconds for clip in clips), 2),
        }

    def name(self, path: Path | str) -> str:
        """A path as it is shown."""
        return printable(self.corpus.relative(Path(path)))

    @property
    def clipped(self) -> list[str]:
        return [self.name(clip.path) for clip, m in self.measured.items() if m.clipped]

    @property
    def silent(self) -> list[str]:
        return [
            self.name(clip.path) for clip, m in self.measured.items() if m.silent and not clip.label.startswith("_")
        ]

    @property
    def duplicates(self) -> list[list[Clip]]:
        """Groups of clips with the same samples."""
        groups = defaultdict(list)
        for clip, measurement in self.measured.items():
            groups[measurement.content].append(clip)
        return [group for group in groups.values() if len(group) > 1]

    @property
    def misplaced_duplicates(self) -> list[list[Clip]]:
        """Those of them that lie in more than one split, or under more than one word."""
        return [group for group in self.duplicates if len({(clip.split, clip.label) for clip in group}) > 1]

    @property
    def straddling_speakers(self) -> dict[str, list[str]]:
        """Speakers with clips in more than one split, and which."""
        splits = defaultdict(set)
        for clip in self.corpus.clips:
            splits[clip.speaker].add(clip.split)
        return {
            printable(speaker): sorted(found, key=SPLITS.index)
            for speaker, found in sorted(splits.items())
            if len(found) > 1
        }

    def as_dict(self) -> dict:
        """Everything, for a JSON file."""
        corpus, levels = self.corpus, sorted(m.level for m in self.measured.values())
        show = self.name
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
            "rates": {str(rate): n for rate, n in sorted(Counter(m.rate for m in self.measured.values()).items())},
            "seconds": _quantiles([m.seconds for m in self.measured.values()]),
            "level_dbfs": _quantiles(levels),
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
    chunks = [corpus.clips[i : i + CHUNK] for i in range(0, len(corpus.clips), CHUNK)]
    measured, unreadable = {}, []
    with ThreadPoolExecutor(workers) as pool:
        for chunk, results in zip(chunks, pool.map(_measure_all, chunks), strict=True):
            for clip, result in zip(chunk, results, strict=True):
                if isinstance(result, Refusal):
                    unreadable.append(result)
                else:
                    measured[clip] = result
            if advance is not None:
                advance(len(chunk))
    return Survey(corpus, measured, tuple(unreadable))


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


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    names = {"lowest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1.0}
    return {name: round(float(np.quantile(values, share)), 3) for name, share in names.items()}
