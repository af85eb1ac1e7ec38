"""Thresholds: a stream is heard once, then every threshold is tried on what was heard."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from kws.evaluation.detection.matching import Report, match, score
from kws.evaluation.stream.long_stream import LongStream, Piece, Truth
from kws.evaluation.stream.no_speech import NoSpeech
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Outputs, Runtime

# Evenly spaced in the logit, since posteriors crowd at both ends: from 0.018 to 0.9999994, and exactly 1.
THRESHOLDS = np.append(1 / (1 + np.exp(-np.linspace(-4.0, 14.0, 109))), 1.0)
MARGIN = 0.5  # of the logit: by how much other people's scores differ
CHUNK_FRAMES = 1 << 15  # of a trace, decoded at a time
CHUNK_HOPS = 256  # of a stream, heard at a time
CHUNK_VALUES = 1 << 22  # log-probabilities, at most


class Trace(NamedTuple):
    """All that detection needs of a stream, whatever the threshold: a few bytes a frame.

    Attributes:
        word: (T,) int32, class index of each frame's candidate.
        score: (T,) float32, its smoothed posterior.
        truths: keywords said.
        speech: (start, end) of other speech.
        hours: length.
        starts: frames at which another recording begins and the state is fresh.
        gate: (T,) uint8, the decoder's noise gate; None for one that is always open.
    """

    word: np.ndarray
    score: np.ndarray
    truths: tuple[Truth, ...]
    speech: tuple[tuple[float, float], ...]
    hours: float
    starts: tuple[int, ...] = (0,)
    gate: np.ndarray | None = None


def hear(runtime: Runtime, decoder: Decoder, pieces: Iterable[Piece]) -> Trace:
    """Play one stream to a runtime from a fresh state, and keep the candidate of every frame."""
    state, ear = runtime.start(), _Ear(decoder)
    leftover = np.zeros(0, np.float32)
    truths, speech = [], []
    for piece in pieces:
        truths += piece.truths
        speech += piece.speech
        samples = np.concatenate([leftover, piece.samples])
        whole = len(samples) // runtime.hop_size * runtime.hop_size
        leftover = samples[whole:]
        if whole:
            outputs, state = runtime.hear(samples[None, :whole], state)
            ear.take(outputs, samples[None, :whole])
    word, best, gate = (rows[0] for rows in ear.heard())
    hours = len(word) * decoder.hop_seconds / 3600
    return Trace(word, best, tuple(truths), tuple(speech), hours, gate=gate)


def hear_lanes(runtime: Runtime, decoder: Decoder, stream: LongStream | NoSpeech) -> Trace:
    """Play a long stream's lanes to a runtime side by side, each from a fresh state.

    In the trace they follow one another.
    """
    lanes = [_Lane(stream.pieces(lane)) for lane in range(stream.lanes)]
    state, ear = runtime.start(len(lanes)), _Ear(decoder, len(lanes))
    hops, done = stream.lane_samples // runtime.hop_size, 0
    most = min(CHUNK_HOPS, max(1, CHUNK_VALUES // (len(lanes) * len(decoder.labels))))
    while done < hops:
        count = min(most, hops - done)
        samples = np.stack([lane.take(count * runtime.hop_size) for lane in lanes])
        outputs, state = runtime.hear(samples, state)
        ear.take(outputs, samples)
        done += count
    word, best, gate = ear.heard()  # (B, T)
    seconds = hops * decoder.hop_seconds
    traces = []
    for number, lane in enumerate(lanes):
        # From a keyword on whose window the lane's end cuts off, nothing counts.
        end = min((truth.start for truth in lane.truths if truth.end > seconds - 1), default=seconds)
        kept = int(end / decoder.hop_seconds)
        traces.append(
            Trace(
                word=word[number, :kept],
                score=best[number, :kept],
                truths=tuple(truth for truth in lane.truths if truth.start < end),
                speech=tuple(span for span in lane.speech if span[0] < end),
                hours=kept * decoder.hop_seconds / 3600,
                gate=gate[number, :kept],
            )
        )
    return join(traces, decoder.hop_seconds)


class _Ear:
    """What the decoder makes of B streams before any threshold, gathered block by block."""

    def __init__(self, decoder: Decoder, streams: int = 1):
        self.decoder = decoder
        state = decoder.initial_state(streams)
        self.past, self.gate = state.past, state.gate
        self.streams, self.words, self.scores, self.gates = streams, [], [], []

    def take(self, outputs: Outputs, samples: np.ndarray) -> None:
        """The next hops of each stream: what the runtime said of them, and their samples."""
        word, best, self.past = self.decoder.smooth(torch.from_numpy(outputs.log_probabilities), self.past)
        voice = None if outputs.signal is None else torch.from_numpy(outputs.signal)
        gate, self.gate = self.decoder.listen(torch.from_numpy(samples), word.shape[1], voice, self.gate)
        self.words.append(word.to(torch.int32).numpy())
        self.scores.append(best.numpy())
        self.gates.append(gate.numpy())

    def heard(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Candidates, their scores and the noise gate so far, (B, T) each."""
        if not self.words:
            word, best, _ = self.decoder.smooth(torch.zeros(self.streams, 0, len(self.decoder.labels)), self.past)
            return word.to(torch.int32).numpy(), best.numpy(), word.to(torch.uint8).numpy()
        return tuple(np.concatenate(rows, axis=1) for rows in (self.words, self.scores, self.gates))


