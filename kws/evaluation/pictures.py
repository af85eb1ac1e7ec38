"""Pictures of detection and of streams."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kws.support.pictures import plain


def det_curve(
    curves: Mapping[str, Mapping[str, Any]],
    points: list[dict[str, Any]],
    title: str,
    reference: Mapping[str, Any] | None = None,
) -> Figure:
    """Misses against false alarms per hour.

    Args:
        curves: by name, ``miss_rate`` and ``false_alarms`` (per hour) at each threshold.
        points: operating points with ``miss_rate``, ``miss_interval`` and ``measured_false_alarms_per_hour``.
        title: above the picture.
        reference: somebody else's ``miss_rate`` and ``false_alarms_per_hour``, and ``who`` it was.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    nonzero = [a for curve in curves.values() for a in curve["false_alarms"] if a > 0]
    floor = min([*nonzero, 1.0]) / 3  # no false alarm has no place on a logarithmic axis: it is drawn here
    for name, curve in curves.items():
        alarms = np.maximum(np.asarray(curve["false_alarms"], float), floor)
        axes.plot(alarms, 100 * np.asarray(curve["miss_rate"], float), marker=".", ms=3, lw=1, label=plain(name))
    for point in points:
        if point["threshold"] is None:
            continue
        rate, (low, high) = point["miss_rate"], point["miss_interval"]
        axes.errorbar(
            max(point["measured_false_alarms_per_hour"], floor),
            100 * rate,
            yerr=[[100 * (rate - low)], [100 * (high - rate)]],
            fmt="o", ms=4, color="k", capsize=3,
        )  # fmt: skip
    if reference is not None:
        at = reference["false_alarms_per_hour"], 100 * reference["miss_rate"]
        axes.plot(*at, "x", ms=9, color="k", label=plain(reference["who"]))
    axes.set_xscale("log")
    axes.set(title=title, xlabel=f"false alarms per hour (none: drawn at {floor:.2g})", ylabel="missed keywords, %")
    axes.set_ylim(0, 100)
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(title="false alarms in; dots: thresholds from validation", fontsize=8, title_fontsize=8)
    return figure


def modes(streaming: Mapping[str, Any], clip_accuracy: float | None, title: str) -> Figure:
    """Accuracy in each streaming mode with its interval, for each definition."""
    shown = [mode for mode in ("reset", "never", "vad") if mode in streaming]
    definitions = list(streaming["definitions"])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(definitions)
    for number, definition in enumerate(definitions):
        figures = [streaming[mode]["definitions"][definition] for mode in shown]
        heights = np.array([100 * f["accuracy"] for f in figures])
        ends = 100 * np.array([f["interval"] for f in figures])
        at = np.arange(len(shown)) + (number - (len(definitions) - 1) / 2) * width
        bars = axes.bar(at, heights, width, yerr=abs(ends.T - heights), capsize=2, label=definition)
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=2)
    if clip_accuracy is not None:
        axes.axhline(100 * clip_accuracy, color="k", lw=0.8, ls="--", label="clip by clip")
    axes.set_xticks(range(len(shown)), [{"vad": "reset by the VAD"}.get(mode, mode) for mode in shown])
    axes.set(title=title, ylabel="accuracy, %", ylim=(0, 105))
    axes.legend(ncol=4, fontsize=8)
    return figure


def miss_rates(results: Mapping[str, Any]) -> Figure:
    """Misses in each background."""
    rows = results["misses_by_snr"]
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    rates = np.array([100 * row["miss_rate"] for row in rows])
    ends = 100 * np.array([row["miss_interval"] for row in rows]).reshape(-1, 2)
    axes.bar(range(len(rows)), rates, yerr=abs(ends.T - rates), capsize=3)
    axes.set_xticks(range(len(rows)), ["quiet" if row["snr"] is None else f"{row['snr']:g} dB" for row in rows])
    axes.set(ylabel="missed keywords, %", xlabel="signal-to-noise ratio", ylim=(0, 100),
             title="Misses by background, the most lenient threshold from validation")  # fmt: skip
    return figure
