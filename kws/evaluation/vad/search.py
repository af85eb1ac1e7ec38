"""Parameters for the voice activity detector: which of them let a network survive a stream?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kws.ell.edit import ELL_DEFAULTS as ELL
from kws.evaluation.stream.modes import as_float, judge, share, stream_order
from kws.evaluation.stream.word_ends import word_span
from kws.spotter import Spotter
from kws.spotter.vad import VoiceActivityDetector

# Lowest and highest value of each parameter; all are searched in the logarithm.
SPACE = {
    "tau_up": (0.1, 20.0),
    "tau_down": (0.01, 1.0),
    "large_input": (1.0, 10.0),
    "gain_att": (0.001, 1.0),
    "threshold_up": (1.0, 8.0),
    "threshold_down": (0.7, 4.0),
    "level_threshold": (0.001, 0.5),
}
TUTORIAL = {
    "tau_up": 1.5,
    "tau_down": 0.09,
    "large_input": 4.0,
    "gain_att": 0.01,
    "threshold_up": 3.5,
    "threshold_down": 0.9,
    "level_threshold": 0.02,
}
WORST_TIMING = 0.5  # seconds; a word whose end is missed altogether counts as this


class SearchStream(NamedTuple):
    """A split's clips as L streams side by side, each n clips long; T frames each.

    Attributes:
        samples: (L, S) float32.
        features: (L, T, F), raw.
        labels: (L, n) class indices.
        hops: frames per clip.
        word: (L, T) bool, whether the frame lies in a word.
        ends: (L, n) frame in which the word of each clip ends.
    """

    samples: np.ndarray
    features: Tensor
    labels: np.ndarray
    hops: int
    word: np.ndarray
    ends: np.ndarray


@torch.no_grad()
def search_stream(spotter: Spotter, clips: np.ndarray, labels: np.ndarray, lanes: int, seed: int) -> SearchStream:
    """Put clips (N, S) in a seeded order, `lanes` streams side by side; clips that fill no lane are left out."""
    hop, rate = spotter.featurizer.hop_size, spotter.sample_rate
    hops = clips.shape[1] // hop
    lanes = min(lanes, len(clips))
    order = stream_order(len(clips), seed)[: len(clips) // lanes * lanes].reshape(lanes, -1)  # (L, n)
    waveforms = as_float(clips[order.ravel(), : hops * hop])
    samples = waveforms.reshape(lanes, -1)
    spans = np.array([word_span(waveform, rate) for waveform in waveforms]) * rate / hop  # frames
    frame = np.arange(hops) + 0.5
    word = (frame >= spans[:, :1]) & (frame <= spans[:, 1:])
    ends = spans[:, 1].reshape(order.shape) + hops * np.arange(order.shape[1])
    features = spotter.featurizer(torch.from_numpy(samples))
    return SearchStream(samples, features, np.asarray(labels)[order], hops, word.reshape(lanes, -1), ends)


@torch.no_grad()
def judge_detector(spotter: Spotter, vad: Any, stream: SearchStream, definition: str = "best") -> dict[str, Any]:
    """How a spotter does on a stream when `vad` drives its reset.

    Returns:
        ``accuracy`` with ``interval`` and ``clips``; ``timing``, mean seconds between a word's end and the nearest
        reset, at most `WORST_TIMING` each; ``frames_agreed``, share of frames on which the signal is right about the
        word spans; ``resets_per_clip``; ``voice``, share of frames.
    """
    lanes = len(stream.features)
    own, spotter.vad = spotter.vad, vad
    try:
        frames, _, _ = spotter.stream_features(
            stream.features, vad.initial_state(lanes), spotter.classifier.initial_state(lanes)
        )
    finally:
        spotter.vad = own
    outputs = frames.log_probabilities.numpy().reshape(stream.labels.size, stream.hops, -1)
    signal = frames.signal.numpy()
    given = judge(outputs, spotter.labels)[definition].reshape(stream.labels.shape)
    falls = np.diff(signal, axis=1, prepend=0) < 0
    return {
        **share((given == stream.labels).ravel()),
        "timing": _timing(falls, stream.ends, spotter.featurizer.hop_seconds),
        "frames_agreed": float((signal == stream.word).mean()),
        "resets_per_clip": float(falls.sum() / stream.labels.size),
        "voice": float(signal.mean()),
    }


def _timing(falls: np.ndarray, ends: np.ndarray, hop_seconds: float) -> float:
    """Mean seconds between words' ends (L, n) in frames and the nearest of the falls (L, T), capped."""
    distances = []
    for row, end in zip(falls, ends, strict=True):
        at = np.flatnonzero(row)
        nearest = np.abs(at[None] - end[:, None]).min(1) if len(at) else np.full(len(end), np.inf)
        distances.append(np.minimum(nearest * hop_seconds, WORST_TIMING))
    return float(np.mean(distances))


def detector(spotter: Spotter, parameters: Mapping[str, float]) -> VoiceActivityDetector:
    """A detector for the spotter's features."""
    return VoiceActivityDetector(spotter.featurizer.num_features, spotter.featurizer.hop_seconds, **parameters)


def search(
    spotter: Spotter,
    stream: SearchStream,
    trials: int,
    seed: int,
    timing_weight: float,
    definition: str = "best",
    progress: bool = False,
):
    """Search for parameters with Optuna's TPE: highest accuracy - `timing_weight` · timing in seconds.

    ELL's default parameters and the tutorial's are the first two trials.

    Returns:
        the finished `optuna.Study`; ``study.best_params`` are the parameters.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial) -> float:
        parameters = {name: trial.suggest_float(name, *ends, log=True) for name, ends in SPACE.items()}
        figures = judge_detector(spotter, detector(spotter, parameters), stream, definition)
        for name in ("accuracy", "timing", "resets_per_clip"):
            trial.set_user_attr(name, figures[name])
        return figures["accuracy"] - timing_weight * figures["timing"]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    for known in (ELL, TUTORIAL):
        study.enqueue_trial(known)
    study.optimize(objective, n_trials=trials, show_progress_bar=progress)
    return study
