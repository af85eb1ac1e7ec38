"""Convolutions over time whose kernels spread ever wider: a network with no recurrence that streams.

What it remembers is the frames its kernels still see, so what was said longer ago than its receptive field cannot
linger. Blocks are those of DS-TCN and MDTC (Wang et al., "WeKws", ICASSP 2023): a depthwise convolution over the frames
so far, 1×1 convolutions, a residual. The dilation doubles from block to block and starts again in each stack.

features (B,T,F) ─► (convolutions over ─► 1×1 ─► stack ─► stack ─► … ─► linear ─► softmax
                     time and frequency)  BN,      └────────┴── sum ─┘
                                          ReLU              (`multi_scale`)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kws.networks.causal import Along, CausalBlock, add_convolution
from kws.networks.classifier import Classifier, State, array
from kws.networks.crnn import CausalConvolution
from kws.networks.dropout import Dropout
from kws.program import Chain, Step
from kws.program.steps import Add, Linear, LogSoftmax, ReLU
from kws.support.errors import KwsError


class DilatedBlock(CausalBlock):
    """x + 1×1(ReLU(kernel over time)), or with one more 1×1; then ReLU.

    Args:
        channels: of x and y.
        frames: kernel over time.
        dilation: frames from one tap of the kernel to the next.
        pointwise: 1×1 convolutions, 1 as in DS-TCN or 2 as in MDTC.
        dropout: probability of zeroing what is added.
    """

    def __init__(self, channels: int, frames: int, dilation: int, pointwise: int, dropout: float):
        super().__init__(channels, frames, 1, dilation)
        depthwise = nn.Conv2d(channels, channels, (frames, 1), dilation=(dilation, 1), groups=channels, bias=False)
        stages: list[nn.Module] = [depthwise, nn.BatchNorm2d(channels)]
        for _ in range(pointwise):
            stages += [nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.stages = nn.Sequential(*stages)
        self.dilation = dilation
        self.dropout = Dropout(dropout)

    def add_steps(self, chain: Chain, name: str) -> None:
        """Its steps behind a chain's."""
        heard, stages = chain.last, list(self.stages)
        add_convolution(chain, f"{name}.0", stages[0], stages[1])
        for i, (convolution, norm) in enumerate(zip(stages[3::3], stages[4::3], strict=True), 1):
            chain.add(ReLU, f"{name}.relu{i}")
            add_convolution(chain, f"{name}.{i}", convolution, norm)
        chain.add(Add, f"{name}.sum", source=heard, other=chain.last)
        chain.add(ReLU, f"{name}.relu")

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, 1) and the frames before them (B, state_size) to (B, C, T, 1) and the last frames."""
        heard, after = self.with_past(x, before)
        y = self.over_time(heard)
        for stage in self.stages[1:]:
            y = stage(y)
        return torch.relu(x + self.dropout(y)), after

    def over_time(self, heard: Tensor) -> Tensor:
        """The convolution over time, (B, C, P + T, 1) to (B, C, T, 1).

        A dilation of d is the same as a picture of d columns, each with every d-th frame, and a kernel that is one
        column wide. So it is trained, for on a processor the gradient takes an eighth of the time.
        """
        if not self.training or self.dilation == 1:
            return self.stages[0](heard)
        batch, channels, frames, _ = heard.shape
        missing = -frames % self.dilation
        picture = F.pad(heard, (0, 0, missing, 0)).reshape(batch, channels, -1, self.dilation)
        depthwise = self.stages[0]
        y = F.conv2d(picture.contiguous(memory_format=torch.channels_last), depthwise.weight, groups=channels)
        return y.reshape(batch, channels, -1, 1)[:, :, missing:]


class DilatedClassifier(Classifier):
    """Causal dilated convolutions with a linear readout at every frame.

    The state is one (B, …) tensor per convolution that looks back: the frames it still sees.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        channels: of each convolution over time and frequency in front, as in `CRNNClassifier`; none where empty.
        kernel_frames: each one's kernel over time.
        kernel_filters: each one's kernel over frequency, odd.
        width: channels of the blocks.
        frames: kernel over time of the blocks.
        dilations: of the blocks of one stack.
        stacks: how often they are repeated.
        pointwise: 1×1 convolutions in a block, 1 or 2.
        multi_scale: the readout hears the sum of all stacks, MDTC's form, instead of the last one.
        dropout: probability of zeroing what a block adds, and inputs of the readout, in training.
        readout: see `Classifier`.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        channels: Sequence[int] = (),
        kernel_frames: Sequence[int] = (),
        kernel_filters: Sequence[int] = (),
        width: int = 64,
        frames: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 8),
        stacks: int = 2,
        pointwise: int = 1,
        multi_scale: bool = False,
        dropout: float = 0.1,
        readout: str = "best",
    ):
        super().__init__(readout)
        channels, kernel_frames, kernel_filters = list(channels), list(kernel_frames), list(kernel_filters)
        dilations = list(dilations)
        if len({len(channels), len(kernel_frames), len(kernel_filters)}) != 1:
            raise KwsError(
                "model.channels, model.kernel_frames and model.kernel_filters need one value for each convolution: "
                f"{channels}, {kernel_frames}, {kernel_filters}."
            )
        if not dilations or min([width, frames, stacks, pointwise, *dilations, *channels, *kernel_frames]) < 1:
            raise KwsError(
                f"model.width={width}, model.frames={frames}, model.dilations={dilations}, model.stacks={stacks} and "
                f"model.pointwise={pointwise} must be at least 1, model.channels and model.kernel_frames too."
            )
        if not all(value % 2 and value > 0 for value in kernel_filters):
            raise KwsError(f"model.kernel_filters={kernel_filters} must be odd and at least 1.")
        self.settings = {
            "input_size": input_size,
            "num_classes": num_classes,
            "channels": channels,
            "kernel_frames": kernel_frames,
            "kernel_filters": kernel_filters,
            "width": width,
            "frames": frames,
            "dilations": dilations,
            "stacks": stacks,
            "pointwise": pointwise,
            "multi_scale": multi_scale,
            "dropout": dropout,
            "readout": readout,
        }
        self.multi_scale = multi_scale
        self.stack = len(dilations)  # blocks in one
        convolutions, inputs, filters = [], 1, input_size
        for outputs, kernel, kernel_f in zip(channels, kernel_frames, kernel_filters, strict=True):
            convolutions.append(CausalConvolution(inputs, outputs, kernel, kernel_f, filters))
            inputs, filters = outputs, convolutions[-1].output_filters
        self.convolutions = nn.ModuleList(convolutions).to(memory_format=torch.channels_last)
        projection = nn.Conv2d(inputs * filters, width, 1, bias=False)
        self.projection = nn.Sequential(projection, nn.BatchNorm2d(width), nn.ReLU())
        self.projection.to(memory_format=torch.channels_last)
        blocks = [DilatedBlock(width, frames, d, pointwise, dropout) for d in dilations * stacks]
        self.blocks = nn.ModuleList(blocks).to(memory_format=torch.channels_last)
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(width, num_classes)

    @property
    def receptive_field(self) -> int:
        """Frames, the present one among them, on which an output depends."""
        return 1 + sum(block.past for block in (*self.convolutions, *self.blocks))

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        return [block.state_size for block in (*self.convolutions, *self.blocks) if block.state_size]

    def steps(self, source: str) -> list[Step]:
        """See `Classifier.steps`."""
        chain, ends = Chain(source), []
        for i, convolution in enumerate(self.convolutions, 1):
            convolution.add_steps(chain, f"conv{i}")
        add_convolution(chain, "projection", *self.projection[:2])
        chain.add(ReLU, "projection.relu")
        for i, block in enumerate(self.blocks, 1):
            block.add_steps(chain, f"block{i}")
            if i % self.stack == 0:
                ends.append(chain.last)
        if self.multi_scale:
            for i, end in enumerate(reversed(ends[:-1]), 1):
                chain.add(Add, f"scales{i}", other=end)
        chain.add(Linear, "linear", weight=array(self.linear.weight), bias=array(self.linear.bias))
        chain.add(LogSoftmax, "log_probabilities")
        return chain.steps

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        x, run = features[:, None], Along(state)  # (B, 1, T, F)
        # On processors a separable convolution takes many times longer in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            for convolution in self.convolutions:
                x = run(convolution, x)
            x = x.transpose(1, 2).flatten(2)  # (B, T, C·F')
            x = self.projection(x.transpose(1, 2)[..., None])  # (B, C, T, 1)
            ends = []
            for i, block in enumerate(self.blocks, 1):
                x = run(block, x)
                if i % self.stack == 0:
                    ends.append(x)
            x = torch.stack(ends).sum(0) if self.multi_scale else x
        scores = self.linear(self.dropout(x[..., 0].transpose(1, 2)))  # (B, T, C)
        return F.log_softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)), tuple(run.after)
