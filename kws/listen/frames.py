"""Posteriors of every frame as CSV or .npz, for plots of one's own."""

import csv
from pathlib import Path

import numpy as np

from kws.listen.ears import Ears, Heard
from kws.support import files
from kws.support.errors import KwsError


class Frames:
    """Collects frames, and writes them when it is closed: whole or not at all.

    A ``.csv`` has a line a frame: file, time (the end of its hop in seconds), voice, and a column a label. An ``.npz``
    has ``files``, ``labels``, and for file number i ``times_i`` (T,), ``posteriors_i`` (T, C), and ``voice_i``
    (T,) where there is a detector.

    Args:
        path: where to; the ending says how.
        ears: what hears.
    """

    def __init__(self, path: str | Path, ears: Ears):
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".npz"):
            raise KwsError(f"--every-frame {path}: frames are written as .csv or .npz.")
        self.labels, self.hop_seconds = ears.labels, ears.hop_seconds
        self.heard: dict[str, list[Heard]] = {}

    def add(self, name: str, heard: Heard) -> None:
        """The frames of a block."""
        self.heard.setdefault(name, []).append(heard)

    def close(self) -> None:
        """Write the file."""
        with files.atomic(self.path) as temporary:
            (self._csv if self.path.suffix == ".csv" else self._npz)(temporary)

    def _of(self, pieces: list[Heard]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        posteriors = np.exp(np.concatenate([piece.outputs for piece in pieces]))
        signals = [piece.signal for piece in pieces if piece.signal is not None]
        times = (1 + np.arange(len(posteriors))) * self.hop_seconds
        return times, posteriors, np.concatenate(signals) if signals else None

    def _csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "time", "voice", *self.labels])
            for name, pieces in self.heard.items():
                times, posteriors, voice = self._of(pieces)
                for i, (time, row) in enumerate(zip(times, posteriors, strict=True)):
                    spoken = "" if voice is None else int(voice[i])
                    writer.writerow([name, f"{time:.4f}", spoken, *(f"{value:.6g}" for value in row)])

    def _npz(self, path: Path) -> None:
        arrays: dict[str, np.ndarray] = {"files": np.array(list(self.heard)), "labels": np.array(self.labels)}
        for i, pieces in enumerate(self.heard.values()):
            times, posteriors, voice = self._of(pieces)
            arrays |= {f"times_{i}": times, f"posteriors_{i}": posteriors}
            if voice is not None:
                arrays[f"voice_{i}"] = voice
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
