"""What is heard between two clips where the state is carried on: silence, or a piece of background noise."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kws.spotter.featurizer import INT16_SCALE, Featurizer

LEVELS_DB = (-30.0, 10.0)
"""Gain of a piece of noise beside its recording."""


class Pauses:
    """Pauses of a drawn length, the same for all lanes of a batch, with a drawn sound in each lane.

    A third of the pauses are digital silence. Draws come from torch's global generator, which checkpoints keep.

    Args:
        featurizer: its hop is the unit of a pause.
        recordings: background recordings (S,) int16 at the featurizer's rate; without any, all pauses are silence.
        seconds: longest pause.
    """

    def __init__(self, featurizer: Featurizer, recordings: Sequence[np.ndarray], seconds: float):
        self.featurizer = featurizer
        self.longest = round(seconds / featurizer.hop_seconds)  # frames
        samples = self.longest * featurizer.hop_size
        long_enough = [torch.from_numpy(np.array(r)) for r in recordings if len(r) > samples]
        if samples and len(long_enough) < len(recordings):
            short = len(recordings) - len(long_enough)
            print(
                f"training.pause_seconds={seconds}: {short} of {len(recordings)} background recordings are shorter "
                "than that and are not heard in pauses."
            )
        self.noise = torch.cat(long_enough) if long_enough else None

    @torch.no_grad()
    def features(self, lanes: int, device: torch.device | str = "cpu") -> Tensor:
        """Raw features (lanes, T, F) of a pause; T may be 0."""
        frames = int(torch.randint(self.longest + 1, ()))
        samples = frames * self.featurizer.hop_size
        waveforms = torch.zeros(lanes, samples)
        if self.noise is not None and samples:
            starts = torch.randint(len(self.noise) - samples + 1, (lanes,))
            low, high = LEVELS_DB
            gain = 10 ** ((low + (high - low) * torch.rand(lanes, 1)) / 20) * (torch.rand(lanes, 1) > 1 / 3)
            waveforms = (self.noise.unfold(0, samples, 1)[starts] / INT16_SCALE * gain).clamp(-1, 1)
        return self.featurizer(waveforms.to(device))
