"""Long recordings without keywords, read block by block: a folder of them measures false alarms alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from kws.corpus.audio import EXTENSIONS, USUAL, mono_blocks, opened
from kws.support.errors import KwsError

BLOCK_SECONDS = 10.0


def find_recordings(folder: str | Path) -> list[Path]:
    """Recordings in a folder and the folders below it, sorted.

    Raises:
        KwsError: no such folder, or nothing in it that looks like a recording.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise KwsError(f"negatives={str(folder)!r} is no folder; name one with long recordings in it.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise KwsError(f"negatives={str(folder)!r} holds no recording ({USUAL}).")
    return found


def blocks(path: str | Path, sample_rate: int) -> Iterator[np.ndarray]:
    """A recording of any length as blocks (S,) of float32 mono at `sample_rate`.

    Raises:
        BrokenRecording: the file is not readable as audio, or holds NaN or infinite samples.
    """
    with opened(path, least_rate=1) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
        for block in mono_blocks(path, file, file.frames, round(BLOCK_SECONDS * file.samplerate)):
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
