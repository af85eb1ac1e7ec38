"""The GRU layer whose backward pass is written out: against PyTorch's, and against finite differences."""

import pytest
import torch
from torch import nn

from kws.networks.gru import GRU, Recurrence


def arguments(clips, frames, inputs, size, **options):
    torch.manual_seed(clips + frames)
    shapes = ((clips, frames, inputs), (clips, size), (3 * size, inputs), (3 * size, size), (3 * size,), (3 * size,))
    return [torch.randn(shape, requires_grad=True, **options) for shape in shapes]


def pair(inputs=6, size=5):
    torch.manual_seed(0)
    reference = nn.GRU(inputs, size, batch_first=True)
    layer = GRU(inputs, size)
    layer.load_state_dict(reference.state_dict())
    return layer, reference


@pytest.mark.parametrize(("clips", "frames", "inputs", "size"), [(3, 4, 5, 2), (1, 1, 1, 1), (2, 7, 3, 4)])
def test_derivatives_are_finite_differences(clips, frames, inputs, size):
    assert torch.autograd.gradcheck(Recurrence.apply, arguments(clips, frames, inputs, size, dtype=torch.float64))


def test_it_is_pytorchs_gru_with_the_same_gradients():
    x, h, *weights = arguments(6, 9, 4, 3, dtype=torch.float64)
    reference = nn.GRU(4, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for parameter, weight in zip(reference.parameters(), weights, strict=True):
            parameter.copy_(weight)
    y, after = Recurrence.apply(x, h, *weights)
    expected, expected_after = reference(x, h[None])
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(after, expected_after[0])
    found = torch.autograd.grad(y.cos().sum() + after.exp().sum(), [x, h, *weights])
    loss = expected.cos().sum() + expected_after.exp().sum()
    torch.testing.assert_close(list(found), list(torch.autograd.grad(loss, [x, h, *reference.parameters()])))


def test_under_autocast_it_is_within_the_rounding_of_pytorchs():
    layer, reference = pair(inputs=12, size=16)
    x, h = torch.randn(8, 15, 12), torch.randn(1, 8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        (y, after), (expected, _) = layer(x, h), reference(x, h)
    assert y.dtype == after.dtype == expected.dtype == torch.float32
    assert y.grad_fn.name().startswith("Recurrence")
    full, _ = reference(x, h)

    def error(found, wanted):
        return (found.float() - wanted).norm() / wanted.norm()

    assert error(y, full) < 1.2 * error(expected, full) < 0.01
    wanted = torch.autograd.grad(full.square().sum(), list(reference.parameters()))
    found = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
    coarse = torch.autograd.grad(expected.square().sum(), list(reference.parameters()))
    for ours, torchs, true in zip(found, coarse, wanted, strict=True):
        assert ours.dtype == torch.float32
        assert error(ours, true) < max(1.5 * error(torchs, true), 0.005)


@pytest.mark.parametrize("circumstance", ["full precision", "no gradients", "float16"])
def test_elsewhere_it_is_pytorchs_own_to_the_last_bit(circumstance):
    layer, reference = pair()
    x, h = torch.randn(3, 7, 6), torch.zeros(1, 3, 5)
    kind = torch.float16 if circumstance == "float16" else torch.bfloat16
    autocast = torch.autocast("cpu", kind, enabled=circumstance != "full precision")
    with autocast, torch.set_grad_enabled(circumstance != "no gradients"):
        (y, after), (expected, expected_after) = layer(x, h), reference(x, h)
    assert torch.equal(y, expected)
    assert torch.equal(after, expected_after)


def test_what_it_is_handed_stays_as_it_was():
    layer, _ = pair()
    x, h = torch.randn(3, 7, 6).bfloat16(), torch.randn(1, 3, 5)
    before = [tensor.clone() for tensor in (x, h, *layer.parameters())]
    with torch.autocast("cpu", torch.bfloat16):
        y, after = layer(x, h)
    kept = y.clone(), after.clone()
    (y.sum() + after.sum()).backward()
    for old, new in zip((*before, *kept), (x, h, *layer.parameters(), y, after), strict=True):
        assert torch.equal(old, new)


def test_a_second_derivative_is_refused():
    x, h, *weights = arguments(2, 3, 2, 2, dtype=torch.float64)
    y, _ = Recurrence.apply(x, h, *weights)
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
