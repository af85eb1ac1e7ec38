"""ELL's voice activity detector: is somebody speaking in this frame?

It compares the level of a frame, weighted by how well the ear hears each frequency, with a noise floor that follows
the level slowly upwards and quickly downwards. Constants and order of operations are ELL's
(``VoiceActivityDetector.cpp``), as established by running it; in float32 the signal is the same on every frame.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kws.program import FEATURES, VOICE, Step
from kws.program.steps import Detector, Reset
from kws.support.errors import KwsError

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
        frames: (B,) int64, how many have been heard. ELL computes their times, and so the time between two of them, in
            float32: after minutes it is no longer quite the frame duration, and after 2^24 frames (six days of 32 ms)
            its clock stands still, so reset a stream now and then.
    """

    noise_floor: Tensor
    signal: Tensor
    frames: Tensor


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

    def steps(self) -> tuple[Step, Step]:
        """What it computes of a hop's raw features, and what its falling signal does to the network."""
        settings = {name: value for name, value in self.settings.items() if name != "num_features"}
        weights, initial = self.weights.cpu().numpy().copy(), INITIAL_NOISE_FLOOR
        detector = Detector(
            name=VOICE, source=FEATURES, weights=weights, settings=settings, initial_noise_floor=initial
        )
        return detector, Reset(name="reset", source=VOICE)

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> VadState:
        """The state of `streams` streams that have heard nothing yet."""
        device = device or self.weights.device
        return VadState(
            noise_floor=torch.full((streams,), INITIAL_NOISE_FLOOR, device=device),
            signal=torch.zeros(streams, dtype=torch.int64, device=device),
            frames=torch.zeros(streams, dtype=torch.int64, device=device),
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
        """Weighted level of each frame, (…, F) to (…). Summed bin after bin as ELL does, to the last digit."""
        products = (features * self.weights).detach().cpu().numpy()
        level = np.cumsum(products, axis=-1, dtype=np.float32)[..., -1]  # np.sum would add in pairs
        return torch.from_numpy(np.ascontiguousarray(level)).to(features.device) / self.weights.numel()

    def stream(self, features: Tensor, state: VadState) -> tuple[Tensor, VadState]:
        """The next frames of B streams: (B, T, F) to (B, T) int64, and the state after them."""
        return self.follow(self.level(features), state)

    @torch.no_grad()
    def follow(self, level: Tensor, state: VadState) -> tuple[Tensor, VadState]:
        """`stream` from the (B, T) levels on."""
        s, f32 = self.settings, np.float32
        levels = level.cpu().numpy()
        frames = state.frames.cpu().numpy()[:, None] + np.arange(levels.shape[1])
        duration = f32(s["frame_duration"])
        # 0 for the first frame of a stream.
        elapsed = frames.astype(f32) * duration - np.maximum(frames - 1, 0).astype(f32) * duration
        up, down = f32(s["tau_up"]), f32(s["tau_down"])
        floor, voice = state.noise_floor.cpu().numpy(), state.signal.cpu().numpy().astype(bool)
        signal = np.zeros(levels.shape, np.int64)
        # NumPy, since its small operations cost a tenth of torch's; there is no gradient to keep.
        with np.errstate(all="ignore"):
            for t in range(levels.shape[1]):
                now, step = levels[:, t], elapsed[:, t]
                distance = now - floor
                gain = np.where(now > f32(s["large_input"]) * floor, f32(s["gain_att"]), f32(1))
                rising = np.minimum(floor + gain * step / up * distance, now)
                falling = np.maximum(floor + step / down * distance, now)
                floor = np.where(now < floor, falling, rising)
                begins = (now > f32(s["threshold_up"]) * floor) & (now > f32(s["level_threshold"]))
                voice = (voice | begins) & ~(now < f32(s["threshold_down"]) * floor)
                signal[:, t] = voice
        device = level.device
        after = VadState(
            noise_floor=torch.from_numpy(np.array(floor)).to(device),
            signal=torch.from_numpy(voice.astype(np.int64)).to(device),
            frames=state.frames + levels.shape[1],
        )
        return torch.from_numpy(signal).to(device), after


def frequency_weights(num_features: int) -> np.ndarray:
    """The squared C-message weight of each bin, (F,) float32.

    Bin i stands for i · 4000 / F Hz whatever the sample rate. At 60 Hz and below the weight is 0.
    """
    hertz = np.arange(num_features) * _TOP_HERTZ / num_features
    decibel = np.interp(hertz, _WEIGHTING_HERTZ, _WEIGHTING_DECIBEL)
    return np.where(hertz <= _WEIGHTING_HERTZ[0], 0.0, 10.0 ** (decibel / 10.0)).astype(np.float32)


def no_detector(**_) -> None:
    """What `vad=off` makes."""
