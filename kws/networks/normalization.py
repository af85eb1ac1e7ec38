"""Features to zero mean and unit deviation."""

import torch
from torch import Tensor, nn

from kws.networks.classifier import array
from kws.program import FEATURES, Step
from kws.program.steps import Normalize


class Normalization(nn.Module):
    """(feature - mean) / deviation, with both measured over the training split and stored with the weights.

    A feature that never changes (an empty filter, say) keeps a deviation of 1.
    """

    def __init__(self, num_features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))

    @torch.no_grad()
    def measure(self, batches) -> None:
        """Take mean and population deviation from an iterable of (B, T, F) features, in one pass."""
        count, total, squares = 0, 0.0, 0.0
        for features in batches:
            frames = features.reshape(-1, features.shape[-1]).double()
            count += len(frames)
            total = total + frames.sum(0)
            squares = squares + frames.square().sum(0)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        deviation = variance.sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0))

    @torch.no_grad()
    def fix(self, mean: float, deviation: float) -> None:
        """The same for all features, whatever they are."""
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    def forward(self, features: Tensor) -> Tensor:
        """(…, F) to (…, F)."""
        return (features - self.mean) / self.deviation

    def steps(self) -> list[Step]:
        """What it computes of a hop's raw features."""
        mean, deviation = array(self.mean), array(self.deviation)
        return [Normalize(name="normalization", source=FEATURES, mean=mean, deviation=deviation)]
