"""ELL's dataset files: the features of clips, one row a clip, in NumPy's `.npz`.

Entries: `features` (N, T·F), frame after frame; `labels` (N,) words; `valid_classes` (C,) words, left out by some of
ELL's versions; `parameters` = sample rate, hop in samples, filters, frames, shift in frames between the rows of one
recording (0: one row a recording). ELL names its null category `<null>`, this package `_null_`; both ways translate.
"""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kws.support.errors import KwsError
from kws.support.files import atomic

ELL_NULL, NULL = "<null>", "_null_"
ENTRIES = ("features", "labels", "parameters")


@dataclass(frozen=True, eq=False)
class EllDataset:
    """Features of N clips with their words."""

    features: np.ndarray  # (N, T, F) float32
    labels: tuple[str, ...]  # (N,)
    valid_classes: tuple[str, ...]  # in the order of the class index
    sample_rate: int  # Hz
    hop: int  # samples
    shift: int = 0  # frames

    def write(self, path: str | os.PathLike) -> None:
        """Write the dataset, whole or not at all."""
        rows, frames, filters = self.features.shape
        if len(self.labels) != rows:
            raise ValueError(f"{rows} rows of features and {len(self.labels)} labels")
        if unknown := set(self.labels) - set(self.valid_classes):
            raise ValueError(f"labels {sorted(unknown)} are not among the classes")
        with atomic(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                features=self.features.reshape(rows, frames * filters).astype(np.float32),
                labels=_words(self.labels, NULL, ELL_NULL),
                valid_classes=_words(self.valid_classes, NULL, ELL_NULL),
                parameters=np.array([self.sample_rate, self.hop, filters, frames, self.shift], np.int64),
            )


def read_ell_dataset(path: str | os.PathLike) -> EllDataset:
    """Read a dataset. Raises KwsError for what is no such file, lacks an entry, holds Python objects or NaN."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in ENTRIES if name not in file]:
                raise KwsError(f"{path}: no dataset of ELL's, {', '.join(missing)} missing; write it with make_dataset")
            features, labels, parameters = (file[name] for name in ENTRIES)
            classes = file.get("valid_classes")
    except FileNotFoundError as error:
        raise KwsError(f"{path}: does not exist; give the path of an .npz file") from error
    except KwsError:
        raise
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise KwsError(f"{path}: cannot be read as .npz without Python objects ({error}); write it anew") from error
    except (AttributeError, MemoryError, OverflowError) as error:  # an .npy instead of an .npz; absurd shapes
        raise KwsError(f"{path}: no .npz archive of arrays; write it with make_dataset") from error
    try:
        sample_rate, hop, filters, frames, shift = (int(value) for value in np.asarray(parameters).reshape(-1))
    except (ValueError, TypeError, OverflowError) as error:
        raise KwsError(f"{path}: its parameters are not five numbers (rate, hop, filters, frames, shift)") from error
    if min(sample_rate, hop, filters, frames) < 1 or features.shape != (len(labels), frames * filters):
        raise KwsError(
            f"{path}: features {features.shape} do not fit {len(labels)} labels, {frames} frames and {filters} filters"
        )
    if features.dtype.kind not in "fiu" or labels.dtype.kind != "U" or labels.ndim != 1:
        raise KwsError(
            f"{path}: features of {features.dtype} and labels of {labels.dtype}; numbers and words belong there"
        )
    if not np.isfinite(features).all():
        raise KwsError(f"{path}: its features hold NaN or infinite numbers; featurize the recordings again")
    words = tuple(NULL if label == ELL_NULL else str(label) for label in labels)
    if classes is None:
        classes = sorted(set(labels.tolist()))
    valid = tuple(NULL if label == ELL_NULL else str(label) for label in np.asarray(classes).reshape(-1).tolist())
    valid += tuple(sorted(set(words) - set(valid)))  # ELL keeps its null category off this list
    return EllDataset(features.reshape(-1, frames, filters).astype(np.float32), words, valid, sample_rate, hop, shift)


def _words(labels: tuple[str, ...], ours: str, theirs: str) -> np.ndarray:
    return np.array([theirs if label == ours else label for label in labels], dtype=np.str_)
