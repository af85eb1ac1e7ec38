"""Features of whole splits, computed once and kept as memory-mapped arrays."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import torch

from kws.data.cache import ArrayFile, readable_errors
from kws.spotter.featurizer import INT16_SCALE, Featurizer
from kws.support import files
from kws.support.errors import KwsError

log = logging.getLogger(__name__)

SplitFeatures = np.ndarray
"""(N, T, F) float32, usually a memory map."""

ARITHMETIC = 1
"""Raised whenever the featurizer computes something else from the same settings, so that old files are not used."""


def cached_features(samples: np.ndarray, featurizer: Featurizer, directory: Path, key: str) -> SplitFeatures:
    """Features of (N, S) int16 clips, from `directory` where they have been computed before.

    Args:
        samples: the clips.
        featurizer: its settings are part of the file's name.
        directory: where the arrays are kept.
        key: names the clips; other clips must have another key.
    """
    name = json.dumps([ARITHMETIC, key, samples.shape, featurizer.settings], sort_keys=True)
    path = Path(directory) / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy"
    shape = (len(samples), samples.shape[1] // featurizer.hop_size, featurizer.num_features)
    with readable_errors(Path(directory)):
        found = _open(path, shape)
        if found is None:
            files.clear_remains(directory)
            with files.atomic(path) as temporary:
                write_features(samples, featurizer, temporary)
            found = _open(path, shape)
    if found is None:
        raise KwsError(
            f"{path}: the features just written cannot be read back; check the disk, or use another cache_dir"
        )
    return found


def _open(path: Path, shape: tuple[int, ...]) -> SplitFeatures | None:
    """The features in a file; None where there is none, or where somebody has damaged it."""
    if 0 in shape:
        return np.zeros(shape, np.float32)  # an empty array cannot be mapped everywhere
    try:
        # Copy on write, for torch wants writable memory; nothing ever writes to it.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.shape != shape or array.dtype != np.float32:
            raise ValueError(f"{array.dtype} {array.shape}, not float32 {shape}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, AttributeError) as error:
        log.warning("%s is damaged (%s); it is made again", path, error)
        return None
    return array


@torch.no_grad()
def write_features(samples: np.ndarray, featurizer: Featurizer, path: Path, batch_size: int = 512) -> None:
    """Featurize (N, S) int16 clips into a .npy file of shape (N, T, F), a batch at a time.

    Raises OSError on a full disk, which a memory map would answer with the death of the process.
    """
    row = (samples.shape[1] // featurizer.hop_size, featurizer.num_features)
    device = featurizer.filters.device
    with ArrayFile(path, row, "<f4") as file:
        for start in range(0, len(samples), batch_size):
            waveform = torch.tensor(samples[start : start + batch_size], device=device).float() / INT16_SCALE
            file.append(featurizer(waveform).cpu().numpy())
