"""What every network from normalised features to log-probabilities is."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.program import Step
from kws.support.errors import KwsError

State = tuple[Tensor, ...]
"""What a network remembers of B streams: tensors (B, n), one for each state of its steps, in their order."""

READOUTS = ("last", "mean", "best")


class Classifier(nn.Module):
    """A network. It is known by the name of its class, under which a spotter file stores it.

    A new network is a file in kws/networks with a subclass of this, and a file in conf/model. One that streams has
    ``stream`` and says its `steps`; then every export, the counts of its cost and its drawing follow.

    Args:
        readout: what a whole clip is judged by: ``last`` frame, ``mean`` of the log-probabilities over frames, or each
            label's ``best`` frame, which teaches a network to be sure where a word ends and at no other time
            (max-pooling loss; Sun et al., "Max-pooling loss training of LSTM networks for small-footprint keyword
            spotting", SLT 2016). The `resting` label is judged by its worst frame instead: silence must last.

    Attributes:
        settings: the arguments it was made with, plain values.
        streams: whether it goes frame by frame. False: it judges whole clips, (B, T, F) to (B, 1, C).
        resting: class index of what is heard when nothing is said, if there is such a label; the spotter sets it.
        fixed_normalization: mean and deviation of all features that the weights were learned with elsewhere; None:
            they are measured over the training split.
    """

    known: ClassVar[dict[str, type["Classifier"]]] = {}
    """Every network by the name of its class."""

    settings: dict[str, Any]
    streams = True
    resting: int | None = None
    fixed_normalization: tuple[float, float] | None = None

    def __init__(self, readout: str = "last"):
        super().__init__()
        if readout not in READOUTS:
            raise KwsError(f"model.readout={readout!r} is unknown; choose one of {', '.join(READOUTS)}.")
        self.readout_name = readout

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        Classifier.known[cls.__name__] = cls

    def forward(self, features: Tensor) -> Tensor:
        """Whole clips: normalised features (B, T, F) to log-probabilities (B, T, C).

        In training one whose H heads learn each by itself answers for each of them, (H * B, T, C).
        """
        log_probabilities, _ = self.stream(features, self.initial_state(len(features), features.device))
        return log_probabilities

    def coarse(self, features: Tensor) -> Tensor:
        """The same with fewer frames computed, the others being copies, where a network can: for training."""
        return self(features)

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream: (B, F) to (B, C)."""
        log_probabilities, state = self.stream(features[:, None], state)
        return log_probabilities[:, 0], state

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        raise KwsError(self.no_stream())

    def steps(self, source: str) -> list[Step]:
        """What it computes of one frame, from the value `source`, (F,), to log-probabilities."""
        raise KwsError(self.no_stream())

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        raise KwsError(self.no_stream())

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> State:
        """Zeros for each of `streams` streams."""
        device = device or next(self.parameters()).device
        return tuple(torch.zeros(streams, size, device=device) for size in self.state_sizes)

    def readout(self, log_probabilities: Tensor) -> Tensor:
        """Frames to a clip: (B, T, C) to (B, C). The mean is not renormalised; it ranks, and it is the loss's input."""
        if self.readout_name == "best":
            scores = log_probabilities.amax(dim=1)
            if self.resting is not None:
                rest = torch.arange(scores.shape[1], device=scores.device) == self.resting
                scores = torch.where(rest, log_probabilities.amin(dim=1), scores)
            return F.log_softmax(scores, dim=-1)
        return log_probabilities[:, -1] if self.readout_name == "last" else log_probabilities.mean(dim=1)

    def groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimizer. A group's ``rate``, where it has one, is its share of the learning rate."""
        return [{"params": list(self.parameters())}]

    def no_stream(self) -> str:
        """The sentence for whoever wants to stream a network that judges whole clips."""
        return (
            f"a {type(self).__name__} judges whole clips and has no state to carry along a stream; choose a recurrent "
            "network, such as model=gru, for streams."
        )


def array(tensor: Tensor) -> np.ndarray:
    """A float32 NumPy copy of a tensor."""
    return tensor.detach().cpu().float().numpy().copy()
