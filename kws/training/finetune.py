"""From another run's weights to new words: what follows that run, what is taken over, what may contradict it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kws import spotters
from kws.corpus.finetuning import is_there
from kws.networks.transfer import transfer
from kws.runs import latest
from kws.runs.configuration import stored
from kws.runs.names import CONFIG
from kws.runs.stored import load_spotter, with_root
from kws.runs.trusted import refuse_strange_targets
from kws.spotter import Spotter
from kws.spotter.spotter import RESTING
from kws.support.errors import KwsError
from kws.training import checkpoints

FREE = ("dropout", "readout")
"""Settings of a network that change none of its weights."""
FOLLOWS = "network, featurizer and rate follow the run by themselves"
OTHER_SPEECH = "_unknown_"


class Origin(NamedTuple):
    """The run that is gone on from.

    Attributes:
        name: as the command line has it.
        spotter: what it learned.
        settings: its configuration; None where a spotter comes without.
    """

    name: str
    spotter: Spotter
    settings: DictConfig | None


def find(name: str | Path) -> Origin:
    """The run, spotter file or bundled spotter that ``finetune=`` names.

    Raises:
        KwsError: there is none, or it cannot be read.
    """
    path = latest.find(name)
    if not path.exists():
        if str(name) not in spotters.names():
            known = ", ".join(spotters.names())
            raise KwsError(
                f"finetune={name}: there is no such run directory or spotter file, and of spotters that come along "
                f"there is {known or 'none'}; name the directory that train.py printed last."
            )
        path = spotters.named(str(name))
    try:
        spotter, directory = load_spotter(path)
    except KwsError as error:
        raise KwsError(f"finetune={name}: {str(error).removeprefix(f'run={path}: ')}") from error
    path, settings = directory / CONFIG, None
    if path.is_file():
        settings = stored(path)
        refuse_strange_targets(settings, path)  # a run may come from anywhere, and a target is code
    return Origin(str(directory if str(name) == latest.LAST else name), spotter, settings)


def at_checkpoint(checkpoint: Path) -> Origin:
    """A fine-tuned run where it was interrupted: its own spotter, so that the run before it is not read again."""
    content = checkpoints.read(checkpoint)
    spotter, prefix = Spotter.from_settings(content["spotter_settings"]), "spotter."
    weights = content["state_dict"].items()
    spotter.load_state_dict({k.removeprefix(prefix): v for k, v in weights if k.startswith(prefix)})
    return Origin(str(checkpoint), spotter.eval(), None)


def follow(config: DictConfig, origin: Origin, given: Sequence[str]) -> None:
    """Change `config` so that it goes on from the run.

    Args:
        config: the composed configuration of the new run.
        origin: the run that it goes on from.
        given: the keys that the command line sets, such as ``data.sample_rate`` or ``model``.

    Raises:
        KwsError: one of them contradicts the run.
    """
    follow_rate(config, origin, given)
    follow_featurizer(config, origin, given)
    follow_model(config, origin, given)
    follow_stages(config, origin, given)
    for key, value in leaves(config.finetuning.settings):
        if key not in given:
            put(config, key, value)
    follow_data(config, origin)


def follow_rate(config: DictConfig, origin: Origin, given: Sequence[str]) -> None:
    """The sample rate, and the length of a clip and of the silence after it."""
    rate = origin.spotter.sample_rate
    if "data.sample_rate" in given and config.data.sample_rate != rate:
        refuse(origin, f"data.sample_rate={config.data.sample_rate}", f"is at {rate} Hz")
    put(config, "data.sample_rate", rate)
    usual = {"seconds": config.data.seconds, "tail": 0.0}  # of a run from before it had them
    for name, value in usual.items():
        if f"data.{name}" not in given and origin.settings is not None:
            put(config, f"data.{name}", origin.settings.data.get(name, value))


def follow_featurizer(config: DictConfig, origin: Origin, given: Sequence[str]) -> None:
    """What makes the features."""
    settings = origin.spotter.featurizer.settings
    asked = instantiate(config.featurizer).settings if "featurizer" in given else {}
    for name in parts(given, "featurizer"):
        asked = {**asked, name: config.featurizer[name]}
    for name, value in asked.items():
        if value != settings[name]:
            refuse(origin, f"featurizer.{name}={value}", f"has {settings[name]}")
    put(config, "featurizer", {"_target_": "kws.spotter.featurizer.Featurizer", **settings})


def follow_model(config: DictConfig, origin: Origin, given: Sequence[str]) -> None:
    """The network, but for what changes none of its weights."""
    network = origin.spotter.classifier
    settings = {k: v for k, v in network.settings.items() if k not in ("input_size", "num_classes")}
    free = {name: config.model[name] for name in parts(given, "model") if name in FREE and name in settings}
    asked = {name: config.model[name] for name in parts(given, "model") if name not in free}
    if "model" in given:
        facts = {name: network.settings[name] for name in ("input_size", "num_classes")}
        other = instantiate(config.model, _convert_="all")(**facts)
        if type(other) is not type(network):
            refuse(origin, f"a {type(other).__name__}", f"is a {type(network).__name__}")
        asked |= {k: v for k, v in other.settings.items() if k in settings and k not in FREE}
    for name, value in asked.items():
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if name not in settings or value != settings[name]:
            refuse(origin, f"model.{name}={value}", f"has {settings.get(name, 'no such setting')}")
    target = f"kws.networks.{type(network).__name__}"
    put(config, "model", {"_target_": target, "_partial_": True, **settings, **free})


def follow_stages(config: DictConfig, origin: Origin, given: Sequence[str]) -> None:
    """Detector and decoder, as far as the command line does not choose them."""
    spotter = origin.spotter
    if not named(given, "vad"):
        settings = {"_target_": "kws.spotter.vad.no_detector"}
        if spotter.vad is not None:
            own = {k: v for k, v in spotter.vad.settings.items() if k not in ("num_features", "frame_duration")}
            settings = {"_target_": "kws.spotter.vad.VoiceActivityDetector", **own}
        put(config, "vad", {**settings, "_partial_": True})
    if "decoder" in given:
        return
    for name, value in spotter.decoder.settings.items():
        # Thresholds of the earlier words, and which of them are ignored, say nothing of the new ones.
        if f"decoder.{name}" not in given and name != "ignored" and not isinstance(value, Mapping):
            put(config, f"decoder.{name}", value)


def follow_data(config: DictConfig, origin: Origin) -> None:
    """What is learned, beside what is kept."""
    keep = kept(config.finetuning.keep, origin)
    old = earlier_source(config.finetuning.root, origin) if keep else None
    if keep and old is None:
        print(
            f"finetune={origin.name}: {', '.join(keep)} stay, but the recordings that they were learned from are not "
            "there (finetuning.root=DIR says where), so nothing rehearses them and most of it will be forgotten."
        )
    source = {
        "_target_": "kws.corpus.FinetuningCorpus",
        "new": config.data.source,
        "old": old,
        "keep": keep,
        "rehearsal": config.finetuning.rehearsal,
    }
    put(config, "data.source", source)


def kept(choice: bool | str | Sequence[str] | None, origin: Origin) -> list[str]:
    """The labels of the run that stay: those that are no words for None, all or none, or those that are named."""
    labels = list(origin.spotter.labels)
    if choice is None:  # without them a detector would make a word of everything
        return [label for label in labels if label.startswith("_")]
    if isinstance(choice, bool):
        return labels if choice else []
    names = [choice] if isinstance(choice, str) else list(choice)
    for name in names:
        if name not in labels:
            raise KwsError(
                f"finetuning.keep names {name!r}, which finetune={origin.name} does not hear; it hears "
                f"{', '.join(labels)}. true keeps them all."
            )
    return [label for label in labels if label in names]


def earlier_source(root: str | None, origin: Origin) -> DictConfig | dict[str, Any] | None:
    """The corpus that the run was trained on; None where it is not there any more.

    Raises:
        KwsError: `root` is given, and is no folder or cannot be used.
    """
    if root is not None and not Path(root).is_dir():
        raise KwsError(f"finetuning.root={root} is no folder; name the one with the run's recordings.")
    if origin.settings is None:
        return None if root is None else folder(root, origin.spotter.labels)
    source = origin.settings.data.source
    if root is not None:
        target = with_root(source)
        if target is None:
            raise KwsError(f"finetuning.root={root}: the corpus of {origin.name} has no root; leave it out.")
        target.root = root
    people = source.get("recorded")  # without these nothing can be made of it
    if people is not None and not Path(people.root).is_dir():
        return None
    return source if is_there(instantiate(source)) else None


def folder(root: str, labels: Sequence[str]) -> dict[str, Any]:
    """A folder of recordings as the corpus of a spotter that comes without its configuration."""
    return {
        "_target_": "kws.corpus.FolderCorpus",
        "root": root,
        "words": [label for label in labels if not label.startswith("_")],
        "unknown_share": float("inf") if OTHER_SPEECH in labels else 0.0,
        "silence_share": 2.0 if RESTING in labels else 0.0,
    }


def take_over(spotter: Spotter, origin: Origin, config: DictConfig) -> None:
    """Give an untrained spotter the weights of the run, and note in ``about`` where they are from."""
    known, labels = origin.spotter.labels, spotter.labels
    transfer(origin.spotter.classifier, known, spotter.classifier, labels)
    source = config.data.source
    spotter.about["finetuned"] = {
        "run": origin.name,
        "about": {k: v for k, v in origin.spotter.about.items() if k != "calibration"},
        "known": [label for label in labels if label in known],
        "new": [label for label in labels if label not in known],
        "dropped": [label for label in known if label not in labels],
        "rehearsed": source.old is not None,
    }


def choices(spotter: Spotter) -> dict[str, str]:
    """In the place of the files of conf/ that were not used after all."""
    name = Path(spotter.about["finetuned"]["run"]).name
    return {"model": f"{type(spotter.classifier).__name__} of {name}", "featurizer": f"of {name}"}


def refuse(origin: Origin, asked: str, has: str) -> None:
    """Raise the sentence on a contradiction."""
    raise KwsError(f"{asked} contradicts finetune={origin.name}, which {has}; leave it out: {FOLLOWS}.")


def named(given: Sequence[str], group: str) -> bool:
    """Whether the command line chooses a group or one of its values."""
    return group in given or bool(parts(given, group))


def parts(given: Sequence[str], group: str) -> list[str]:
    """The values of a group that the command line sets."""
    return [key.removeprefix(f"{group}.") for key in given if key.startswith(f"{group}.")]


def put(config: DictConfig, key: str, value: Any) -> None:
    """Set a value, in the place of all that was there."""
    OmegaConf.update(config, key, value, merge=False, force_add=True)


def leaves(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots, and values, of nested settings."""
    for key, value in node.items():
        if isinstance(value, DictConfig):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