class _Lane:
    """Pieces of a stream, handed out in blocks of any size."""

    def __init__(self, pieces: Iterator[Piece]):
        self.pieces = pieces
        self.samples = np.zeros(0, np.float32)
        self.truths: list[Truth] = []
        self.speech: list[tuple[float, float]] = []

    def take(self, count: int) -> np.ndarray:
        blocks, size = [self.samples], len(self.samples)
        while size < count:
            piece = next(self.pieces)
            self.truths += piece.truths
            self.speech += piece.speech
            blocks.append(piece.samples)
            size += len(piece.samples)
        samples = np.concatenate(blocks)
        self.samples = samples[count:]
        return samples[:count]


def join(traces: Sequence[Trace], hop_seconds: float) -> Trace:
    """Several traces one after the other; the state is fresh where each begins."""
    lengths = np.cumsum([0, *(len(trace.word) for trace in traces)])
    truths, speech = [], []
    for trace, start in zip(traces, (lengths[:-1] * hop_seconds).tolist(), strict=True):
        truths += [truth._replace(start=truth.start + start, end=truth.end + start) for truth in trace.truths]
        speech += [(first + start, last + start) for first, last in trace.speech]
    return Trace(
        word=np.concatenate([trace.word for trace in traces]),
        score=np.concatenate([trace.score for trace in traces]),
        truths=tuple(truths),
        speech=tuple(speech),
        hours=sum(trace.hours for trace in traces),
        starts=tuple(lengths[:-1].tolist()),
        gate=None if any(trace.gate is None for trace in traces) else np.concatenate([t.gate for t in traces]),
    )


def reports(decoder: Decoder, trace: Trace, thresholds: np.ndarray) -> list[list[Report]]:
    """What the decoder reports at each of K thresholds.

    Args:
        decoder: its smoothing is in the trace already; its run length, refractory time and
            noise gate are applied here.
        trace: what was heard.
        thresholds: (K,), or (K, C) for one per word.
    """
    thresholds = torch.as_tensor(np.asarray(thresholds), dtype=torch.float32)
    found: list[list[Report]] = [[] for _ in range(len(thresholds))]
    edges = sorted({*trace.starts, *range(0, len(trace.word), CHUNK_FRAMES), len(trace.word)})
    # The past is of no use here; leaving it out keeps K streams small.
    state = decoder.initial_state(len(thresholds))
    for start, end in pairwise(edges):
        if start in trace.starts:
            state = decoder.initial_state(len(thresholds))
        word = torch.from_numpy(trace.word[start:end].astype(np.int64))[None].expand(len(thresholds), -1)
        best = torch.from_numpy(trace.score[start:end])[None]
        level = thresholds[:, None] if thresholds.dim() == 1 else thresholds[:, word[0]]
        gate = None if trace.gate is None else torch.from_numpy(trace.gate[start:end])[None]
        detected, state = decoder.decide(word, best >= level, state, gate)
        for k, t in detected.nonzero().tolist():
            time = (start + t + 1) * decoder.hop_seconds
            found[k].append(Report(decoder.labels[trace.word[start + t]], time))
    return found


