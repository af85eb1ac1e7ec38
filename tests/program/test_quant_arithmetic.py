"""The arithmetic of integer networks against Python's integers of unlimited size, and against float64."""

import numpy as np
import pytest

from kws.program import fixed_point as fp
from kws.program.rows import Rows, expressible
from kws.support.errors import KwsError

EXTREMES = [0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30), 123456789, -987654321, 65535, -65536]
ALL_INT16 = np.arange(-32768, 32768)


def in_int32(x):
    return np.all((np.asarray(x) >= -(2**31)) & (np.asarray(x) < 2**31))


@pytest.mark.parametrize("multiplier", [2**14, 2**14 + 1, 23171, 2**15 - 1])
@pytest.mark.parametrize("bits", [0, 1, 2, 7, 15, 29, 30])
def test_requantize_is_what_it_says(multiplier, bits):
    random = np.random.default_rng(bits).integers(-(2**31), 2**31, 500).tolist()
    totals = EXTREMES + random
    given = fp.requantize(np.array(totals, np.int32), np.int16(multiplier), np.int8(bits))
    for total, result in zip(totals, given.tolist(), strict=True):
        high = (total * multiplier) >> 16
        assert in_int32(high + (1 << bits >> 1))
        assert abs(high) <= 2**30
        assert result == (high + (1 << bits >> 1)) >> bits
        # Against the exact quotient: half a step of the result, and what the first shift cut off.
        assert -0.5 - 2.0**-bits < result - total * multiplier / 2 ** (16 + bits) <= 0.5
    assert in_int32(given)


def test_shift_rounds_halves_upwards():
    assert fp.shift([5, 6, 7, -5, -6, -7, 3], 2).tolist() == [1, 2, 2, -1, -1, -2, 1]
    assert fp.shift([5, -5], 0).tolist() == [5, -5]


def test_the_table_of_tanh_is_close_on_all_arguments():
    y = fp.tanh(ALL_INT16)
    exact = 32768 * np.tanh(ALL_INT16 / 4096)
    assert np.abs(y - exact).max() < 2.4
    assert y[32768] == 0
    assert np.array_equal(y[1:], -y[1:][::-1])  # odd
    assert np.diff(y).min() >= -1  # steps of the table do not quite meet
    assert fp.tanh([2**31 - 1, -(2**31) + 1, 32767]).tolist() == [32767, -32767, 32767]


def test_the_table_of_tanh_fits_and_is_small():
    assert fp.TANH.shape == (256,)
    assert fp.TANH.nbytes == 1024
    assert (fp.TANH >= 0).all()  # so that C may shift it
    assert ((fp.TANH & 0xFFFF) * 127 + 2048).max() < 2**31


def test_sigmoid_is_close_on_all_arguments():
    y = fp.sigmoid(ALL_INT16)
    error = y - 32768 / (1 + np.exp(-2 * ALL_INT16 / 4096))
    assert np.abs(error).max() < 1.7
    assert y.min() == 0
    assert y.max() == 32767
    assert fp.sigmoid(0) == 16384


def test_hard_nonlinearities_are_close_and_saturate():
    x = np.concatenate([ALL_INT16, [-(2**29), 2**29]])
    assert np.abs(fp.hard_sigmoid(x) - 32768 * np.clip(0.2 * x / 4096 + 0.5, 0, 1)).max() <= 1
    assert np.abs(fp.hard_tanh(x) - 32768 * np.clip(x / 4096, -1, 1)).max() <= 1
    assert in_int32(26214 * 65535 + 8192)


