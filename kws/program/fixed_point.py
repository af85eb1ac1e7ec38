"""The arithmetic of an integer program, to the last bit: what C has to do with int32 to get the same numbers.

Every value inside an integer network is an int16 between -32767 and 32767 that stands for integer / 2^fraction; the
step that makes it says its fraction. Below, ``>>`` is the arithmetic shift (it rounds towards minus infinity), and
every result fits into int32 unless it says otherwise. Here the same formulas are computed in int64, so that nothing can
wrap around unseen; that they fit is what the tests prove from the bounds given here.
"""

import numpy as np

Array = np.ndarray

LIMIT = 32767
"""The largest int16 that is used; the smallest is its negative."""
STATE = 15
"""Fraction of hidden states, gates and the results of tanh: all lie between -1 and 1."""
ARGUMENT = 12
"""Fraction of the argument of tanh: the table covers -8 to 8."""
CANDIDATE = 65535
"""Bound of what a GRU's reset gate is multiplied with, ±16 in the fraction 12, so that the product fits into int32."""
LARGEST_SHIFT = 30

TABLE_SIZE = 256
TABLE_BITS = 7
"""Bits of the argument below the table's steps, of 1/32 each."""
SLOPE_BITS = 12
"""Slopes are stored times 2^(12 - 7), which makes use of all 16 bits."""


def clamp(x: Array, low: int = -LIMIT, high: int = LIMIT) -> Array:
    """min(max(x, low), high)."""
    return np.minimum(np.maximum(x, low), high)


def shift(x: Array, bits: Array | int) -> Array:
    """x / 2^bits rounded to nearest, halves upwards: (x + ((1 << bits) >> 1)) >> bits, with bits from 0 to 30."""
    half = (np.int64(1) << np.asarray(bits, np.int64)) >> 1
    return (np.asarray(x, np.int64) + half) >> np.asarray(bits, np.int64)


def requantize(total: Array, multiplier: Array, bits: Array) -> Array:
    """A sum of products to the fraction of the next value: total · multiplier / 2^(16 + bits).

        high = (total * multiplier) >> 16               one product of 48 bits (Cortex-M4: SMULWB), |high| < 2^30
        result = (high + ((1 << bits) >> 1)) >> bits    in int32

    so it rounds down once and to nearest once; for bits = 0 it rounds down. The result is not clamped.

    Args:
        total: int32.
        multiplier: int16, 2^14 to 2^15 - 1.
        bits: int8, 0 to 30.
    """
    high = (np.asarray(total, np.int64) * np.asarray(multiplier, np.int64)) >> 16
    return shift(high, bits)


def _tanh_table() -> Array:
    points = 32768 * np.tanh(np.arange(TABLE_SIZE + 1) / 32)
    middle = 32768 * np.tanh((np.arange(TABLE_SIZE) + 0.5) / 32)
    slope = np.rint(np.diff(points) * 2 ** (SLOPE_BITS - TABLE_BITS)).astype(np.int64)
    # A chord lies below the curve. Raised by half of that, it is as far above as below, and the error is halved.
    base = np.rint(points[:-1] + (middle - (points[:-1] + points[1:]) / 2) / 2).astype(np.int64)
    highest = slope * (2**TABLE_BITS - 1) + 2 ** (SLOPE_BITS - 1) >> SLOPE_BITS
    return ((np.minimum(base, LIMIT - highest) << 16) | slope).astype(np.int32)


TANH = _tanh_table()
"""(256,) int32, 1 KiB. Entry i is for |x| from i / 32 on: in its upper half tanh(i / 32) · 2^15, in its lower half the
rise to the next one times 32. One load gives both; all entries are positive."""


def tanh(x: Array) -> Array:
    """tanh by the table `TANH`, linear within its steps; odd, at most 2 / 2^15 wrong.

        u = min(|x|, 32767)        entry = TANH[u >> 7]
        y = (entry >> 16) + (((entry & 0xffff) * (u & 127) + 2048) >> 12)
        result = x < 0 ? -y : y

    Args:
        x: int32 with the fraction 12.

    Returns:
        fraction 15, -32767 to 32767.
    """
    x = np.asarray(x, np.int64)
    u = np.minimum(np.abs(x), LIMIT)
    entry = TANH[u >> TABLE_BITS].astype(np.int64)
    rise = (entry & 0xFFFF) * (u & (2**TABLE_BITS - 1))
    y = (entry >> 16) + ((rise + 2 ** (SLOPE_BITS - 1)) >> SLOPE_BITS)
    return np.where(x < 0, -y, y)


def sigmoid(half: Array) -> Array:
    """σ(x) = (1 + tanh(x / 2)) / 2 from x / 2: (tanh(half) + 32768) >> 1, at most 1.5 / 2^15 wrong.

    Args:
        half: x / 2, int32 with the fraction 12. That it is halved is in the multipliers of a gate's rows.

    Returns:
        fraction 15, 0 to 32767.
    """
    return (tanh(half) + 32768) >> 1


def hard_sigmoid(x: Array) -> Array:
    """0.2 x + 0.5 between 0 and 1: clamp(16384 + ((26214 * clamp(x, ±65535) + 8192) >> 14), 0, 32767).

    Args:
        x: int32 with the fraction 12.

    Returns:
        fraction 15.
    """
    return clamp(16384 + ((26214 * clamp(np.asarray(x, np.int64), -65535, 65535) + 8192) >> 14), 0)


def hard_tanh(x: Array) -> Array:
    """x between -1 and 1: clamp(8 * clamp(x, ±4096), ±32767).

    Args:
        x: int32 with the fraction 12.

    Returns:
        fraction 15.
    """
    return clamp(8 * clamp(np.asarray(x, np.int64), -4096, 4096))
