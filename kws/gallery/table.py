"""The gallery as rows, CSV and Markdown."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from kws.evaluation.intervals import mean_interval
from kws.runs.names import MODES
from kws.runs.record import HEADLINE, KIND, Run, row

COLUMNS = {
    "run": "run",
    "status": "status",
    "test_accuracy": "test accuracy",
    "test_low": "95 % from",
    "test_high": "to",
    "test_clips": "clips",
    "stream_reset": "stream, reset",
    "stream_never": "stream, never reset",
    "stream_vad": "stream, reset by VAD",
    "missed": f"missed at {HEADLINE:g} false alarm an hour",
    "parameters": "parameters",
    "multiply_adds_per_second": "multiply-adds per second",
    "model_bytes": "model bytes",
    "microseconds_per_hop": "µs per hop",
    "seconds_trained": "seconds trained",
    "seed": "seed",
    "corpus": "corpus",
    "choices": "choices",
    "overrides": "overrides",
}
"""Names in gallery.csv, and how they are headed elsewhere. Kinds of false alarms come behind ``missed``."""

SHARES = ("test_accuracy", "test_low", "test_high", "stream_reset", "stream_never", "stream_vad", "missed")


def with_kinds(names: Sequence[str], runs: Iterable[Run]) -> list[str]:
    """Names of columns, with one behind ``missed`` for each kind of false alarms that any of the runs knows of."""
    kinds = dict.fromkeys(f"{KIND}{kind}" for run in runs for kind in run.false_alarms)
    at = list(names).index("missed") + 1
    return [*names[:at], *kinds, *names[at:]]


def heading(name: str) -> str:
    """What a column is headed."""
    return COLUMNS[name] if name in COLUMNS else f"false alarms an hour, {name.removeprefix(KIND)}"


def seeds(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Configurations that were run with several seeds, the best mean first.

    A seed that was run twice counts once, with its newest run: the same numbers again would narrow the interval
    without knowing more.
    """
    groups: dict[tuple, dict[int, Run]] = {}
    for run in sorted((run for run in runs if run.done and run.configuration), key=lambda run: run.name):
        if run.seed is not None:
            groups.setdefault((run.configuration, run.corpus), {})[run.seed] = run
    lines = []
    for found in groups.values():
        if len(found) < 2:
            continue
        chosen = list(found.values())
        accuracies = [run.test for run in chosen]
        low, high = mean_interval(accuracies)
        line = {
            "name": short(chosen[0]),
            "seeds": sorted(found),
            "test_accuracy": fmean(accuracies),
            "test_low": max(low, 0.0),
            "test_high": min(high, 1.0),
            "parameters": chosen[0].parameters,
            "multiply_adds_per_second": chosen[0].multiply_adds,
            "corpus": chosen[0].corpus,
            "runs": [run.name for run in chosen],
        }
        for mode in MODES:
            heard = [run.streaming[mode] for run in chosen if mode in run.streaming]
            line[f"stream_{mode}"] = fmean(heard) if len(heard) == len(chosen) else None
        missed = [run.missed for run in chosen if run.missed is not None]
        line["missed"] = fmean(missed) if len(missed) == len(chosen) else None
        for kind in set.intersection(*(set(run.false_alarms) for run in chosen)):
            line[f"{KIND}{kind}"] = fmean(run.false_alarms[kind] for run in chosen)
        lines.append(line)
    return sorted(lines, key=lambda line: -line["test_accuracy"])


def short(run: Run) -> str:
    """What a run is called beside others: its experiment or model, and what was set on the command line."""
    experiment, model = run.choices.get("experiment"), run.choices.get("model")
    own = [o for o in run.overrides if o.split("=")[0] not in ("seed", "experiment", "data.root", "cache_dir")]
    return " ".join([experiment or model or run.name, *own])


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Comma-separated lines, numbers in full, nothing where nothing is known."""
    text = io.StringIO()
    names = dict.fromkeys(name for line in rows for name in line)
    kinds = [name for name in names if name not in COLUMNS]
    at = list(COLUMNS).index("missed") + 1
    writer = csv.DictWriter(text, [*list(COLUMNS)[:at], *kinds, *list(COLUMNS)[at:]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in line.items()} for line in rows)
    return text.getvalue()


def shown(name: str, value: Any) -> str:
    """A value for people."""
    if value is None or value == "":
        return "–"
    if name in SHARES:
        return f"{100 * value:.2f} %"
    if name.startswith(KIND):
        return f"{value:.2f}"
    if name == "multiply_adds_per_second":
        return f"{value / 1e6:.2f} M"
    if name in ("parameters", "model_bytes", "test_clips"):
        return f"{value:,}"
    if name in ("microseconds_per_hop", "seconds_trained"):
        return f"{value:.1f}"
    return str(value)


def with_interval(line: Mapping[str, Any]) -> str:
    """Accuracy and its 95 % interval."""
    text = shown("test_accuracy", line["test_accuracy"])
    if line["test_low"] is not None:
        text += f" ({100 * line['test_low']:.2f} to {100 * line['test_high']:.2f})"
    return text


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; what would break it is escaped."""

    def cells(values: Sequence[str]) -> str:
        return "| " + " | ".join(str(v).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for v in values)

    rows = [cells(head) + " |", "|" + "---|" * len(head), *(cells(line) + " |" for line in lines)]
    return "\n".join(rows) + "\n"


SHORT_COLUMNS = (
    *(f"stream_{mode}" for mode in MODES),
    "missed", "parameters", "multiply_adds_per_second", "model_bytes", "microseconds_per_hop", "seconds_trained",
    "seed", "corpus",
)  # fmt: skip


def to_markdown(runs: Sequence[Run]) -> str:
    """The table of runs, that of configurations with several seeds, and a list of what has no result."""
    rows = [(run, row(run)) for run in runs]
    names = with_kinds(SHORT_COLUMNS, runs)
    head = ["run", "what", "test accuracy (95 %)", *map(heading, names)]
    lines = [
        [line["run"], short(run), with_interval(line), *(shown(name, line.get(name)) for name in names)]
        for run, line in rows
        if run.done
    ]
    parts = ["# Runs\n", markdown(head, lines)]
    if groups := seeds(runs):
        names = with_kinds([*(f"stream_{mode}" for mode in MODES), "missed", "parameters", "corpus"], runs)
        head = ["what", "seeds", "mean test accuracy (95 %)", *map(heading, names)]
        lines = [
            [g["name"], ", ".join(map(str, g["seeds"])), with_interval(g), *(shown(n, g.get(n)) for n in names)]
            for g in groups
        ]
        parts += ["# Several seeds\n", markdown(head, lines)]
    troubled = [[run.name, run.status] for run in runs if run.status != "done"]
    if troubled:
        parts += ["# Without a result, or with something amiss\n", markdown(["run", "status"], troubled)]
    return "\n".join(parts)
