"""What all recurrent keyword spotters share: layers in a row, a linear layer and a softmax at every frame."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.errors import KwsError
from kws.networks.dropout import Dropout

READOUTS = ("last", "mean", "best")

State = tuple[Tensor, ...]
"""What the layers remember: `tensors_per_layer` tensors (B, H) for each layer, in the order of the layers."""


class StackedClassifier(nn.Module):
    """Recurrent layers with a linear readout at every frame. A subclass says what a layer is.

    Args:
        make_layer: a layer from the sizes of its input and of its state; it has the attribute ``hidden_size``.
        input_size: features per frame, F.
        num_classes: labels, C.
        hidden_size: units per layer.
        num_layers: recurrent layers.
        last_hidden_size: units of the last layer if different; ``classes`` for as many as there are labels, which is
            the tutorial's 3-layer form.
        dropout: probability of zeroing an input of the second and later layers and of the linear layer, in training.
        readout: what a whole clip is judged by: ``last`` frame, ``mean`` of the log-probabilities over frames, or each
            label's ``best`` frame, which teaches a network to be sure where a word ends and at no other time
            (max-pooling loss; Sun et al., "Max-pooling loss training of LSTM networks for small-footprint keyword
            spotting", SLT 2016). The `resting` label is judged by its worst frame instead: silence must last.

    Attributes:
        resting: class index of what is heard when nothing is said, if there is such a label; the spotter, which knows
            the labels, sets it.
    """

    streams = True
    tensors_per_layer = 1
    resting: int | None = None

    def __init__(
        self,
        make_layer: Callable[[int, int], nn.Module],
        input_size: int,
        num_classes: int,
        hidden_size: int,
        num_layers: int,
        last_hidden_size: int | str | None,
        dropout: float,
        readout: str,
    ):
        super().__init__()
        if readout not in READOUTS:
            raise KwsError(f"model.readout={readout!r} is unknown; choose one of {', '.join(READOUTS)}.")
        if min(hidden_size, num_layers, num_classes, input_size) < 1:
            raise KwsError(f"model.hidden_size={hidden_size} and model.num_layers={num_layers} must be at least 1.")
        sizes = [hidden_size] * num_layers
        if last_hidden_size is not None:
            sizes[-1] = num_classes if last_hidden_size == "classes" else int(last_hidden_size)
        self.readout_name = readout
        self.layers = nn.ModuleList(make_layer(i, h) for i, h in zip([input_size, *sizes], sizes, strict=False))
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(sizes[-1], num_classes)

    def run_layer(self, layer: nn.Module, x: Tensor, before: State) -> tuple[Tensor, State]:
        """The next frames of one layer: (B, T, I) to (B, T, H), and its state after them."""
        raise NotImplementedError

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        return [layer.hidden_size for layer in self.layers for _ in range(self.tensors_per_layer)]

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> State:
        """Zeros for each of `streams` streams."""
        device = device or self.linear.weight.device
        return tuple(torch.zeros(streams, size, device=device) for size in self.state_sizes)

    def forward(self, features: Tensor) -> Tensor:
        """Whole clips: normalised features (B, T, F) to log-probabilities (B, T, C)."""
        log_probabilities, _ = self.stream(features, self.initial_state(len(features), features.device))
        return log_probabilities

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """One frame of each stream: (B, F) to (B, C)."""
        log_probabilities, state = self.stream(features[:, None], state)
        return log_probabilities[:, 0], state

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        x, after, count = features, [], self.tensors_per_layer
        for i, layer in enumerate(self.layers):
            if i:
                x = self.dropout(x)
            x, ends = self.run_layer(layer, x, state[count * i : count * (i + 1)])  # (B, T, H)
            after += ends
        scores = self.linear(self.dropout(x))  # (B, T, C)
        # Probabilities and loss in full precision, whatever the layers are trained in.
        return F.log_softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)), tuple(after)

    def readout(self, log_probabilities: Tensor) -> Tensor:
        """Frames to a clip: (B, T, C) to (B, C). The mean is not renormalised; it ranks, and it is the loss's input."""
        if self.readout_name == "best":
            scores = log_probabilities.amax(dim=1)
            if self.resting is not None:
                rest = torch.arange(scores.shape[1], device=scores.device) == self.resting
                scores = torch.where(rest, log_probabilities.amin(dim=1), scores)
            return F.log_softmax(scores, dim=-1)
        return log_probabilities[:, -1] if self.readout_name == "last" else log_probabilities.mean(dim=1)
