"""Runs that differ in the seed alone: mean and confidence interval."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a normal variable: mean ± t s/√n with n - 1 degrees of freedom.

    "Student", "The Probable Error of a Mean", Biometrika 6 (1908). It takes at least two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no interval")
    half = student_quantile(0.5 + confidence / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Where Student's distribution function reaches `probability` (above one half), found by bisection.

    With t = √ν tan θ the density becomes cos^(ν-1) θ, which is integrated by Simpson's rule.
    """
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"probability {probability} with {freedom} degrees of freedom")
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def above_half(angle: float, steps: int = 2000) -> float:
        width = angle / steps
        weights = (1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1))
        return scale * width / 3 * math.fsum(w * math.cos(i * width) ** (freedom - 1) for i, w in enumerate(weights))

    low, high = 0.0, math.pi / 2
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < probability - 0.5 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
