"""Dropout with 16 random bits an element: how often, how much, and when not."""

import pytest
import torch
from torch import nn

from kws.networks.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.15, 0.5, 0.97])
def test_a_share_p_is_zeroed_and_the_mean_stays(p):
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(1000, 1001))
    deviation = (p * (1 - p) / y.numel()) ** 0.5
    assert (y == 0).double().mean() == pytest.approx(p, abs=5 * deviation)
    assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)
    assert y.double().mean() == pytest.approx(1, abs=5 * deviation / (1 - p))


def test_elements_are_zeroed_independently():
    """Those that share 64 bits too; and every one of the 16 bits counts."""
    torch.manual_seed(0)
    y = Dropout(0.5)(torch.ones(100_000, 4)) - 1
    correlation = y.T @ y / len(y)
    torch.testing.assert_close(correlation, torch.eye(4), atol=0.02, rtol=0)
    rare = (Dropout(3 / 2**16)(torch.ones(2**24)) == 0).sum()
    assert rare.item() == pytest.approx(3 * 2**8, abs=5 * (3 * 2**8) ** 0.5)


def test_the_gradient_is_zero_where_the_output_is():
    x = torch.randn(30, 7, 5, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.3)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, x * gradient)
    assert 0 < (gradient == 0).sum() < x.numel()


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(5, 3, 7).transpose(0, 1),
        torch.randn(2, 6, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(8, 9)[:, 2:5],
        torch.randn(4, 1).expand(4, 6),
        torch.randn(3).bfloat16(),
        torch.randn(()),
        torch.empty(0, 4),
    ],
    ids=["transposed", "channels last", "slice", "expanded", "bfloat16", "scalar", "empty"],
)
def test_any_layout(x):
    torch.manual_seed(1)
    before = x.clone()
    y = Dropout(0.5)(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    kept = y != 0
    assert torch.equal(y[kept], 2 * x[kept])
    assert torch.equal(x, before)


def test_it_repeats_with_the_seed():
    def mask():
        return Dropout(0.5)(torch.ones(50, 3))

    torch.manual_seed(3)
    first, second = mask(), mask()
    torch.manual_seed(3)
    assert torch.equal(mask(), first)
    assert not torch.equal(first, second)


def test_nothing_is_zeroed_in_evaluation_or_at_p_0_and_all_at_p_1():
    x = torch.randn(9, 4)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)
    assert isinstance(Dropout(), nn.Dropout)