class Curve(NamedTuple):
    """Misses against false alarms: one entry for each of K thresholds.

    Attributes:
        thresholds: (K,).
        miss_rate: (K,) share of the keywords.
        false_alarms: (K,) per hour.
    """

    thresholds: np.ndarray
    miss_rate: np.ndarray
    false_alarms: np.ndarray


def curve(
    decoder: Decoder,
    trace: Trace,
    tolerance: float,
    negatives: Trace | None = None,
    thresholds=THRESHOLDS,
    debounce: float = 0.0,
    rows: Iterable[list[Report]] | None = None,
    substitutions: bool = True,
) -> Curve:
    """The DET curve of a trace; false alarms from `negatives` alone where given, else with or without substitutions.

    `rows` are its `reports`, where they are known.
    """
    rows = reports(decoder, trace, thresholds) if rows is None else rows
    matchings = [match(row, trace.truths, tolerance, debounce, substitutions) for row in rows]
    misses = np.array([sum(hit is None for hit in matching.hit_by) for matching in matchings])
    if negatives is None:
        alarms = np.array([len(matching.false_alarms) for matching in matchings]) / trace.hours
    else:
        alarms = false_alarms(decoder, negatives, thresholds, debounce)
    return Curve(np.asarray(thresholds), misses / max(len(trace.truths), 1), alarms)


def false_alarms(decoder: Decoder, trace: Trace, thresholds=THRESHOLDS, debounce: float = 0.0) -> np.ndarray:
    """(K,) reports per hour of a trace in which no keyword is said."""
    rows = reports(decoder, trace, thresholds)
    return np.array([len(match(row, (), 0.0, debounce).false_alarms) for row in rows]) / trace.hours


def choose(points: Curve, target: float) -> float | None:
    """The threshold with the fewest misses among those with at most `target` false alarms per hour.

    Of equals the one in the middle, furthest from both kinds of error. None when every threshold has more.
    """
    allowed = np.flatnonzero(points.false_alarms <= target)
    if not len(allowed):
        return None
    equals = allowed[points.miss_rate[allowed] == points.miss_rate[allowed].min()]
    return float(points.thresholds[_middle(equals)])


