"""Plain facts of random classifiers, and what PyTorch makes of them."""

import numpy as np
import torch
from torch import nn

from kws.networks.recurrent import STEPS, WEIGHTS
from kws.program import Chain, Program, steps
from kws.spotter.featurizer import Featurizer

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

    def program(self, normalized: bool = True) -> Program:
        """What it computes, from the features on."""
        chain = Chain("features")
        if normalized:
            chain.add(steps.Normalize, "normalization", mean=self.mean, deviation=self.deviation)
        for i, layer in enumerate(self.layers, 1):
            weights = {key: getattr(layer, f"{key}_l0").detach().numpy() for key in WEIGHTS}
            chain.add(STEPS[self.cell], f"layer{i}", **weights)
        weight, bias = self.linear.weight.detach().numpy(), self.linear.bias.detach().numpy()
        chain.add(steps.Linear, "linear", weight=weight, bias=bias)
        chain.add(steps.LogSoftmax, "log_probabilities")
        return Program(chain.steps, FEATURES, "features")

    def facts(self, normalized: bool = True) -> dict:
        """The arguments of `kws.ell.build.classifier`."""
        return {
            "program": self.program(normalized),
            "labels": LABELS,
            "metadata": {"run": 'outputs/"a b"', "decoder.threshold": 0.5, "note": "", "vad": None},
        }


def frames(count: int, seed: int = 0) -> np.ndarray:
    """(count, FEATURES) with loud and silent stretches, so that a VAD has something to hear."""
    random = np.random.default_rng(seed)
    loud = np.repeat(random.random(count // 10 + 1) > 0.5, 10)[:count, None]
    return (np.abs(random.normal(size=(count, FEATURES))) * np.where(loud, 3, 0.01)).astype(np.float32)


def featurizer_steps(**changes) -> list:
    """The steps of `FEATURIZER` with some settings changed."""
    return Featurizer(**FEATURIZER | changes).steps()
