"""Small spotters of every kind, audio that makes them speak, and their C, compiled once in a process."""

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from kws.native import CModel, compiler
from kws.native.folder import write_package, write_sources
from kws.networks import CRNNClassifier, FastGRNNClassifier, RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.vad import VoiceActivityDetector
from tests.program.toy import PoolingClassifier

RATE = 1000
LABELS = ("_silence_", "yes", "no")
DECODER = {"threshold": {"yes": 0.4, "no": 0.38}, "smoothing": 0.12, "refractory": 0.2, "consecutive": 2}

NETWORKS = {
    "gru": (RecurrentClassifier, {"hidden_size": 7}),
    "gru3": (RecurrentClassifier, {"hidden_size": 19, "num_layers": 3, "last_hidden_size": "classes"}),
    "lstm1": (RecurrentClassifier, {"cell": "lstm", "hidden_size": 7, "num_layers": 1}),
    "lstm": (RecurrentClassifier, {"cell": "lstm", "hidden_size": 16}),
    "lstm3": (RecurrentClassifier, {"cell": "lstm", "hidden_size": 9, "num_layers": 3, "last_hidden_size": "classes"}),
    "fastgrnn": (FastGRNNClassifier, {"hidden_size": 9}),
    "fastgrnn low rank": (FastGRNNClassifier, {"hidden_size": 9, "input_rank": 3, "hidden_rank": 12}),
    "fastgrnn hard": (
        FastGRNNClassifier,
        {
            "hidden_size": 8,
            "hidden_rank": 3,
            "gate_nonlinearity": "hard_sigmoid",
            "update_nonlinearity": "hard_tanh",
        },
    ),
    "crnn": (
        CRNNClassifier,
        {"channels": (4, 6), "kernel_frames": (3, 2), "kernel_filters": (5, 3), "hidden_size": 8},
    ),
    "crnn of one frame": (
        CRNNClassifier,
        {"channels": (4,), "kernel_frames": (1,), "kernel_filters": (1,), "cell": "lstm", "hidden_size": 8},
    ),
    "temporal": (
        CRNNClassifier,
        {
            "channels": (4, 6, 5),
            "kernel_frames": (3, 2, 1),
            "kernel_filters": (5, 3, 3),
            "temporal_frames": (5, 3, 1),
            "temporal_channels": 9,
            "hidden_size": 8,
            "num_layers": 1,
        },
    ),
    "pools": (PoolingClassifier, {"channels": 5, "frames": 2, "dilation": 3}),
}


def make_spotter(network="gru", vad=True, decoder=None, labels=LABELS, seed=0, **featurizer) -> Spotter:
    """A spotter whose outputs swing, so that a wrong number shows."""
    torch.manual_seed(seed)
    front = Featurizer(**{"sample_rate": RATE, "window_size": 64, "hop_size": 40, "num_filters": 12, **featurizer})
    detector = VoiceActivityDetector(front.num_features, front.hop_seconds, tau_up=0.5, threshold_up=1.5)
    kind, settings = NETWORKS[network]
    classifier = kind(front.num_features, len(labels), **settings)
    spotter = Spotter(front, classifier, labels, vad=detector if vad else None, decoder=decoder).eval()
    spotter.normalization.measure([front(audio(5.0))])
    with torch.no_grad():
        for weight in classifier.parameters():
            weight *= 2
        for module in classifier.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2)
        # No word is favoured, so that each has its time.
        heard = spotter.stream(audio(5.0)[:, : 5 * RATE // front.hop_size * front.hop_size], spotter.initial_state())
        classifier.linear.bias -= heard[0].log_probabilities.mean((0, 1))
    return spotter


def audio(seconds: float, streams: int = 1, seed: int = 0) -> torch.Tensor:
    """Bursts of noise: (streams, samples) in [-1, 1]."""
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE))
    loudness = np.where(np.sin(t / 150) > 0.2, 0.3 * np.abs(np.sin(t / 40)), 0) + 0.002
    return torch.from_numpy((random.normal(size=(streams, len(t))) * loudness).clip(-1, 1).astype(np.float32))


def need_compiler() -> None:
    """Skip where there is none."""
    if compiler.find_compiler() is None:
        pytest.skip("needs a C compiler")


@functools.cache
def model() -> CModel:
    """The C of `spotter()`."""
    need_compiler()
    return CModel.of(spotter())


@functools.cache
def spotter() -> Spotter:
    """A GRU with the detector and a decoder that reports often."""
    return make_spotter(decoder=DECODER, seed=3)


@functools.cache
def sources(network: str = "gru") -> Path:
    """A folder with the sources of a spotter of some network, gone when the process ends."""
    path = Path(_scratch().name) / network.replace(" ", "_")
    own = spotter() if network == "gru" else make_spotter(network, decoder=DECODER)
    write_sources(own, path)
    write_package(own, path)
    return path


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="kws_test_native_")


@functools.cache
def zig() -> tuple[str, ...] | None:
    """The command of ziglang's compiler, if it is installed."""
    found = compiler.find_compiler(crosses=True)
    return found.command if found else None


def need_tool(name: str) -> str:
    """The path of a program; skip where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}")
    return path


def said(detections) -> list[tuple[str, float]]:
    """What was heard when, without the confidence."""
    return [(detection.word, round(detection.time, 6)) for detection in detections]
