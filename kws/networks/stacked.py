"""What all recurrent keyword spotters share: layers in a row, a linear layer and a softmax at every frame."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.networks.classifier import Classifier, State, array
from kws.networks.dropout import Dropout
from kws.program import Chain, Step
from kws.program.steps import Linear, LogSoftmax
from kws.support.errors import KwsError


class StackedClassifier(Classifier):
    """Recurrent layers with a linear readout at every frame. A subclass says what a layer is.

    The state is `tensors_per_layer` tensors (B, H) for each layer, in the order of the layers.

    Args:
        make_layer: a layer from the sizes of its input and of its state; it has the attribute ``hidden_size``.
        input_size: features per frame, F.
        num_classes: labels, C.
        hidden_size: units per layer.
        num_layers: recurrent layers.
        last_hidden_size: units of the last layer if different; ``classes`` for as many as there are labels, which is
            the tutorial's 3-layer form.
        dropout: probability of zeroing an input of the second and later layers and of the linear layer, in training.
        readout: see `Classifier`.
    """

    tensors_per_layer = 1

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
        super().__init__(readout)
        if min(hidden_size, num_layers, num_classes, input_size) < 1:
            raise KwsError(f"model.hidden_size={hidden_size} and model.num_layers={num_layers} must be at least 1.")
        sizes = [hidden_size] * num_layers
        if last_hidden_size is not None:
            sizes[-1] = num_classes if last_hidden_size == "classes" else int(last_hidden_size)
        self.layers = nn.ModuleList(make_layer(i, h) for i, h in zip([input_size, *sizes], sizes, strict=False))
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(sizes[-1], num_classes)

    def run_layer(self, layer: nn.Module, x: Tensor, before: State) -> tuple[Tensor, State]:
        """The next frames of one layer: (B, T, I) to (B, T, H), and its state after them."""
        raise NotImplementedError

    def layer_step(self, layer: nn.Module) -> tuple[type[Step], dict[str, Any]]:
        """The step of a layer, and its constants."""
        raise NotImplementedError

    def steps(self, source: str) -> list[Step]:
        """See `Classifier.steps`."""
        chain = Chain(source)
        for i, layer in enumerate(self.layers, 1):
            kind, constants = self.layer_step(layer)
            chain.add(kind, f"layer{i}", **constants)
        chain.add(Linear, "linear", weight=array(self.linear.weight), bias=array(self.linear.bias))
        chain.add(LogSoftmax, "log_probabilities")
        return chain.steps

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        return [layer.hidden_size for layer in self.layers for _ in range(self.tensors_per_layer)]

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
