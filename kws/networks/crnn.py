"""Convolutions that look back, then recurrent layers: a CRNN that streams frame by frame.

Arık et al., "Convolutional Recurrent Neural Networks for Small-Footprint Keyword Spotting", Interspeech 2017, put one
convolution in front of the recurrence. Here there are a few small ones, the later ones separable (Howard et al.,
"MobileNets", 2017), so that a word spoken a little higher or lower is still the same word. They stride over frequency
only and see no future frame, so every frame has an output and nothing is delayed.

features (B,T,F) ─► convolution ─► separable ─► separable ─► (B,T,C·F/8) ─► (1×1 ─► temporal blocks) ─► GRU ─► linear,
                    kt×kf, BN,     depthwise, BN,                           BN,    x + (kt×1, 1×1, BN),        softmax
                    ReLU           1×1, BN, ReLU                            ReLU   ReLU
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kws.networks.causal import Along, CausalBlock, add_convolution
from kws.networks.classifier import State
from kws.networks.dropout import Dropout
from kws.networks.recurrent import RecurrentClassifier
from kws.program import Chain, Step
from kws.program.steps import Add, ReLU
from kws.support.errors import KwsError

STRIDE = 2  # of every convolution, over frequency


class CausalConvolution(CausalBlock):
    """A convolution over the frames so far and the neighbouring filters.

    Args:
        inputs: channels of x; 1 makes a full convolution, more a separable one.
        outputs: channels of y.
        frames: kernel over time.
        filters: kernel over frequency, odd; both ends are padded with zeros.
        input_filters: F.
    """

    def __init__(self, inputs: int, outputs: int, frames: int, filters: int, input_filters: int):
        super().__init__(inputs, frames, input_filters)
        self.output_filters = -(-input_filters // STRIDE)
        shape = {"kernel_size": (frames, filters), "stride": (1, STRIDE), "padding": (0, filters // 2), "bias": False}
        if inputs == 1:
            stages = [nn.Conv2d(1, outputs, **shape)]
        else:
            depthwise = nn.Conv2d(inputs, inputs, groups=inputs, **shape)
            stages = [depthwise, nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 1, bias=False)]
        self.stages = nn.Sequential(*stages, nn.BatchNorm2d(outputs), nn.ReLU())

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its steps behind a chain's."""
        stages, filters = list(self.stages), self.input_filters
        for i, (convolution, norm) in enumerate(zip(stages[:-1:2], stages[1:-1:2], strict=True)):
            # The second one of a separable convolution is 1×1, on the filters that the first one left.
            add_convolution(chain, f"{name}.{i}", convolution, norm, filters)
            filters = self.output_filters
        chain.add(ReLU, f"{name}.relu")

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, F) and the frames before them (B, state_size) to (B, C', T, F/2) and the last frames."""
        x, after = self.with_past(x, before)
        return self.stages(x), after


class TemporalBlock(CausalBlock):
    """A separable convolution over the frames so far, added to its input (Bai et al., "TCN", 2018).

    Args:
        channels: of x and y.
        frames: kernel over time.
        dropout: probability of zeroing what is added.
    """

    def __init__(self, channels: int, frames: int, dropout: float):
        super().__init__(channels, frames, 1)
        self.stages = nn.Sequential(
            nn.Conv2d(channels, channels, (frames, 1), groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.dropout = Dropout(dropout)

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its steps behind a chain's."""
        heard = chain.last
        depthwise, pointwise, norm = self.stages
        add_convolution(chain, f"{name}.0", depthwise)
        add_convolution(chain, f"{name}.1", pointwise, norm)
        chain.add(Add, f"{name}.sum", source=heard, other=chain.last)
        chain.add(ReLU, f"{name}.relu")

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, 1) and the frames before them (B, state_size) to (B, C, T, 1) and the last frames."""
        heard, after = self.with_past(x, before)
        return torch.relu(x + self.dropout(self.stages(heard))), after


class CRNNClassifier(RecurrentClassifier):
    """Causal convolutions and recurrent layers with a linear readout at every frame.

    The state is one (B, …) tensor per convolution that looks back, the frames it still sees, then that of the recurrent
    layers. Zeros
    are features at their mean.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        channels: of each convolution.
        kernel_frames: each convolution's kernel over time.
        kernel_filters: each convolution's kernel over frequency, odd.
        temporal_frames: kernel over time of each residual block between convolutions and recurrent layers; none where
            this is empty.
        temporal_channels: width of these blocks.
        cell, hidden_size, num_layers, last_hidden_size, dropout, readout: see `RecurrentClassifier`.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        channels: Sequence[int] = (24, 32, 40),
        kernel_frames: Sequence[int] = (5, 3, 3),
        kernel_filters: Sequence[int] = (5, 3, 3),
        temporal_frames: Sequence[int] = (),
        temporal_channels: int = 144,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 2,
        last_hidden_size: int | str | None = None,
        dropout: float = 0.2,
        readout: str = "last",
    ):
        channels, kernel_frames, kernel_filters = list(channels), list(kernel_frames), list(kernel_filters)
        sizes = {"channels": channels, "kernel_frames": kernel_frames, "kernel_filters": kernel_filters}
        if not channels or len({len(values) for values in sizes.values()}) != 1:
            raise KwsError(
                "model.channels, model.kernel_frames and model.kernel_filters need one value for each convolution: "
                f"{channels}, {kernel_frames}, {kernel_filters}."
            )
        for name, values in sizes.items():
            if min(values) < 1 or (name == "kernel_filters" and not all(value % 2 for value in values)):
                wanted = "odd and " if name == "kernel_filters" else ""
                raise KwsError(f"model.{name}={values} must be {wanted}at least 1.")
        temporal_frames = list(temporal_frames)
        if min([temporal_channels, *temporal_frames]) < 1:
            raise KwsError(
                f"model.temporal_frames={temporal_frames} and model.temporal_channels={temporal_channels} must be "
                "at least 1."
            )
        convolutions, inputs, width = [], 1, input_size
        for outputs, frames, filters in zip(channels, kernel_frames, kernel_filters, strict=True):
            convolutions.append(CausalConvolution(inputs, outputs, frames, filters, width))
            inputs, width = outputs, convolutions[-1].output_filters
        blocks = [TemporalBlock(temporal_channels, frames, dropout) for frames in temporal_frames]
        projection = nn.Conv2d(inputs * width, temporal_channels, 1, bias=False) if blocks else None
        width = temporal_channels if blocks else inputs * width
        super().__init__(width, num_classes, cell, hidden_size, num_layers, last_hidden_size, dropout, readout)
        # With the channels last in memory a processor's separable convolutions are three times as fast.
        self.convolutions = nn.ModuleList(convolutions).to(memory_format=torch.channels_last)
        if blocks:
            norm = nn.BatchNorm2d(temporal_channels)
            self.projection = nn.Sequential(projection, norm, nn.ReLU()).to(memory_format=torch.channels_last)
        self.blocks = nn.ModuleList(blocks).to(memory_format=torch.channels_last)
        self.settings |= {"input_size": input_size, **sizes}
        self.settings |= {"temporal_frames": temporal_frames, "temporal_channels": temporal_channels}

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        sizes = [block.state_size for block in (*self.convolutions, *self.blocks)]
        return [size for size in sizes if size] + super().state_sizes

    def steps(self, source: str) -> list[Step]:
        """See `Classifier.steps`."""
        chain = Chain(source)
        for i, convolution in enumerate(self.convolutions, 1):
            convolution.add_steps(chain, f"conv{i}")
        if self.blocks:
            add_convolution(chain, "projection", *self.projection[:2])
            chain.add(ReLU, "projection.relu")
        for i, block in enumerate(self.blocks, 1):
            block.add_steps(chain, f"block{i}")
        return chain.steps + super().steps(chain.last)

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        x, run = features[:, None], Along(state)  # (B, 1, T, F)
        # On processors a separable convolution takes many times longer in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            for convolution in self.convolutions:
                x = run(convolution, x)
            x = x.transpose(1, 2).flatten(2)  # (B, T, C·F')
            if self.blocks:
                x = self.projection(x.transpose(1, 2)[..., None])  # (B, C, T, 1)
                for block in self.blocks:
                    x = run(block, x)
                x = x[..., 0].transpose(1, 2)
        log_probabilities, recurrent = super().stream(x, tuple(run.left))
        return log_probabilities, (*run.after, *recurrent)
