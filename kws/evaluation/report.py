"""An evaluation as one HTML file that needs nothing beside it."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kws.support import files

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem; border-bottom: 1px solid #ddd }
th { text-align: left } td.number { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto } h2 { margin-top: 2.5rem } .note { color: #666 }
"""


def write_report(path: str | Path, evaluation: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        evaluation: what evaluation.json says.
        pictures: PNG files by name; those that the report knows stand beside their figures, any others at the end.
    """
    left = dict(pictures)

    def picture(name: str) -> str:
        return _image(left.pop(name), name) if name in left else ""

    parts = [
        _summary(evaluation),
        _heading("As a stream") + _modes(evaluation.get("streaming", {})) + picture("modes"),
        _detection(evaluation.get("detection")) + picture("det") + picture("misses") + picture("timeline"),
        _agreement(evaluation),
        _per_word(evaluation.get("streaming", {})) + picture("confusion"),
        "".join(_heading(name) + _image(png, name) for name, png in left.items()),
    ]
    title = html.escape(str(evaluation.get("run", "Evaluation")))
    files.write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n",
    )


def _image(png: bytes, name: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></p>\n'


def _heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>\n"


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>\n'


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def cell(value: Any) -> str:
        text = html.escape(str(value))
        kind = ' class="number"' if text[:1].isdigit() or text[:1] in "-–" else ""
        return f"<td{kind}>{text}</td>"

    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(cell, row)) + "</tr>\n" for row in rows)
    return f"<table><tr>{top}</tr>\n{body}</table>\n"


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "–" if share is None else f"{100 * share:.1f} %"


def with_interval(figures: Mapping[str, Any] | None, name: str = "accuracy", interval: str = "interval") -> str:
    """A share with its 95 % interval."""
    if not figures or figures.get(name) is None:
        return "–"
    low, high = figures[interval]
    return f"{100 * figures[name]:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _summary(evaluation: Mapping[str, Any]) -> str:
    streaming = evaluation.get("streaming", {})
    rows = [("clip by clip", with_interval(evaluation.get("clips")))]
    names = {
        "reset": "stream, reset before each clip",
        "never": "stream, never reset",
        "vad": "stream, reset by the VAD",
    }
    rows += [(text, with_interval(streaming[mode])) for mode, text in names.items() if mode in streaming]
    return _table(("test split", "accuracy (95 % interval)"), rows)


def _modes(streaming: Mapping[str, Any]) -> str:
    if not streaming:
        return ""
    definitions = streaming["definitions"]
    modes = [mode for mode in ("reset", "never", "vad") if mode in streaming]
    rows = [(mode, *(with_interval(streaming[mode]["definitions"][name]) for name in definitions)) for mode in modes]
    notes = [_note(f"{name}: {text}.") for name, text in definitions.items()]
    if "vad" in streaming and streaming["vad"].get("voice") is not None:
        vad = streaming["vad"]
        notes.append(_note(f"The VAD reset {vad['resets_per_clip']:.2f} times a clip and heard voice in "
                           f"{percent(vad['voice'])} of the frames."))  # fmt: skip
        if not vad["own_detector"]:
            notes.append(_note("The spotter carries no detector; ELL's default parameters were used for this mode."))
    return _table(("state", *definitions), rows) + "".join(notes)


def _threshold(point: Mapping[str, Any]) -> str:
    threshold = point["threshold"]
    if threshold is None:
        return "not reached"
    return "per word" if isinstance(threshold, Mapping) else f"{threshold:.4f}"


def _point_row(name: str, point: Mapping[str, Any] | None) -> tuple[str, ...]:
    if point is None:
        return (name, "not reached", "–", "–", "–")
    latency = point["latency"]
    low, high = point["false_alarm_interval"]
    return (
        name,
        _threshold(point),
        with_interval(point, "miss_rate", "miss_interval"),
        f"{point['measured_false_alarms_per_hour']:.2f} ({low:.2f} to {high:.2f})",
        "–" if latency is None else f"{latency['median']:.2f} / {latency['90 %']:.2f}",
    )


def _detection(detection: Mapping[str, Any] | None) -> str:
    if not detection:
        return ""
    head = ("false alarms per hour", "threshold", "missed (95 % interval)", "measured false alarms per hour",
            "seconds after the word's end: median / 90 %")  # fmt: skip
    stream = detection["stream"]
    text = _heading("Misses against false alarms per hour") + _note(
        f"{stream['hours']:.2f} hours with {stream['keywords']} keywords of {stream['clips']} clips; other speech: "
        f"{stream['other_speech']}; a keyword counts as found until {stream['tolerance']:g} s after its end; seed "
        f"{stream['seed']}."
    )
    text += _table(head, [_point_row(f"{p['target']:g}", p) for p in detection["operating_points"]])
    text += _note("Thresholds chosen on the validation stream, reported on the test stream:")
    rows = []
    for chosen in detection["chosen_on_validation"]:
        rows += [_point_row(f"{chosen['target']:g}, {kind.replace('_', ' ')}", chosen[kind])
                 for kind in ("overall", "per_word")]  # fmt: skip
    text += _table(head, rows)
    if "negatives" in detection:
        negatives = detection["negatives"]
        text += _note(f"False alarms on {negatives['hours']:.2f} hours of other recordings:")
        text += _table(head, [_point_row(f"{p['target']:g}", p) for p in negatives["operating_points"]])
        text += "".join(_note(f"Left out: {refused}") for refused in negatives["refused"])
    return text


def _agreement(evaluation: Mapping[str, Any]) -> str:
    agreement = evaluation.get("agreement") or {}
    if not agreement:
        return ""
    details = evaluation.get("runtimes", {})
    rows = []
    for name, share in agreement.items():
        more = details.get(name, {})
        rows.append(
            (name, percent(share), more.get("clips", "–"), with_interval(more), more.get("largest_difference", "–"))
        )
    head = ("runtime", "same label as PyTorch", "clips", "accuracy", "largest difference of log-probabilities")
    return _heading("The same through other runtimes") + _table(head, rows)


def _per_word(streaming: Mapping[str, Any]) -> str:
    modes = [mode for mode in ("reset", "never", "vad") if mode in streaming]
    if not modes:
        return ""
    words = streaming[modes[0]]["per_word"]
    rows = [
        (word, words[word]["clips"], *(with_interval(streaming[mode]["per_word"][word]) for mode in modes))
        for word in words
    ]
    return _heading("Word by word") + _table(("word", "clips", *modes), rows)
