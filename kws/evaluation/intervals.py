"""Confidence intervals of shares, rates and means."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import special  # scipy.stats has them ready-made, and takes a second to import


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): E. B. Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference" (1927). Without trials nothing is known: (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = float(special.ndtri(0.5 + confidence / 2))
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # The ends are exact at 0 and 1, where rounding would leave a hair.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == trials else (centre + half) / scale
    return low, high


def poisson_interval(events: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of the mean of a Poisson count (Garwood, 1936): divide by hours for false alarms per hour.

    The lower end is the mean at which this many events or more have a chance of (1 - confidence) / 2, the upper one
    that at which this many or fewer have: quantiles of gamma distributions of shape `events` and `events` + 1.
    """
    if events < 0:
        raise ValueError(f"{events} events")
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else float(special.gammaincinv(events, tail))
    return low, float(special.gammainccinv(events + 1, tail))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a normal variable: mean ± t s/√n with n - 1 degrees of freedom.

    "Student", "The Probable Error of a Mean", Biometrika 6 (1908). It takes at least two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no interval")
    quantile = float(special.stdtrit(len(values) - 1, 0.5 + confidence / 2))
    half = quantile * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half
