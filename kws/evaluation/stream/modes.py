"""A split's clips as one continuous stream, in three modes: what a spotter makes of words that follow each other.

The clips are cut to whole hops and put one after the other in a seeded order, so that every mode hears the same
frames and a clip's span is a whole number of them. The modes differ in the state alone:

    reset   everything from zero before each clip, as in training
    never   the state is carried on for ever
    vad     the network's state is cleared where the voice activity detector's signal falls
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kws.evaluation.confusion import described
from kws.evaluation.intervals import wilson_interval
from kws.runs.names import MODES
from kws.spotter import RESTING, Spotter
from kws.spotter.featurizer import INT16_SCALE
from kws.spotter.runtime import Runtime, TorchRuntime, clips_at_once
from kws.spotter.vad import VoiceActivityDetector
from kws.support.pair_counts import PairCounts

DEFINITIONS = {
    "best": "the label with the highest probability in any frame of the span (the tutorial's); silence by its worst",
    "last": "the label with the highest probability in the span's last frame",
    "mean": "the label with the highest mean log-probability over the span",
}


def stream_order(clips: int, seed: int) -> np.ndarray:
    """The order in which clips follow each other."""
    return np.random.default_rng([seed, clips]).permutation(clips)


def judge(log_probabilities: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Labels of clips by their frames: (N, T, C) to (N,) class indices for each of `DEFINITIONS`.

    There is silence around every word, so by the best frame it would win every clip: it counts by its worst.
    """
    best = log_probabilities.max(axis=1)  # (N, C)
    if RESTING in labels:
        rest = list(labels).index(RESTING)
        best[:, rest] = log_probabilities[:, :, rest].min(axis=1)
    return {
        "best": best.argmax(axis=-1),
        "last": log_probabilities[:, -1].argmax(axis=-1),
        "mean": log_probabilities.mean(axis=1).argmax(axis=-1),
    }


class StreamVerdicts:
    """What a runtime called each clip of a stream, and what its detector did meanwhile.

    Attributes:
        given: for each definition the (N,) class indices, in the order of the clips handed in.
        resets: falls of the voice activity signal.
        voice: share of frames with voice, or None without a detector.
        confidences: (N, C) highest log-probability of each label in a clip's span; none where they are not asked for.
    """

    def __init__(self, clips: int, classes: int):
        self.given = {name: np.zeros(clips, np.int64) for name in DEFINITIONS}
        self.confidences = np.zeros((clips, classes), np.float32)
        self.resets = 0
        self.voice: float | None = None


def hear_clips(
    runtime: Runtime,
    clips: np.ndarray,
    order: np.ndarray,
    reset: bool,
    at_once: int = 64,
    confidences: bool = True,
) -> StreamVerdicts:
    """Play clips to a runtime and note what it called them.

    Args:
        runtime: who listens.
        clips: (N, S) samples, int16 or float32 in [-1, 1].
        order: (N',) indices in the order in which they are played; they may be fewer than N.
        reset: start afresh before each clip; otherwise as one continuous stream.
        at_once: clips computed together, at most, which bounds the memory.
        confidences: note those of every label too, of which there may be many.
    """
    hops = clips.shape[1] // runtime.hop_size
    verdicts = StreamVerdicts(len(clips), len(runtime.labels) if confidences else 0)
    state, last_signal, voiced = runtime.start(), 0, 0
    at_once = clips_at_once(hops, len(runtime.labels), at_once)
    for start in range(0, len(order), at_once):
        chosen = order[start : start + at_once]
        samples = as_float(clips[chosen, : hops * runtime.hop_size])
        if reset:
            outputs, _ = runtime.hear(samples, runtime.start(len(chosen)))
        else:
            outputs, state = runtime.hear(samples.reshape(1, -1), state)
            if outputs.signal is not None:
                signal = np.concatenate([[last_signal], outputs.signal[0]])
                verdicts.resets += int((np.diff(signal) < 0).sum())
                voiced += int(outputs.signal.sum())
                last_signal = int(signal[-1])
                verdicts.voice = voiced / (hops * (start + len(chosen)))
        frames = outputs.log_probabilities.reshape(len(chosen), hops, -1)
        for name, given in judge(frames, runtime.labels).items():
            verdicts.given[name][chosen] = given
        if confidences:
            verdicts.confidences[chosen] = frames.max(axis=1)
    return verdicts


def as_float(samples: np.ndarray) -> np.ndarray:
    """16-bit or float samples to float32 in [-1, 1]."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(INT16_SCALE)
    return samples.astype(np.float32)


def share(correct: np.ndarray) -> dict[str, Any]:
    """Accuracy of (N,) booleans with its 95 % Wilson interval; None for no clips at all."""
    return share_of(int(correct.sum()), len(correct))


def share_of(right: int, clips: int) -> dict[str, Any]:
    """The same of two numbers."""
    return {
        "accuracy": right / clips if clips else None,
        "interval": list(wilson_interval(right, clips)) if clips else None,
        "clips": clips,
    }


def stream_accuracy(
    spotter: Spotter,
    clips: np.ndarray,
    labels: np.ndarray,
    seed: int = 1,
    definition: str = "best",
    modes: tuple[str, ...] = MODES,
) -> dict[str, Any]:
    """Accuracy of a spotter on a split in each mode, per word and overall.

    Args:
        spotter: who listens. Without a detector of its own, mode ``vad`` uses ELL's default parameters and says so.
        clips: (N, S) samples of the split.
        labels: (N,) class indices.
        seed: decides the order of the clips.
        definition: which of `DEFINITIONS` the headline figure is; the others are reported beside it.
        modes: which of `MODES`.

    Returns:
        For each mode ``accuracy``, ``interval``, ``clips``, ``per_word``, ``confusion`` and ``most_confused`` (told by
        `kws.evaluation.confusion`) and ``definitions``; for ``vad`` also ``resets_per_clip``, ``voice`` (share of
        frames) and its ``parameters``.
    """
    labels = np.asarray(labels)
    order = stream_order(len(clips), seed)
    detector = spotter.vad or VoiceActivityDetector(spotter.featurizer.num_features, spotter.featurizer.hop_seconds)
    results: dict[str, Any] = {
        "definition": definition,
        "definitions": dict(DEFINITIONS),
        "seed": seed,
    }
    for mode in modes:
        runtime = TorchRuntime(spotter, vad=detector if mode == "vad" else "off")
        verdicts = hear_clips(runtime, clips, order, reset=mode == "reset", confidences=False)
        given = verdicts.given[definition]
        pairs = PairCounts.of(labels, given, len(spotter.labels))
        counts = zip(spotter.labels, pairs.diagonal.tolist(), pairs.row_totals.tolist(), strict=True)
        results[mode] = {
            **share(given == labels),
            "definitions": {name: share(other == labels) for name, other in verdicts.given.items()},
            "per_word": {word: share_of(right, clips) for word, right, clips in counts},
            **described(pairs, spotter.labels),
        }
        if mode == "vad":
            results[mode] |= {
                "resets_per_clip": verdicts.resets / max(len(clips), 1),
                "voice": verdicts.voice,
                "parameters": dict(detector.settings),
                "own_detector": spotter.vad is not None,
            }
    return results
