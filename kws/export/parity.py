"""Exported = trained: what a file computes against what the PyTorch spotter computes."""

from dataclasses import asdict, dataclass

import numpy as np

from kws.support.errors import KwsError


class ParityError(KwsError):
    """An exported file computes something else than the spotter it was made from."""


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from PyTorch.

    Attributes:
        max_abs_difference: largest difference of any output.
        label_agreement: share of clips that both give the same label.
        clips: how many clips were compared.
        tolerance: what was allowed, see `allowed`.
    """

    max_abs_difference: float
    label_agreement: float
    clips: int
    tolerance: float

    def as_dict(self) -> dict:
        """For results.json."""
        return asdict(self)


def allowed(expected: np.ndarray, tolerance: float) -> np.ndarray:
    """The difference that passes in each row of (…, C) outputs, (…, 1).

    It is `tolerance` where the outputs lie within ±10, and grows with the largest of them: they are differences of
    scores that float32 keeps to seven digits, and where scores reach 100 an error of 1e-4 is rounding.
    """
    return tolerance * np.maximum(1, np.abs(expected).max(axis=-1, keepdims=True, initial=0) / 10)


def worst(difference: np.ndarray, limit: np.ndarray) -> tuple[int, ...]:
    """Where a difference is furthest above its limit; one that is not a number is further than any other."""
    excess = np.where(np.isnan(difference), np.inf, difference) / limit
    return np.unravel_index(excess.argmax(), excess.shape)


def compare(name: str, expected: np.ndarray, computed: np.ndarray, tolerance: float) -> Parity:
    """Compare (N, C) outputs for N clips.

    Raises:
        ParityError: a difference above what is `allowed`, an output that is not finite, or another label where the two
            best outputs are further apart than that.
    """
    expected, computed = np.asarray(expected, dtype=np.float64), np.asarray(computed, dtype=np.float64)
    if expected.shape != computed.shape:
        raise ParityError(f"{name}: outputs have shape {computed.shape}, PyTorch's have {expected.shape}.")
    difference = np.abs(expected - computed)
    limit = np.broadcast_to(allowed(expected, tolerance), difference.shape)
    if not (difference <= limit).all():  # also when it is not a number
        clip, output = worst(difference, limit)
        raise ParityError(
            f"{name} differs from PyTorch by {difference[clip, output]:.3g} (clip {clip}, output {output}); "
            f"{limit[clip, output]:.3g} is allowed. The file has not been kept."
        )
    largest = float(difference.max(initial=0.0))
    same = expected.argmax(-1) == computed.argmax(-1)
    if expected.shape[-1] > 1:
        best = np.sort(expected, axis=-1)
        decided = best[:, -1] - best[:, -2] > limit[:, 0]
        wrong = np.flatnonzero(~same & decided)
        if len(wrong):
            raise ParityError(f"{name} gives another label than PyTorch on clip {wrong[0]} and {len(wrong) - 1} more.")
    return Parity(largest, float(same.mean()) if len(same) else 1.0, len(same), tolerance)
