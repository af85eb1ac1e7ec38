"""Convolutions that look back, then recurrent layers: a CRNN that streams frame by frame.

Arık et al., "Convolutional Recurrent Neural Networks for Small-Footprint Keyword Spotting", Interspeech 2017, put one
convolution in front of the recurrence. Here there are a few small ones, the later ones separable (Howard et al.,
"MobileNets", 2017), so that a word spoken a little higher or lower is still the same word. They stride over frequency
only and see no future frame, so every frame has an output and nothing is delayed.

features (B,T,F) ─► convolution ─► separable ─► separable ─► (B,T,C·F/8) ─► GRU ─► GRU ─► linear, softmax
                    kt×kf, BN,     depthwise, BN,
                    ReLU           1×1, BN, ReLU
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kws.errors import KwsError
from kws.networks.recurrent import RecurrentClassifier
from kws.networks.stacked import State

STRIDE = 2  # of every convolution, over frequency


class CausalConvolution(nn.Module):
    """A convolution over the frames so far and the neighbouring filters.

    Args:
        inputs: channels of x; 1 makes a full convolution, more a separable one.
        outputs: channels of y.
        frames: kernel over time: this frame and those before it.
        filters: kernel over frequency, odd; both ends are padded with zeros.
        input_filters: F.
    """

    def __init__(self, inputs: int, outputs: int, frames: int, filters: int, input_filters: int):
        super().__init__()
        self.inputs, self.input_filters, self.frames = inputs, input_filters, frames
        self.output_filters = -(-input_filters // STRIDE)
        shape = {"kernel_size": (frames, filters), "stride": (1, STRIDE), "padding": (0, filters // 2), "bias": False}
        if inputs == 1:
            stages = [nn.Conv2d(1, outputs, **shape)]
        else:
            depthwise = nn.Conv2d(inputs, inputs, groups=inputs, **shape)
            stages = [depthwise, nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 1, bias=False)]
        self.stages = nn.Sequential(*stages, nn.BatchNorm2d(outputs), nn.ReLU())

    @property
    def state_size(self) -> int:
        """Numbers in the frames that the next one still sees."""
        return self.inputs * (self.frames - 1) * self.input_filters

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, F) and the frames before them (B, state_size) to (B, C', T, F/2) and the last frames."""
        past = before.reshape(len(x), self.inputs, self.frames - 1, self.input_filters)
        # Joined with the channels last in memory as the convolutions want them; a mixture would be copied twice.
        x = torch.cat([tensor.contiguous(memory_format=torch.channels_last) for tensor in (past, x)], dim=2)
        after = x[:, :, x.shape[2] - self.frames + 1 :].reshape(len(x), self.state_size)
        return self.stages(x), after


class CRNNClassifier(RecurrentClassifier):
    """Causal convolutions and recurrent layers with a linear readout at every frame.

    The state is one (B, …) tensor per convolution, the frames it still sees, then that of the recurrent layers. Zeros
    are features at their mean.

    Args:
        input_size: features per frame, F.
        num_classes: labels, C.
        channels: of each convolution.
        kernel_frames: each convolution's kernel over time.
        kernel_filters: each convolution's kernel over frequency, odd.
        cell, hidden_size, num_layers, last_hidden_size, dropout, readout: see `RecurrentClassifier`.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        channels: Sequence[int] = (24, 32, 40),
        kernel_frames: Sequence[int] = (5, 3, 3),
        kernel_filters: Sequence[int] = (5, 3, 3),
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
        convolutions, inputs, width = [], 1, input_size
        for outputs, frames, filters in zip(channels, kernel_frames, kernel_filters, strict=True):
            convolutions.append(CausalConvolution(inputs, outputs, frames, filters, width))
            inputs, width = outputs, convolutions[-1].output_filters
        super().__init__(inputs * width, num_classes, cell, hidden_size, num_layers, last_hidden_size, dropout, readout)
        # With the channels last in memory a processor's separable convolutions are three times as fast.
        self.convolutions = nn.ModuleList(convolutions).to(memory_format=torch.channels_last)
        self.settings |= {"input_size": input_size, **sizes}

    @property
    def state_sizes(self) -> list[int]:
        """Width of each tensor of the state."""
        return [convolution.state_size for convolution in self.convolutions] + super().state_sizes

    def stream(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames of B streams: (B, T, F) to (B, T, C), and the state after them."""
        x, after, count = features[:, None], [], len(self.convolutions)  # (B, 1, T, F)
        # On processors a separable convolution takes many times longer in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            for convolution, before in zip(self.convolutions, state, strict=False):
                x, end = convolution(x, before)
                after.append(end)
        x = x.transpose(1, 2).flatten(2)  # (B, T, C·F')
        log_probabilities, recurrent = super().stream(x, state[count:])
        return log_probabilities, (*after, *recurrent)


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias (float64) of the one convolution that equals `convolution` and then `norm` in evaluation."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * scale[:, None, None, None]
    return weight, norm.bias.double() - norm.running_mean.double() * scale
