"""Which label was given for which: counted pair by pair, and said in full or, of many words, as far as it matters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from kws.support.pair_counts import PairCounts

MOST_ROWS = 200  # labels up to which all counts are said, zeros too
MOST_PAIRS = 100_000  # of more labels
SHOWN = 20  # pairs of different words
TOGETHER = 256  # batches that are counted at once


class PairMeter(Metric):
    """Counts pairs of true and given labels, batch by batch; those of all processes where it synchronises.

    Nothing here grows with the square of the labels: only pairs that have come up are kept.
    """

    full_state_update = False

    def __init__(self, size: int, **options: Any):
        super().__init__(**options)
        self.size = size
        self.add_state("codes", default=[], dist_reduce_fx="cat")
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, given: Tensor, true: Tensor) -> None:
        """(B,) class indices each."""
        self.codes.append(true * self.size + given)
        self.counts.append(torch.ones_like(self.codes[-1]))
        if len(self.codes) > TOGETHER:
            codes, counts = self._together()
            self.codes, self.counts = [codes], [counts]

    def _together(self) -> tuple[Tensor, Tensor]:
        codes, places = torch.unique(dim_zero_cat(self.codes), return_inverse=True)
        counts = torch.zeros_like(codes).index_add_(0, places, dim_zero_cat(self.counts))
        return codes, counts

    def compute(self) -> tuple[Tensor, Tensor]:
        """Codes of the pairs, true label times `size` plus the given one, and how often they have come."""
        nothing = torch.zeros(0, dtype=torch.int64)
        return self._together() if len(self.codes) else (nothing, nothing)

    def pairs(self) -> PairCounts:
        """What was counted; rows are true labels."""
        # Of a single pair torchmetrics makes a scalar.
        codes, counts = (tensor.cpu().numpy().reshape(-1) for tensor in self.compute())
        return PairCounts.of(codes // self.size, codes % self.size, self.size, counts)


def described(pairs: PairCounts, labels: Sequence[str]) -> dict[str, Any]:
    """What a JSON file says of it.

    ``confusion``: of up to `MOST_ROWS` labels a row of counts for each true label, of more the lists ``true`` and
    ``given`` of class indices and ``clips``, the most frequent `MOST_PAIRS`. ``most_confused``: true word, given word
    and clips of the most frequent mistakes.
    """
    worst = pairs.confused()[:SHOWN]
    columns = (pairs.row[worst], pairs.column[worst], pairs.count[worst])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {
        "confusion": pairs.matrix().tolist() if pairs.size <= MOST_ROWS else _listed(pairs),
        "most_confused": [[labels[true], labels[given], clips] for true, given, clips in rows],
    }


def _listed(pairs: PairCounts) -> dict[str, list[int]]:
    chosen = np.sort(np.argsort(-pairs.count, kind="stable")[:MOST_PAIRS])
    columns = {"true": pairs.row, "given": pairs.column, "clips": pairs.count}
    return {name: column[chosen].tolist() for name, column in columns.items()}


def read(confusion: Any, size: int) -> PairCounts:
    """The counts that `described` said."""
    if isinstance(confusion, dict):
        return PairCounts.of(confusion["true"], np.array(confusion["given"], np.int64), size, confusion["clips"])
    return PairCounts.dense(confusion)
