"""ELL's voice activity detector: is somebody speaking in this frame?

It compares the level of a frame, weighted by how well the ear hears each frequency, with a noise floor that follows
the level slowly upwards and quickly downwards. Constants and order of operations are ELL's
(``VoiceActivityDetector.cpp``), as established by running it; in float32 the signal is the same on every frame.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kws.errors import KwsError

# C-message weighting in dB at 60 Hz and at every 100 Hz up to 4 kHz.
_WEIGHTING_HERTZ = np.array([60, *range(100, 4001, 100)], dtype=float)
# fmt: off
_WEIGHTING_DECIBEL = np.array([
    -54.65, -41.71, -25.17, -16.64, -11.29, -7.55, -4.75, -2.66, -1.19, -0.32, 0.03, 0.03, -0.17, -0.44,
    -0.71, -0.94, -1.12, -1.24, -1.32, -1.36, -1.38, -1.39, -1.41, -1.44, -1.50, -1.60, -1.76, -1.97,
    -2.26, -2.62, -3.09, -3.66, -4.35, -5.18, -6.18, -7.36, -8.75, -10.36, -12.12, -13.72, -14.43,
])
# fmt: on
_TOP_HERTZ = 4000.0
INITIAL_NOISE_FLOOR = 0.1


class VadState(NamedTuple):
    """Where the detector stands in each of B streams.

    Attributes:
        noise_floor: (B,) float32.
        signal: (B,) int64, 1 while somebody speaks.
        started: (B,) bool, whether a frame has been heard; the first one takes no time.
    """

    noise_floor: Tensor
    signal: Tensor
    started: Tensor


class VoiceActivityDetector(nn.Module):
    """Voice activity per frame.

    Args:
        num_features: filterbank outputs per frame; the detector takes their frequencies as i · 4000 Hz / n.
        frame_duration: seconds between frames.
        tau_up: seconds in which the noise floor follows a rising level.
        tau_down: seconds in which it follows a falling one.
        large_input: above this many times the floor a level counts as large …
        gain_att: … and the floor follows it this much more slowly.
        threshold_up: voice begins when the level exceeds this many times the floor …
        level_threshold: … and exceeds this much in itself.
        threshold_down: voice ends when the level falls below this many times the floor.
    """

    def __init__(
        self,
        num_features: int,
        frame_duration: float,
        tau_up: float = 1.54,
        tau_down: float = 0.074326,
        large_input: float = 2.400160,
        gain_att: float = 0.002885,
        threshold_up: float = 3.552713,
        threshold_down: float = 0.931252,
        level_threshold: float = 0.007885,
    ):
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        for name in ("frame_duration", "tau_up", "tau_down"):
            if not self.settings[name] > 0:
                raise KwsError(f"vad.{name}={self.settings[name]} must be above 0 seconds.")
        self.register_buffer("weights", torch.from_numpy(frequency_weights(num_features)), persistent=False)

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> VadState:
        """The state of `streams` streams that have heard nothing yet."""
        device = device or self.weights.device
        return VadState(
            noise_floor=torch.full((streams,), INITIAL_NOISE_FLOOR, device=device),
            signal=torch.zeros(streams, dtype=torch.int64, device=device),
            started=torch.zeros(streams, dtype=torch.bool, device=device),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Signal of whole sequences: (B, T, F) raw features to (B, T) int64, 0 or 1."""
        signal, _ = self.stream(features, self.initial_state(len(features), features.device))
        return signal

    def step(self, features: Tensor, state: VadState) -> tuple[Tensor, VadState]:
        """One frame of each stream: (B, F) to (B,)."""
        signal, state = self.stream(features[:, None], state)
        return signal[:, 0], state

    def level(self, features: Tensor) -> Tensor:
        """Weighted level of each frame, (…, F) to (…)."""
        return (features @ self.weights) / self.weights.numel()

    def stream(self, features: Tensor, state: VadState) -> tuple[Tensor, VadState]:
        """The next frames of B streams: (B, T, F) to (B, T) int64, and the state after them."""
        signals = [state.signal.new_zeros(len(features), 0)]
        for level in self.level(features).unbind(1):  # (B,)
            state = self.follow(level, state)
            signals.append(state.signal[:, None])
        return torch.cat(signals, dim=1), state

    def follow(self, level: Tensor, state: VadState) -> VadState:
        """Noise floor and signal after a frame of this (B,) level."""
        s = self.settings
        floor = state.noise_floor
        elapsed = s["frame_duration"] * state.started.to(level.dtype)
        rate = torch.where(level > s["large_input"] * floor, s["gain_att"] / s["tau_up"], 1 / s["tau_up"])
        rising = torch.minimum(floor + elapsed * rate * (level - floor), level)
        falling = torch.maximum(floor + elapsed / s["tau_down"] * (level - floor), level)
        floor = torch.where(level < floor, falling, rising)
        begins = (level > s["threshold_up"] * floor) & (level > s["level_threshold"])
        ends = level < s["threshold_down"] * floor
        signal = ((state.signal.bool() | begins) & ~ends).long()
        return VadState(floor, signal, torch.ones_like(state.started))


def frequency_weights(num_features: int) -> np.ndarray:
    """The squared C-message weight of each bin, (F,) float32.

    Bin i stands for i · 4000 / F Hz whatever the sample rate. At 60 Hz and below the weight is 0.
    """
    hertz = np.arange(num_features) * _TOP_HERTZ / num_features
    decibel = np.interp(hertz, _WEIGHTING_HERTZ, _WEIGHTING_DECIBEL)
    return np.where(hertz <= _WEIGHTING_HERTZ[0], 0.0, 10.0 ** (decibel / 10.0)).astype(np.float32)


def no_detector(**_) -> None:
    """What `vad=off` makes."""
