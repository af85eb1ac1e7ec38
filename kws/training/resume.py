"""Going on with a run: what its checkpoint holds must still be so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from kws.data import SpeechDataModule
from kws.runs.jobs import key_of
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.training import checkpoints

GROUPS = {"featurizer": "featurizer", "classifier": "model", "vad": "vad", "decoder": "decoder"}
"""Parts of a spotter's settings, and what the command line calls them."""
OF_A_CYCLE = ("optimizer", "scheduler")
"""Groups whose values are in the checkpoint, and count anew with a new cycle only."""
SAME = 1e-3  # of a deviation: features of the same recordings differ less, whatever machine computed them


def read(path: Path) -> dict[str, Any]:
    """The checkpoint to go on from, with all that it counts on.

    Raises:
        KwsError: it cannot be read, or the best checkpoint so far is gone.
    """
    checkpoint = checkpoints.read(path)
    for best in sorted(checkpoints.best_of(checkpoint)):
        if not best.is_file():
            raise KwsError(f"{str(best)!r} is missing, the best checkpoint so far; put it back, or begin a new run.")
        if best.name != path.name:
            checkpoints.read(best)  # what is wrong with it is said now, not after the last epoch
    return checkpoint


def refuse_unheard(stored: DictConfig, given: DictConfig, overrides: Sequence[str]) -> None:
    """Raise KwsError for a value on the command line that a checkpoint would win over."""
    for key in map(key_of, overrides):
        value = OmegaConf.select(given, key)
        if key.partition(".")[0] in OF_A_CYCLE and value != OmegaConf.select(stored, key):
            raise KwsError(
                f"{key}={value} would not be heard in the cycle that has begun; add new_cycle=true, or leave it out."
            )


def refuse_contradictions(path: Path, checkpoint: Mapping[str, Any], spotter: Spotter, data: SpeechDataModule) -> None:
    """Raise KwsError where the present spotter, made for the present data, is not the one in the checkpoint.

    Args:
        path: of the checkpoint.
        checkpoint: its content; of earlier versions it says less.
        spotter: untrained, its normalization measured over the training split.
        data: the clips.
    """
    held, now = checkpoint.get("spotter_settings", {}), spotter.settings

    def refuse(what: str, was: Any, found: Any) -> None:
        raise KwsError(
            f"{str(path)!r} was trained with {what} {was}, now it is {found}; go back to that, or begin a new run."
        )

    if "labels" in held and list(held["labels"]) != now["labels"]:
        was, found = list(held["labels"]), now["labels"]
        if sorted(was) == sorted(found):
            refuse("labels in another order:", ", ".join(was), ", ".join(found))
        gone, new = [w for w in was if w not in found], [w for w in found if w not in was]
        refuse("other labels:", ", ".join(gone) or "none more", ", ".join(new) or "without them")
    for part, group in GROUPS.items():
        was, found = held.get(part, now[part]), now[part]
        if (was is None) != (found is None):
            refuse(f"{group}:", was, found)
        for name in sorted(set(was or ()) & set(found or ())):
            if plain(was[name]) != plain(found[name]):
                refuse(f"{group}.{name}", was[name], found[name])
    seed = held.get("about", {}).get("seed")
    if seed is not None and seed != now["about"]["seed"]:
        refuse("seed", seed, now["about"]["seed"])
    clips = checkpoint.get("clips")
    if clips is not None:
        for name, what in (
            ("seconds", "data.seconds + data.tail"),
            ("clips", "clips"),
            ("digest", "other clips, by their names,"),
        ):
            if clips[name] != data.content[name]:
                refuse(what, clips[name], data.content[name])
    elif (before := held.get("about", {}).get("corpus_fingerprint")) not in (None, data.corpus.fingerprint()):
        refuse("other clips,", before, data.corpus.fingerprint())
    weights = checkpoint["state_dict"]
    measured = spotter.normalization.state_dict()
    before = {name: weights.get(f"spotter.normalization.{name}") for name in measured}
    if any(tensor is None or tensor.shape != measured[name].shape for name, tensor in before.items()):
        raise KwsError(f"{str(path)!r} holds no normalization of this shape; begin a new run.")
    for name, tensor in before.items():
        difference = ((tensor - measured[name]) / measured["deviation"]).abs().max()
        if not difference <= SAME:
            refuse(f"other recordings: the {name} of a feature was", *extremes(tensor, measured[name]))


def extremes(was: torch.Tensor, found: torch.Tensor) -> tuple[str, str]:
    """The values that differ most."""
    at = int((was - found).abs().argmax())
    return f"{float(was[at]):.4g}", f"{float(found[at]):.4g}"


def plain(value: Any) -> Any:
    """A value in which lists and tuples are the same."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value