def test_products_of_gates_fit_into_int32():
    """The bounds that the steps' docstrings claim."""
    limit = fp.LIMIT
    for bound in (
        limit * fp.CANDIDATE + 16384,  # GRU: r * candidate
        limit * 2 * limit + 16384,  # GRU: z * (h - n)
        limit * limit + limit * limit + 16384,  # LSTM: f * c + i * g
        limit << 12,  # LSTM: argument of the cell's tanh
        65535 * limit,  # FastGRNN: gain * new
        (65535 * limit >> 1) + (limit * limit >> 1) + 8192,
        2**15 * 2**15 + 16384,  # zeta * (1 - z)
        2 * 2**28 + 2**28 + 1,  # s + bias
        2 * (limit << 15) + 2**14,  # sum of two values
        2**30 + 2**30 - 1,  # a + b
    ):
        assert bound <= 2**31 - 1


def test_factors_are_expressed_from_above_and_exactly():
    factors = np.concatenate([0.4999 * 2.0 ** -np.arange(31), 0.25 * 2.0 ** -np.arange(30), [0, 2.0**-50, 0.1, 1e-5]])
    multiplier, bits, exact = expressible(factors)
    assert multiplier.dtype == np.int16
    assert bits.dtype == np.int8
    assert (multiplier >= 2**14).all()
    assert ((bits >= 0) & (bits <= 30)).all()
    assert np.array_equal(exact, multiplier * 2.0 ** -(16.0 + bits))
    assert (exact >= factors).all()
    normal = factors > 2.0**-31
    assert (exact / np.where(normal, factors, 1))[normal].max() <= 1 + 2**-14


def reach(rows, bias):
    """The largest sum that a row can give, in Python's integers."""
    weights = rows.weight.reshape(len(rows.weight), -1).tolist()
    return [abs(b) + 32767 * sum(abs(w) for w in row) for b, row in zip(bias.tolist(), weights, strict=True)]


def test_rows_are_rounded_to_half_a_step_and_their_largest_weight_is_used():
    random = np.random.default_rng(1)
    weight, bias = random.standard_normal((20, 60)) * random.uniform(0.01, 3, (20, 1)), random.standard_normal(20)
    rows = Rows("x", weight, bias, 11, np.full(20, 12))
    step = (rows.unit * 2.0**11)[:, None]
    assert np.abs(rows.weight * step - weight).max(axis=1) == pytest.approx(np.zeros(20), abs=float(step.max()) / 2)
    assert (np.abs(rows.weight).max(axis=1) == 127).all()
    assert np.abs(rows.bias * rows.unit - bias).max() <= rows.unit.max() / 2
    # What multiplier and shift do is what the unit says.
    np.testing.assert_array_equal(rows.multiplier * 2.0 ** -(16.0 + rows.shift), rows.unit * 2.0**12)


@pytest.mark.parametrize("target", [None, 12, np.array([11, 12, 15, 0, 12])])
def test_no_sum_can_overflow_whatever_the_weights(target):
    """Ordinary, all zero, tiny beside a huge bias, many equal ones, one alone."""
    weight = np.zeros((5, 3000))
    weight[0] = np.random.default_rng(0).standard_normal(3000) * 0.1
    weight[2] = 1e-12
    weight[3] = -0.5
    weight[4, 7] = 0.3
    bias = np.array([3.0, -7.0, 1000.0, 100.0, 0.0])
    rows = Rows("x", weight, bias, 15, target)
    assert max(reach(rows, rows.bias)) <= 2**31 - 1
    np.testing.assert_allclose(rows.bias * rows.unit, bias, atol=1e-4)
    assert -21 <= rows.weight[3].min() <= -20  # 3000 · 32767 · 22 would pass the bound
    assert rows.weight[4, 7] == 127


def test_what_int8_cannot_hold_is_refused():
    with pytest.raises(KwsError, match=r"conv multiplies inputs of up to 3\.28e\+04 with weights of up to 6e\+04"):
        Rows("conv", np.full((1, 2), 6e4), None, 0, 12)
    with pytest.raises(KwsError, match="not finite"):
        Rows("conv", np.array([[np.nan]]), None, 0, 12)
    with pytest.raises(KwsError, match="adds up 70000 products"):
        Rows("conv", np.ones((1, 70000)), None, 0, 12)
