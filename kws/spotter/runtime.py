"""The same spotter, run by different programs behind one small interface.

A runtime has a `name`, `labels`, `sample_rate` and `hop_size`, and

    start(streams) -> state
    hear(samples (B, T · hop_size) float32, state) -> Outputs, state

with plain arrays on the outside. What is judged in `kws.evaluation` is judged through it.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from kws.spotter.spotter import Spotter
from kws.spotter.vad import VoiceActivityDetector

VALUES = 1 << 23  # log-probabilities that are computed at once, at most


def clips_at_once(frames: int, classes: int, most: int = 512) -> int:
    """Clips of so many frames that are computed together: fewer of many classes, which bounds the memory."""
    return max(1, min(most, VALUES // max(frames * classes, 1)))


class Outputs(NamedTuple):
    """What a runtime says of T hops of B streams.

    Attributes:
        log_probabilities: (B, T, C) float32.
        signal: (B, T) voice activity, or None without a detector.
    """

    log_probabilities: np.ndarray
    signal: np.ndarray | None


class Runtime(Protocol):
    """Anything that can be judged on a stream."""

    name: str
    labels: tuple[str, ...]
    sample_rate: int
    hop_size: int

    def start(self, streams: int = 1) -> Any:
        """The state of `streams` streams that have heard nothing yet."""

    def hear(self, samples: np.ndarray, state: Any) -> tuple[Outputs, Any]:
        """The next hops of each stream."""


class TorchRuntime:
    """PyTorch.

    Args:
        spotter: the spotter, on the processor.
        vad: ``own`` for the detector it carries (or none), ``off`` for never resetting, or another detector.
    """

    name = "pytorch"

    def __init__(self, spotter: Spotter, vad: VoiceActivityDetector | str = "own"):
        self.spotter = spotter
        self.vad = spotter.vad if vad == "own" else None if vad == "off" else vad
        self.labels = spotter.labels
        self.sample_rate = spotter.sample_rate
        self.hop_size = spotter.featurizer.hop_size

    def start(self, streams: int = 1) -> Any:
        """See `Runtime`."""
        state = self.spotter.initial_state(streams)
        return state._replace(vad=self.vad.initial_state(streams) if self.vad else None)

    @torch.no_grad()
    def hear(self, samples: np.ndarray, state: Any) -> tuple[Outputs, Any]:
        """See `Runtime`."""
        own, self.spotter.vad = self.spotter.vad, self.vad
        try:
            frames, state = self.spotter.stream(torch.from_numpy(np.ascontiguousarray(samples, np.float32)), state)
        finally:
            self.spotter.vad = own
        signal = None if frames.signal is None else frames.signal.numpy()
        return Outputs(frames.log_probabilities.numpy(), signal), state


@torch.no_grad()
def log_probabilities(spotter: Spotter, features) -> Tensor:
    """(N, C) log-probabilities of clips by their (N, T, F) raw features."""
    batch_size = clips_at_once(features.shape[1], len(spotter.labels))
    device = spotter.normalization.mean.device
    outputs = [
        spotter.classify(torch.as_tensor(features[start : start + batch_size]).to(device)).cpu()
        for start in range(0, len(features), batch_size)
    ]
    return torch.cat(outputs)
