"""Recordings that the page can step through: the run's own test clips, and a folder that was named."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
from omegaconf import OmegaConf

from kws.corpus.base import printable
from kws.listen.sources import expand, read_file
from kws.runs.names import CONFIG
from kws.runs.stored import match_labels, open_data
from kws.spotter import Spotter
from kws.support.errors import KwsError

MOST = 20_000
"""Recordings of a folder that are listed."""
LONGEST = 600.0
"""Seconds of a recording that are sent."""


@dataclass(frozen=True)
class Listed:
    """A recording: its name, and the label that it is, where that is known."""

    name: str
    truth: str | None


class FolderClips:
    """The recordings in a folder and below; of which a word is said is known by the name of the folder it lies in.

    Args:
        folder: where.
        spotter: whose labels and rate count.
    """

    def __init__(self, folder: Path, spotter: Spotter):
        self.folder, self.spotter = folder, spotter
        self.title = f"{folder.name or folder} (folder)"

    @cached_property
    def paths(self) -> list[Path]:
        """In the order of their names."""
        return list(expand([str(self.folder)]))[:MOST]

    def clips(self) -> Sequence[Listed]:
        """All of them."""
        labels = self.spotter.labels
        return [
            Listed(
                printable(str(path.relative_to(self.folder))), path.parent.name if path.parent.name in labels else None
            )
            for path in self.paths
        ]

    def samples(self, index: int) -> np.ndarray:
        """(S,) float32 at the spotter's rate, resampled as `python -m kws.listen` does."""
        blocks = []
        for block, seconds in read_file(self.paths[index], self.spotter.sample_rate):
            if seconds > LONGEST:
                raise KwsError(
                    f"{str(self.paths[index])!r} is longer than {LONGEST:g} s; python -m kws.listen hears it."
                )
            blocks.append(block)
        return np.concatenate(blocks)


class TestClips:
    """The clips of the run's test split, in an order that mixes the words.

    Args:
        directory: the run.
        spotter: its spotter.
    """

    __test__ = False  # no test of pytest's
    title = "test clips of the run"

    def __init__(self, directory: Path, spotter: Spotter):
        self.directory, self.spotter = directory, spotter

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
        """Samples (N, S) int16, labels (N,), paths, and the order; decoding takes a while the first time."""
        module = open_data(OmegaConf.create({"data": None}), self.spotter, self.directory)
        split = module.waveforms.splits["testing"]
        kept, labels, _ = match_labels(module, self.spotter, "testing")
        order = np.random.default_rng(1).permutation(len(kept))
        return split.samples, labels[order], split.paths, kept[order]

    def clips(self) -> Sequence[Listed]:
        """All that the spotter has a label for."""
        _, labels, paths, order = self.data
        names = self.spotter.labels
        return [
            Listed("/".join(Path(printable(str(paths[at]))).parts[-2:]), names[label])
            for at, label in zip(order, labels, strict=True)
        ]

    def samples(self, index: int) -> np.ndarray:
        """(S,) float32."""
        samples, _, _, order = self.data
        return samples[order[index]].astype(np.float32) / 32768


def sources(directory: Path, spotter: Spotter, folder: Path | None) -> dict[str, FolderClips | TestClips]:
    """What there is to step through, by the name in the address.

    Raises:
        KwsError: `folder` is no folder.
    """
    found: dict[str, FolderClips | TestClips] = {}
    if folder is not None:
        if not folder.is_dir():
            raise KwsError(f"--clips {folder}: there is no such folder.")
        found["folder"] = FolderClips(folder, spotter)
    if (directory / CONFIG).is_file():
        found["test"] = TestClips(directory, spotter)
    return found


def wav(samples: np.ndarray, rate: int) -> bytes:
    """A WAV of floats, which is what the samples are to the last bit."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="FLOAT", format="WAV")
    return file.getvalue()
