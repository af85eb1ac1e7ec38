"""Confidence intervals of shares and of rates."""

import math
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): E. B. Wilson, "Probable Inference, the Law of Succession, and
    Statistical Inference" (1927). Without trials nothing is known: (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
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
    that at which this many or fewer have; both are found by bisection.
    """
    if events < 0:
        raise ValueError(f"{events} events")
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else _bisect(lambda mean: 1 - _poisson_at_most(events - 1, mean) > tail, 0.0, events)
    top = events + 10 * math.sqrt(events + 1) + 10
    high = _bisect(lambda mean: _poisson_at_most(events, mean) < tail, events, top)
    return low, high


def _poisson_at_most(events: int, mean: float) -> float:
    """Chance of `events` or fewer at this mean, summed in the logarithm, where large counts do not overflow."""
    if mean == 0:
        return 1.0
    log_mean = math.log(mean)
    return min(1.0, math.fsum(math.exp(k * log_mean - mean - math.lgamma(k + 1)) for k in range(events + 1)))


def _bisect(above, low: float, high: float) -> float:
    """Where `above` turns from False to True."""
    while high - low > 1e-9 * max(high, 1.0):
        middle = (low + high) / 2
        if above(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2