def _middle(indices: np.ndarray) -> int:
    return int(indices[len(indices) // 2])


class WordCounts(NamedTuple):
    """What each word would do at each of K thresholds for all.

    Attributes:
        thresholds: (K,), ascending.
        hours: length of the stream.
        hits: by word, (K,) keywords found.
        false_alarms: by word, (K,) reports that hit nothing.
    """

    thresholds: np.ndarray
    hours: float
    hits: dict[str, np.ndarray]
    false_alarms: dict[str, np.ndarray]


def count_words(
    decoder: Decoder,
    trace: Trace,
    tolerance: float,
    thresholds=THRESHOLDS,
    debounce: float = 0.0,
    rows: Iterable[list[Report]] | None = None,
    substitutions: bool = True,
) -> WordCounts:
    """Hits and false alarms of each word at every threshold; `rows` are its `reports`, where they are known."""
    words = [decoder.labels[i] for i in decoder.words.tolist()]
    hits = {word: np.zeros(len(thresholds)) for word in words}
    alarms = {word: np.zeros(len(thresholds)) for word in words}
    for k, row in enumerate(reports(decoder, trace, thresholds) if rows is None else rows):
        matching = match(row, trace.truths, tolerance, debounce, substitutions)
        for number in matching.false_alarms:
            alarms[row[number].word][k] += 1
        for number in matching.hit_by:
            if number is not None:
                hits[row[number].word][k] += 1
    return WordCounts(np.asarray(thresholds), trace.hours, hits, alarms)


def expected(counts: WordCounts, margin: float = MARGIN) -> WordCounts:
    """Counts to be expected of other people, whose scores differ from these by a normal error in the logit.

    A few clips decide where a word's threshold may stand, so what just stays below it counts as well, by the chance
    that the like of it comes above: a kernel estimate of the scores' distribution. Thresholds of 0 or 1 stay.

    Args:
        counts: of a stream.
        margin: standard deviation of the error; 0 for none.
    """
    inner = (counts.thresholds > 0) & (counts.thresholds < 1)
    if not margin or not inner.any():
        return counts
    logit = np.log(counts.thresholds[inner] / (1 - counts.thresholds[inner]))
    weights = np.exp(-0.5 * ((logit[:, None] - logit) / margin) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)

    def shifted(values: np.ndarray) -> np.ndarray:
        result = values.astype(float)
        result[inner] = weights @ result[inner]
        return result

    return counts._replace(
        hits={word: shifted(values) for word, values in counts.hits.items()},
        false_alarms={word: shifted(values) for word, values in counts.false_alarms.items()},
    )


def choose_per_word(
    counts: WordCounts,
    target: float,
    others: Iterable[tuple[WordCounts, float]] = (),
    margin: float = MARGIN,
) -> dict[str, float] | None:
    """A threshold for each word, with at most about `target` false alarms per hour expected in all.

    All words start at the highest threshold. Again and again the word and the lower threshold are taken that win most
    hits for each false alarm they cost, as a share of what is allowed, until nothing that still fits is won. Words hang
    together through the refractory time, so the sum is close to, not exactly, what the decoder then does.

    Args:
        counts: hits and false alarms at the thresholds to choose from.
        target: false alarms per hour.
        others: other streams at the same thresholds, each with its own target, kept by itself; hits there are nothing.
            They are counted as they were heard: a fraction of a false alarm, which is all that a short one allows, is
            nothing to expect.
        margin: of `expected`, for the stream itself.

    Returns:
        Thresholds by word; None when the highest cost more than a target already.
    """
    streams = [(expected(counts, margin), target), *others]
    thresholds, hits = counts.thresholds, streams[0][0].hits
    at = dict.fromkeys(hits, len(thresholds) - 1)
    words = [word for word in hits if hits[word].any()]  # no threshold wins anything of the others
    alarms = {word: np.stack([heard.false_alarms[word] for heard, _ in streams]) for word in hits}  # (streams, K)
    allowed = np.array([wanted * heard.hours for heard, wanted in streams])
    budget = allowed - sum(alarms[word][:, -1] for word in hits)
    if (budget < 0).any():
        return None
    while True:
        best = None
        for word in words:
            k = at[word]
            won, cost = hits[word][:k] - hits[word][k], alarms[word][:, :k] - alarms[word][:, k : k + 1]
            fits = np.flatnonzero((won > 0) & (cost <= budget[:, None]).all(axis=0))
            if not len(fits):
                continue
            share = (cost / np.maximum(allowed, 1e-9)[:, None]).sum(axis=0)
            gain = won[fits] / np.maximum(share[fits], 1e-3 / max(allowed[0], 1e-9))
            chosen = _middle(fits[gain >= gain.max() - 1e-12])
            candidate = (gain.max(), won[chosen], word, chosen, cost[:, chosen])
            best = candidate if best is None or candidate[:2] > best[:2] else best
        if best is None:
            return {word: float(thresholds[k]) for word, k in at.items()}
        _, _, word, at[word], cost = best
        budget = budget - cost


def threshold_table(decoder: Decoder, threshold: float | Mapping[str, float]) -> np.ndarray:
    """One threshold or one per word as a row (1, C) for `reports`."""
    if not isinstance(threshold, Mapping):
        return np.full((1, len(decoder.labels)), threshold)
    return np.array([[threshold.get(label, 1.0) for label in decoder.labels]])


def operating_point(
    decoder: Decoder,
    trace: Trace,
    threshold: float | Mapping[str, float] | None,
    tolerance: float,
    negatives: Mapping[str, Trace] | None = None,
    debounce: float = 0.0,
) -> dict[str, Any]:
    """How a trace is decoded at a threshold: `score`'s figures, and the threshold.

    A threshold of None stands for a decoder that never reports. Of each of the `negatives`, traces in which no keyword
    is said, hours and false alarms are added as ``kinds``.
    """

    def decoded(heard: Trace) -> list[Report]:
        return [] if threshold is None else reports(decoder, heard, threshold_table(decoder, threshold))[0]

    point = {
        "threshold": dict(threshold) if isinstance(threshold, Mapping) else threshold,
        **score(decoded(trace), trace.truths, trace.hours, tolerance, trace.speech, debounce),
    }
    if negatives is not None:
        names = ("hours", "false_alarms", "false_alarms_per_hour", "false_alarm_interval")
        alone = {kind: score(decoded(heard), (), heard.hours, 0.0, (), debounce) for kind, heard in negatives.items()}
        point["kinds"] = {kind: {name: figures[name] for name in names} for kind, figures in alone.items()}
    return point
