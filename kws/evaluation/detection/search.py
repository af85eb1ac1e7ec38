"""Every setting of a decoder searched together: smoothing, threshold, run length and refractory time.

A stream is heard once, and for each average the best word of every frame is kept; a decoder is then a few array
operations away. Thresholds are tried on the runs of frames in which one word is the best, which are few, rather than on
all frames.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kws.evaluation.detection import recordings
from kws.evaluation.detection.matching import Report, match
from kws.evaluation.detection.thresholds import (
    THRESHOLDS,
    Curve,
    Trace,
    WordCounts,
    choose,
    choose_per_word,
    count_words,
    hear,
    hear_lanes,
    join,
    threshold_table,
)
from kws.evaluation.stream.long_stream import LongStream, Piece
from kws.spotter.decoder import Decoder, DecoderState
from kws.spotter.gate import CLOSED, OPEN
from kws.spotter.runtime import Runtime

SMOOTHINGS = (0.05, 0.1, 0.16, 0.24, 0.32, 0.4)  # seconds
CONSECUTIVE = (1, 2, 4)  # frames
REFRACTORY = (0.5, 1.0)  # seconds


class Recorder(Decoder):
    """A decoder that averages over several times at once: one candidate and score a frame for each.

    Args:
        decoder: whose labels, hop and settings it has.
        smoothings: seconds of averages.
    """

    def __init__(self, decoder: Decoder, smoothings: Sequence[float]):
        super().__init__(decoder.labels, decoder.hop_seconds, **decoder.settings)
        settings = ({**decoder.settings, "smoothing": smoothing} for smoothing in smoothings)
        self.decoders = [Decoder(decoder.labels, decoder.hop_seconds, **chosen) for chosen in settings]

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> DecoderState:
        """Of the state, `past` is one of each average."""
        state = super().initial_state(streams, device)
        return state._replace(past=tuple(d.initial_state(streams, device).past for d in self.decoders))

    def smooth(self, log_probabilities: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """(B, T, C) log-probabilities: best word and its smoothed posterior, (B, T, S), and the next past."""
        found = [d.smooth(log_probabilities, before) for d, before in zip(self.decoders, past, strict=True)]
        words, scores, after = zip(*found, strict=True)
        return torch.stack(words, -1), torch.stack(scores, -1), after


class Choice(NamedTuple):
    """A decoder's settings and what they do on the streams that they were chosen on.

    Attributes:
        settings: smoothing, threshold, consecutive, refractory.
        miss_rate: share of the keywords.
        false_alarms: an hour of the stream.
        negatives: an hour of each other stream.
        substitutions: share of the keywords that are taken for another one.
    """

    settings: dict[str, Any]
    miss_rate: float
    false_alarms: float
    negatives: tuple[float, ...]
    substitutions: float


def record(runtime: Runtime, decoder: Decoder, stream: LongStream, smoothings: Sequence[float] = SMOOTHINGS) -> Trace:
    """A stream as heard: `word` and `score` of its trace are (T, S), one column for each average."""
    return hear_lanes(runtime, Recorder(decoder, smoothings), stream)


def record_folder(
    runtime: Runtime, decoder: Decoder, folder: str | Path, smoothings: Sequence[float] = SMOOTHINGS
) -> Trace:
    """A folder of long recordings without keywords, heard alike, each from a fresh state."""
    recorder, traces = Recorder(decoder, smoothings), []
    for path in recordings.find_recordings(folder):
        blocks = recordings.blocks(path, runtime.sample_rate)
        traces.append(hear(runtime, recorder, (Piece(block, (), ()) for block in blocks)))
    return join(traces, decoder.hop_seconds)


def averaged(recorded: Trace, number: int) -> Trace:
    """What was recorded with one of the averages."""
    return recorded._replace(word=recorded.word[:, number], score=recorded.score[:, number])


def reports_of_runs(decoder: Decoder, trace: Trace, threshold: float | np.ndarray) -> list[Report]:
    """The decoder's reports at one threshold, or one (C,) for each word, found run by run: those of `reports`."""
    level = np.asarray(threshold, np.float32)
    frames = np.flatnonzero(trace.score >= (level[trace.word] if level.ndim else level))
    if not len(frames):
        return []
    word, part = trace.word[frames], np.searchsorted(trace.starts, frames, side="right")
    new = np.ones(len(frames), bool)
    new[1:] = (np.diff(frames) != 1) | (word[1:] != word[:-1]) | (part[1:] != part[:-1])
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:] - 1, len(frames) - 1)
    found, free, present = [], 0, 0
    for first, last, number, where in zip(
        frames[begins].tolist(), frames[ends].tolist(), word[begins].tolist(), part[begins].tolist(), strict=True
    ):
        if where != present:  # another recording, and a fresh decoder
            present, free = where, 0
        at = max(first + decoder.consecutive - 1, free)
        if trace.gate is not None:  # no run that began with a closed gate, and averages of an open one alone
            oldest = max(at - decoder.window + 1, int(trace.starts[where - 1]))
            opens = np.flatnonzero(trace.gate[oldest : last + 1] == OPEN) if trace.gate[first] != CLOSED else ()
            at = max(at, oldest + int(opens[0])) if len(opens) else last + 1
        if at <= last:
            found.append(Report(decoder.labels[number], (at + 1) * decoder.hop_seconds))
            free = at + 1 + decoder.wait
    return found


