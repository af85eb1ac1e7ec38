"""Voice activity by detectors that others made, on the raster of hops: silero-vad and WebRTC's."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kws.support.errors import KwsError

REFERENCES = ("silero-vad", "webrtcvad")
RATES = (8000, 16000)


class GivenState(NamedTuple):
    """Where a stream with a given signal stands: its last signal (B,), and how many frames have gone by (B,)."""

    signal: Tensor
    frames: Tensor


class GivenSignal(nn.Module):
    """Stands in for a detector whose signal is known already, (B, T): it drives the reset, frame by frame."""

    def __init__(self, signal: np.ndarray):
        super().__init__()
        self.signal = torch.from_numpy(np.asarray(signal, np.int64))

    def initial_state(self, streams: int = 1, device=None) -> GivenState:
        """Before the first frame."""
        zeros = torch.zeros(streams, dtype=torch.int64)
        return GivenState(zeros, zeros)

    def stream(self, features: Tensor, state: GivenState) -> tuple[Tensor, GivenState]:
        """The signal of the next frames; `features` (B, T, F) only says how many."""
        start, count = int(state.frames[0]), features.shape[1]
        signal = self.signal[:, start : start + count]
        return signal, GivenState(signal[:, -1] if count else state.signal, state.frames + count)


def reference_signal(name: str, samples: np.ndarray, sample_rate: int, hop_size: int) -> np.ndarray:
    """Voice activity of a stream by one of `REFERENCES`.

    A hop has voice when the detector heard voice in at least half of it.

    Args:
        name: which.
        samples: (S,) float32 in [-1, 1].
        sample_rate: 8000 or 16000 Hz; they know no other.
        hop_size: samples.

    Returns:
        (S // hop_size,) int64.

    Raises:
        KwsError: another rate, or the package is not installed.
    """
    if sample_rate not in RATES:
        raise KwsError(f"{name} hears 8000 and 16000 Hz, not {sample_rate}; leave it out with references=false.")
    detect = {"silero-vad": _silero, "webrtcvad": _webrtc}[name]
    try:
        voice, step = detect(samples, sample_rate)  # (N,) for every `step` samples
    except ImportError as error:
        raise KwsError(f"{name} is not installed; pip install 'kws[vad-references]', or references=false.") from error
    hops = len(samples) // hop_size
    spread = np.repeat(voice.astype(np.float32), step)[: hops * hop_size]
    spread = np.pad(spread, (0, hops * hop_size - len(spread)))
    return (spread.reshape(hops, hop_size).mean(1) >= 0.5).astype(np.int64)


def _silero(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """Chunks of 32 ms; voice above a probability of one half, the package's own default."""
    from silero_vad import load_silero_vad

    model = load_silero_vad(onnx=True)
    size = 256 if sample_rate == 8000 else 512
    chunks = torch.from_numpy(samples[: len(samples) // size * size].reshape(-1, 1, size))
    return np.array([float(model(chunk, sample_rate)) > 0.5 for chunk in chunks]), size


def _webrtc(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """Frames of 10 ms, aggressiveness 3, which lets least pass as voice."""
    import webrtcvad

    detector = webrtcvad.Vad(3)
    size = sample_rate // 100
    frames = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[: len(samples) // size * size].reshape(-1, size)
    return np.array([detector.is_speech(frame.tobytes(), sample_rate) for frame in frames]), size
