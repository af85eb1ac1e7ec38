"""What networks of convolutions over the frames so far share: blocks that look back, and their states in a stream."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kws.networks.classifier import State, array
from kws.program import Chain
from kws.program.steps import Convolution


class CausalBlock(nn.Module):
    """What looks at the last frames of its input: it is handed those before, and hands back those for the next time.

    Args:
        inputs: channels of x, C.
        frames: what it sees of time: this frame and those before it.
        input_filters: F.
        dilation: frames from one that it sees to the next.
    """

    def __init__(self, inputs: int, frames: int, input_filters: int, dilation: int = 1):
        super().__init__()
        self.inputs, self.input_filters = inputs, input_filters
        self.past = (frames - 1) * dilation  # frames before the present one that it still needs

    @property
    def state_size(self) -> int:
        """Numbers in the frames that the next one still sees."""
        return self.inputs * self.past * self.input_filters

    def with_past(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, F) behind the frames before them, (B, state_size), and the last of these frames."""
        past = before.reshape(len(x), self.inputs, self.past, self.input_filters)
        # Joined with the channels last in memory as the convolutions want them; a mixture would be copied twice.
        x = torch.cat([tensor.contiguous(memory_format=torch.channels_last) for tensor in (past, x)], dim=2)
        return x, x[:, :, x.shape[2] - self.past :].reshape(len(x), self.state_size)


class Along:
    """Blocks of a stream called one after the other, each with its state.

    Args:
        state: theirs, in the order in which they will be called.

    Attributes:
        left: states that nobody has taken yet.
        after: of the blocks so far, after the last frame.
    """

    def __init__(self, state: State):
        self.left, self.after = list(state), []

    def __call__(self, block: CausalBlock, x: Tensor, call: Callable | None = None) -> Tensor:
        """What the block, or another `call` in its place, makes of x and its state."""
        call = call or block
        if not block.state_size:
            return call(x, x.new_zeros(len(x), 0))[0]
        x, end = call(x, self.left.pop(0))
        self.after.append(end)
        return x


def add_convolution(
    chain: Chain,
    name: str,
    convolution: nn.Conv2d,
    norm: nn.BatchNorm2d | None = None,
    filters: int = 1,
    scale: Tensor | None = None,
) -> None:
    """A convolution's step with the normalisation behind it, and the `scale` of the channels before it, folded in."""
    weight, bias = folded(convolution, norm) if norm else (convolution.weight, None)
    if scale is not None:
        weight = weight * scale[:, None, None]
    chain.add(
        Convolution,
        name,
        weight=array(weight),
        bias=None if bias is None else array(bias),
        filters=filters,
        groups=convolution.groups,
        stride=convolution.stride[1],
        padding=convolution.padding[1],
        dilation=convolution.dilation[0],
    )


def folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias (float64) of the one convolution that equals `convolution` and then `norm` in evaluation."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * scale[:, None, None, None]
    return weight, norm.bias.double() - norm.running_mean.double() * scale
