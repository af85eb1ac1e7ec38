"""What every exporter is: a Lightning callback that also works on a stored spotter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from kws.export.parity import Parity
from kws.spotter import Spotter

TRAINING_CLIPS = 512


@dataclass(frozen=True)
class Probe:
    """Real clips on which an exported file must agree with PyTorch.

    Attributes:
        waveforms: (N, S) int16.
        features: (N, T, F) float32, raw.
        training: raw features of training clips, for whoever has to see what values reach; computed when it is called.
            None where there are none.
    """

    waveforms: np.ndarray
    features: np.ndarray
    training: Callable[[], np.ndarray] | None = None

    @classmethod
    def of(cls, data, split: str = "testing", clips: int = 1000) -> "Probe":
        """Up to `clips` clips of a split of a data module, evenly spread over it."""
        samples, features = data.waveforms.splits[split].samples, data.split_features(split)
        chosen = _spread(len(samples), clips)
        return cls(np.asarray(samples[chosen]), np.asarray(features[chosen]), lambda: _training_features(data))


def _spread(count: int, most: int) -> np.ndarray:
    """Up to `most` of `count` numbers, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def _training_features(data) -> np.ndarray:
    features = data.split_features("training")
    return np.asarray(features[_spread(len(features), TRAINING_CLIPS)])


@dataclass(frozen=True)
class Exported:
    """A file or folder that was written.

    Attributes:
        format: what results.json calls it.
        parity: how it compares with PyTorch; None for files that compute nothing.
        native: what it takes on a machine, for ``native`` of results.json; None where that is not known.
    """

    format: str
    path: Path
    parity: Parity | None = None
    native: dict[str, float | int | None] | None = None


class Exporter(pl.Callback):
    """Writes files from a spotter, at the end of the test or when `export` is called.

    A file is kept only after it has been run and found to agree.
    """

    whole_clips = False
    """Whether a network can be exported that judges whole clips and cannot stream."""

    def __init__(self):
        self.exported: list[Exported] = []

    def write(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """`export`; or a sentence, where these files need a network that goes frame by frame and this one does not."""
        if spotter.classifier.streams or self.whole_clips:
            return self.export(spotter, probe, directory)
        what = type(self).__name__.removesuffix("Export")
        print(
            f"No {what} files: they go frame by frame, and a {type(spotter.classifier).__name__} judges whole clips; "
            "clip.onnx (export=onnx) holds it."
        )
        return []

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """Write and check the files; `ParityError` when one computes something else."""
        raise NotImplementedError

    @rank_zero_only
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Export the spotter that has just been tested, into exports/ of the run directory."""
        spotter = pl_module.spotter.cpu().eval()
        directory = Path(trainer.default_root_dir) / "exports"
        self.exported = self.write(spotter, Probe.of(trainer.datamodule), directory)
