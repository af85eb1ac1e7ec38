"""Checkpoints that appear whole or not at all, and that belong to the directory they lie in."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from kws.support import files, tensors
from kws.support.errors import KwsError

FOLDER = "checkpoints"
LAST = "last.ckpt"
CALLBACK = "ModelCheckpoint"
"""What Lightning's names of these callbacks' states begin with."""
PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the earlier checkpoint and renames; reads tensors and plain data only.

    Lightning writes into the system's temporary folder and moves, which copies where that is another file system: a
    run killed meanwhile would be left with half of its only checkpoint.

    It also keeps the absolute paths of the best checkpoints, which lead nowhere, or into another run, when a run has
    been moved or copied. Here they are written as names, and read as what lies beside the checkpoint.

    A checkpoint that a better one has taken the place of is deleted after the next that is written: until then the
    last names it as the best, and a run that ends meanwhile could not go on.
    """

    def __init__(self):
        super().__init__()
        self.superseded: list[str | Path] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`. Raises KwsError where its weights are not finite."""
        if (name := tensors.not_finite(checkpoint["state_dict"])) is not None:
            raise KwsError(not_a_number(f"the weights {name.removeprefix('spotter.')} are", checkpoint["epoch"]))
        tensors.save({**checkpoint, "callbacks": relocated(checkpoint.get("callbacks", {}), lambda name: name)}, path)
        for old in self.superseded:
            if Path(old) != Path(path):
                super().remove_checkpoint(old)
        self.superseded = []

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the checkpoint `path` when another has been written."""
        self.superseded.append(path)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint; see `tensors.load`. Raises KwsError where its weights are not finite."""
        return read(Path(path))


def not_a_number(what: str, epoch: int) -> str:
    """The sentence for a training that went astray."""
    return (
        f"{what} not a number in epoch {epoch + 1}, so training stops; lower optimizer.lr or "
        "trainer.gradient_clip_val, or set trainer.precision=32-true."
    )


def read(path: Path) -> dict[str, Any]:
    """A checkpoint of a run, with the paths of others as they are where it lies now.

    Raises:
        KwsError: it cannot be read, is none, or its weights are not finite.
    """
    checkpoint = tensors.load(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise KwsError(f"{str(path)!r} is no checkpoint of a training; name a run that train.py has begun.")
    if (name := tensors.not_finite(checkpoint["state_dict"])) is not None:
        raise KwsError(
            f"{str(path)!r} holds weights that are not finite ({name}); train anew with a lower optimizer.lr."
        )
    folder = str(path.parent.resolve())
    checkpoint["callbacks"] = relocated(checkpoint.get("callbacks", {}), lambda name: f"{folder}/{name}", folder)
    return checkpoint


def relocated(states: dict[str, Any], place: Callable[[str], str], folder: str = "") -> dict[str, Any]:
    """States of callbacks, the paths of their checkpoints made from the files' names."""
    result = {}
    for callback, state in states.items():
        if callback.startswith(CALLBACK):
            state = {**state, "dirpath": folder}
            state |= {key: place(Path(state[key]).name) if state.get(key) else "" for key in PATHS}
            state["best_k_models"] = {place(Path(name).name): value for name, value in state["best_k_models"].items()}
        result[callback] = state
    return result


def best_of(checkpoint: dict[str, Any]) -> set[Path]:
    """The checkpoints that a checkpoint read here counts on."""
    states = [state for name, state in checkpoint["callbacks"].items() if name.startswith(CALLBACK)]
    named = {path for state in states for path in (*state["best_k_models"], state["best_model_path"]) if path}
    return {Path(path) for path in named}


def tidy(folder: Path, checkpoint: dict[str, Any] | None) -> None:
    """Delete what a killed run was writing, and checkpoints of epochs that are trained again.

    Args:
        folder: with the checkpoints.
        checkpoint: where training goes on; None: at the beginning.
    """
    files.clear_remains(folder)
    kept = set() if checkpoint is None else {path.name for path in best_of(checkpoint)}
    for path in folder.glob("epoch*.ckpt"):
        name = re.fullmatch(r"epoch(\d+)(-v\d+)?", path.stem)
        if name and path.name not in kept and (checkpoint is None or int(name.group(1)) > checkpoint["epoch"]):
            path.unlink(missing_ok=True)
