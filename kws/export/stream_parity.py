"""Two that hear one long stream: the same log-probabilities, the same voice, the same words."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from kws.export.parity import Parity, ParityError, allowed
from kws.spotter import Detection, Spotter, SpotterState
from kws.spotter.runtime import Outputs, Runtime

TIE = 1e-4  # relative distance from a threshold of the detector at which rounding may decide
DETECTION_TIE = 1e-3  # distance from a threshold of the decoder, in probability
BLOCK = 64  # hops

Resume = Callable[[np.ndarray, Any, np.ndarray, SpotterState], Any]
"""Samples (1, T · hop), the runtime's state before them, what PyTorch's detector said of them (T,) and PyTorch's state
after them, to a state of the runtime after them in which its detector has said the same."""


@torch.no_grad()
def compare_streams(
    spotter: Spotter, runtime: Runtime, resume: Resume, waveforms: np.ndarray, tolerance: float, name: str
) -> tuple[Parity, np.ndarray, np.ndarray | None]:
    """Run both over the clips as one stream without a break, and compare every frame.

    Where PyTorch's level lies within rounding of one of the detector's thresholds, the two may rightly decide
    differently; from there `runtime` goes on as if it had decided as PyTorch did.

    Args:
        spotter: in evaluation mode.
        runtime: what is compared with it.
        resume: how the runtime goes on after a tie.
        waveforms: (N, S) clips in [-1, 1].
        tolerance: see `kws.export.parity.allowed`. On top of it comes what either may lose by `rounding`.
        name: of the runtime's file, for a sentence.

    Returns:
        how far they are apart, the runtime's log-probabilities (T, C), and PyTorch's voice (T,), with which the runtime
        was made to agree; None without a detector.

    Raises:
        ParityError: a log-probability is further off than `tolerance`, or the voice differs and it was no tie.
    """
    hop, lost = runtime.hop_size, 2 * rounding(spotter, waveforms)
    count = waveforms.shape[1] // hop
    samples = np.ascontiguousarray(waveforms[:, : count * hop].reshape(1, -1), np.float32)
    state, theirs = runtime.start(), spotter.initial_state()
    heard, voices, largest, same, start, end = [], [], 0.0, 0, 0, samples.shape[1] // hop
    while start < end:
        piece = samples[:, start * hop : min(start + BLOCK, end) * hop]
        frames, after = spotter.stream(torch.from_numpy(piece), theirs)
        outputs, next_state = runtime.hear(piece, state)
        at = _first_difference(frames.signal, outputs)
        if at is not None:
            _refuse_unless_tie(spotter, frames, theirs, at, start, name)
            piece = piece[:, : (at + 1) * hop]  # this frame's output is from before a reset
            frames, after = spotter.stream(torch.from_numpy(piece), theirs)
            next_state = resume(piece, state, frames.signal[0].numpy(), after)
        expected = frames.log_probabilities[0].numpy()
        computed = outputs.log_probabilities[0, : len(expected)]
        limit = allowed(expected, tolerance) + lost
        largest = max(largest, _refuse_unless_near(expected, computed, limit, start, name))
        same += int((expected.argmax(-1) == computed.argmax(-1)).sum())
        heard.append(computed)
        voices += [] if frames.signal is None else [frames.signal[0].numpy()]
        state, theirs, start = next_state, after, start + len(expected)
    parity = Parity(largest, same / max(end, 1), len(waveforms), tolerance + lost)
    outputs = np.concatenate(heard) if heard else np.zeros((0, len(spotter.labels)), np.float32)
    return parity, outputs, np.concatenate(voices) if voices else None


@torch.no_grad()
def rounding(spotter: Spotter, waveforms: np.ndarray) -> float:
    """How far PyTorch's log-probabilities of clips (N, S) in float32 are from those in float64 at most.

    A quiet filter beside loud ones keeps few digits of its logarithm, and another program loses others.
    """
    exact, largest = copy.deepcopy(spotter).double(), 0.0

    def heard(by: Spotter, samples: torch.Tensor) -> torch.Tensor:
        features = by.normalization(by.features(samples))
        state = tuple(part.to(features) for part in by.classifier.initial_state(len(samples)))
        return by.classifier.stream(features, state)[0]

    for clips in torch.from_numpy(np.asarray(waveforms, np.float32)).split(BLOCK):
        largest = max(largest, float((heard(spotter, clips) - heard(exact, clips.double())).abs().max()))
    return largest


def _first_difference(signal: torch.Tensor | None, outputs: Outputs) -> int | None:
    if signal is None:
        return None
    (differs,) = np.nonzero(signal[0].numpy() != outputs.signal[0])
    return int(differs[0]) if len(differs) else None


def _refuse_unless_near(expected: np.ndarray, computed: np.ndarray, limit: np.ndarray, start: int, name: str) -> float:
    difference = np.abs(expected - computed)
    if not (difference <= limit).all():  # also when it is not a number
        frame = int((np.nan_to_num(difference, nan=np.inf) / limit).max(axis=1).argmax())
        raise ParityError(
            f"{name} differs from PyTorch by {difference[frame].max():.3g} in frame {start + frame} of the stream; "
            f"{limit[frame].max():.3g} is allowed. The file has not been kept."
        )
    return float(difference.max(initial=0.0))


def _refuse_unless_tie(spotter: Spotter, frames, before: SpotterState, at: int, start: int, name: str) -> None:
    levels = spotter.vad.level(frames.features)
    _, state = spotter.vad.follow(levels[:, : at + 1], before.vad)
    s, floor, level = spotter.vad.settings, float(state.noise_floor), float(levels[0, at])
    edges = (s["threshold_up"] * floor, s["threshold_down"] * floor, s["level_threshold"])
    if min(abs(level - edge) / max(edge, 1e-9) for edge in edges) > TIE:
        raise ParityError(f"{name} hears voice otherwise than PyTorch in frame {start + at} of the stream.")


def compare_detections(
    spotter: Spotter,
    log_probabilities: np.ndarray,
    samples: np.ndarray,
    voice: np.ndarray | None,
    detections: list[Detection],
    name: str,
) -> int:
    """Whether a decoder finds in log-probabilities (T, C) what PyTorch's does; how many detections there are.

    Both hear samples (T · hop,) and voice (T,) too, for the noise gate.

    From the first place on where a smoothed probability lies within rounding of its threshold, or of that of another
    word, and where the two decided differently, they may rightly go different ways.

    Raises:
        ParityError: they differ, and it was no tie.
    """
    decoder = spotter.decoder
    signal = None if voice is None else torch.from_numpy(np.asarray(voice))[None]
    heard = torch.from_numpy(log_probabilities)[None], decoder.initial_state(), torch.from_numpy(samples)[None], signal
    frames, _ = decoder.stream(*heard)
    (expected,) = decoder.detections(frames, torch.zeros(1, dtype=torch.int64))
    for i in range(max(len(expected), len(detections))):
        ours, theirs = (found[i] if i < len(found) else None for found in (detections, expected))
        if ours and theirs and (ours.word, round(ours.time, 6)) == (theirs.word, round(theirs.time, 6)):
            continue
        first = min(found.time for found in (ours, theirs) if found)
        if not _is_tie(spotter, log_probabilities, round(first / decoder.hop_seconds)):
            raise ParityError(f"{name} finds {ours} where PyTorch's decoder finds {theirs}. It has not been kept.")
        break
    return len(expected)


def _is_tie(spotter: Spotter, log_probabilities: np.ndarray, frame: int) -> bool:
    decoder = spotter.decoder
    probabilities = np.exp(log_probabilities[:, decoder.words.numpy()])
    padded = np.concatenate([np.zeros((decoder.window - 1, probabilities.shape[1])), probabilities])
    smooth = np.lib.stride_tricks.sliding_window_view(padded, decoder.window, axis=0).mean(-1)
    near = slice(max(0, frame - decoder.consecutive), frame + 1)
    best = np.sort(smooth[near], axis=-1)
    thresholds = decoder.thresholds[decoder.words].numpy()
    to_threshold = np.abs(smooth[near] - thresholds).min(initial=np.inf)
    between = (best[:, -1] - best[:, -2]).min(initial=np.inf) if best.shape[1] > 1 else np.inf
    return min(to_threshold, between) < DETECTION_TIE
