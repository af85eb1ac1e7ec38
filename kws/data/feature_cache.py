"""Features of whole splits, computed once and kept as memory-mapped arrays."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from kws.spotter.featurizer import INT16_SCALE, Featurizer
from kws.support import files

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
    if not path.exists():
        files.clear_remains(directory)
        with files.atomic(path) as temporary:
            write_features(samples, featurizer, temporary)
    # Copy on write, for torch wants writable memory; nothing ever writes to it.
    return np.load(path, mmap_mode="c")


@torch.no_grad()
def write_features(samples: np.ndarray, featurizer: Featurizer, path: Path, batch_size: int = 512) -> None:
    """Featurize (N, S) int16 clips into a .npy file of shape (N, T, F), a batch at a time."""
    shape = (len(samples), samples.shape[1] // featurizer.hop_size, featurizer.num_features)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    device = featurizer.filters.device
    for start in range(0, len(samples), batch_size):
        waveform = torch.tensor(samples[start : start + batch_size], device=device).float() / INT16_SCALE
        array[start : start + batch_size] = featurizer(waveform).cpu().numpy()
    array.flush()
