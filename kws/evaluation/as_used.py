"""A spotter judged the way it is used: as streams, with its detector and decoder, through every runtime."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from kws.evaluation import confusion, pictures
from kws.evaluation.agreement import agreement, compare_runtimes, find_runtime
from kws.evaluation.detection.detection import Detection, DetectionSettings
from kws.evaluation.detection.kinds import Folders
from kws.evaluation.detection.search import SMOOTHINGS, record, record_folder, search
from kws.evaluation.stream.modes import DEFINITIONS, MODES, stream_accuracy
from kws.evaluation.stream.timeline import stretch, timeline
from kws.runs import pictures as clip_pictures
from kws.spotter import Spotter
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import TorchRuntime
from kws.support.errors import KwsError

TIMELINE_SECONDS = 20.0


class NoDecoder(KwsError):
    """No setting of the decoder brings the false alarms down to the target."""


def with_decoder(spotter: Spotter, settings: Mapping[str, Any]) -> None:
    """Give a spotter another decoder: its own settings, with those in `settings` that are not None in their place."""
    merged = {**spotter.decoder.settings, **{name: value for name, value in settings.items() if value is not None}}
    spotter.decoder = Decoder(spotter.labels, spotter.featurizer.hop_seconds, **merged)


def judge_stream(
    spotter: Spotter, clips: np.ndarray, labels: np.ndarray, seed: int, definition: str, modes: Sequence[str]
) -> dict[str, Any]:
    """`stream_accuracy`, with the choices checked.

    Raises:
        KwsError: an unknown mode or definition.
    """
    for name, given, known in (("modes", modes, MODES), ("definition", [definition], tuple(DEFINITIONS))):
        for value in given:
            if value not in known:
                raise KwsError(f"streaming.{name}={value} is unknown; choose from {', '.join(known)}.")
    return stream_accuracy(spotter, clips, labels, seed, definition, tuple(modes))


def judge_detection(
    spotter: Spotter,
    validation: tuple[np.ndarray, np.ndarray],
    testing: tuple[np.ndarray, np.ndarray] | None,
    noise: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    negatives: Folders | None = None,
) -> Detection:
    """Play the long streams to a spotter.

    Args:
        spotter: who listens, with its own detector and decoder.
        validation: samples (N, S) and class indices (N,), -1 for words that the spotter has no label for.
        testing: the same of the split that is reported; None when thresholds alone are wanted.
        noise: background recordings.
        settings: fields of `DetectionSettings`.
        negatives: folders with long recordings that hold no keyword: one, a list, or either by the name of its kind.
    """
    fields = {**settings, "gap": tuple(settings["gap"])} if "gap" in settings else dict(settings)
    runtime = TorchRuntime(spotter)
    return Detection(runtime, spotter.decoder, validation, testing, noise, DetectionSettings(**fields), negatives)


def search_decoder(
    spotter: Spotter,
    validation: tuple[np.ndarray, np.ndarray],
    noise: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    target: float,
    negatives: Sequence[str | Path] = (),
    smoothings: Sequence[float] = SMOOTHINGS,
    among_words: float | None = None,
    per_word: bool = False,
    substitutions: bool = True,
) -> dict[str, Any]:
    """Give the spotter the decoder that misses least at `target` false alarms an hour on the validation stream.

    Args:
        spotter: who listens; its detector stays, and what its decoder ignores.
        validation: samples (N, S) and class indices (N,), -1 for words that the spotter has no label for.
        noise: background recordings.
        settings: fields of `DetectionSettings`.
        target: false alarms an hour; on each of the `negatives` by themselves, too.
        negatives: folders with long recordings that hold no keyword.
        smoothings: seconds of averages that are tried.
        among_words: false alarms an hour of the validation stream itself; None for the target. It says other words all
            the time, which nobody hears in use.
        per_word: whether every word has a threshold of its own.
        substitutions: whether one keyword taken for another counts as a false alarm of the validation stream, which
            says keywords all the time.

    Returns:
        ``settings`` chosen, its ``miss_rate``, ``false_alarms_per_hour`` and ``substitution_rate`` (and whether
        ``substitutions`` are among the former), and the Pareto ``front``.

    Raises:
        NoDecoder: none comes down to the target.
    """
    fields = DetectionSettings(**{**settings, "gap": tuple(settings.get("gap", DetectionSettings.gap))})
    runtime, decoder = TorchRuntime(spotter), spotter.decoder
    recorded = record(runtime, decoder, fields.stream(*validation, runtime, noise, seed_offset=1), smoothings)
    others = [record_folder(runtime, decoder, folder, smoothings) for folder in negatives]
    tolerance = fields.rules.tolerance
    kept_to = {"among_words": among_words, "per_word": per_word, "substitutions": substitutions}
    front = search(decoder, recorded, target, tolerance, others, smoothings, **kept_to)
    if not front:
        raise NoDecoder(f"no decoder brings the false alarms on the validation stream down to {target:g} an hour.")
    with_decoder(spotter, front[0].settings)
    return {
        "settings": front[0].settings,
        "miss_rate": front[0].miss_rate,
        "false_alarms_per_hour": front[0].false_alarms,
        "substitution_rate": front[0].substitutions,
        "substitutions": substitutions,
        "negatives_per_hour": list(front[0].negatives),
        "hours": recorded.hours,
        "front": [choice._asdict() for choice in front],
    }


def calibrate(
    spotter: Spotter,
    detection: Detection,
    target: float,
    per_word: bool,
    searched: float | None = None,
    substitutions: bool = True,
) -> dict[str, Any]:
    """Set the spotter's threshold for `target` false alarms per hour on the validation stream; say what came of it.

    `searched` is a threshold that was found together with the rest of the decoder.
    """
    threshold = detection.calibrate(target, per_word, substitutions) if searched is None else searched
    with_decoder(spotter, {"threshold": threshold})
    detection.decoder = spotter.decoder
    spotter.about["calibration"] = {
        "target_false_alarms_per_hour": target,
        "hours": detection.validation.hours,
        "seed": detection.settings.seed,
    }
    return {"threshold": threshold, "target": target, "per_word": per_word}


def judge_runtimes(
    spotter: Spotter,
    names: Sequence[str],
    exports: Path,
    clips: np.ndarray,
    labels: np.ndarray,
    seed: int,
    definition: str,
    limit: int,
) -> dict[str, Any]:
    """``agreement`` and ``runtimes`` of evaluation.json, on a seeded choice of at most `limit` clips.

    Runtimes whose files were not exported are listed in ``runtimes_missing``.
    """
    found = {name: find_runtime(name, spotter, exports) for name in names}
    present = [runtime for runtime in found.values() if runtime is not None]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(clips))[:limit])
    compared = compare_runtimes(spotter, present, clips[chosen], labels[chosen], seed, definition) if present else {}
    return {
        "agreement": agreement(compared),
        "runtimes": compared,
        "runtimes_missing": [name for name, runtime in found.items() if runtime is None],
    }


def draw(spotter: Spotter, results: Mapping[str, Any], detection: Detection | None) -> dict[str, Callable[[], Figure]]:
    """What draws every picture of an evaluation, by its name."""
    figures: dict[str, Callable[[], Figure]] = {}
    streaming = results.get("streaming")
    shown = [mode for mode in MODES if streaming and mode in streaming]
    if shown:
        accuracy = results["clips"]["accuracy"]
        figures["modes"] = partial(pictures.modes, streaming, accuracy, "Accuracy on a stream")
    if detection is not None and "detection" in results:
        found = results["detection"]
        curves = {name: kind["curve"] for name, kind in found["kinds"].items()}
        points, title = found["operating_points"], "Misses against false alarms of each kind"
        figures["det"] = partial(pictures.det_curve, curves, points, title, found.get("reference"))
        if found["misses_by_snr"]:
            figures["misses"] = partial(pictures.miss_rates, found)
        samples, truths = stretch(detection.stream, TIMELINE_SECONDS)
        figures["timeline"] = partial(timeline, spotter, samples, truths, "The first seconds of the long stream")
    if shown:
        mode = shown[-1]
        name = f"stream, {'reset by the VAD' if mode == 'vad' else mode}"
        counts = confusion.read(streaming[mode]["confusion"], len(spotter.labels))
        figures["confusion"] = partial(clip_pictures.confusion, counts, spotter.labels, name)
    return figures


def render(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def log(directory: Path, results: Mapping[str, Any], rendered: Mapping[str, bytes]) -> None:
    """Pictures and headline figures to TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory)) as writer:
        for name, png in rendered.items():
            writer.add_image(f"evaluation/{name}", imread(io.BytesIO(png), format="png")[..., :3], dataformats="HWC")
        writer.add_scalar("evaluation/clips", results["clips"]["accuracy"])
        for mode in MODES:
            if mode in results.get("streaming", {}):
                writer.add_scalar(f"evaluation/stream_{mode}", results["streaming"][mode]["accuracy"])
        for point in results.get("detection", {}).get("operating_points", []):
            name = f"at_{point['target']:g}_false_alarms_per_hour"
            writer.add_scalar(f"evaluation/miss_rate_{name}", point["miss_rate"])
            for kind, figures in point["kinds"].items():
                writer.add_scalar(f"evaluation/false_alarms_{kind}_{name}", figures["false_alarms_per_hour"])
