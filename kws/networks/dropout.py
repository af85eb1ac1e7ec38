"""Dropout that is fast on a processor.

Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014. PyTorch's draws a number
for every element, one after the other, which torch.profiler shows to be a tenth of a step of `experiment=best`. Four
elements share 64 random bits instead: one is zeroed when its 16 bits, read as a number, are among the lowest p · 65536.
"""

import torch
from torch import Tensor, nn

LOWEST = {bits: torch.iinfo(bits).min for bits in (torch.int16, torch.int64)}
LEVELS = 2**16


class Dropout(nn.Dropout):
    """In training, zero each element with probability p and divide the others by 1 − p.

    On a processor p is the nearest multiple of 1/65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        zeroed = round(self.p * LEVELS)
        if not self.training or not zeroed:
            return x
        if x.device.type != "cpu" or not x.is_floating_point() or zeroed == LEVELS:
            return super().forward(x)
        # A comparison that writes numbers is faster than one that writes truths to be turned into numbers.
        mask = torch.ge(random_bits(x), LOWEST[torch.int16] + zeroed, out=torch.empty_like(x, requires_grad=False))
        return x * mask.mul_(LEVELS / (LEVELS - zeroed))


def random_bits(like: Tensor) -> Tensor:
    """Uniform int16 of a tensor's shape and, where it is dense, order in memory."""
    bits = torch.empty_like(like, dtype=torch.int16, requires_grad=False)
    flat = bits.as_strided((bits.numel(),), (1,))
    whole = len(flat) // 4 * 4
    flat[:whole].view(torch.int64).random_(LOWEST[torch.int64], None)
    flat[whole:].random_(LOWEST[torch.int16], -LOWEST[torch.int16])
    return bits
