"""What a spotter costs: multiply-adds per second of audio, bytes, and microseconds per hop."""

import math
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kws.export.onnx import session
from kws.featurizer import Featurizer
from kws.spotter import Spotter


def featurizer_multiply_adds(featurizer: Featurizer) -> float:
    """Multiply-adds of a frame.

    The window takes one for each sample, pre-emphasis one for each new sample; a real transform of N points N·log2 N
    (half of the N/2·log2 N butterflies of a complex one, of four multiplications each); the magnitude two for each
    bin; the filter bank one for each weight that is not zero; the cosine transform one for each of its weights.
    Square roots and logarithms are not counted.
    """
    n = featurizer.fft_size
    count = n * math.log2(n) + 2 * (n // 2 + 1) + int((featurizer.filters != 0).sum())
    if featurizer.window is not None:
        count += featurizer.window_size
    if featurizer.pre_emphasis:
        count += featurizer.hop_size
    if featurizer.cosines is not None:
        count += featurizer.cosines.numel()
    return float(count)


@torch.no_grad()
def network_multiply_adds(spotter: Spotter, frames: int) -> float:
    """Multiply-adds of the network over a clip of `frames` frames: its matrix products and convolutions.

    Counted by PyTorch's own counter, whose floating-point operations are two a multiply-add. Additions, activations
    and normalisation are not counted.
    """
    features = torch.zeros(1, frames, spotter.featurizer.num_features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings for other makers' processors
        # oneDNN runs an LSTM as one operation that the counter does not know.
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            spotter.classifier(features)
    return counter.get_total_flops() / 2


def multiply_adds_per_second(spotter: Spotter) -> float:
    """Multiply-adds per second of audio, featurizer and network.

    A network that judges whole clips is counted once for each second.
    """
    featurizer = spotter.featurizer
    per_second = featurizer.sample_rate / featurizer.hop_size
    frames = featurizer.sample_rate // featurizer.hop_size
    network = network_multiply_adds(spotter, frames) / frames
    return per_second * (featurizer_multiply_adds(featurizer) + network)


def microseconds_per_hop(step: str | Path, hops: int = 300) -> float:
    """Median microseconds of one step of a ``step.onnx`` in onnxruntime: one stream, one thread, the state carried."""
    model = session(step)
    inputs = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in model.get_inputs()}
    outputs = [o.name for o in model.get_outputs()]
    seconds = []
    for _ in range(hops + 20):
        started = time.perf_counter()
        results = model.run(outputs, inputs)
        seconds.append(time.perf_counter() - started)
        inputs |= {n.removeprefix("next_"): v for n, v in zip(outputs, results, strict=True) if n.startswith("next_")}
    return 1e6 * statistics.median(seconds[20:])  # the first ones warm up
