"""python evaluate.py: a stored spotter measured as it is used."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from kws.corpus import SPLITS
from kws.data import SpeechDataModule
from kws.evaluation import as_used
from kws.evaluation.clips import judge_clips
from kws.evaluation.console import show
from kws.evaluation.report import write_report
from kws.program import stored as stored_program
from kws.runs import hparams, summary
from kws.runs.configuration import build
from kws.runs.latest import find
from kws.runs.names import EVALUATION, EVALUATIONS, EXPORTS, INT8, REPORT, RESULTS, SPOTTER
from kws.runs.stored import load_spotter, match_labels, open_data
from kws.spotter import Spotter
from kws.spotter.quantized import with_program
from kws.support import files
from kws.support.environment import environment
from kws.support.errors import KwsError
from kws.support.pictures import without_harm


def evaluate(config: DictConfig) -> float:
    """Measure, print, and write evaluation.json, its pictures and its report; clip accuracy is returned."""
    if config.split not in SPLITS:
        raise KwsError(f"split={config.split!r} is unknown; choose one of {', '.join(SPLITS)}.")
    if config.calibrate and not config.detection.hours > 0:
        raise KwsError("calibrate=true needs a stream to choose the threshold on; set detection.hours above 0.")
    config.run = str(find(config.run))
    spotter, run_directory = load_spotter(config.run)
    if config.weights != "float32":
        spotter = in_integers(spotter, run_directory, config)
    if not spotter.classifier.streams:
        leave_out_streams(config, type(spotter.classifier).__name__)
    data = open_data(config, spotter, run_directory)
    beside = run_directory if config.weights == "float32" else run_directory / config.weights
    output = Path(config.output) if config.output else beside / place(config, spotter, data)
    files.refuse_unwritable(output)
    for folder in (output, output / "pictures"):
        files.clear_remains(folder)
    # Exported files hold the detector that was stored, whatever is chosen or calibrated here.
    stored, _ = load_spotter(config.run)
    equip(spotter, config)
    kept, labels, left_out = match_labels(data, spotter, config.split)
    clips, features = data.waveforms.splits[config.split].samples, data.split_features(config.split)
    if len(kept) < len(clips):  # else they stay on the disk
        clips, features = clips[kept], features[kept]
    results: dict[str, Any] = {
        "run": str(config.run),
        "split": config.split,
        "clips": judge_clips(spotter, features, labels),
        "left_out": left_out,
        "corpus": {"name": data.corpus.name, "fingerprint": data.corpus.fingerprint()},
        "spotter": spotter.about,
        "seed": config.seed,
        "environment": environment(),
    }
    modes, definition = list(config.streaming.modes), config.streaming.definition
    if modes:
        results["streaming"] = as_used.judge_stream(spotter, clips, labels, config.seed, definition, modes)
    detection = None
    if config.calibrate and config.calibration.search:
        results["search"] = as_used.search_decoder(
            spotter,
            all_clips(data, spotter, "validation"),
            data.waveforms.noise,
            OmegaConf.to_container(config.detection, resolve=True),
            config.calibration.false_alarms_per_hour,
            list(config.calibration.negatives),
            per_word=config.calibration.per_word,
            substitutions=config.calibration.substitutions,
        )
    if config.detection.hours > 0:
        detection = as_used.judge_detection(
            spotter,
            all_clips(data, spotter, "validation"),
            all_clips(data, spotter, config.split),
            data.waveforms.noise,
            OmegaConf.to_container(config.detection, resolve=True),
            OmegaConf.to_container(config.negatives) if OmegaConf.is_config(config.negatives) else config.negatives,
        )
        if config.calibrate:
            wanted = config.calibration
            searched = results["search"]["settings"]["threshold"] if "search" in results else None
            results["calibration"] = as_used.calibrate(
                spotter, detection, wanted.false_alarms_per_hour, wanted.per_word, searched, wanted.substitutions
            )
            store_decoder(spotter, run_directory if Path(config.run).is_dir() else Path(config.run))
        results["detection"] = detection.results()
    results |= as_used.judge_runtimes(
        stored,
        list(config.runtimes),
        run_directory / EXPORTS,
        clips,
        labels,
        config.seed,
        definition,
        config.runtime_clips,
    )
    files.write_json(output / EVALUATION, results)
    pictures: dict[str, bytes] = {}
    for name, figure in as_used.draw(spotter, results, detection).items():
        with without_harm(f"{name}.png"), files.atomic(output / "pictures" / f"{name}.png") as temporary:
            pictures[name] = as_used.render(figure())
            temporary.write_bytes(pictures[name])
    write_report(output / REPORT, results, pictures)
    with without_harm("what TensorBoard shows"):
        as_used.log(output / "tensorboard" / "evaluation", results, pictures)
        if output == run_directory and (output / RESULTS).is_file():
            hparams.write(output)
    show(results, summary.make_console())
    summary.show_evaluation(results, output)
    return results["clips"]["accuracy"]


def place(config: DictConfig, spotter: Spotter, data: SpeechDataModule) -> str:
    """Where below its run an evaluation is written: its own test split in the run itself, any other in evaluations/."""
    fingerprint = data.corpus.fingerprint()
    own = config.get("data") is None or spotter.about.get("corpus_fingerprint") in (None, fingerprint)
    if own and config.split == "testing":
        return "."
    name = re.sub(r"[^A-Za-z0-9]+", "-", data.corpus.name).strip("-")[:40]
    return str(Path(EVALUATIONS) / (config.split if own else f"{name}_{fingerprint[:8]}_{config.split}"))


def in_integers(spotter: Spotter, run_directory: Path, config: DictConfig) -> Spotter:
    """The spotter with the integer network that was exported."""
    if config.weights != "int8":
        raise KwsError(f"weights={config.weights} is unknown; choose float32 or int8.")
    if config.calibrate:
        raise KwsError("calibrate=true stores thresholds in the float32 spotter; calibrate that, then export it again.")
    path = run_directory / EXPORTS / INT8
    if not path.is_file():
        raise KwsError(
            f"weights=int8: there is no {str(path)!r}; make it with python export.py run={config.run} export=c "
            "export.c.weights=int8"
        )
    return with_program(spotter, stored_program.read(path, spotter.program()))


def leave_out_streams(config: DictConfig, network: str) -> None:
    """Of a network that judges whole clips only clip accuracy can be measured; say so."""
    if config.calibrate:
        raise KwsError(f"calibrate=true needs a stream, and a {network} judges whole clips; leave it out.")
    print(f"A {network} judges whole clips and cannot stream: clip accuracy alone is measured.")
    config.streaming.modes, config.detection.hours, config.runtimes = [], 0, []


def equip(spotter: Spotter, config: DictConfig) -> None:
    """Give the spotter the detector and the decoder settings that were chosen in place of its own."""
    if config.get("vad") is not None:
        featurizer = spotter.featurizer
        spotter.vad = build(config, "vad", num_features=featurizer.num_features, frame_duration=featurizer.hop_seconds)
    as_used.with_decoder(spotter, OmegaConf.to_container(config.decoder, resolve=True))


def all_clips(data, spotter: Spotter, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a split and their class indices, -1 for words that the spotter has no label for."""
    samples = data.waveforms.splits[split].samples
    kept, labels, _ = match_labels(data, spotter, split)
    every = np.full(len(samples), -1, np.int64)
    every[kept] = labels
    return samples, every


def store_decoder(spotter: Spotter, path: Path) -> None:
    """Write the calibrated decoder into the stored spotter, and the detector: a threshold fits no other."""
    path = path / SPOTTER if path.is_dir() else path
    stored = Spotter.load(path)
    stored.decoder, stored.vad = spotter.decoder, spotter.vad
    stored.about["calibration"] = spotter.about["calibration"]
    stored.save(path)
