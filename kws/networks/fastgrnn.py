"""FastGRNN: one pair of matrices for gate and update, full or of low rank.

Kusupati, Singh, Bhatia, Kumar, Jain and Varma (2018), "FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated
Recurrent Neural Network", section 3.2:

    z  = σ(W x + U h + b_z)
    h~ = tanh(W x + U h + b_h)
    h' = (ζ (1 - z) + ν) ⊙ h~ + z ⊙ h          ζ, ν between 0 and 1, learned through a sigmoid

with W = W2 W1 and U = U2 U1 where a rank is given.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.networks.classifier import State, array
from kws.networks.stacked import StackedClassifier
from kws.program import Step, steps
from kws.support.errors import KwsError


def hard_sigmoid(x: Tensor) -> Tensor:
    """min(max(0.2 x + 0.5, 0), 1): ELL's and ONNX's hard sigmoid; PyTorch's own has the slope 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


NONLINEARITIES = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "tanh": torch.tanh,
    "hard_tanh": F.hardtanh,
}
GATES = ("sigmoid", "hard_sigmoid")
UPDATES = ("tanh", "hard_tanh")


class FastGRNN(nn.Module):
    """One layer: (B, T, I) and the state (B, H) to (B, T, H) and the state after them.

    Weights start as in EdgeML's cell, which ELL's trainer uses: a gate that keeps most of the state, ζ near 1 and ν
    near 0; only the factors of a low-rank matrix are larger, so that their product is as large as a full matrix.

    Args:
        input_size: I.
        hidden_size: H.
        input_rank: rank of W; None for a full matrix.
        hidden_rank: rank of U; None for a full matrix.
        gate: nonlinearity of z, one of `GATES`.
        update: nonlinearity of h~, one of `UPDATES`.

    Attributes:
        input_weights: W (H, I), or W1 (rank, I) and W2 (H, rank), in the order in which they are applied.
        hidden_weights: U (H, H), or U1 (rank, H) and U2 (H, rank).
        zeta, nu: before the sigmoid.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        input_rank: int | None = None,
        hidden_rank: int | None = None,
        gate: str = "sigmoid",
        update: str = "tanh",
    ):
        super().__init__()
        self.hidden_size = hidden_size
        self.gate, self.update = gate, update
        self.input_weights = _matrices(input_size, hidden_size, input_rank)
        self.hidden_weights = _matrices(hidden_size, hidden_size, hidden_rank)
        self.gate_bias = nn.Parameter(torch.ones(hidden_size))
        self.update_bias = nn.Parameter(torch.ones(hidden_size))
        self.zeta = nn.Parameter(torch.tensor(1.0))
        self.nu = nn.Parameter(torch.tensor(-4.0))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        # Products this small gain nothing in bfloat16, and the state would lose digits in every frame.
        with torch.autocast(x.device.type, enabled=False):
            return self._forward(x.to(h.dtype), h)

    def _forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        gate, update = NONLINEARITIES[self.gate], NONLINEARITIES[self.update]
        zeta, nu = self.zeta.sigmoid(), self.nu.sigmoid()
        for weight in self.input_weights:  # of all frames at once
            x = F.linear(x, weight)  # (B, T, H)
        *first, last = (weight.t() for weight in self.hidden_weights)
        # Both arguments differ by their biases only: the gate's goes into x, the difference is added for the update.
        difference = self.update_bias - self.gate_bias
        outputs = []
        for frame in (x + self.gate_bias).unbind(1):  # (B, H)
            inner = h
            for weight in first:
                inner = inner @ weight  # (B, rank)
            argument = torch.addmm(frame, inner, last)
            z, new = gate(argument), update(argument + difference)
            h = (zeta * (1 - z) + nu) * new + z * h
            outputs.append(h)
        return (torch.stack(outputs, dim=1) if outputs else x), h


def _matrices(inputs: int, outputs: int, rank: int | None) -> nn.ParameterList:
    """Normally distributed with deviation 0.1; of the product too, where there are two."""
    if rank is None:
        return nn.ParameterList([0.1 * torch.randn(outputs, inputs)])
    deviation = (0.1 / rank**0.5) ** 0.5
    return nn.ParameterList([deviation * torch.randn(rank, inputs), deviation * torch.randn(outputs, rank)])


class FastGRNNClassifier(StackedClassifier):
    """FastGRNN layers with a linear readout at every frame. The state is one (B, H) tensor per layer.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        input_rank: rank of every W, at most its smaller side is of use; None for full matrices.
        hidden_rank: rank of every U; None for full matrices.
        gate_nonlinearity: ``sigmoid`` or ``hard_sigmoid``.
        update_nonlinearity: ``tanh`` or ``hard_tanh``.
        hidden_size, num_layers, last_hidden_size, dropout, readout: see `StackedClassifier`.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        hidden_size: int = 128,
        num_layers: int = 2,
        last_hidden_size: int | str | None = None,
        input_rank: int | None = None,
        hidden_rank: int | None = None,
        gate_nonlinearity: str = "sigmoid",
        update_nonlinearity: str = "tanh",
        dropout: float = 0.0,
        readout: str = "last",
    ):
        settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        for key, known in (("gate_nonlinearity", GATES), ("update_nonlinearity", UPDATES)):
            if settings[key] not in known:
                raise KwsError(f"model.{key}={settings[key]!r} is unknown; choose one of {', '.join(known)}.")
        for key in ("input_rank", "hidden_rank"):
            if settings[key] is not None and settings[key] < 1:
                raise KwsError(f"model.{key}={settings[key]} must be at least 1; null is for a full matrix.")
        super().__init__(
            lambda inputs, hidden: FastGRNN(
                inputs, hidden, input_rank, hidden_rank, gate_nonlinearity, update_nonlinearity
            ),
            input_size,
            num_classes,
            hidden_size,
            num_layers,
            last_hidden_size,
            dropout,
            readout,
        )
        self.settings = settings

    def run_layer(self, layer: nn.Module, x: Tensor, before: State) -> tuple[Tensor, State]:
        """The next frames of one layer: (B, T, I) to (B, T, H), and its state after them."""
        x, after = layer(x, before[0])
        return x, (after,)

    def layer_step(self, layer: nn.Module) -> tuple[type[Step], dict[str, Any]]:
        """The step of a layer, and its constants."""
        constants = {name: array(getattr(layer, name)) for name in ("gate_bias", "update_bias", "zeta", "nu")}
        for name in ("input_weights", "hidden_weights"):
            constants[name] = tuple(array(weight) for weight in getattr(layer, name))
        return steps.FastGRNN, {**constants, "gate": layer.gate, "update": layer.update}
