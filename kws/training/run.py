"""One training run, from a composed configuration to a run directory."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from kws.corpus import SPLITS, write_lists
from kws.corpus.base import by_reason
from kws.corpus.running_speech import RunningSpeech
from kws.data import SpeechDataModule
from kws.evaluation import as_used, confusion
from kws.evaluation.clips import judge_clips, share_of
from kws.evaluation.detection.search import SMOOTHINGS
from kws.runs import hparams, pictures, summary
from kws.runs.configuration import build, stored
from kws.runs.jobs import earlier_job, key_of, settings_of
from kws.runs.latest import find
from kws.runs.names import COMPOSITION, CONFIG, OVERRIDES, RESULTS, SPOTTER
from kws.runs.record import read as read_file
from kws.runs.trusted import refuse_strange_targets, targets
from kws.spotter import Spotter
from kws.support import files, plain_yaml
from kws.support.environment import environment
from kws.support.errors import Interrupted, KwsError
from kws.support.pictures import without_harm
from kws.training import checkpoints, finetune, resume
from kws.training.callbacks import tensorboard_writer
from kws.training.checkpoints import WholeCheckpoints
from kws.training.module import SpotterModule

LAST_CHECKPOINT = Path(checkpoints.FOLDER) / checkpoints.LAST
MOST_NAMED = 1000  # clips left out that results.json names one by one
NOT_REMEMBERED = ("resume", "new_cycle", "prepare", "threads", "summary", "cache_dir", "hydra", "launcher")
"""Settings of one call, which do not make a run another one."""


def train(config: DictConfig) -> float:
    """Train, test and export; write the run directory and print its summary.

    Returns:
        validation accuracy, which a sweeper may maximise.
    """
    if config.get("prepare"):
        return prepare(config)
    directory = Path(config.directory)
    checkpoint = None
    if (accuracy := earlier_job(config, directory)) is not None:
        return accuracy
    begun = config.resume is not None
    if begun:
        config, checkpoint = resumed(config)
        directory = Path(config.directory)
    elif config.new_cycle:
        raise KwsError("new_cycle=true is for a run that goes on; add resume=RUN, or leave it out.")
    elif rank_zero_only.rank == 0 and ((directory / RESULTS).exists() or (directory / CONFIG).exists()):
        raise KwsError(
            f"{str(directory)!r} holds an earlier run, which is not written over; continue it with "
            f"resume={directory}, or choose another directory."
        )
    files.refuse_unwritable(directory)
    among_words = config.get("calibration", {}).get("among_words")
    if among_words is not None and not among_words > 0:
        raise KwsError(f"calibration.among_words={among_words} must be greater than 0, or null for the target itself.")
    origin = None
    if config.get("finetune") is not None:
        origin = finetune.find(config.finetune) if checkpoint is None else finetune.at_checkpoint(checkpoint)
        if not begun:  # what was stored follows the run already
            finetune.follow(config, origin, [key_of(override) for override in HydraConfig.get().overrides.task])
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    if not config.trainer.accumulate_grad_batches >= 1:  # Lightning would divide by it
        raise KwsError(f"trainer.accumulate_grad_batches={config.trainer.accumulate_grad_batches} must be at least 1.")
    exporters = list(instantiate(config.get("export") or {}).values())
    chosen = instantiate(config.callbacks).values()
    callbacks = [*(callback for callback in chosen if callback is not None), *exporters]
    trainer: pl.Trainer = instantiate(
        config.trainer,
        callbacks=callbacks,
        logger=instantiate(config.logger),
        plugins=[WholeCheckpoints()],
        default_root_dir=str(directory),
    )
    data = build_data(config)  # takes long the first time, so it comes after what may be refused at once
    spotter = build_spotter(config, data, origin)
    if origin is not None and checkpoint is None:
        finetune.take_over(spotter, origin, config)
    elif origin is not None:
        spotter.about["finetuned"] = origin.spotter.about["finetuned"]
    module = SpotterModule(
        spotter,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
        **config.training,
        new_cycle=bool(config.get("new_cycle")),
    )
    if checkpoint is not None:
        resume.refuse_contradictions(checkpoint, resume.read(checkpoint), spotter, data)
    # Only now is it known that everything can be built: a run directory without a configuration is no run.
    if trainer.is_global_zero:
        write_lists(data.corpus, directory / "lists")
        files.write_text(directory / OVERRIDES, OmegaConf.to_yaml(overrides_of(directory, begun)))
        config.new_cycle = False  # once
        files.write_text(directory / COMPOSITION, OmegaConf.to_yaml(config))
        files.write_text(directory / CONFIG, OmegaConf.to_yaml(config, resolve=True))

    with interruptions(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    seconds = module.seconds
    fitted = {"epochs": trainer.current_epoch, "steps": trainer.global_step, **module.fitted}

    if origin is None:  # few clips judge a fine-tuned one, and the best of its epochs would be a matter of chance
        load_best(trainer, spotter)
    spotter.eval()
    calibration = calibrate(config, data, spotter) if config.get("calibrate") else None
    with interruptions(trainer):
        trainer.test(module, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        if torch.distributed.is_initialized():  # else its threads may end after the interpreter has, which aborts
            torch.distributed.destroy_process_group()
        return float("nan")
    spotter.save(directory / SPOTTER)
    features, labels = data.split_features("validation"), data.clip_labels("validation")
    test = module.test_clips.results()
    if typed := getattr(data.source, "typed", ()):
        test["typed"] = share_of(test, typed)
        test["recorded"] = share_of(test, [word for word in data.corpus.keywords if word not in typed])
    results = {
        "test": test,
        "validation": judge_clips(spotter, features, labels, together=False),
        "parameters": spotter.num_parameters,
        "streams": spotter.classifier.streams,
        "training": {
            "seconds": seconds,
            "resumed": checkpoint is not None,
            "denoised": spotter.about.get("denoised"),
            **fitted,
        },
        "finetuned": spotter.about.get("finetuned"),
        "calibration": calibration,
        "parity": {e.format: e.parity.as_dict() for x in exporters for e in x.exported if e.parity},
        "native": {e.format: e.native for x in exporters for e in x.exported if e.native},
        "exports": {e.format: str(e.path.relative_to(directory)) for x in exporters for e in x.exported},
        "corpus": describe_corpus(data),
        "seed": config.seed,
        "choices": choices() if origin is None else {**choices(), **finetune.choices(spotter)},
        "environment": environment(),
    }
    files.write_json(directory / RESULTS, results)
    with without_harm("confusion.png"):
        pairs = confusion.read(results["test"]["confusion"], len(spotter.labels))
        picture = pictures.confusion(pairs, spotter.labels, "test split")
        with files.atomic(directory / "confusion.png") as temporary:
            picture.savefig(temporary, dpi=120)
        log_confusion(trainer, picture)
    with without_harm("what TensorBoard shows"):
        hparams.write(directory)
    if config.summary:
        summary.show_run(results, directory)
    return results["validation"]["accuracy"]


def prepare(config: DictConfig) -> float:
    """Fill the cache with what a run reads from it; no figure comes of that."""
    data = build_data(config)
    for split in SPLITS:
        data.split_features(split)
    counts = ", ".join(f"{len(clips):,} for {split}" for split, clips in data.waveforms.splits.items())
    print(f"{data.corpus.name}: {counts}, {len(data.labels):,} labels\n{data.waveforms.folder}", flush=True)
    with suppress(OSError):
        Path(config.directory).rmdir()  # Hydra has made it, and no run will be in it
    return float("nan")


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
    directory = find(config.resume, begun=True)
    composition = directory / COMPOSITION
    if not composition.is_file():
        raise KwsError(f"resume={directory}: no run was started there ({COMPOSITION} is missing).")
    checkpoint = directory / LAST_CHECKPOINT
    if (directory / RESULTS).exists() and not checkpoint.exists():
        raise KwsError(f"resume={directory}: {LAST_CHECKPOINT} is missing, so there is nothing to continue from.")
    combined = stored(composition)
    given = list(HydraConfig.get().overrides.task)
    earlier = stored_overrides(directory)
    if settings_of(given) == settings_of(earlier):
        given = []  # a sweep's job, whose settings are the stored ones
    if checkpoint.exists() and not config.new_cycle:
        resume.refuse_unheard(combined, config, given)
    combined.new_cycle = config.new_cycle and checkpoint.exists()
    OmegaConf.set_struct(combined, True)
    for override in given:
        key = key_of(override)
        if key in ("resume", "new_cycle"):
            continue
        if key.startswith("finetun"):
            raise KwsError(f"resume={directory}: {key} cannot be chosen anew for a run that has begun; leave it out.")
        if isinstance(OmegaConf.select(combined, key), DictConfig):
            if override in earlier:
                continue  # the choice that was made, so that values of it can be given: data=folder data.root=…
            raise KwsError(f"resume={directory}: {key} cannot be chosen anew for a run that has begun; leave it out.")
        OmegaConf.update(combined, key, OmegaConf.select(config, key), force_add=override.startswith("+"))
    combined.directory = str(directory)
    combined.resume = None
    chosen = OmegaConf.to_container(config, resolve=True)
    refuse_strange_targets(combined, composition, targets([chosen.get(key_of(o).partition(".")[0]) for o in given]))
    if rank_zero_only.rank == 0:
        for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir())):
            files.clear_remains(folder)
        checkpoints.tidy(checkpoint.parent, resume.read(checkpoint) if checkpoint.exists() else None)
    if not checkpoint.exists():
        print(f"{directory} was interrupted before its first checkpoint; it starts from the beginning.")
        return combined, None
    return combined, checkpoint


def stored_overrides(directory: Path) -> list[str]:
    """The command line of a run that has begun, none where it cannot be read."""
    found, _ = read_file(directory / OVERRIDES, plain_yaml.parse)
    return [str(override) for override in found] if isinstance(found, list) else []


def overrides_of(directory: Path, begun: bool) -> list[str]:
    """The command line that a run is to remember: that it began with, and what was set on top since."""
    given = list(HydraConfig.get().overrides.task)
    if not begun:
        return given
    given = [override for override in given if key_of(override).partition(".")[0] not in NOT_REMEMBERED]
    earlier = [o for o in stored_overrides(directory) if key_of(o) not in map(key_of, given)]
    return [*earlier, *given]


@contextmanager
def interruptions(trainer: pl.Trainer) -> Iterator[None]:
    """Lightning leaves the process by itself on Ctrl-C and SIGTERM, and without a word: hand both on."""
    try:
        yield
    except SystemExit as end:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning has switched it off
        raise Interrupted(143 if trainer.received_sigterm else 130) from end
    if trainer.interrupted:
        raise Interrupted


def build_data(config: DictConfig) -> SpeechDataModule:
    """The data module, with the corpus made and its clips decoded."""
    source = instantiate(config.data.source)
    featurizer = instantiate(config.featurizer)
    augment = instantiate(config.augment) if "augment" in config else None
    data = instantiate(config.data.module, source=source, featurizer=featurizer, augment=augment)
    data.prepare_data()
    data.setup()
    for sentence in data.findings():
        print(sentence)
    if len(data.labels) < 2:
        raise KwsError(
            f"data: {data.labels[0]!r} is the only class, and a spotter of one class says it to everything; add other "
            "words, or data.unknown_share, data.silence_share or data.negatives."
        )
    return data


def build_spotter(config: DictConfig, data: SpeechDataModule, origin: finetune.Origin | None = None) -> Spotter:
    """An untrained spotter for the corpus, its normalization measured over the training split, or that of `origin`."""
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
    if origin is None:
        features = data.split_features("training")
        spotter.normalization.measure(torch.from_numpy(features[i : i + 1024]) for i in range(0, len(features), 1024))
    else:
        spotter.normalization.load_state_dict(origin.spotter.normalization.state_dict())
    if data.augment is not None:
        data.augment.set_fill(spotter.normalization.mean.clone())
    if classifier.fixed_normalization is not None:
        spotter.normalization.fix(*classifier.fixed_normalization)
    return spotter


def load_best(trainer: pl.Trainer, spotter: Spotter) -> None:
    """Put the weights of the best checkpoint into the spotter: the last, where `callbacks.checkpoint` is null."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best:
        weights = checkpoints.read(Path(best))["state_dict"]
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
    speech = RunningSpeech(
        Path(config.cache_dir) / "corpora",
        wanted.running_speech,
        split="validation",
        language=config.data.get("language", "en"),
        voices=most_like_people(config.data.get("running_voices") or ("espeak",)),
        cache=config.cache_dir,
        frequent_words=config.data.get("frequent_words", 0),
    )
    folder = speech.prepare(data.corpus.keywords)
    try:
        found = as_used.search_decoder(
            spotter,
            (validation.samples, validation.labels),
            data.waveforms.noise,
            {"hours": wanted.hours},
            wanted.false_alarms_per_hour,
            [] if folder is None else [folder],
            smoothings=list(wanted.get("smoothing", SMOOTHINGS)),
            among_words=wanted.get("among_words"),
            per_word=bool(wanted.get("per_word")),
            substitutions=bool(wanted.get("substitutions", True)),
        )
    except as_used.NoDecoder as error:
        return {"left_out": str(error)}
    spotter.about["calibration"] = {
        "target_false_alarms_per_hour": wanted.false_alarms_per_hour,
        "hours": found["hours"],
        "miss_rate": found["miss_rate"],
        "false_alarms_per_hour": found["false_alarms_per_hour"],
        "substitution_rate": found["substitution_rate"],
        "substitutions": found["substitutions"],
    }
    return found


def most_like_people(voices: str | Sequence[str]) -> tuple[str, ...]:
    """Those of the voices that read running speech on which a decoder is chosen.

    A word answers espeak-ng five times as often as neural voices, and people less often than these:
    docs/own_words_trials.md.
    """
    voices = (voices,) if isinstance(voices, str) else tuple(voices)
    return ("kokoro",) if "kokoro" in voices else voices


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
        "left_out": by_reason(data.refused),
        "refused": [{"path": r.path, "reason": r.reason} for r in data.refused[:MOST_NAMED]],
        "silent": data.waveforms.silent,
        "notes": list(data.corpus.notes),
    }


def log_confusion(trainer: pl.Trainer, figure: Figure) -> None:
    """The confusion matrix in TensorBoard."""
    writer = tensorboard_writer(trainer)
    if writer is None:
        return
    writer.add_figure("test/confusion", figure, global_step=trainer.global_step)
    trainer.logger.finalize("success")
