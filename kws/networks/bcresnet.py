"""BC-ResNet: convolutions over time for features averaged over frequency, broadcast back to all frequencies.

B. Kim, S. Chang, J. Lee, D. Sung: "Broadcasted Residual Learning for Efficient Keyword Spotting", Interspeech 2021.

             ┌───────────── identity (where the channels stay as they are) ─────────────────┐
    x (B,C,F,T) ─► f2: 3×1 over frequency ─┬──────────────────────────────────────────────►(+)─► ReLU
                   SubSpectralNorm         └► mean over F ─► f1: 1×3 over time, BN, swish,   ▲
                                                             1×1, dropout (B,C,1,T) ─────────┘ broadcast over F
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kws.networks.classifier import Classifier
from kws.support.errors import KwsError

# The paper's Table 1 at scale 1: channels, blocks, stride over frequency, dilation over time.
STAGES = ((8, 2, 1, 1), (12, 2, 2, 2), (16, 4, 2, 4), (20, 4, 1, 8))
FIRST, LAST = 16, 32  # channels of the first convolution and before the labels
SUB_BANDS = 5
# Strides halve the filters three times, and what is left is normalised in five bands.
FILTERS = 8 * SUB_BANDS


class SubSpectralNorm(nn.Module):
    """Batch normalization of each frequency band for itself.

    Chang et al., "Subspectral Normalization for Neural Audio Data Processing", ICASSP 2021.
    """

    def __init__(self, channels: int, bands: int = SUB_BANDS):
        super().__init__()
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) to the same shape; F is a multiple of the number of bands."""
        batch, channels, frequencies, frames = x.shape
        bands = x.reshape(batch, channels * self.bands, frequencies // self.bands, frames)
        return self.norm(bands).reshape(batch, channels, frequencies, frames)


class BroadcastedBlock(nn.Module):
    """A block of the paper: normal where channels and size stay, else a transition, without the identity.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        stride: over frequency.
        dilation: over time.
        dropout: probability of leaving out a channel of f1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, dropout: float):
        super().__init__()
        self.transition = inputs != outputs or stride != 1
        widen = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.f2 = nn.Sequential(
            *(widen if self.transition else []),
            nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), (1, 0), groups=outputs, bias=False),
            SubSpectralNorm(outputs),
        )
        self.f1 = nn.Sequential(
            nn.Conv2d(outputs, outputs, (1, 3), 1, (0, dilation), (1, dilation), groups=outputs, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) to (B, C', F / stride, T)."""
        y = self.f2(x)  # (B, C', F', T)
        y = y + self.f1(y.mean(dim=2, keepdim=True))  # (B, C', 1, T) for every frequency
        return functional.relu(y if self.transition else y + x)


class BCResNet(Classifier):
    """Judges whole clips; its convolutions look ahead, so it cannot stream.

    Args:
        input_size: features per frame, F; a multiple of 40, the paper's number.
        num_classes: labels, C.
        scale: factor on all channels; the paper has 1, 1.5, 2, 3, 6 and 8.
        dropout: probability of leaving out a channel in training.
    """

    streams = False

    def __init__(self, input_size: int, num_classes: int, scale: float = 1, dropout: float = 0.1):
        super().__init__()
        self.settings = {
            "input_size": input_size,
            "num_classes": num_classes,
            "scale": scale,
            "dropout": dropout,
        }
        if input_size % FILTERS or input_size < FILTERS:
            raise KwsError(
                f"a BC-ResNet takes a multiple of {FILTERS} features, not {input_size}; set featurizer.num_filters."
            )
        if not scale > 0 or any(int(scale * stage[0]) < 1 for stage in STAGES):
            raise KwsError(f"model.scale={scale} leaves no channels; the paper has 1, 1.5, 2, 3, 6 and 8.")
        first, last = int(scale * FIRST), int(scale * LAST)
        self.first = nn.Sequential(
            nn.Conv2d(1, first, 5, (2, 1), 2, bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )  # (B, 1, F, T) to (B, 16, F/2, T)
        blocks, channels = [], first
        for width, count, stride, dilation in STAGES:
            outputs = int(scale * width)
            for i in range(count):
                blocks.append(BroadcastedBlock(channels, outputs, stride if i == 0 else 1, dilation, dropout))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)  # to (B, 20, F/8, T)
        self.last = nn.Sequential(
            nn.Conv2d(channels, channels, 5, 1, (0, 2), groups=channels, bias=False),  # (B, 20, F/8 - 4, T)
            nn.Conv2d(channels, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
        )
        self.labels = nn.Conv2d(last, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Normalised features of whole clips (B, T, F) to one frame of log-probabilities (B, 1, C)."""
        x = features.transpose(1, 2)[:, None]  # (B, 1, F, T)
        x = self.last(self.blocks(self.first(x)))
        scores = self.labels(x.mean(dim=(2, 3), keepdim=True))[:, :, 0, 0]  # (B, C)
        return functional.log_softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))[:, None]
