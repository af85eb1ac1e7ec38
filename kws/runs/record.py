"""A stored run as one line of figures, read so that nothing in its directory can stop the reader."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kws.runs import cost
from kws.runs.names import COMPOSITION, CONFIG, ERROR, EVALUATION, MODES, OVERRIDES, REPORT, RESULTS, SPOTTER
from kws.spotter import Spotter
from kws.support import plain_yaml
from kws.support.errors import KwsError

MARKS = (RESULTS, CONFIG, COMPOSITION, ERROR)
"""Files that make a folder a run."""
HEADLINE = 1.0
"""False alarms an hour, with a threshold from the validation stream, at which the gallery tells of a detector."""
KIND = "false_alarms_"
"""What the columns with false alarms of a kind begin with."""
DONE = "done"
# What two runs may differ in and still be the same configuration: how and where they ran, not what.
NOT_CONFIGURATION = {
    "seed", "directory", "resume", "new_cycle", "prepare", "summary", "threads", "cache_dir", "logger", "export",
    "workers", "engine", "memory",
}  # fmt: skip


@dataclass
class Run:
    """A line of the gallery. What is not known is None.

    Attributes:
        name: path below the folder that was searched.
        status: ``done``, ``unfinished``, or what is wrong.
        interval: 95 % of the test accuracy.
        streaming: accuracy on the test split as one stream, by mode.
        missed: share of the keywords that a detector misses at `HEADLINE` false alarms an hour on its test stream,
            with the threshold that its validation stream gave.
        false_alarms: per hour at that threshold, by kind of sound.
        multiply_adds: per second of audio, featurizer and network.
        model_bytes: of the exported network: step.onnx, or clip.onnx where there is no step.
        microseconds: per hop, measured on step.onnx.
        files: what can be linked to, relative to the directory.
    """

    name: str
    directory: Path
    status: str = DONE
    test: float | None = None
    interval: tuple[float, float] | None = None
    clips: int | None = None
    validation: float | None = None
    streaming: dict[str, float] = field(default_factory=dict)
    missed: float | None = None
    false_alarms: dict[str, float] = field(default_factory=dict)
    parameters: int | None = None
    multiply_adds: float | None = None
    model_bytes: int | None = None
    microseconds: float | None = None
    seconds: float | None = None
    seed: int | None = None
    corpus: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    configuration: str = ""

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.test is not None

    @property
    def report(self) -> str | None:
        """The file a reader wants first."""
        return next((n for n in (REPORT, "confusion.png", RESULTS, CONFIG) if n in self.files), None)


def row(run: Run) -> dict[str, Any]:
    """A run's line; None for what is not known."""
    low, high = run.interval or (None, None)
    return {
        "run": run.name,
        "status": run.status,
        "test_accuracy": run.test,
        "test_low": low,
        "test_high": high,
        "test_clips": run.clips,
        **{f"stream_{mode}": run.streaming.get(mode) for mode in MODES},
        "missed": run.missed,
        **{f"{KIND}{kind}": value for kind, value in run.false_alarms.items()},
        "parameters": run.parameters,
        "multiply_adds_per_second": run.multiply_adds,
        "model_bytes": run.model_bytes,
        "microseconds_per_hop": run.microseconds,
        "seconds_trained": run.seconds,
        "seed": run.seed,
        "corpus": run.corpus,
        "choices": " ".join(f"{k}={v}" for k, v in sorted(run.choices.items())),
        "overrides": " ".join(run.overrides),
    }


def read_run(directory: Path, name: str, measure: bool = False) -> Run:
    """One run, as far as it can be read."""
    run = Run(name, directory, files=tuple(linkable(directory)))
    problems = []
    results, problem = read(directory / RESULTS, json.loads)
    problems.append(problem)
    if isinstance(results, Mapping):
        fill(run, results)
        if run.test is None:
            problems.append(f"{RESULTS} holds no test accuracy")
    elif results is not None:
        problems.append(f"{RESULTS} holds no results")
    evaluation, problem = read(directory / EVALUATION, json.loads)
    problems.append(problem)
    # What the run was measured on elsewhere, another corpus or split, does not stand beside its own test accuracy.
    corpus, heard = (get(content, "corpus", "fingerprint") for content in (results, evaluation))
    if get(evaluation, "split") == "testing" and heard == corpus:
        modes = {mode: share(get(evaluation, "streaming", mode, "accuracy")) for mode in MODES}
        run.streaming = {mode: accuracy for mode, accuracy in modes.items() if accuracy is not None}
        fill_detection(run, get(evaluation, "detection", "operating_points"))
    overrides, _ = read(directory / OVERRIDES, plain_yaml.parse)
    if isinstance(overrides, list):
        run.overrides = tuple(map(str, overrides))
    run.configuration = configuration(directory)
    if run.done:
        problems += look_closer(run, measure)
    elif results is None and not any(problems):
        error, problem = read(directory / ERROR, str)
        problems.append(problem or ("failed: " + " ".join(error.split()) if error is not None else None))
    problems = [problem for problem in problems if problem]
    run.status = "; ".join(problems) if problems else DONE if run.done else "unfinished"
    return run


