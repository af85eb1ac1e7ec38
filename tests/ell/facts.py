"""Plain facts of random classifiers, and what PyTorch makes of them."""

import numpy as np
import torch
from torch import nn

FEATURES, CLASSES = 7, 5
LABELS = ("yes", "no, thanks", "über", "_unknown_", "50%")

FEATURIZER = {
    "sample_rate": 8000,
    "window_size": 256,
    "hop_size": 256,
    "fft_size": None,
    "filterbank": "mel",
    "num_filters": 40,
    "hamming": False,
    "pre_emphasis": False,
    "power_spectrum": False,
    "log": True,
    "log_delta": 1.0,
    "dct": None,
    "auto_scale": False,
}

VAD = {
    "sample_rate": 8000,
    "frame_duration": 0.032,
    "tau_up": 1.5,
    "tau_down": 0.09,
    "large_input": 4.0,
    "gain_att": 0.01,
    "threshold_up": 3.5,
    "threshold_down": 0.9,
    "level_threshold": 0.02,
}


class Network(nn.Module):
    """Recurrent layers in a row, a linear layer, a softmax: (B, T, F) to (B, T, C)."""

    def __init__(self, cell: str, sizes: tuple[int, ...]):
        super().__init__()
        torch.manual_seed(3)
        kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        inputs = (FEATURES, *sizes)
        self.cell = cell
        self.layers = nn.ModuleList(kind(a, b, batch_first=True) for a, b in zip(inputs, sizes, strict=False))
        self.linear = nn.Linear(sizes[-1], CLASSES)
        random = np.random.default_rng(5)
        self.mean = random.normal(size=FEATURES).astype(np.float32)
        self.deviation = random.uniform(0.5, 2, size=FEATURES).astype(np.float32)

    @torch.no_grad()
    def probabilities(self, frames: np.ndarray) -> np.ndarray:
        x = torch.from_numpy((frames - self.mean) / self.deviation)[None]
        for layer in self.layers:
            x, _ = layer(x)
        return torch.softmax(self.linear(x), dim=-1)[0].numpy()

    def facts(self) -> dict:
        """The arguments of `kws.ell.build.classifier`."""
        keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layers = [
            {"cell": self.cell, **{key: getattr(layer, f"{key}_l0").detach().numpy() for key in keys}}
            for layer in self.layers
        ]
        return {
            "layers": layers,
            "output_weight": self.linear.weight.detach().numpy(),
            "output_bias": self.linear.bias.detach().numpy(),
            "mean": self.mean,
            "deviation": self.deviation,
            "labels": LABELS,
            "metadata": {"run": 'outputs/"a b"', "decoder.threshold": 0.5, "note": "", "vad": None},
        }


def frames(count: int, seed: int = 0) -> np.ndarray:
    """(count, FEATURES) with loud and silent stretches, so that a VAD has something to hear."""
    random = np.random.default_rng(seed)
    loud = np.repeat(random.random(count // 10 + 1) > 0.5, 10)[:count, None]
    return (np.abs(random.normal(size=(count, FEATURES))) * np.where(loud, 3, 0.01)).astype(np.float32)
