"""Networks of integers in C without the front: what is handed over as samples are the features."""

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from kws.native.folder import write_sources
from kws.program import FEATURES, SAMPLES, Program, integer
from kws.program import quantized as q
from kws.program import steps as s
from kws.program.quantize import quantize
from tests.native.spotters import make_spotter
from tests.program import test_quant_twin as twin
from tests.program.test_quant_twin import (
    F,
    add,
    convolution,
    fastgrnn,
    hear,
    leaky,
    linear,
    network,
    pool,
    recurrent,
    relu,
)

WIDE = (  # rows and columns that fill tiles, and some that do not
    convolution(36, 1, 3, stride=2),
    relu,
    convolution(36, 3, 1, channels=36, groups=36, dilation=2),
    linear(20),
    relu,
    add("step3"),
    recurrent(s.GRU, 33),
    recurrent(s.LSTM, 18),
    fastgrnn(19, rank=10),
    fastgrnn(16, gate="hard_sigmoid", update="hard_tanh"),
    leaky(),
    pool(16, frames=2, dilation=3),
    convolution(40, 2, 1, channels=16),
    pool(width=3, frames=2),
)
NETWORKS = {
    **twin.NETWORKS,
    "wide": WIDE,
    "groups": (convolution(6, 2, 3, padding=1), relu, convolution(4, 2, 1, channels=6, groups=2, dilation=3), relu),
    "far beside the picture": (
        convolution(3, 2, 2, padding=3),
        convolution(3, 2, 3, channels=3, groups=3, stride=2, padding=4),
    ),
    "dilated": (convolution(9, 2, 3, padding=1, dilation=3), convolution(12, 3, 1, channels=9, dilation=2), relu),
    "three layers": (recurrent(s.LSTM, 8), recurrent(s.LSTM, 7), recurrent(s.LSTM, 9)),
}


def program(name: str, scramble: int | None = None, clean: bool = False) -> Program:
    """An integer network behind a front that hands on what it hears, clipped to [-1, 1] if it is to be clean."""
    made = quantize(network(*NETWORKS[name]), hear(20))
    made = made if scramble is None else scrambled(made, scramble)
    front = [s.Clean(name="clean", source=SAMPLES)] if clean else []
    front.append(s.Window(name=FEATURES, source=front[-1].name if front else SAMPLES, window_size=F, hop_size=F))
    return Program((*front, *made.network), F)


def scrambled(made: Program, seed: int) -> Program:
    """The same steps with any constants that `kws.program.quantized` allows, so that everything reaches its limits."""
    random = np.random.default_rng(seed)

    def of_all_sizes(bits: int, shape: tuple[int, ...]) -> np.ndarray:
        return (random.choice([-1, 1], shape) * 2.0 ** random.uniform(0, bits, shape)).astype(np.int32)

    def of(step: q.Step, name: str, value):
        if isinstance(value, tuple):
            return tuple(of(step, name, array) for array in value)
        if not isinstance(value, np.ndarray):
            return value
        if "multiplier" in name:
            return random.integers(2**14, 2**15, value.shape).astype(np.int16)
        if "shift" in name:
            return random.choice(np.array([0, 30, *range(4, 14)], np.int8), value.shape)
        if value.dtype == np.int32:
            return of_all_sizes({"gate_bias": 28, "update_bias": 28, "offset": 15}.get(name, 24), value.shape)
        if value.dtype == np.int8:
            return random.choice(np.array([-127, 127, *range(-9, 10)], np.int8), value.shape)
        return value

    steps = []
    for step in made.steps:
        plain = {field.name: of(step, field.name, getattr(step, field.name)) for field in fields(step)}
        if isinstance(step, q.Quantize):
            plain["factor"] = (step.factor * 10.0 ** random.integers(-2, 3, len(step.factor))).astype(np.float32)
        if isinstance(step, q.IntegerAdd):
            left = int(random.integers(0, 16))
            plain |= dict(zip(("left", "other_left"), random.permutation([left, 0]).tolist(), strict=True))
            plain["right"] = int(random.integers(0, 16))
        if isinstance(step, q.IntegerOffset):
            plain["right"] = int(random.integers(0, 4))
        if isinstance(step, q.IntegerLeakyReLU):
            plain |= {"slope": int(random.choice([6554, 32768])), "floor": int(random.choice([-300, -32767]))}
        if isinstance(step, q.IntegerLSTM):
            plain["cell_fraction"] = int(random.integers(0, 13))
        if isinstance(step, q.IntegerFastGRNN):
            plain |= {"zeta": int(random.choice([0, 20000, 32768])), "nu": int(random.choice([0, 3000, 32768]))}
            plain["fraction"] = int(random.integers(0, 16))
        steps.append(type(step)(**plain))
        q.check(steps[-1])
    return replace(made, steps=tuple(steps))


def write(program: Program, folder: Path) -> Path:
    """The sources of a program; the folder."""
    write_sources(make_spotter(), folder, program)
    return folder


def hostile(frames: int, streams: int = 1, seed: int = 0) -> np.ndarray:
    """Features of all sizes, and some that are no numbers: (streams, frames, F)."""
    random = np.random.default_rng(seed)
    loudness = 10.0 ** random.integers(-3, 3, (streams, frames, 1))
    features = (random.standard_normal((streams, frames, F)) * loudness).astype(np.float32)
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0], np.float32)
    where = random.random(features.shape) < 0.03
    features[where] = random.choice(special, where.sum())
    return features


def totals_of(program: Program, features: np.ndarray, resets: np.ndarray) -> np.ndarray:
    """What the twin says of (B, T, F): (B, T, C). Before each frame in `resets` all streams forget."""
    network = replace(program, steps=program.network, source=FEATURES)
    bounds = sorted({0, *resets.tolist(), features.shape[1]})
    pieces = [integer.run(network, features[:, a:b])[0].totals for a, b in pairwise(bounds)]
    return np.concatenate(pieces, axis=1)
