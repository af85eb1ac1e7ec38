"""Checkpoints that appear whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from kws.support import files


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the earlier checkpoint and renames.

    Lightning writes into the system's temporary folder and moves, which copies where that is another file system: a
    run killed meanwhile would be left with half of its only checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`."""
        with files.atomic(path) as temporary:
            torch.save(checkpoint, temporary)


def clear_remains(directory: Path) -> None:
    """Delete what a killed run was writing."""
    for path in directory.glob(".*.tmp.ckpt"):
        path.unlink(missing_ok=True)
