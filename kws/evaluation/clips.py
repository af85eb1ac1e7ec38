"""Accuracy over whole clips, each heard from a reset state."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kws.evaluation.confusion import PairMeter, described
from kws.evaluation.intervals import wilson_interval
from kws.spotter import Spotter
from kws.spotter.runtime import clips_at_once, log_probabilities


class ClipMeter(nn.Module):
    """Counts clips by true and given label, batch by batch; everything else follows from the counts.

    Args:
        labels: by class index.
        together: add up the counts of all processes of a distributed training, each of which must then ask.
    """

    def __init__(self, labels: tuple[str, ...], together: bool = True):
        super().__init__()
        self.labels = tuple(labels)
        self.counts = PairMeter(len(labels), sync_on_compute=together)

    def update(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Add (B, C) outputs for (B,) true labels."""
        self.counts.update(log_probabilities.argmax(-1), labels)

    def reset(self) -> None:
        """Forget all clips."""
        self.counts.reset()

    def results(self) -> dict[str, Any]:
        """What results.json says of a split. Fractions; ``confusion`` is told by `kws.evaluation.confusion`.

        A word without a clip in the split has no accuracy of its own and is given as None. ``keywords`` is the share of
        the clips of words to spot, without `_unknown_` and its like, that were given their word.
        """
        pairs = self.counts.pairs()
        totals, hits = pairs.row_totals.tolist(), pairs.diagonal.tolist()
        clips, correct = sum(totals), sum(hits)
        words = [not label.startswith("_") for label in self.labels]
        spoken = sum(n for n, word in zip(totals, words, strict=True) if word)
        found = sum(n for n, word in zip(hits, words, strict=True) if word)
        return {
            "accuracy": correct / clips if clips else None,
            "interval": list(wilson_interval(correct, clips)) if clips else None,
            "clips": clips,
            "keywords": {
                "accuracy": found / spoken if spoken else None,
                "interval": list(wilson_interval(found, spoken)) if spoken else None,
                "clips": spoken,
            },
            "per_word": {w: h / n if n else None for w, h, n in zip(self.labels, hits, totals, strict=True)},
            "clips_per_word": dict(zip(self.labels, totals, strict=True)),
            "labels": list(self.labels),
            **described(pairs, self.labels),
        }


def share_of(results: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Of a split's results, those of the clips of some words: ``accuracy``, ``interval`` and ``clips``."""
    clips = sum(results["clips_per_word"][word] for word in words)
    right = sum(round((results["per_word"][word] or 0) * results["clips_per_word"][word]) for word in words)
    interval = list(wilson_interval(right, clips)) if clips else None
    return {"accuracy": right / clips if clips else None, "interval": interval, "clips": clips}


@torch.no_grad()
def judge_clips(spotter: Spotter, features, labels, together: bool = True) -> dict[str, Any]:
    """`ClipMeter.results` of clips by their (N, T, F) raw features and (N,) class indices, a batch at a time."""
    meter = ClipMeter(spotter.labels, together)
    size = clips_at_once(features.shape[1], len(spotter.labels))
    for start in range(0, len(features), size):
        chosen = slice(start, start + size)
        meter.update(log_probabilities(spotter, features[chosen]), torch.as_tensor(labels[chosen]))
    return meter.results()
