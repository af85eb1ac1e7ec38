"""What a run prints when it is done."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kws.runs.names import CONFIG, EVALUATION, RESULTS, SPOTTER

MOST_WORDS = 60  # in a table


def make_console() -> Console:
    """A console that never breaks a line that a file or a pipe could hold, and prints words as they are written."""
    as_it_is = {"highlight": False, "markup": False, "emoji": False}
    console = Console(**as_it_is)
    return console if console.is_terminal else Console(**as_it_is, width=120)


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def interval(bounds) -> str:
    """A confidence interval of fractions."""
    return "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def show_run(results: dict[str, Any], directory: Path, console: Console | None = None) -> None:
    """Print the results of a training run; the last line is its directory."""
    console = console or make_console()
    table = Table(show_header=False, title=f"{results['choices'].get('model', '')} on {results['corpus']['name']}")
    test, validation, training = results["test"], results["validation"], results["training"]
    table.add_row("test accuracy", f"{percent(test['accuracy'])}{interval(test['interval'])}, {test['clips']} clips")
    parts = {"keywords": "of the keywords alone", "recorded": "of recorded words", "typed": "of typed words"}
    for part, name in parts.items():
        words = test.get(part) or test
        if 0 < words["clips"] < test["clips"]:
            right = f"{percent(words['accuracy'])}{interval(words['interval'])}, {words['clips']} clips"
            table.add_row(name, right)
    table.add_row("validation accuracy", f"{percent(validation['accuracy'])}, {validation['clips']} clips")
    worst = sorted((v, k) for k, v in test["per_word"].items() if v is not None)[:3]
    table.add_row("hardest words", ", ".join(f"{word} {percent(value, 0)}" for value, word in worst))
    if results.get("finetuned"):
        table.add_row("fine-tuned from", results["finetuned"]["run"])
    if results.get("calibration"):
        table.add_row("in use", calibration_text(results["calibration"]))
    table.add_row("parameters", f"{results['parameters']:,}")
    table.add_row("training", f"{training['epochs']} epochs in {training['seconds']:.0f} s")
    if results["corpus"]["refused"]:
        counts = [row["count"] for row in results["corpus"].get("left_out", ())]
        table.add_row("recordings left out", str(sum(counts) or len(results["corpus"]["refused"])))
    for name, parity in results["parity"].items():
        table.add_row(f"{name} against PyTorch", parity_text(parity))
    for name, figures in results["native"].items():
        table.add_row(f"{name} on a machine", native_text(figures))
    console.print(table)
    show_paths(results["exports"], directory, (SPOTTER, RESULTS, CONFIG, "confusion.png"), results["streams"])


def show_paths(exports: dict[str, str], directory: Path, written: Iterable[str], streams: bool) -> None:
    """Print where everything lies, one path a line and unbroken, and how to listen; the run directory last."""
    directory = nearby(directory)
    for path in (*written, *exports.values()):
        print(directory / path)
    print(f"tensorboard --logdir {directory}")
    if streams:
        print(f"python -m kws.listen {directory} --microphone    (or recordings in its place)")
        print(f"python -m kws.view {directory}    (a page: to see, to tune, to record)")
    print(directory, flush=True)


def nearby(path: Path) -> Path:
    """`path` relative to the working directory where it lies below it."""
    path = Path(path).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def parity_text(parity: dict[str, Any]) -> str:
    """One line on how an export compares with PyTorch."""
    return f"differs by {parity['max_abs_difference']:.1e} at most; same label on {percent(parity['label_agreement'])}"


def calibration_text(calibration: dict[str, Any]) -> str:
    """One line on what a spotter is expected to do in use."""
    if "left_out" in calibration:
        return f"not calibrated: {calibration['left_out']}"
    misses, alarms = (calibration[name] for name in ("miss_rate", "false_alarms_per_hour"))
    text = f"misses {percent(misses, 0)} at {alarms:.1f} false alarms an hour of the validation stream"
    if not calibration.get("substitutions", True):
        text += f", and takes {percent(calibration['substitution_rate'], 1)} of the words for another one"
    return text


def native_text(figures: dict[str, Any]) -> str:
    """One line on what a spotter in C takes."""
    flash, state, time = (figures[name] for name in ("flash_bytes", "state_bytes", "microseconds_per_hop"))
    texts = [f"flash {flash / 1024:.1f} KiB" if flash else "", f"state {state:,} bytes" if state else ""]
    return ", ".join(text for text in [*texts, f"{time:.1f} µs a hop here" if time else ""] if text) or "not measured"


def show_evaluation(results: dict[str, Any], directory: Path, console: Console | None = None) -> None:
    """Print an evaluation; the last line is the file it was written to."""
    console = console or make_console()
    table = Table(show_header=False, title=f"{results['split']} split of {results['corpus']['name']}")
    clips = results["clips"]
    table.add_row("clip accuracy", f"{percent(clips['accuracy'])}{interval(clips['interval'])}, {clips['clips']} clips")
    words = sorted(clips["per_word"].items(), key=lambda item: (item[1] is None, item[1]))
    for word, value in words[:MOST_WORDS]:
        table.add_row(word, f"{percent(value)} of {clips['clips_per_word'][word]}")
    if len(words) > MOST_WORDS:
        table.add_row(f"{len(words) - MOST_WORDS:,} more words", f"none worse; {EVALUATION} has them all")
    if results["left_out"]:
        left_out = [f"{word} ({clips})" for word, clips in results["left_out"].items()]
        more = [f"{len(left_out) - MOST_WORDS:,} more"] if len(left_out) > MOST_WORDS else []
        words = ", ".join(left_out[:MOST_WORDS] + more)
        table.add_row("words it has no label for, left out", words)
    console.print(table)
    print(nearby(directory) / EVALUATION, flush=True)


def show_exports(exported: Iterable) -> None:
    """Print what was exported, and how it compares."""
    for item in exported:
        parity = f": {parity_text(item.parity.as_dict())}" if item.parity else ""
        print(f"{nearby(item.path)}{parity}", flush=True)
