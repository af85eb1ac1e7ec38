"""A spotter whose network computes in integers: the int8 twin of a spotter, judged and exported like any other."""

from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from kws.networks import Classifier, Normalization
from kws.networks.classifier import State
from kws.program import Program, Step, integer
from kws.program.quantize import quantize
from kws.spotter.runtime import TorchRuntime
from kws.spotter.spotter import Spotter
from kws.support.errors import KwsError

AT_ONCE = 4096
"""Frames computed together, which bounds the memory."""


class Unchanged(Normalization):
    """Raw features as they are: the integer network begins with its own normalisation."""

    def forward(self, features: Tensor) -> Tensor:
        """(…, F) to (…, F)."""
        return features

    def steps(self) -> list[Step]:
        """None."""
        return []


class IntegerNetwork(nn.Module):
    """An integer program's network in the place of a classifier. It runs on the processor and is not trained.

    Args:
        program: one that `kws.program.quantize` made.
        original: the network that it was made from, for its readout.

    Attributes:
        settings, streams, resting: as of `Classifier`.
    """

    streams = True

    def __init__(self, program: Program, original: Classifier):
        super().__init__()
        self.program = program
        self.original = original
        self.settings = original.settings

    @property
    def resting(self) -> int | None:
        """See `Classifier`."""
        return self.original.resting

    @resting.setter
    def resting(self, index: int | None) -> None:
        self.original.resting = index

    def forward(self, features: Tensor) -> Tensor:
        """Whole clips: raw features (B, T, F) to log-probabilities (B, T, C)."""
        return self.stream(features, self.initial_state(len(features)))[0]

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: raw features (B, T, F) to (B, T, C), and the state after them."""
        features = features.detach().cpu().numpy()
        classes, (streams, frames) = self.program.sizes[self.program.output], features.shape[:2]
        if not streams or not frames:
            return torch.zeros(streams, frames, classes), state
        state = tuple(tensor.cpu().numpy() for tensor in state)
        rows = max(1, AT_ONCE // frames)
        pieces = [
            integer.run(self.program, features[i : i + rows], tuple(array[i : i + rows] for array in state))
            for i in range(0, streams, rows)
        ]
        log_probabilities = torch.from_numpy(np.concatenate([outputs.log_probabilities for outputs, _ in pieces]))
        after = (np.concatenate(arrays) for arrays in zip(*(after for _, after in pieces), strict=True))
        return log_probabilities, tuple(torch.from_numpy(array) for array in after)

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> State:
        """Zeros, (B, n) int16."""
        return tuple(torch.from_numpy(array) for array in integer.initial_state(self.program, streams))

    def readout(self, log_probabilities: Tensor) -> Tensor:
        """Frames to a clip, as of `Classifier`: (B, T, C) to (B, C)."""
        return self.original.readout(log_probabilities)

    def steps(self, source: str) -> list[Step]:
        """The integer steps; they begin at the raw features, whatever the `source`."""
        return list(self.program.network)


class IntegerSpotter(Spotter):
    """See `quantized`. Its `program` is the integer program, its states of the network are int16."""

    def save(self, path: Any) -> NoReturn:
        """There is no file of it."""
        raise KwsError("an int8 spotter is not stored; keep the float one and quantise it again on the same clips.")


class IntegerRuntime(TorchRuntime):
    """The integer network behind PyTorch's featurizer and detector."""

    name = "int8"


def quantized(spotter: Spotter, features: np.ndarray) -> IntegerSpotter:
    """The spotter with its network in integers.

    Args:
        spotter: one that streams; it is not changed.
        features: raw features of training clips to calibrate on, (N, T, F): some hundred are enough.

    Raises:
        KwsError: the network judges whole clips, or has something that has no integer form.
    """
    return with_program(spotter, quantize(spotter.program(), features))


def with_program(spotter: Spotter, program: Program) -> IntegerSpotter:
    """The spotter with an integer program that was made from it."""
    return IntegerSpotter(
        spotter.featurizer,
        IntegerNetwork(program, spotter.classifier),
        spotter.labels,
        vad=spotter.vad,
        normalization=Unchanged(spotter.featurizer.num_features),
        decoder=spotter.decoder.settings,
        about=spotter.about,
    ).eval()
