"""Pictures with matplotlib, drawn without a display."""

import numpy as np
from matplotlib.figure import Figure

from kws.support.pictures import plain


def features(array: np.ndarray, hop_seconds: float, title: str) -> Figure:
    """Features of a clip, (T, F), over time."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    frames, filters = array.shape
    image = axes.imshow(array.T, origin="lower", aspect="auto", extent=(0, frames * hop_seconds, 0, filters))
    axes.set(title=plain(title), xlabel="seconds", ylabel="feature")
    figure.colorbar(image, ax=axes)
    return figure


def confusion(counts: np.ndarray, labels: list[str], title: str) -> Figure:
    """Confusion matrix (C, C) of counts, true labels down, given labels across; each row in shares of its clips."""
    counts = np.asarray(counts)
    size = len(labels)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    edge = max(5.0, 0.36 * size + 1.5)
    figure = Figure(figsize=(edge + 1, edge), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    words = [plain(label) for label in labels]
    axes.set_xticks(range(size), words, rotation=90)
    axes.set_yticks(range(size), words)
    axes.set(title=title, xlabel="given", ylabel="true")
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = shares[row, column] > 0.5
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=6, color="w" if dark else "k")
    figure.colorbar(image, ax=axes, label="share of the true label's clips", shrink=0.8)
    return figure