def points(
    decoder: Decoder,
    trace: Trace,
    tolerance: float,
    thresholds: Iterable[float] = THRESHOLDS,
    substitutions: bool = True,
) -> Curve:
    """Misses against false alarms over all thresholds: `curve`, sooner."""
    thresholds = np.asarray(list(thresholds))
    misses, alarms = [], []
    for threshold in thresholds:
        row = reports_of_runs(decoder, trace, threshold)
        found = match(row, trace.truths, tolerance, substitutions=substitutions)
        misses.append(sum(hit is None for hit in found.hit_by))
        alarms.append(len(found.false_alarms))
    return Curve(thresholds, np.array(misses) / max(len(trace.truths), 1), np.array(alarms) / trace.hours)


def search(
    decoder: Decoder,
    recorded: Trace,
    target: float,
    tolerance: float,
    negatives: Sequence[Trace] = (),
    smoothings: Sequence[float] = SMOOTHINGS,
    consecutive: Sequence[int] = CONSECUTIVE,
    refractory: Sequence[float] = REFRACTORY,
    among_words: float | None = None,
    per_word: bool = False,
    substitutions: bool = True,
) -> list[Choice]:
    """The Pareto front: decoders of which none has both fewer misses and fewer false alarms than another.

    Every one keeps to `target` false alarms an hour on the stream and on each of the `negatives`, by themselves. The
    first has the fewest misses. Empty when no decoder comes down to the target.

    Args:
        decoder: its labels and hop, and what is not searched.
        recorded: of `record`.
        target: false alarms an hour.
        tolerance: seconds after a word's end in which it may be reported.
        negatives: recorded streams without keywords.
        smoothings, consecutive, refractory: the values that are tried; the streams were recorded with these smoothings.
        among_words: what the stream itself keeps to in place of the target.
        per_word: whether every word has a threshold of its own, so that one that is often misheard costs the others
            nothing. The rates are kept to about then (`choose_per_word`).
        substitutions: whether one keyword taken for another is a false alarm of the stream.
    """
    rules = {"tolerance": tolerance, "substitutions": substitutions}
    choose_thresholds = _each_word if per_word else _all_words
    found = []
    for (number, smoothing), run, wait in product(enumerate(smoothings), consecutive, refractory):
        settings = {**decoder.settings, "smoothing": smoothing, "consecutive": run, "refractory": wait}
        tried = Decoder(decoder.labels, decoder.hop_seconds, **settings)
        heard, others = averaged(recorded, number), [averaged(other, number) for other in negatives]
        threshold = choose_thresholds(tried, heard, others, target, among_words or target, rules)
        if threshold is not None:
            found.append(_choice(tried, heard, others, threshold, rules))
    found.sort(key=lambda choice: (choice.miss_rate, choice.false_alarms))
    front: list[Choice] = []
    for choice in found:
        if not front or choice.false_alarms < front[-1].false_alarms:
            front.append(choice)
    return front


def _all_words(
    decoder: Decoder, heard: Trace, others: Sequence[Trace], target: float, among_words: float, rules: Mapping[str, Any]
) -> float | None:
    """One threshold for all words that keeps every stream to its target."""
    curve = points(decoder, heard, **rules)
    rates = [points(decoder, other, **rules).false_alarms for other in others]
    # A threshold that breaks the target elsewhere is as bad as one that breaks it here.
    allowed = curve._replace(false_alarms=np.max([curve.false_alarms * (target / among_words), *rates], axis=0))
    return choose(allowed, target)


def _each_word(
    decoder: Decoder, heard: Trace, others: Sequence[Trace], target: float, among_words: float, rules: Mapping[str, Any]
) -> dict[str, float] | None:
    """A threshold for each word, alike."""

    def counts(trace: Trace) -> WordCounts:
        rows = (reports_of_runs(decoder, trace, threshold) for threshold in THRESHOLDS)
        return count_words(decoder, trace, **rules, rows=rows)

    return choose_per_word(counts(heard), among_words, [(counts(other), target) for other in others])


def _choice(
    decoder: Decoder,
    heard: Trace,
    others: Sequence[Trace],
    threshold: float | dict[str, float],
    rules: Mapping[str, Any],
) -> Choice:
    """What a decoder does at a threshold, or one for each word."""
    level = threshold_table(decoder, threshold)[0]  # (C,)
    matching = match(reports_of_runs(decoder, heard, level), heard.truths, **rules)
    names = ("smoothing", "consecutive", "refractory")
    settings = {**{name: decoder.settings[name] for name in names}, "threshold": threshold}
    return Choice(
        settings,
        sum(hit is None for hit in matching.hit_by) / max(len(heard.truths), 1),
        len(matching.false_alarms) / heard.hours,
        tuple(len(match(reports_of_runs(decoder, o, level), (), 0.0).false_alarms) / o.hours for o in others),
        len(matching.substitutions) / max(len(heard.truths), 1),
    )
