"""Networks that no exporter has heard of, made of steps that they know."""

import numpy as np
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


class PoolingClassifier(Classifier):
    """A convolution, a LeakyReLU with a floor, a pool, a level, another convolution, a GRU, a linear layer.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        channels: of the first convolution, and units of the GRU.
        frames: of the pool.
        dilation: frames between those of the pool.
    """

    SLOPE, FLOOR = 0.2, -0.4

    def __init__(self, input_size: int, num_classes: int, channels: int = 5, frames: int = 2, dilation: int = 2):
        super().__init__("mean")
        self.settings = {
            "input_size": input_size,
            "num_classes": num_classes,
            "channels": channels,
            "frames": frames,
            "dilation": dilation,
        }
        self.first = nn.Conv2d(1, channels, (3, 3), padding=(0, 1))
        self.pool = nn.MaxPool2d((frames, 2), (1, 2), dilation=(dilation, 1))
        self.register_buffer("level", torch.linspace(-1, 1, channels * (input_size // 2)).reshape(channels, 1, -1))
        self.second = nn.Conv2d(channels, channels + 1, (2, 3), padding=(0, 1), dilation=(2 * dilation, 1))
        self.gru = nn.GRU((channels + 1) * (input_size // 2), channels, batch_first=True)
        self.linear = nn.Linear(channels, num_classes)
        # Channels, earlier frames and filters that each of them sees.
        self.pictures = (
            (1, 2, input_size),
            (channels, (frames - 1) * dilation, input_size),
            (channels, 2 * dilation, input_size // 2),
        )

    @property
    def state_sizes(self) -> list[int]:
        return [*(channels * past * filters for channels, past, filters in self.pictures if past), self.gru.hidden_size]

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        x, before, after = features[:, None], iter(state), []
        for stage, (channels, past, filters) in zip((self.first, self.pool, self.second), self.pictures, strict=True):
            if past:
                x = torch.cat([next(before).reshape(len(x), channels, past, filters), x], dim=2)
                after.append(x[:, :, x.shape[2] - past :].flatten(1))
            x = stage(x)
            if stage is self.first:
                x = F.leaky_relu(x, self.SLOPE).clamp(min=self.FLOOR)
            if stage is self.pool:
                x = x - self.level
        x, hidden = self.gru(x.transpose(1, 2).flatten(2), next(before)[None])
        return F.log_softmax(self.linear(x), dim=-1), (*after, hidden[0])

    def steps(self, source: str) -> list[Step]:
        chain = Chain(source)
        (_, _, filters), (channels, _, _), (_, _, pooled) = self.pictures
        frames, dilation = self.settings["frames"], self.settings["dilation"]
        for name, convolution, size in (("first", self.first, filters), ("second", self.second, pooled)):
            weight, bias = array(convolution.weight), array(convolution.bias)
            places = {"filters": size, "padding": 1, "dilation": convolution.dilation[0]}
            chain.add(steps.Convolution, name, weight=weight, bias=bias, **places)
            if convolution is self.first:
                chain.add(steps.LeakyReLU, "leaky", slope=self.SLOPE, floor=self.FLOOR)
                shape = {"channels": channels, "filters": filters, "width": 2, "frames": frames, "dilation": dilation}
                chain.add(steps.MaxPool, "pool", **shape)
                level = array(self.level).ravel()
                chain.add(steps.Normalize, "level", mean=level, deviation=np.ones_like(level))
        chain.add(steps.GRU, "memory", **{name: array(getattr(self.gru, f"{name}_l0")) for name in WEIGHTS})
        chain.add(steps.Linear, "linear", weight=array(self.linear.weight), bias=array(self.linear.bias))
        chain.add(steps.LogSoftmax, "log_probabilities")
        return chain.steps
