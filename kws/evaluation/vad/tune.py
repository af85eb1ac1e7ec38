"""What `python -m kws.tune_vad` does: parameters for the voice activity detector, found on a validation stream."""

import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.table import Table

from kws.corpus import audio
from kws.evaluation.report import with_interval
from kws.evaluation.stream.timeline import draw_vad, vad_track
from kws.evaluation.vad.references import REFERENCES, GivenSignal, reference_signal
from kws.evaluation.vad.search import (
    ELL,
    SPACE,
    TUTORIAL,
    SearchStream,
    detector,
    judge_detector,
    search,
    search_stream,
)
from kws.runs import configuration, summary
from kws.runs.latest import find
from kws.runs.stored import load_spotter, match_labels, open_data
from kws.spotter import Spotter
from kws.spotter.vad import VoiceActivityDetector
from kws.support import files
from kws.support.errors import KwsError
from kws.support.pictures import plain, without_harm

PICTURE_SECONDS = 15.0

configuration.register_resolvers()


def tune(config: DictConfig) -> float:
    """Search on the validation stream, compare, draw, and write the parameters; the accuracy found is returned."""
    if config.trials < 1:
        raise KwsError(f"trials={config.trials} must be at least 1.")
    config.run = str(find(config.run))
    spotter, run_directory = load_spotter(config.run)
    output = Path(config.output) if config.output else run_directory / "vad"
    files.refuse_unwritable(output)
    data = open_data(config, spotter, run_directory)
    kept, labels, _ = match_labels(data, spotter, "validation")
    clips = data.waveforms.splits["validation"].samples[kept]
    stream = search_stream(spotter, clips, labels, config.lanes, config.seed)
    try:
        study = search(
            spotter, stream, config.trials, config.seed, config.timing_weight, config.definition,
            progress=sys.stderr.isatty(),
        )  # fmt: skip
    except ImportError as error:
        raise KwsError("the search needs Optuna; pip install 'kws[tune]'.") from error
    best = {name: float(f"{study.best_params[name]:.6g}") for name in SPACE}
    results = compare(spotter, stream, best, config.definition, config.references)
    write_config(Path(config.config), best, results["tuned"], str(config.run))
    files.write_json(
        output / "tuning.json",
        {
            "run": str(config.run),
            "trials": config.trials,
            "seed": config.seed,
            "definition": config.definition,
            "parameters": best,
            "validation": results,
        },
    )
    with without_harm("vad.png"), files.atomic(output / "vad.png") as temporary:
        picture(spotter, detector(spotter, best), config.file, stream).savefig(temporary, dpi=120)
    show(results)
    for path in (output / "tuning.json", output / "vad.png", Path(config.config)):
        print(summary.nearby(path), flush=True)
    return results["tuned"]["accuracy"]


def compare(
    spotter: Spotter, stream: SearchStream, best: dict[str, float], definition: str, references: bool
) -> dict[str, Any]:
    """Figures of every detector on the same stream, and of none."""
    figures = {
        "never reset": judge_detector(spotter, GivenSignal(np.zeros(stream.features.shape[:2])), stream, definition),
        "ELL's parameters": judge_detector(spotter, detector(spotter, ELL), stream, definition),
        "the tutorial's": judge_detector(spotter, detector(spotter, TUTORIAL), stream, definition),
        "tuned": judge_detector(spotter, detector(spotter, best), stream, definition),
        "the true word spans": judge_detector(spotter, GivenSignal(stream.word), stream, definition),
    }
    if references:
        hop, rate = spotter.featurizer.hop_size, spotter.sample_rate
        for name in REFERENCES:
            signal = np.stack([reference_signal(name, row, rate, hop) for row in stream.samples])
            figures[name] = judge_detector(spotter, GivenSignal(signal), stream, definition)
    return figures


def write_config(path: Path, parameters: dict[str, float], figures: dict[str, Any], run: str) -> None:
    """A file for conf/vad."""
    lines = [
        f"# Tuned with python -m kws.tune_vad on the validation stream of {run}:",
        f"# accuracy {100 * figures['accuracy']:.1f} %, {figures['timing']:.3f} s between a word's end and its reset.",
        "_target_: kws.spotter.vad.VoiceActivityDetector",
        "_partial_: true            # features per frame and frame duration come from the featurizer",
        *(f"{name}: {value}" for name, value in parameters.items()),
    ]
    files.write_text(path, "\n".join(lines) + "\n")


@torch.no_grad()
def picture(spotter: Spotter, tuned: VoiceActivityDetector, file: str | None, stream: SearchStream) -> Figure:
    """Waveform, and below it level, noise floor, thresholds and signal of the present detector and of the tuned one."""
    rate = spotter.sample_rate
    if file is None:
        samples, name = stream.samples[0, : round(PICTURE_SECONDS * rate)], "the validation stream"
    else:
        waveform, from_rate = audio.read(file)
        samples, name = audio.resample(waveform, from_rate, rate), Path(file).name
    features = spotter.features(torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None])[0]
    detectors = {"present": spotter.vad, "tuned": tuned} if spotter.vad else {"tuned": tuned}
    figure = Figure(figsize=(12, 2 + 2.5 * len(detectors)), layout="constrained")
    axes = figure.subplots(len(detectors) + 1, 1, sharex=True)
    axes[0].plot(np.arange(len(samples)) / rate, samples, lw=0.4)
    axes[0].set(title=f"Voice activity in {plain(name)}", ylabel="waveform")
    for axis, (label, vad) in zip(axes[1:], detectors.items(), strict=True):
        draw_vad(axis, vad, vad_track(vad, features), spotter.featurizer.hop_seconds)
        axis.set_ylabel(f"{label} VAD")
    axes[-1].set_xlabel("seconds")
    return figure


def show(results: dict[str, Any]) -> None:
    """Print the comparison."""
    table = Table("reset by", "accuracy", "frames agreed", "word end to reset", "resets a clip", "voice",
                  title="validation stream")  # fmt: skip
    for name, figures in results.items():
        table.add_row(
            name,
            with_interval(figures),
            f"{100 * figures['frames_agreed']:.1f} %",
            f"{figures['timing']:.3f} s",
            f"{figures['resets_per_clip']:.2f}",
            f"{100 * figures['voice']:.1f} %",
        )
    summary.make_console().print(table)


@hydra.main(version_base="1.3", config_path=str(configuration.CONFIGS), config_name="tune_vad")
def main(config: DictConfig):
    """The command."""
    return configuration.run(tune, config)
