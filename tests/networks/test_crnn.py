"""CRNN: the two gears agree, nothing looks ahead, and folded convolutions are the same convolutions."""

import pytest
import torch
from torch.nn import functional as F

from kws.networks import CRNNClassifier
from kws.networks.causal import folded
from kws.support.errors import KwsError


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


TEMPORAL = {"temporal_frames": [3, 1, 4], "temporal_channels": 6}


@pytest.mark.parametrize("form", [{}, {"cell": "lstm"}, TEMPORAL], ids=str)
@torch.no_grad()
def test_a_clip_equals_its_frames_one_by_one(features, form):
    network = make(**form)
    state, frames = network.initial_state(4), []
    assert [tensor.shape[1] for tensor in state] == network.state_sizes
    for frame in features.unbind(1):
        output, state = network.step(frame, state)
        frames.append(output)
    torch.testing.assert_close(torch.stack(frames, 1), network(features), atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", [{}, TEMPORAL], ids=str)
@torch.no_grad()
def test_blocks_of_any_length_equal_the_whole(features, form):
    network = make(**form)
    whole = network(features)
    state, parts = network.initial_state(4), []
    for start, end in ((0, 1), (1, 2), (2, 7), (7, 7), (7, 11)):
        if end > start:
            part, state = network.stream(features[:, start:end], state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", [{}, TEMPORAL], ids=str)
@torch.no_grad()
def test_a_frame_does_not_hear_the_future(features, form):
    network = make(**form)
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


@torch.no_grad()
def test_a_temporal_block_by_its_formula():
    """relu(x + N(P(D x))): D over three frames with zeros before the first, P over channels, N the normalisation."""
    block = make(temporal_frames=[3], temporal_channels=6).blocks[0].double()
    x = torch.randn(2, 6, 9, 1, dtype=torch.float64)
    found, after = block(x, torch.zeros(2, block.state_size, dtype=torch.float64))
    depthwise, pointwise, norm = block.stages
    heard = F.pad(x[..., 0], (2, 0))  # (B, C, T + 2)
    mixed = torch.stack([(heard[:, :, t : t + 3] * depthwise.weight[:, 0, :, 0]).sum(-1) for t in range(9)], 2)
    mixed = torch.einsum("oc,bct->bot", pointwise.weight[:, :, 0, 0], mixed)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    mixed = (mixed - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
    torch.testing.assert_close(found[..., 0], torch.relu(x[..., 0] + mixed), atol=1e-12, rtol=0)
    assert torch.equal(after, x[:, :, -2:, 0].flatten(1))


def test_parameters_of_temporal_blocks_by_hand():
    plain = CRNNClassifier(40, 23, num_layers=1)
    network = CRNNClassifier(40, 23, num_layers=1, temporal_frames=[11, 9], temporal_channels=50)
    blocks = 200 * 50 + 2 * 50 + 50 * (11 + 9) + 2 * (50 * 50 + 2 * 50)
    shrunk = 3 * 128 * (200 - 50)  # of the recurrent layer's input
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in plain.parameters()) + blocks - shrunk
    assert network.state_sizes == [4 * 40, 24 * 2 * 20, 32 * 2 * 10, 50 * 10, 50 * 8, 128]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"channels": [8]}, "model.kernel_frames"),
        ({"channels": [], "kernel_frames": [], "kernel_filters": []}, "one value for each"),
        ({"kernel_filters": [4, 3, 3]}, "odd"),
        ({"kernel_frames": [0, 3, 3]}, "at least 1"),
        ({"cell": "rnn"}, "model.cell"),
        ({"temporal_frames": [0]}, "model.temporal_frames"),
    ],
)
def test_what_cannot_be_made_is_named(settings, names):
    with pytest.raises(KwsError, match=names):
        CRNNClassifier(40, 23, **settings)
