"""An evaluation as one HTML file that needs nothing beside it."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kws.evaluation.detection.kinds import BETWEEN
from kws.support import files

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .8rem; border-bottom: 1px solid #ddd }
th { text-align: left } td.number { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; height: auto } h2 { margin-top: 2.5rem } .note { color: #666 }
"""

MOST_WORDS = 200  # in a table


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
        _per_word(evaluation.get("streaming", {})) + _confused(evaluation.get("clips")) + picture("confusion"),
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


def threshold(point: Mapping[str, Any]) -> str:
    """A point's threshold."""
    value = point["threshold"]
    if value is None:
        return "not reached"
    return "per word" if isinstance(value, Mapping) else f"{value:.4f}"


def rate(figures: Mapping[str, Any] | None) -> str:
    """False alarms per hour with their 95 % interval."""
    if figures is None:
        return "–"
    value, (low, high) = figures["false_alarms_per_hour"], figures["false_alarm_interval"]
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ({low:.{min(digits, 1)}f} to {high:.{min(digits, 1)}f})"


def kind_lines(kinds: Mapping[str, Any]) -> list[str]:
    """What each kind of false alarms is, how long it was heard, and what could not be."""
    lines = []
    for name, kind in kinds.items():
        lines.append(f"{name}: {kind['hours']:.2f} hours, {kind['what']}.")
        lines += [f"Left out: {refused}" for refused in kind.get("refused", ())]
    return lines


CHOSEN = "Thresholds chosen on the validation stream: misses, and false alarms an hour in each kind of sound"
BOUNDS = "A bound, not a result: thresholds chosen on the test stream itself"
KIND_BOUNDS = "Misses at so many false alarms an hour in one kind alone; bounds too, each threshold chosen on that kind"


def chosen_points(detection: Mapping[str, Any], each: str) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Names and points of the thresholds that a user can have, the stored one first; None where none was found.

    `each` says that every word has a threshold of its own.
    """
    found, chosen = [("as stored", detection["as_stored"])], detection["chosen_on_validation"]
    named = [(f"{c['target']:g}", c) for c in chosen] + [(f"{c['target']:g} {BETWEEN}", c[BETWEEN]) for c in chosen]
    for name, points in named:
        found += [(name, points["overall"]), (f"{name}, {each}", points["per_word"])]
    return found


def _point_row(name: str, point: Mapping[str, Any] | None, kinds: Sequence[str]) -> tuple[str, ...]:
    if point is None:
        return (name, "not reached", *["–"] * (len(kinds) + 3))
    latency = point["latency"]
    return (
        name,
        threshold(point),
        with_interval(point, "miss_rate", "miss_interval"),
        percent(point["substitution_rate"]),
        *(rate(point["kinds"].get(kind)) for kind in kinds),
        "–" if latency is None else f"{latency['median']:.2f} / {latency['90 %']:.2f}",
    )


def _detection(detection: Mapping[str, Any] | None) -> str:
    if not detection:
        return ""
    kinds, stream, protocol = detection["kinds"], detection["stream"], detection["protocol"]
    head = ("target", "threshold", "missed (95 % interval)", "taken for another keyword",
            *(f"false alarms: {kind}" for kind in kinds),
            "seconds after the word's end: median / 90 %")  # fmt: skip
    text = _heading("Misses against false alarms per hour") + _note(
        f"{stream['hours']:.2f} hours with {stream['keywords']} keywords of {stream['clips']} clips; other speech: "
        f"{stream['other_speech']}; protocol {protocol['name']}: a keyword counts as found until "
        f"{stream['tolerance']:g} s after its end"
        + (f", a false alarm of a word once in {protocol['debounce']:g} s" if protocol["debounce"] else "")
        + f"; seed {stream['seed']}. Targets are false alarms an hour on that stream, one "
        f"keyword taken for another among them; without these where it says “{BETWEEN}”."
    )
    text += f"<h3>{html.escape(CHOSEN)}</h3>\n"
    chosen = chosen_points(detection, "a threshold per word")
    text += _table(head, [_point_row(name, point, list(kinds)) for name, point in chosen])
    if "reference" in detection:
        other = detection["reference"]
        missed, alarms = percent(other["miss_rate"]), other["false_alarms_per_hour"]
        text += _note(f"For comparison, {other['who']}: {missed} missed at {alarms:g} false alarms an hour.")
    text += "".join(map(_note, kind_lines(kinds)))
    text += f"<h3>{html.escape(BOUNDS)}</h3>\n"
    text += _table(head, [_point_row(f"{p['target']:g}", p, list(kinds)) for p in detection["bounds"]])
    text += f"<h3>{html.escape(KIND_BOUNDS)}</h3>\n"
    targets = [point["target"] for point in next(iter(kinds.values()))["operating_points"]]
    rows = [
        (name, *(with_interval(point, "miss_rate", "miss_interval") for point in kind["operating_points"]))
        for name, kind in kinds.items()
    ]
    return text + _table(("false alarms in", *(f"{target:g} an hour" for target in targets)), rows)


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
    shown, note = list(words), ""
    if len(shown) > MOST_WORDS:
        shown = sorted(words, key=lambda word: (words[word]["accuracy"] is None, words[word]["accuracy"]))[:MOST_WORDS]
        note = _note(
            f"The {MOST_WORDS} worst of {len(words):,} words in the first of these modes; evaluation.json has the "
            f"other {len(words) - MOST_WORDS:,}."
        )
    rows = [
        (word, words[word]["clips"], *(with_interval(streaming[mode]["per_word"][word]) for mode in modes))
        for word in shown
    ]
    return _heading("Word by word") + note + _table(("word", "clips", *modes), rows)


def _confused(clips: Mapping[str, Any] | None) -> str:
    if not clips or not clips.get("most_confused"):
        return ""
    return _heading("Confused most, clip by clip") + _table(("word", "taken for", "clips"), clips["most_confused"])
