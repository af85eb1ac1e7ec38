"""What an evaluation of streams prints."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kws.evaluation.report import (
    BOUNDS,
    CHOSEN,
    KIND_BOUNDS,
    chosen_points,
    kind_lines,
    percent,
    rate,
    threshold,
    with_interval,
)
from kws.evaluation.stream.modes import MODES

NAMES = {"reset": "reset before each clip", "never": "never reset", "vad": "reset by the VAD"}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print accuracy on the stream, misses against false alarms, and agreement, as far as they were measured."""
    streaming = results.get("streaming")
    if streaming:
        definitions = list(streaming["definitions"])
        table = Table("state", *definitions, title="as one continuous stream, by what counts as a clip's label")
        for mode in MODES:
            if mode in streaming:
                shares = (with_interval(streaming[mode]["definitions"][name]) for name in definitions)
                table.add_row(NAMES[mode], *shares)
        console.print(table)
    if "detection" in results:
        show_detection(results["detection"], console)
    if "calibration" in results:
        threshold = results["calibration"]["threshold"]
        console.print(f"stored with the spotter: decoder.threshold={threshold}")
        console.print("files exported before do not know it; python export.py run=… writes them again")
    for name, share in results.get("agreement", {}).items():
        clips = results["runtimes"][name]["clips"]
        console.print(f"{name}: same label as PyTorch on {percent(share)} of {clips} clips of the stream")
    for name in results.get("runtimes_missing", []):
        console.print(f"{name}: not exported, so not compared")


def show_detection(found: Mapping[str, Any], console: Console) -> None:
    """Print what can be had with thresholds from the validation stream first, and the bounds behind it."""
    stream, kinds = found["stream"], found["kinds"]
    console.print(
        f"{stream['hours']:.2f} hours, {stream['keywords']} keywords, other speech: {stream['other_speech']}; "
        f"protocol {found['protocol']['name']}, tolerance {stream['tolerance']:g} s"
    )
    for line in kind_lines(kinds):
        console.print(line)
    table = Table("target", "missed", "taken for another", *kinds, "threshold", title=CHOSEN)
    for name, point in chosen_points(found, "per word"):
        if point is None:
            continue
        missed = with_interval(point, "miss_rate", "miss_interval")
        taken = percent(point["substitution_rate"])
        table.add_row(name, missed, taken, *(rate(point["kinds"][kind]) for kind in kinds), threshold(point))
    console.print(table)
    if "reference" in found:
        other = found["reference"]
        missed, alarms = percent(other["miss_rate"]), other["false_alarms_per_hour"]
        console.print(f"for comparison, {other['who']}: {missed} missed at {alarms:g} false alarms an hour")
    table = Table("target", "missed", "threshold", title=BOUNDS)
    for point in found["bounds"]:
        missed = with_interval(point, "miss_rate", "miss_interval")
        table.add_row(f"{point['target']:g} false alarms an hour", missed, threshold(point))
    console.print(table)
    targets = [point["target"] for point in next(iter(kinds.values()))["operating_points"]]
    table = Table("false alarms in", *(f"{target:g} an hour" for target in targets), title=KIND_BOUNDS)
    for name, kind in kinds.items():
        table.add_row(name, *(with_interval(p, "miss_rate", "miss_interval") for p in kind["operating_points"]))
    console.print(table)
