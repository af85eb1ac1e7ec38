"""Hours of audio with keywords at known times, made piece by piece so that memory stays flat.

    ░░░░ gap ░░░░│ keyword │░░ gap ░░│ other speech │░░░░ gap ░░░░│ keyword │░░ …
    ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁ background noise: another recording and level every minute ▁▁▁▁▁▁▁▁▁▁▁

Everything follows from the seed. The level of the background is set against the median level of the keywords' speech.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from kws.corpus.selection import is_other_speech
from kws.evaluation.stream.modes import as_float
from kws.evaluation.stream.word_ends import word_span
from kws.support.errors import KwsError

OTHER_WORDS = "words that are not among the labels"
REVERSED_WORDS = "the keywords played backwards"
NO_SPEECH = "none"


class Truth(NamedTuple):
    """A keyword that was said.

    Attributes:
        word: its label.
        start: seconds from the stream's start.
        end: where its energy has faded.
        snr: dB of the speech over the background, None in quiet.
    """

    word: str
    start: float
    end: float
    snr: float | None


class Piece(NamedTuple):
    """A stretch of the stream.

    Attributes:
        samples: (S,) float32 in [-1, 1].
        truths: keywords in it.
        speech: (start, end) in seconds of other speech in it.
    """

    samples: np.ndarray
    truths: tuple[Truth, ...]
    speech: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LongStream:
    """A recipe for a stream; iterate over `pieces()` to hear it, as often as wanted.

    It comes in `lanes` parts of equal length that can be heard side by side: one batch of streams, several times
    faster than one after the other, at the price of starting afresh that many times.

    Args:
        clips: (N, S) samples of a split, int16 or float.
        labels: (N,) class indices; -1 for words that are not among the labels.
        words: label of each class. Clips of labels that start with ``_`` are no keywords; those of ``_unknown_``,
            of other words by themselves (``_bed_``) and those without a label are the other speech. Without any,
            keywords played backwards stand in for it.
        sample_rate: Hz.
        noise: recordings of background noise, (S,) each; white noise when there are none.
        hours: length of all lanes together.
        snr: signal-to-noise ratios in dB of which each minute has one; None stands for quiet.
        gap: shortest and longest pause in seconds between two utterances.
        keyword_share: share of utterances that are keywords.
        section: seconds between changes of background.
        seed: decides everything.
        lanes: parts.
    """

    clips: np.ndarray
    labels: np.ndarray
    words: Sequence[str]
    sample_rate: int
    noise: Sequence[np.ndarray] = ()
    hours: float = 2.0
    snr: Sequence[float | None] = (None, 20.0, 10.0, 5.0)
    gap: tuple[float, float] = (1.0, 4.0)
    keyword_share: float = 0.5
    section: float = 60.0
    seed: int = 1
    lanes: int = 8
    keywords: np.ndarray = field(init=False, repr=False)
    others: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        if not self.hours > 0:
            raise KwsError(f"detection.hours={self.hours} must be above 0.")
        if self.lanes < 1:
            raise KwsError(f"detection.lanes={self.lanes} must be at least 1.")
        if not 0 <= self.gap[0] <= self.gap[1]:
            raise KwsError(f"detection.gap={list(self.gap)} must be a shortest and a longest pause in seconds.")
        if not 0 < self.keyword_share <= 1:
            raise KwsError(f"detection.keyword_share={self.keyword_share} must lie above 0 and up to 1.")
        if not len(self.snr):
            raise KwsError("detection.snr is empty; give signal-to-noise ratios in dB, or [null] for quiet alone.")
        # One more for -1, which is the last.
        keyword = np.array([*(not word.startswith("_") for word in self.words), False])[np.asarray(self.labels)]
        other = np.array([*(is_other_speech(word) for word in self.words), True])[np.asarray(self.labels)]
        object.__setattr__(self, "keywords", np.flatnonzero(keyword))
        object.__setattr__(self, "others", np.flatnonzero(other))
        if not len(self.keywords):
            raise KwsError("the split has no clip of a keyword, so there is no stream to judge detection on.")

    @property
    def speech_kind(self) -> str:
        """What the speech between keywords is."""
        if self.keyword_share == 1:
            return NO_SPEECH
        return OTHER_WORDS if len(self.others) else REVERSED_WORDS

    @property
    def lane_samples(self) -> int:
        """Length of a lane in samples."""
        return round(self.hours * 3600 * self.sample_rate / self.lanes)

    @cached_property
    def speech_level(self) -> float:
        """Median root mean square of the keywords' speech, over at most 400 clips."""
        chosen = self.keywords[:: max(1, len(self.keywords) // 400)]
        levels = []
        for index in chosen:
            waveform = as_float(self.clips[index])
            start, end = (round(s * self.sample_rate) for s in word_span(waveform, self.sample_rate))
            levels.append(np.sqrt(np.mean(np.square(waveform[start:end]))))
        return max(float(np.median(levels)), 1e-4)

    def pieces(self, lane: int = 0) -> Iterator[Piece]:
        """One lane from its beginning, one pause and one utterance at a time; times count from the lane's start.

        The last piece may run over the lane's length.
        """
        random = np.random.default_rng([self.seed, lane])
        level = self.speech_level
        keyword, other = _deck(self.keywords, random), _deck(self.others if len(self.others) else self.keywords, random)
        total, clip_size = self.lane_samples, self.clips.shape[1]
        position, section_end = 0, 0
        while position < total:
            if position >= section_end:
                snr = self.snr[random.integers(len(self.snr))]
                background = self._background(snr, level, random)
                section_end = position + round(self.section * self.sample_rate)
            pause = round(random.uniform(*self.gap) * self.sample_rate)
            samples = background(pause + clip_size)
            start = position + pause
            if random.random() < self.keyword_share:
                index = next(keyword)
                waveform = as_float(self.clips[index])
                span = word_span(waveform, self.sample_rate)
                truth = Truth(
                    self.words[self.labels[index]],
                    start / self.sample_rate + span[0],
                    start / self.sample_rate + span[1],
                    snr,
                )
                truths, speech = (truth,), ()
            else:
                waveform = as_float(self.clips[next(other)])
                if not len(self.others):
                    waveform = waveform[::-1]
                truths, speech = (), ((start / self.sample_rate, (start + clip_size) / self.sample_rate),)
            samples[pause:] += waveform
            position += len(samples)
            yield Piece(np.clip(samples, -1, 1), truths, speech)

    def _background(self, snr: float | None, level: float, random: np.random.Generator):
        """A function that gives the next n samples of a background `snr` dB under `level`."""
        if snr is None:
            return lambda count: np.zeros(count, np.float32)
        amplitude = level / 10 ** (snr / 20)
        if not len(self.noise):
            return lambda count: (amplitude * random.standard_normal(count)).astype(np.float32)
        noise = self.noise[random.integers(len(self.noise))]
        position = int(random.integers(len(noise)))
        gain = None

        def read(count: int) -> np.ndarray:
            nonlocal position, gain
            samples = as_float(np.take(noise, np.arange(position, position + count), mode="wrap"))
            position = (position + count) % len(noise)
            if gain is None:  # measured once a section, for a gain that jumped would be heard
                around = as_float(np.asarray(noise[: 60 * self.sample_rate]))
                gain = amplitude / max(float(np.sqrt(np.mean(np.square(around)))), 1e-6)
            return samples * np.float32(gain)

        return read


def _deck(indices: np.ndarray, random: np.random.Generator) -> Iterator[int]:
    """Indices in random order, each once before any comes again."""
    while True:
        yield from random.permutation(indices).tolist()
