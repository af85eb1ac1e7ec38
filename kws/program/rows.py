"""Rows of weights to int8, and the multipliers that bring their sums to the next value's fraction.

A row has one scale, in which its largest weight is 127. At 8 bits nothing cleverer is needed: of trained networks of
`experiment=recipe` and `best_small`, least squares wants a smaller scale in one row of twelve, by 1 %.
Scales are chosen among those that multiplier and shift can express, so that requantising adds nothing but its rounding;
and a row whose sum could pass the bounds of int32 has a coarser one.
"""

import math

import numpy as np

from kws.program.fixed_point import LARGEST_SHIFT, LIMIT, STATE
from kws.program.steps import Array
from kws.support.errors import KwsError

TOTAL = 2**31 - 1
"""The largest sum."""


class Rows:
    """A matrix whose rows are quantised to int8.

    Args:
        name: of the step, for the errors.
        weight: (rows, …) of the float program.
        bias: (rows,) or None for none.
        source: fraction of what the weights are multiplied with.
        target: fraction of the result, (rows,) or one for all; None where the sum is what is wanted.

    Attributes:
        weight: int8 of the same shape. bias: (rows,) int32.
        multiplier: (rows,) int16. shift: (rows,) int8.
        unit: (rows,) float64, what one of a row's sum stands for.
    """

    def __init__(self, name: str, weight: Array, bias: Array | None, source: int, target: Array | int | None):
        weight = weight.astype(np.float64)
        rows = weight.reshape(len(weight), -1)
        bias = np.zeros(len(rows)) if bias is None else bias.astype(np.float64)
        if not (np.isfinite(rows).all() and np.isfinite(bias).all()):
            raise KwsError(f"the weights of {name} are not finite; int8 cannot hold them.")
        largest = np.abs(rows).max(axis=1, initial=0)
        # Half a step for each weight is what rounding may add to a sum.
        room = TOTAL - 1 - LIMIT / 2 * rows.shape[1]
        if room < TOTAL / 2:
            raise KwsError(f"{name} adds up {rows.shape[1]} products, too many for int32.")
        unit = np.maximum(largest / 127, (np.abs(bias) * 2.0**source + LIMIT * np.abs(rows).sum(1)) / room)
        unit *= 2.0**-source
        if target is None:
            unit = np.where(unit > 0, unit, 1.0)
            self.multiplier = self.shift = None
        else:
            factor = 2.0 ** np.asarray(target, np.float64)
            if (unit * factor).max(initial=0) >= 0.4999:
                raise KwsError(
                    f"{name} multiplies inputs of up to {LIMIT / 2.0**source:.3g} with weights of up to "
                    f"{largest.max():.3g}, which is too much for int8."
                )
            self.multiplier, self.shift, unit = expressible(unit * factor)
            unit = unit / factor
        step = (unit * 2.0**source)[:, None]
        self.unit = unit
        self.weight = np.clip(np.rint(rows / step), -127, 127).astype(np.int8).reshape(weight.shape)
        self.bias = np.rint(bias / unit).astype(np.int32)

    @property
    def requantized(self) -> dict[str, Array]:
        """weight, multiplier and shift by these names."""
        return {"weight": self.weight, "multiplier": self.multiplier, "shift": self.shift}


def expressible(factor: Array) -> tuple[Array, Array, Array]:
    """The smallest multiplier / 2^(16 + shift) that is not below a factor, (rows,) below 0.5.

    Returns:
        multiplier int16, shift int8, and the factor itself.
    """
    _, exponent = np.frexp(np.maximum(factor, 2.0**-60))  # factor = m · 2^exponent with m in [0.5, 1)
    bits = np.minimum(-1 - exponent, LARGEST_SHIFT)  # the multiplier is m · 2^15
    multiplier = np.maximum(np.ceil(factor * 2.0 ** (16 + bits)), 2**14)
    carry = multiplier == 2**15  # no int16
    multiplier, bits = np.where(carry, 2**14, multiplier), bits - carry
    return multiplier.astype(np.int16), bits.astype(np.int8), multiplier * 2.0 ** -(16.0 + bits)


def finest(weight: Array, source: int) -> int:
    """The largest fraction of a sum: the factor from the products to it, at most weight / 127 · 2^(fraction - source),
    stays below a quarter."""
    _, exponent = math.frexp(float(np.abs(weight).max(initial=0)) / 127)  # below 2^exponent
    return max(0, min(STATE, source - 2 - exponent))
