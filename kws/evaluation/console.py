"""What an evaluation of streams prints."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from kws.evaluation.report import percent, with_interval
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
        found = results["detection"]
        stream = found["stream"]
        title = f"{stream['hours']:.2f} hours, {stream['keywords']} keywords, other speech: {stream['other_speech']}"
        table = Table("false alarms per hour", "missed", "threshold", "missed, thresholds from validation", title=title)
        for point, chosen in zip(found["operating_points"], found["chosen_on_validation"], strict=True):
            threshold = point["threshold"]
            overall, each = chosen["overall"], chosen["per_word"]
            transferred = f"{percent(overall['miss_rate'])} at {overall['measured_false_alarms_per_hour']:.1f}"
            if each is not None:
                transferred += (
                    f"; per word {percent(each['miss_rate'])} at {each['measured_false_alarms_per_hour']:.1f}"
                )
            table.add_row(
                f"{point['target']:g}",
                with_interval(point, "miss_rate", "miss_interval"),
                "not reached" if threshold is None else f"{threshold:.4f}",
                transferred,
            )
        console.print(table)
    if "calibration" in results:
        threshold = results["calibration"]["threshold"]
        console.print(f"stored with the spotter: decoder.threshold={threshold}")
        console.print("files exported before do not know it; python export.py run=… writes them again")
    for name, share in results.get("agreement", {}).items():
        clips = results["runtimes"][name]["clips"]
        console.print(f"{name}: same label as PyTorch on {percent(share)} of {clips} clips of the stream")
    for name in results.get("runtimes_missing", []):
        console.print(f"{name}: not exported, so not compared")
