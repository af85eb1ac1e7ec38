"""LeakyReLU and MaxPool in NumPy: PyTorch's numbers, and what they keep from hop to hop."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kws.program import floating, steps

SHAPES = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 4), (1, 2, 4)]
"""Filters in one, frames, and how far these are apart."""


def pool(width, frames, dilation, channels=3, filters=7):
    places = {"channels": channels, "filters": filters, "width": width, "frames": frames, "dilation": dilation}
    return steps.MaxPool(name="pool", source="x", **places)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(step, x, states=None):
    """The value of (B, T, n), and the states after it."""
    if states is None:
        states = tuple(np.zeros((len(x), size), np.float32) for size in step.state_sizes)
    return floating.FUNCTIONS[type(step)](step, (x,), states, {})


@pytest.mark.parametrize(("slope", "floor"), [(0.2, -0.4), (0.0, -0.4), (1.0, -1.0), (0.5, 0.0)])
def test_a_leak_is_pytorchs(slope, floor):
    x = random(2, 9, 5)
    y, _ = run(steps.LeakyReLU(name="leaky", source="x", slope=slope, floor=floor), x)
    expected = F.leaky_relu(torch.from_numpy(x), slope).clamp(min=floor)
    assert y.dtype == np.float32
    assert np.array_equal(y, expected.numpy())


@pytest.mark.parametrize(("width", "frames", "dilation"), SHAPES)
def test_a_pool_is_pytorchs_on_frames_that_begin_with_zeros(width, frames, dilation):
    step, x = pool(width, frames, dilation), random(2, 9, 21)
    y, after = run(step, x)
    picture = torch.from_numpy(x).reshape(2, 9, 3, 7).swapaxes(1, 2)
    before = F.pad(picture, (0, 0, step.past, 0))
    expected = F.max_pool2d(before, (frames, width), (1, width), dilation=(dilation, 1))
    assert y.dtype == np.float32
    assert np.array_equal(y, expected.swapaxes(1, 2).flatten(2).numpy())
    assert step.size(21) == y.shape[2]
    assert [state.shape for state in after] == [(2, size) for size in step.state_sizes]
    assert step.multiply_adds(21) == step.num_weights == 0


@pytest.mark.parametrize(("width", "frames", "dilation"), SHAPES)
def test_hop_by_hop_is_all_at_once(width, frames, dilation):
    step, x = pool(width, frames, dilation), random(3, 9, 21)
    expected, last = run(step, x)
    states, heard = None, []
    for start, end in [(0, 1), (1, 2), (2, 3), (3, 8), (8, 9)]:
        y, states = run(step, x[:, start:end], states)
        heard.append(y)
    assert np.array_equal(np.concatenate(heard, axis=1), expected)
    assert all(np.array_equal(a, b) for a, b in zip(states, last, strict=True))


def test_settings_that_mean_nothing_are_refused():
    for slope, floor in [(1.5, -1.0), (0.2, 0.5), (0.2, -np.inf)]:
        with pytest.raises(ValueError, match=f"leaky: a slope of {slope}"):
            steps.LeakyReLU(name="leaky", source="x", slope=slope, floor=floor)
    for shape in [(1, 3, 1), (8, 1, 1), (1, 2, 0)]:
        with pytest.raises(ValueError, match="pool: no pool of"):
            pool(*shape)
