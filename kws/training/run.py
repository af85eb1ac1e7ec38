"""One training run, from a composed configuration to a run directory."""

import logging
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from kws.corpus import write_lists
from kws.corpus.running_speech import RunningSpeech
from kws.data import SpeechDataModule
from kws.evaluation import as_used
from kws.evaluation.clips import ClipMeter
from kws.runs import hparams, pictures, summary
from kws.runs.configuration import build, stored
from kws.runs.jobs import earlier_job, key_of, settings_of
from kws.runs.names import COMPOSITION, CONFIG, OVERRIDES, RESULTS, SPOTTER
from kws.spotter import Spotter
from kws.spotter.runtime import log_probabilities
from kws.support import files
from kws.support.environment import environment
from kws.support.errors import KwsError
from kws.training.callbacks import tensorboard_writer
from kws.training.checkpoints import WholeCheckpoints, clear_remains
from kws.training.module import SpotterModule

LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"


def train(config: DictConfig) -> float:
    """Train, test and export; write the run directory and print its summary.

    Returns:
        validation accuracy, which a sweeper may maximise.
    """
    directory = Path(config.directory)
    checkpoint = None
    if (accuracy := earlier_job(config, directory)) is not None:
        return accuracy
    if config.resume is not None:
        config, checkpoint = resumed(config)
        directory = Path(config.directory)
    elif rank_zero_only.rank == 0 and ((directory / RESULTS).exists() or (directory / CONFIG).exists()):
        raise KwsError(
            f"{str(directory)!r} holds an earlier run, which is not written over; continue it with "
            f"resume={directory}, or choose another directory."
        )
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    if not config.trainer.accumulate_grad_batches >= 1:  # Lightning would divide by it
        raise KwsError(f"trainer.accumulate_grad_batches={config.trainer.accumulate_grad_batches} must be at least 1.")
    exporters = list(instantiate(config.get("export") or {}).values())
    callbacks = [*instantiate(config.callbacks).values(), *exporters]
    trainer: pl.Trainer = instantiate(
        config.trainer,
        callbacks=callbacks,
        logger=instantiate(config.logger),
        plugins=[WholeCheckpoints()],
        default_root_dir=str(directory),
    )
    data = build_data(config)  # takes long the first time, so it comes after what may be refused at once
    spotter = build_spotter(config, data)
    module = SpotterModule(
        spotter,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
        **config.training,
    )
    # Only now is it known that everything can be built: a run directory without a configuration is no run.
    if trainer.is_global_zero and checkpoint is None:
        write_lists(data.corpus, directory / "lists")
        files.write_text(directory / OVERRIDES, OmegaConf.to_yaml(HydraConfig.get().overrides.task))
        files.write_text(directory / COMPOSITION, OmegaConf.to_yaml(config))
        files.write_text(directory / CONFIG, OmegaConf.to_yaml(config, resolve=True))

    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=False)
    except RuntimeError as error:
        if checkpoint is not None and "size mismatch" in str(error):
            raise KwsError(f"{str(checkpoint)!r} holds a network of another shape than the configuration.") from error
        raise
    seconds = module.seconds
    if trainer.interrupted:
        raise KeyboardInterrupt
    fitted = {"epochs": trainer.current_epoch, "steps": trainer.global_step, **module.fitted}

    load_best(trainer, spotter)
    spotter.eval()
    calibration = calibrate(config, data, spotter) if config.get("calibrate") else None
    trainer.test(module, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        return float("nan")
    spotter.save(directory / SPOTTER)
    validation = ClipMeter(spotter.labels, together=False)
    validation.update(
        log_probabilities(spotter, data.split_features("validation")),
        torch.from_numpy(data.clip_labels("validation")),
    )
    results = {
        "test": module.test_clips.results(),
        "validation": validation.results(),
        "parameters": spotter.num_parameters,
        "streams": spotter.classifier.streams,
        "training": {
            "seconds": seconds,
            "resumed": checkpoint is not None,
            **fitted,
        },
        "calibration": calibration,
        "parity": {e.format: e.parity.as_dict() for x in exporters for e in x.exported if e.parity},
        "native": {e.format: e.native for x in exporters for e in x.exported if e.native},
        "exports": {e.format: str(e.path.relative_to(directory)) for x in exporters for e in x.exported},
        "corpus": describe_corpus(data),
        "seed": config.seed,
        "choices": choices(),
        "environment": environment(),
    }
    picture = pictures.confusion(results["test"]["confusion"], results["test"]["labels"], "test split")
    with files.atomic(directory / "confusion.png") as temporary:
        picture.savefig(temporary, dpi=120)
    files.write_json(directory / RESULTS, results)
    log_final(trainer, directory, picture)
    if config.summary:
        summary.show_run(results, directory)
    return results["validation"]["accuracy"]


def quieten() -> None:
    """Hide what Lightning says about choices made on purpose here."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # batches are slices of memory maps; workers would only copy them
        ".*number of training batches.*smaller than the logging interval.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*is not a multiple of.*",
        ".*weights_only.*",
        ".*lr_scheduler.step.*optimizer.step.*",
        ".*litlogger.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def resumed(config: DictConfig) -> tuple[DictConfig, Path]:
    """The stored configuration of the run to continue, with the command line's values on top, and its checkpoint."""
    directory = Path(config.resume)
    composition = directory / COMPOSITION
    if not composition.is_file():
        raise KwsError(f"resume={directory}: no run was started there ({COMPOSITION} is missing).")
    checkpoint = directory / LAST_CHECKPOINT
    if (directory / RESULTS).exists() and not checkpoint.exists():
        raise KwsError(f"resume={directory}: {LAST_CHECKPOINT} is missing, so there is nothing to continue from.")
    combined = stored(composition)
    OmegaConf.set_struct(combined, True)
    given = list(HydraConfig.get().overrides.task)
    if (directory / OVERRIDES).is_file() and settings_of(given) == settings_of(OmegaConf.load(directory / OVERRIDES)):
        given = []  # a sweep's job, whose settings are the stored ones
    for override in given:
        key = key_of(override)
        if key == "resume":
            continue
        if isinstance(OmegaConf.select(combined, key), DictConfig):
            raise KwsError(f"resume={directory}: {key} cannot be chosen anew for a run that has begun; leave it out.")
        OmegaConf.update(combined, key, OmegaConf.select(config, key))
    combined.directory = str(directory)
    clear_remains(checkpoint.parent)
    if not checkpoint.exists():
        print(f"{directory} was interrupted before its first checkpoint; it starts from the beginning.")
        return combined, None
    return combined, checkpoint


def build_data(config: DictConfig) -> SpeechDataModule:
    """The data module, with the corpus made and its clips decoded."""
    source = instantiate(config.data.source)
    featurizer = instantiate(config.featurizer)
    augment = instantiate(config.augment) if "augment" in config else None
    data = instantiate(config.data.module, source=source, featurizer=featurizer, augment=augment)
    data.prepare_data()
    data.setup()
    for refusal in data.waveforms.refused:
        print(f"left out {refusal.path!r}: {refusal.reason}")
    return data


def build_spotter(config: DictConfig, data: SpeechDataModule) -> Spotter:
    """An untrained spotter for the corpus, its normalization measured over the training split."""
    featurizer = data.featurizer
    classifier = build(config, "model", input_size=featurizer.num_features, num_classes=len(data.labels))
    spotter = Spotter(
        featurizer,
        classifier,
        data.labels,
        vad=build(config, "vad", num_features=featurizer.num_features, frame_duration=featurizer.hop_seconds),
        decoder=OmegaConf.to_container(config.decoder, resolve=True),
        about={"corpus": data.corpus.name, "corpus_fingerprint": data.corpus.fingerprint(), "seed": config.seed},
    )
    features = data.split_features("training")
    spotter.normalization.measure(torch.from_numpy(features[i : i + 1024]) for i in range(0, len(features), 1024))
    if data.augment is not None:
        data.augment.set_fill(spotter.normalization.mean)
    return spotter


def load_best(trainer: pl.Trainer, spotter: Spotter) -> None:
    """Put the weights of the best checkpoint into the spotter."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best:
        weights = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
        prefix = "spotter."
        spotter.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})


def calibrate(config: DictConfig, data: SpeechDataModule, spotter: Spotter) -> dict[str, Any]:
    """Give the spotter the decoder that misses least at the target rate on the validation stream; say what it does.

    Where there is none, the spotter keeps its decoder, and the answer is only why: ``{"left_out": reason}``. A run that
    took hours does not fail for that.
    """
    if not spotter.classifier.streams:
        return {"left_out": f"a {type(spotter.classifier).__name__} judges whole clips and hears no stream"}
    wanted, validation = config.calibration, data.waveforms.splits["validation"]
    language = config.data.get("language", "en")  # of data=spoken
    speech = RunningSpeech(Path(config.cache_dir) / "corpora", wanted.running_speech, 0, "validation", language)
    folder = speech.prepare(data.corpus.keywords)
    try:
        found = as_used.search_decoder(
            spotter,
            (validation.samples, validation.labels),
            data.waveforms.noise,
            {"hours": wanted.hours},
            wanted.false_alarms_per_hour,
            [] if folder is None else [folder],
        )
    except as_used.NoDecoder as error:
        return {"left_out": str(error)}
    spotter.about["calibration"] = {
        "target_false_alarms_per_hour": wanted.false_alarms_per_hour,
        "hours": found["hours"],
        "miss_rate": found["miss_rate"],
        "false_alarms_per_hour": found["false_alarms_per_hour"],
    }
    return found


def choices() -> dict[str, Any]:
    """Which file of each configuration folder was chosen."""
    chosen = HydraConfig.get().runtime.choices
    return {k: v for k, v in OmegaConf.to_container(chosen).items() if not k.startswith("hydra") and v is not None}


def describe_corpus(data: SpeechDataModule) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "name": data.corpus.name,
        "fingerprint": data.corpus.fingerprint(),
        "labels": list(data.labels),
        "sample_rate": data.sample_rate,
        "clips": {split: len(content.labels) for split, content in data.waveforms.splits.items()},
        "refused": [{"path": r.path, "reason": r.reason} for r in data.waveforms.refused],
    }


def log_final(trainer: pl.Trainer, directory: Path, confusion) -> None:
    """Confusion matrix, and the run's figures beside its settings, in TensorBoard."""
    writer = tensorboard_writer(trainer)
    if writer is None:
        return
    writer.add_figure("test/confusion", confusion, global_step=trainer.global_step)
    trainer.logger.finalize("success")
    hparams.write(directory)
