"""CRNN: the two gears agree, nothing looks ahead, and folded convolutions are the same convolutions."""

import pytest
import torch
from torch.nn import functional as F

from kws.errors import KwsError
from kws.networks import CRNNClassifier
from kws.networks.crnn import folded


def make(**more):
    """A small network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    network = CRNNClassifier(13, 5, channels=[4, 6], kernel_frames=[3, 2], kernel_filters=[5, 3], hidden_size=7, **more)
    network.train()
    for _ in range(20):
        network(2 * torch.randn(8, 9, 13) + 1)
    return network.eval()


@pytest.fixture
def features():
    return torch.randn(4, 11, 13, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@torch.no_grad()
def test_a_clip_equals_its_frames_one_by_one(features, cell):
    network = make(cell=cell)
    state, frames = network.initial_state(4), []
    assert [tensor.shape[1] for tensor in state] == network.state_sizes
    for frame in features.unbind(1):
        output, state = network.step(frame, state)
        frames.append(output)
    torch.testing.assert_close(torch.stack(frames, 1), network(features), atol=1e-6, rtol=0)


@torch.no_grad()
def test_blocks_of_any_length_equal_the_whole(features):
    network = make()
    whole = network(features)
    state, parts = network.initial_state(4), []
    for start, end in ((0, 1), (1, 2), (2, 7), (7, 7), (7, 11)):
        if end > start:
            part, state = network.stream(features[:, start:end], state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_frame_does_not_hear_the_future(features):
    network = make()
    changed = features.clone()
    changed[:, 6:] += 5
    before, after = network(features), network(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], atol=0, rtol=0)
    assert (before[:, 6] - after[:, 6]).abs().max() > 1e-3


@torch.no_grad()
def test_a_folded_convolution_is_the_convolution_and_its_normalisation():
    network = make()
    depthwise, norm, *_ = network.convolutions[1].stages
    weight, bias = folded(depthwise, norm)
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    expected = norm.double()(depthwise.double()(x))
    found = F.conv2d(x, weight, bias, depthwise.stride, depthwise.padding, groups=4)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_parameters_by_hand():
    network = CRNNClassifier(40, 23)
    convolutions = 24 * 25 + 2 * 24 + (24 * 9 + 2 * 24 + 24 * 32 + 2 * 32) + (32 * 9 + 2 * 32 + 32 * 40 + 2 * 40)
    layers = 3 * 128 * (40 * 5 + 128 + 2) + 3 * 128 * (128 + 128 + 2)
    assert sum(p.numel() for p in network.parameters()) == convolutions + layers + 128 * 23 + 23
    assert network.state_sizes == [4 * 40, 24 * 2 * 20, 32 * 2 * 10, 128, 128]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"channels": [8]}, "model.kernel_frames"),
        ({"channels": [], "kernel_frames": [], "kernel_filters": []}, "one value for each"),
        ({"kernel_filters": [4, 3, 3]}, "odd"),
        ({"kernel_frames": [0, 3, 3]}, "at least 1"),
        ({"cell": "rnn"}, "model.cell"),
    ],
)
def test_what_cannot_be_made_is_named(settings, names):
    with pytest.raises(KwsError, match=names):
        CRNNClassifier(40, 23, **settings)
