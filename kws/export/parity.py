"""Exported = trained: what a file computes against what the PyTorch spotter computes."""

from dataclasses import asdict, dataclass

import numpy as np

from kws.errors import KwsError


class ParityError(KwsError):
    """An exported file computes something else than the spotter it was made from."""


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from PyTorch.

    Attributes:
        max_abs_difference: largest difference of any output.
        label_agreement: share of clips that both give the same label.
        clips: how many clips were compared.
        tolerance: what was allowed.
    """

    max_abs_difference: float
    label_agreement: float
    clips: int
    tolerance: float

    def as_dict(self) -> dict:
        """For results.json."""
        return asdict(self)


def compare(name: str, expected: np.ndarray, computed: np.ndarray, tolerance: float) -> Parity:
    """Compare (N, C) outputs for N clips.

    Raises:
        ParityError: a difference above `tolerance`, an output that is not finite, or another label where the two
            best outputs are further apart than `tolerance`.
    """
    expected, computed = np.asarray(expected, dtype=np.float64), np.asarray(computed, dtype=np.float64)
    if expected.shape != computed.shape:
        raise ParityError(f"{name}: outputs have shape {computed.shape}, PyTorch's have {expected.shape}.")
    difference = np.abs(expected - computed)
    largest = float(difference.max(initial=0.0))
    if not largest <= tolerance:  # also when it is not a number
        clip, output = np.unravel_index(
            np.nanargmax(np.where(np.isnan(difference), np.inf, difference)), difference.shape
        )
        raise ParityError(
            f"{name} differs from PyTorch by {difference[clip, output]:.3g} (clip {clip}, output {output}); "
            f"{tolerance:.3g} is allowed. The file has not been kept."
        )
    same = expected.argmax(-1) == computed.argmax(-1)
    if expected.shape[-1] > 1:
        best = np.sort(expected, axis=-1)
        decided = best[:, -1] - best[:, -2] > tolerance
        wrong = np.flatnonzero(~same & decided)
        if len(wrong):
            raise ParityError(f"{name} gives another label than PyTorch on clip {wrong[0]} and {len(wrong) - 1} more.")
    return Parity(largest, float(same.mean()) if len(same) else 1.0, len(same), tolerance)
