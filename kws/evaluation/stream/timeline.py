"""A stretch of stream as a picture: what came in, what every stage made of it, and what was true."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from kws.evaluation.stream.long_stream import LongStream, Truth
from kws.spotter import Spotter
from kws.spotter.decoder import Detection
from kws.spotter.streaming import StreamingSpotter
from kws.spotter.vad import VoiceActivityDetector
from kws.support.pictures import plain

SHOWN_WORDS = 8  # lines of posteriors; more cannot be told apart


class VadTrack(NamedTuple):
    """A detector's inner life over T frames: each (T,)."""

    level: np.ndarray
    noise_floor: np.ndarray
    signal: np.ndarray


@torch.no_grad()
def vad_track(vad: VoiceActivityDetector, features: torch.Tensor) -> VadTrack:
    """Level, noise floor and signal over raw features (T, F), from the detector's start."""
    levels = vad.level(features)
    state, floors, signals = vad.initial_state(), [], []
    for level in levels:
        _, state = vad.follow(level[None, None], state)
        floors.append(float(state.noise_floor))
        signals.append(int(state.signal))
    return VadTrack(levels.numpy(), np.array(floors), np.array(signals))


def draw_vad(axes, vad: VoiceActivityDetector, track: VadTrack, hop_seconds: float) -> None:
    """Level, noise floor, both thresholds and the signal on one pair of axes."""
    s = vad.settings
    time = (np.arange(len(track.level)) + 1) * hop_seconds
    begins = np.maximum(s["threshold_up"] * track.noise_floor, s["level_threshold"])
    axes.plot(time, track.level, lw=0.8, label="level")
    axes.plot(time, track.noise_floor, lw=1.0, label="noise floor")
    axes.plot(time, begins, lw=0.8, ls="--", label="voice begins above")
    axes.plot(time, s["threshold_down"] * track.noise_floor, lw=0.8, ls=":", label="voice ends below")
    axes.set_yscale("log")
    axes.set_ylim(max(track.level.min() / 2, 1e-6), max(track.level.max(), begins.max()) * 2)
    low, high = axes.get_ylim()
    axes.fill_between(time, low, high, where=track.signal == 1, step="pre", alpha=0.15, color="C2", label="voice")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_ylabel("VAD")


def stretch(stream: LongStream, seconds: float) -> tuple[np.ndarray, list[Truth]]:
    """The first `seconds` of a stream and the keywords in it."""
    blocks, truths, size = [], [], 0
    for piece in stream.pieces():
        blocks.append(piece.samples)
        truths += piece.truths
        size += len(piece.samples)
        if size >= seconds * stream.sample_rate:
            break
    return np.concatenate(blocks)[: round(seconds * stream.sample_rate)], [t for t in truths if t.end <= seconds]


def timeline(spotter: Spotter, samples: np.ndarray, truths: Sequence[Truth] = (), title: str = "") -> Figure:
    """Waveform, features, voice activity, posteriors, detections and truth over a stretch of audio, (S,)."""
    streaming = StreamingSpotter(spotter)
    heard, _ = streaming.stream(samples, streaming.initial_state())
    hop, rate = spotter.featurizer.hop_seconds, spotter.sample_rate
    seconds = len(samples) / rate
    rows = 4 if spotter.vad else 3
    figure = Figure(figsize=(12, 2 * rows + 1), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, height_ratios=[1, 1.4, 1, 1.4] if spotter.vad else [1, 1.4, 1.4])
    _draw_waveform(axes[0], samples, rate, truths)
    features = heard.frames.features[0]
    axes[1].imshow(
        features.T.numpy(), origin="lower", aspect="auto", extent=(0, len(features) * hop, 0, features.shape[1])
    )
    axes[1].set_ylabel("features")
    if spotter.vad:
        draw_vad(axes[2], spotter.vad, vad_track(spotter.vad, features), hop)
    _draw_posteriors(axes[-1], spotter, heard.frames.log_probabilities[0].exp().numpy(), hop, heard.detections[0])
    for axis in axes:
        axis.set_xlim(0, seconds)
        for truth in truths:
            axis.axvspan(truth.start, truth.end, color="k", alpha=0.08, lw=0)
    axes[-1].set_xlabel("seconds")
    if title:
        figure.suptitle(plain(title))
    return figure


def _draw_waveform(axes, samples: np.ndarray, rate: int, truths: Sequence[Truth]) -> None:
    step = max(1, len(samples) // 4000)  # an envelope: lines finer than a pixel only make the file large
    envelope = np.abs(samples[: len(samples) // step * step]).reshape(-1, step).max(1)
    time = np.arange(len(envelope)) * step / rate
    axes.fill_between(time, -envelope, envelope, lw=0)
    axes.set_ylabel("waveform")
    for truth in truths:
        axes.text((truth.start + truth.end) / 2, 1.02, plain(truth.word), ha="center", va="bottom", fontsize=8,
                  transform=axes.get_xaxis_transform())  # fmt: skip


def _draw_posteriors(axes, spotter: Spotter, posteriors: np.ndarray, hop: float, found: Sequence[Detection]) -> None:
    time = (np.arange(len(posteriors)) + 1) * hop
    shown = np.argsort(-posteriors.max(0), kind="stable")[:SHOWN_WORDS]
    for index in sorted(shown):
        axes.plot(time, posteriors[:, index], lw=0.9, label=plain(spotter.labels[index]))
    for detection in found:
        axes.axvline(detection.time, color="k", lw=0.8, ls="--")  # no color of a word
        axes.text(detection.time, 1.03, plain(detection.word), ha="center", va="bottom", fontsize=8)
    axes.set(ylim=(0, 1.15), ylabel="posteriors,\ndetections")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
