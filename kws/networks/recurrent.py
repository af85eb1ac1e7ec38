"""The tutorial's keyword spotter: recurrent layers, a linear layer, a softmax.

                 ┌───────┐   ┌───────┐           ┌────────┐   ┌─────────┐
features (B,T,F)─┤ GRU 1 ├───┤ GRU 2 ├──(GRU 3)──┤ linear ├───┤ softmax ├─ log-probabilities (B,T,C)
                 └─┬───▲─┘   └─┬───▲─┘           └────────┘   └─────────┘
                   └ h ┘       └ h ┘
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.errors import KwsError

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
READOUTS = ("last", "mean")

State = tuple[Tensor, ...]
"""One (B, H) tensor per GRU layer; two per LSTM layer, first the hidden state, then the cell."""


class RecurrentClassifier(nn.Module):
    """GRU or LSTM layers with a linear readout at every frame.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        cell: ``gru`` or ``lstm``.
        hidden_size: units per layer.
        num_layers: recurrent layers.
        last_hidden_size: units of the last layer if different; ``classes`` for as many as there are labels, which is
            the tutorial's 3-layer form.
        dropout: probability of zeroing an input of the second and later layers and of the linear layer, in training.
        readout: what a whole clip is judged by: ``last`` frame, or ``mean`` of the log-probabilities over frames.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 2,
        last_hidden_size: int | str | None = None,
        dropout: float = 0.0,
        readout: str = "last",
    ):
        super().__init__()
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if cell not in CELLS:
            raise KwsError(f"model.cell={cell!r} is unknown; choose one of {', '.join(CELLS)}.")
        if readout not in READOUTS:
            raise KwsError(f"model.readout={readout!r} is unknown; choose one of {', '.join(READOUTS)}.")
        if min(hidden_size, num_layers, num_classes, input_size) < 1:
            raise KwsError(f"model.hidden_size={hidden_size} and model.num_layers={num_layers} must be at least 1.")
        sizes = [hidden_size] * num_layers
        if last_hidden_size is not None:
            sizes[-1] = num_classes if last_hidden_size == "classes" else int(last_hidden_size)
        self.cell = cell
        self.readout_name = readout
        inputs = [input_size, *sizes]
        self.layers = nn.ModuleList(CELLS[cell](i, h, batch_first=True) for i, h in zip(inputs, sizes, strict=False))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(sizes[-1], num_classes)

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        tensors = 2 if self.cell == "lstm" else 1
        return [layer.hidden_size for layer in self.layers for _ in range(tensors)]

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
        x, after = features, []
        for i, layer in enumerate(self.layers):
            if i:
                x = self.dropout(x)
            if self.cell == "lstm":
                before = (state[2 * i][None], state[2 * i + 1][None])  # (1, B, H) each
                x, (hidden, memory) = layer(x, before)  # (B, T, H)
                after += [hidden[0], memory[0]]
            else:
                x, hidden = layer(x, state[i][None])  # (B, T, H)
                after.append(hidden[0])
        scores = self.linear(self.dropout(x))  # (B, T, C)
        return F.log_softmax(scores, dim=-1), tuple(after)

    def readout(self, log_probabilities: Tensor) -> Tensor:
        """Frames to a clip: (B, T, C) to (B, C). The mean is not renormalised; it ranks, and it is the loss's input."""
        return log_probabilities[:, -1] if self.readout_name == "last" else log_probabilities.mean(dim=1)
