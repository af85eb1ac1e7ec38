"""The tutorial's keyword spotter: recurrent layers, a linear layer, a softmax.

                 ┌───────┐   ┌───────┐           ┌────────┐   ┌─────────┐
features (B,T,F)─┤ GRU 1 ├───┤ GRU 2 ├──(GRU 3)──┤ linear ├───┤ softmax ├─ log-probabilities (B,T,C)
                 └─┬───▲─┘   └─┬───▲─┘           └────────┘   └─────────┘
                   └ h ┘       └ h ┘
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from kws.networks.classifier import State, array
from kws.networks.gru import GRU
from kws.networks.stacked import StackedClassifier
from kws.program import Step, steps
from kws.support.errors import KwsError

CELLS = {"gru": GRU, "lstm": partial(nn.LSTM, batch_first=True)}
STEPS = {"gru": steps.GRU, "lstm": steps.LSTM}
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentClassifier(StackedClassifier):
    """GRU or LSTM layers with a linear readout at every frame.

    The state is one (B, H) tensor per GRU layer; two per LSTM layer, first the hidden state, then the cell.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        cell: ``gru`` or ``lstm``.
        hidden_size, num_layers, last_hidden_size, dropout, readout: see `StackedClassifier`.
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
        settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if cell not in CELLS:
            raise KwsError(f"model.cell={cell!r} is unknown; choose one of {', '.join(CELLS)}.")
        super().__init__(
            CELLS[cell],
            input_size,
            num_classes,
            hidden_size,
            num_layers,
            last_hidden_size,
            dropout,
            readout,
        )
        self.settings = settings
        self.cell = cell
        self.tensors_per_layer = 2 if cell == "lstm" else 1

    def run_layer(self, layer: nn.Module, x: Tensor, before: State) -> tuple[Tensor, State]:
        """The next frames of one layer: (B, T, I) to (B, T, H), and its state after them."""
        if self.cell == "lstm":
            x, (hidden, memory) = layer(x, (before[0][None], before[1][None]))  # (1, B, H) each
            return x, (hidden[0], memory[0])
        x, hidden = layer(x, before[0][None])
        return x, (hidden[0],)

    def layer_step(self, layer: nn.Module) -> tuple[type[Step], dict[str, Any]]:
        """The step of a layer, and its constants."""
        return STEPS[self.cell], {name: array(getattr(layer, f"{name}_l0")) for name in WEIGHTS}
