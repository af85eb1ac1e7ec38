"""Pictures with matplotlib, drawn without a display."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kws.support.pair_counts import PairCounts
from kws.support.pictures import plain

MOST_WORDS = 60  # in a picture


def features(array: np.ndarray, hop_seconds: float, title: str) -> Figure:
    """Features of a clip, (T, F), over time."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    frames, filters = array.shape
    image = axes.imshow(array.T, origin="lower", aspect="auto", extent=(0, frames * hop_seconds, 0, filters))
    axes.set(title=plain(title), xlabel="seconds", ylabel="feature")
    figure.colorbar(image, ax=axes)
    return figure


def confusion(counts: PairCounts, labels: Sequence[str], title: str) -> Figure:
    """Confusion matrix of counts, true labels down, given labels across; each row in shares of its clips.

    Of more than `MOST_WORDS` labels those are drawn that are confused most, and the title says how many are not.
    """
    chosen = counts.that_matter(MOST_WORDS)
    size, shown = len(chosen), counts.matrix(chosen)
    shares = shown / np.maximum(counts.row_totals[chosen], 1)[:, None]
    edge = max(5.0, 0.36 * size + 1.5)
    figure = Figure(figsize=(edge + 1, edge), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    words = [plain(labels[index]) for index in chosen]
    axes.set_xticks(range(size), words, rotation=90)
    axes.set_yticks(range(size), words)
    if size < len(labels):
        title = f"{title}: the {size} words that are confused most, {len(labels) - size:,} are left out"
    axes.set(title=title, xlabel="given", ylabel="true")
    for row, column in zip(*np.nonzero(shown), strict=True):
        dark = shares[row, column] > 0.5
        axes.text(column, row, shown[row, column], ha="center", va="center", fontsize=6, color="w" if dark else "k")
    figure.colorbar(image, ax=axes, label="share of the true label's clips", shrink=0.8)
    return figure
