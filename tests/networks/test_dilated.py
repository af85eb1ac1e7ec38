"""Dilated convolutions: two gears agree, nothing looks ahead, nothing is remembered beyond the receptive field."""

import pytest
import torch
from torch.nn import functional as F

from kws.networks import DilatedClassifier
from kws.support.errors import KwsError

FRONT = {"channels": [4, 6], "kernel_frames": [3, 2], "kernel_filters": [5, 3]}
FORMS = [{}, FRONT, {"pointwise": 2, "multi_scale": True}, {"frames": 1}, {"dilations": [3, 1], "stacks": 1, **FRONT}]


def make(**more):
    """A small network whose batch normalisation has seen something."""
    torch.manual_seed(0)
    network = DilatedClassifier(13, 5, **{"width": 7, "frames": 3, "dilations": [1, 2, 4], "stacks": 2, **more})
    network.train()
    for _ in range(20):
        network(2 * torch.randn(8, 9, 13) + 1)
    return network.eval()


@pytest.fixture
def features():
    return torch.randn(4, 19, 13, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", FORMS, ids=str)
@torch.no_grad()
def test_a_clip_equals_its_frames_one_by_one_and_any_blocks(features, form):
    network = make(**form)
    whole = network(features)
    state, frames = network.initial_state(4), []
    assert [tensor.shape[1] for tensor in state] == network.state_sizes
    for frame in features.unbind(1):
        output, state = network.step(frame, state)
        frames.append(output)
    torch.testing.assert_close(torch.stack(frames, 1), whole, atol=1e-6, rtol=0)
    state, parts = network.initial_state(4), []
    for start, end in ((0, 1), (1, 2), (2, 7), (7, 19)):
        part, state = network.stream(features[:, start:end], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", FORMS, ids=str)
@torch.no_grad()
def test_a_frame_hears_its_receptive_field_and_no_more(features, form):
    network = make(**form)
    field = network.receptive_field
    features = torch.cat([features, features, features], dim=1)
    changed = features.clone()
    changed[:, 6] += 5
    moved = (network(features) - network(changed)).abs().amax(dim=(0, 2))
    assert moved[:6].max() == 0
    assert moved[6] > 1e-4
    assert moved[6 + field :].max() < 1e-6
    assert (moved[5 + field] > 0) == (5 + field < len(moved))


@pytest.mark.parametrize("dilation", [1, 2, 3, 8])
@torch.no_grad()
def test_a_block_by_its_formula(dilation):
    """relu(x + N₁(P relu(N₀(D x)))): D over three frames, `dilation` apart, with zeros before the first."""
    block = make(dilations=[dilation], stacks=1).blocks[0].double()
    x = torch.randn(2, 7, 20, 1, dtype=torch.float64)
    found, after = block(x, torch.zeros(2, block.state_size, dtype=torch.float64))
    depthwise, norm, _, pointwise, last = block.stages
    y = F.conv2d(F.pad(x, (0, 0, 2 * dilation, 0)), depthwise.weight, dilation=(dilation, 1), groups=7)
    expected = torch.relu(x + last(pointwise(torch.relu(norm(y)))))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert torch.equal(after, x[:, :, -2 * dilation :, 0].flatten(1))


@pytest.mark.parametrize("dilation", [1, 2, 3, 8])
def test_what_is_trained_is_the_same_convolution(dilation):
    block = make(dilations=[dilation], stacks=1).blocks[0].double()
    heard = torch.randn(2, 7, 2 * dilation + 11, 1, dtype=torch.float64)
    torch.testing.assert_close(block.train().over_time(heard), block.eval().over_time(heard), atol=1e-12, rtol=0)


def test_parameters_and_states_by_hand():
    network = DilatedClassifier(40, 10, width=48, stacks=3, pointwise=2, multi_scale=True)
    blocks = 12 * (48 * 5 + 2 * 48 + 2 * (48 * 48 + 2 * 48))
    assert sum(p.numel() for p in network.parameters()) == 40 * 48 + 2 * 48 + blocks + 48 * 10 + 10
    assert network.state_sizes == [48 * 4 * d for d in (1, 2, 4, 8)] * 3
    assert network.receptive_field == 1 + 3 * 4 * (1 + 2 + 4 + 8)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"channels": [8]}, "model.kernel_frames"),
        ({"channels": [8], "kernel_frames": [3], "kernel_filters": [4]}, "odd"),
        ({"dilations": []}, "model.dilations"),
        ({"stacks": 0}, "model.stacks"),
        ({"pointwise": 0}, "model.pointwise"),
    ],
)
def test_what_cannot_be_made_is_named(settings, names):
    with pytest.raises(KwsError, match=names):
        DilatedClassifier(40, 23, **settings)
