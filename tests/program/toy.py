"""A network that no exporter has heard of, made of steps that they know."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.networks.classifier import Classifier, State, array
from kws.networks.recurrent import WEIGHTS
from kws.program import Chain, Step, steps


class ToyClassifier(Classifier):
    """A projection, a GRU added to it, a linear layer; where `look_back` is not 0 a dilated convolution before them.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        width: of the projection and the GRU.
        look_back: frames between the two that the convolution sees.
    """

    def __init__(self, input_size: int, num_classes: int, width: int = 12, look_back: int = 0):
        super().__init__("mean")
        self.settings = {
            "input_size": input_size,
            "num_classes": num_classes,
            "width": width,
            "look_back": look_back,
        }
        self.past = look_back * input_size
        if look_back:
            self.convolution = nn.Conv1d(input_size, input_size, 2, dilation=look_back, groups=input_size)
        self.projection = nn.Linear(input_size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.linear = nn.Linear(width, num_classes)

    @property
    def state_sizes(self) -> list[int]:
        return [self.past, self.gru.hidden_size] if self.past else [self.gru.hidden_size]

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        *past, hidden = state
        after, x = [], features
        if past:
            before = past[0].reshape(len(x), x.shape[2], -1)  # (B, F, look_back)
            heard = torch.cat([before, x.transpose(1, 2)], dim=2)
            after.append(heard[:, :, x.shape[1] :].reshape(len(x), -1))
            x = torch.relu(self.convolution(heard)).transpose(1, 2)
        x = self.projection(x)
        y, hidden = self.gru(x, hidden[None])
        return F.log_softmax(self.linear(x + y), dim=-1), (*after, hidden[0])

    def steps(self, source: str) -> list[Step]:
        chain = Chain(source)
        if self.past:
            weight, bias = array(self.convolution.weight)[..., None], array(self.convolution.bias)
            groups, (dilation,) = self.convolution.groups, self.convolution.dilation
            chain.add(steps.Convolution, "past", weight=weight, bias=bias, groups=groups, dilation=dilation)
            chain.add(steps.ReLU, "positive")
        weight, bias = array(self.projection.weight), array(self.projection.bias)
        projected = chain.add(steps.Linear, "projection", weight=weight, bias=bias)
        chain.add(steps.GRU, "memory", **{name: array(getattr(self.gru, f"{name}_l0")) for name in WEIGHTS})
        chain.add(steps.Add, "sum", other=projected)
        chain.add(steps.Linear, "scores", weight=array(self.linear.weight), bias=array(self.linear.bias))
        chain.add(steps.LogSoftmax, "log_probabilities")
        return chain.steps
