"""What a spotter costs: multiply-adds per second of audio, bytes, and microseconds per hop."""

import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kws.program import Program
from kws.spotter import Spotter
from kws.support.onnx_session import session


def multiply_adds_per_second(spotter: Spotter) -> float:
    """Multiply-adds per second of audio, featurizer and network.

    A network that judges whole clips is counted once for each second.
    """
    featurizer, network = spotter.featurizer, spotter.classifier
    if network.streams:
        count = spotter.program().multiply_adds()
    else:
        frames = featurizer.sample_rate // featurizer.hop_size
        front = Program(tuple(featurizer.steps()), featurizer.hop_size)
        count = front.multiply_adds() + clip_multiply_adds(network, frames, featurizer.num_features) / frames
    return featurizer.sample_rate / featurizer.hop_size * count


@torch.no_grad()
def clip_multiply_adds(network: nn.Module, frames: int, num_features: int) -> float:
    """Multiply-adds of a network over a clip of `frames` frames: its matrix products and convolutions.

    Counted by PyTorch's own counter, whose floating-point operations are two a multiply-add. Additions, activations
    and normalisation are not counted.
    """
    features = torch.zeros(1, frames, num_features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings for other makers' processors
        # oneDNN runs an LSTM as one operation that the counter does not know.
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            network(features)
    return counter.get_total_flops() / 2


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