def read(path: Path, parse) -> tuple[Any, str | None]:
    """What is in a file, and what is wrong with it; (None, None) where there is none."""
    try:
        return parse(path.read_text(encoding="utf-8")), None
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        return None, f"{path.name} cannot be read ({type(error).__name__})"


def fill(run: Run, results: Mapping[str, Any]) -> None:
    """Take from results.json what is there and makes sense."""
    run.test = share(get(results, "test", "accuracy"))
    bounds = get(results, "test", "interval")
    if isinstance(bounds, list) and len(bounds) == 2 and None not in map(share, bounds):
        run.interval = (float(bounds[0]), float(bounds[1]))
    run.clips = whole(get(results, "test", "clips"))
    run.validation = share(get(results, "validation", "accuracy"))
    run.parameters = whole(get(results, "parameters"))
    run.seconds = number(get(results, "training", "seconds"))
    run.seed = whole(get(results, "seed"))
    corpus, rate = get(results, "corpus", "name"), get(results, "corpus", "sample_rate")
    run.corpus = None if corpus is None else f"{corpus}, {rate} Hz" if whole(rate) else str(corpus)
    choices = get(results, "choices")
    if isinstance(choices, Mapping):
        run.choices = {str(k): str(v) for k, v in choices.items()}


def fill_detection(run: Run, points: Any) -> None:
    """Take the operating point at `HEADLINE` from evaluation.json, if it is there and makes sense.

    An evaluation that chose its thresholds on the test stream has no kinds, and is not told of.
    """
    for point in points if isinstance(points, list) else ():
        kinds = get(point, "kinds")
        if get(point, "target") == HEADLINE and isinstance(kinds, Mapping):
            run.missed = share(get(point, "miss_rate"))
            rates = {str(kind): number(get(figures, "false_alarms_per_hour")) for kind, figures in kinds.items()}
            run.false_alarms = {kind: rate for kind, rate in rates.items() if rate is not None}


def look_closer(run: Run, measure: bool) -> list[str]:
    """Open the spotter and its exports for what the results do not say; what went wrong is handed back."""
    problems = []
    try:
        run.multiply_adds = cost.multiply_adds_per_second(Spotter.load(run.directory / SPOTTER))
    except KwsError as error:
        problems.append(str(error))
    except Exception as error:  # a file from anywhere may hold settings that nothing can be built from
        problems.append(f"{SPOTTER} cannot be used ({type(error).__name__})")
    exports = run.directory / "exports"
    network = next((exports / n for n in ("step.onnx", "clip.onnx") if (exports / n).is_file()), None)
    run.model_bytes = network.stat().st_size if network else None
    if measure and network and network.name == "step.onnx":
        try:
            run.microseconds = cost.microseconds_per_hop(network)
        except Exception as error:  # onnxruntime has a dozen of its own
            problems.append(f"exports/step.onnx cannot be run ({type(error).__name__})")
    return problems


def linkable(directory: Path) -> Iterator[str]:
    """Reports, settings and exports of a run."""
    for name in (REPORT, RESULTS, EVALUATION, "confusion.png", CONFIG, SPOTTER, ERROR):
        if (directory / name).is_file():
            yield name
    if (directory / "exports").is_dir():
        yield from sorted(f"exports/{path.name}" for path in (directory / "exports").iterdir() if path.is_file())


def configuration(directory: Path) -> str:
    """A key that runs have in common which differ in their seed alone; empty where the settings cannot be read."""
    for name in (COMPOSITION, CONFIG):
        settings, _ = read(directory / name, plain_yaml.parse)
        if isinstance(settings, dict):
            return fingerprint(settings)
    return ""


def fingerprint(settings: dict[str, Any]) -> str:
    """What two runs' settings have in common that differ in their seed alone, and in how and where they ran."""
    text = json.dumps(reduced(settings, str(settings.get("directory"))), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def reduced(value: Any, directory: str) -> Any:
    """Settings without what says how and where a run ran."""
    if isinstance(value, dict):
        return {str(k): reduced(v, directory) for k, v in value.items() if k not in NOT_CONFIGURATION}
    if isinstance(value, list):
        return [reduced(item, directory) for item in value]
    return value.replace(directory, "") if isinstance(value, str) else value


def get(value: Any, *keys: str) -> Any:
    """A value deep in mappings, None where one of them is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(value: Any) -> float | None:
    """A finite number that is not negative."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else None


def whole(value: Any) -> int | None:
    """A whole number that is not negative."""
    return value if isinstance(value, int) and number(value) is not None else None


def share(value: Any) -> float | None:
    """A number from 0 to 1."""
    value = number(value)
    return value if value is not None and value <= 1 else None
