"""Intervals against published values."""

import numpy as np
import pytest

from kws.evaluation.intervals import mean_interval, poisson_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_at_the_ends():
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1
    assert wilson_interval(0, 0) == (0, 1)
    with pytest.raises(ValueError, match="3 successes in 2"):
        wilson_interval(3, 2)


@pytest.mark.parametrize(
    ("events", "low", "high"),
    # Garwood's table, 95 %.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (100, 81.36, 121.63)],
)
def test_poisson(events, low, high):
    assert poisson_interval(events) == pytest.approx((low, high), abs=5e-3)


def test_poisson_of_many():
    low, high = poisson_interval(20_000)
    assert low == pytest.approx(20_000 - 1.96 * 20_000**0.5, rel=1e-3)
    assert high == pytest.approx(20_000 + 1.96 * 20_000**0.5, rel=1e-3)


def test_mean():
    # Tables of Student's distribution: 12.7062 with one degree of freedom, 4.30265 with two, both for 95 %.
    assert mean_interval([0.0, 2.0]) == pytest.approx((1 - 12.7062, 1 + 12.7062), rel=1e-5)
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)
    with pytest.raises(ValueError, match="1 values"):
        mean_interval([0.9])


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),  # tables of Student's distribution
    [(0.975, 1, 12.7062), (0.975, 2, 4.30265), (0.975, 9, 2.26216), (0.995, 4, 4.60409), (0.975, 1000, 1.96234)],
)
def test_mean_of_many(probability, freedom, expected):
    values = np.random.default_rng(0).normal(size=freedom + 1).tolist()
    low, high = mean_interval(values, confidence=2 * probability - 1)
    error = np.std(values, ddof=1) / len(values) ** 0.5
    assert (high - low) / 2 / error == pytest.approx(expected, rel=1e-5)


def test_mean_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(400, 3))
    covered = [low < 0 < high for low, high in map(mean_interval, draws)]
    assert 0.92 < np.mean(covered) < 0.98
