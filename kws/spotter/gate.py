"""The noise gate of the decoder: has there been anything to hear at all?

A network that starts from zeros must answer something, and one without a label for nothing cannot say that nothing was
said. So a word is reported only while there is a sound that it may have been: one that rose above everything softer
since the network started from zeros, and a short while ago at most.

    samples of a hop ──► level ──► above the background? ──► some of it: ajar; `ATTACK` s of it: open
                                                             none for `HOLD` s: closed
                                                                ▲
    the network starts from zeros (a fresh stream, a reset) ────┘ all is forgotten

A report needs a gate that was open in one of the frames that the decoder averages, and a run of hits that began while
it was at least ajar: what a network said before there was any sound it did not say of that sound.

Nothing of this hangs on features, network or settings. In digital silence, in dither and in any constant the gate never
opens, nor in a noise that stays as it is, nor in the fading end of a word after which the network was reset.

On a device it is a sum over the hop's samples, three comparisons and four numbers of state.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

FLOOR = -75.0
"""dB under which no background is taken to lie: what is not `RISE` above it is no sound. A noise of one step of 16 bits
lies at -94; of Speech Commands' evaluation clips the softest word has a tenth of a second at -70, one in a thousand
less than -64."""
RISE = 2.0
"""dB above the background from which on a hop is sound."""
GROWTH = 10.0
"""dB a second by which the background rises at most; downwards it follows at once."""
ATTACK = 0.1
"""Seconds of sound that open the gate."""
HOLD = 0.75
"""Seconds without sound that close it."""
CLOSED, AJAR, OPEN = 0, 1, 2


class GateState(NamedTuple):
    """Where the gate stands in each of B streams.

    Attributes:
        background: (B,) float32, softest level so far, infinite before the first hop.
        heard: (B,) int64, hops with sound.
        quiet: (B,) int64, hops since the last of them.
        voice: (B,) bool, the detector's signal in the last hop.
    """

    background: Tensor
    heard: Tensor
    quiet: Tensor
    voice: Tensor


class Gate:
    """The noise gate.

    Args:
        hop_seconds: seconds between hops.
    """

    def __init__(self, hop_seconds: float):
        self.attack = max(1, round(ATTACK / hop_seconds))  # hops
        self.hold = max(1, round(HOLD / hop_seconds))  # hops
        self.floor = np.float32(10 ** (FLOOR / 10))
        self.rise = np.float32(10 ** (RISE / 10))
        self.growth = np.float32(10 ** (GROWTH * hop_seconds / 10))

    @property
    def facts(self) -> dict[str, Any]:
        """What a device needs, in hops and in factors of power: for the metadata of exported files."""
        factors = {name: float(getattr(self, name)) for name in ("floor", "rise", "growth")}
        return {**factors, "attack": self.attack, "hold": self.hold}

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> GateState:
        """The state of `streams` streams that have heard nothing yet."""
        zeros = torch.zeros(streams, dtype=torch.int64, device=device)
        return GateState(torch.full((streams,), torch.inf, device=device), zeros, zeros, zeros.bool())

    @torch.no_grad()
    def stream(self, levels: Tensor, voice: Tensor | None, state: GateState) -> tuple[Tensor, GateState]:
        """The next T hops of B streams.

        Args:
            levels: (B, T) of `level`.
            voice: (B, T) signal of the detector whose fall resets the network; None without one.
            state: where the streams stand.

        Returns:
            (B, T) uint8, `CLOSED`, `AJAR` or `OPEN`, and the state after the hops. As for the network, the hop in which
            the voice falls is the last one before the reset.
        """
        if not levels.shape[1]:
            return levels.byte(), state
        now = levels.cpu().numpy()
        background, heard, quiet = (tensor.cpu().numpy() for tensor in state[:3])
        last, falls = state.voice, np.zeros(now.shape, bool)
        if voice is not None:
            signal = torch.cat([last[:, None], voice.bool()], dim=1)
            last, falls = signal[:, -1], (signal[:, :-1] & ~signal[:, 1:]).cpu().numpy()
        gate = np.zeros(now.shape, np.uint8)
        # In NumPy for its small operations, like the detector.
        for t in range(now.shape[1]):
            background = np.maximum(np.minimum(now[:, t], background * self.growth), self.floor)
            sound = now[:, t] > background * self.rise
            quiet = np.where(sound, 0, quiet + 1)
            heard = np.where(quiet > self.hold, 0, heard + sound)
            gate[:, t] = (heard > 0) + (heard >= self.attack).astype(np.uint8)
            if falls[:, t].any():
                background = np.where(falls[:, t], np.float32(np.inf), background)
                heard, quiet = (np.where(falls[:, t], 0, count) for count in (heard, quiet))
        after = (torch.from_numpy(np.array(values)).to(levels.device) for values in (background, heard, quiet))
        return torch.from_numpy(gate).to(levels.device), GateState(*after, last)


def level(samples: Tensor, hops: int) -> Tensor:
    """Level of each hop: (B, hops · hop_size) samples in [-1, 1] to (B, hops) float32, mean squares.

    Of the sums of neighbouring samples about their mean, halved: 1 stands for full scale at low frequencies, nothing is
    left of a constant, and less of the upper half of the spectrum, where noise is stronger than speech.
    """
    if not hops:
        return samples.new_zeros(len(samples), 0)
    x = samples.detach().cpu().numpy().reshape(len(samples), hops, -1).astype(np.float64)
    if x.shape[-1] > 1:  # a hop of one sample has no mean but itself
        x = x - x.mean(axis=-1, keepdims=True)
        x = (x[..., 1:] + x[..., :-1]) / 2
    # Hop by hop the same sum however many there are, so that a stream may be cut anywhere.
    mean = np.einsum("btn,btn->bt", x, x) / x.shape[-1]
    return torch.from_numpy(mean.astype(np.float32)).to(samples.device)
