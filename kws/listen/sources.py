"""Where audio comes from, as blocks (S,) float32 at the rate that is asked for: files, folders, a pipe."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from kws.corpus.audio import EXTENSIONS, cancelling, mixed, opened
from kws.support.errors import BrokenRecording, KwsError

SECONDS = 10.0
"""Of a block of a file."""
PIPE_SECONDS = 0.1
"""Of a block of a pipe, which bounds the delay."""
PCM, EXTENSIBLE = 1, 0xFFFE  # of a WAV header


class Resampler:
    """Blocks at one rate to blocks at another; soxr's HQ recipe, as for clips.

    Args:
        from_rate, to_rate: Hz.
    """

    def __init__(self, from_rate: int, to_rate: int):
        self.stream = None if from_rate == to_rate else soxr.ResampleStream(from_rate, to_rate, 1, "float32", "HQ")

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """(S,) float32 to what is ready of it at the other rate."""
        return block if self.stream is None else self.stream.resample_chunk(block, last=last)


def read_file(path: Path, rate: int) -> Iterator[tuple[np.ndarray, float]]:
    """A recording of any length, kind, rate and number of channels: blocks, each with the seconds read so far.

    Raises:
        BrokenRecording: it cannot be read.
    """
    with opened(path) as file:
        resampler = Resampler(file.samplerate, rate)
        size, count = round(SECONDS * file.samplerate), 0
        channel = cancelling(file, file.frames) if file.channels > 1 else None
        while True:
            block = file.read(size, dtype="float32", always_2d=True)  # (frames, channels)
            count += len(block)
            last = len(block) < size
            yield resampler(np.ascontiguousarray(mixed(block, channel)), last), count / file.samplerate
            if last:
                break
    if not count:
        raise BrokenRecording(path, "holds no samples")


def seconds_of(path: Path) -> float:
    """How long a recording is by its header; 0 where that does not say."""
    try:
        return soundfile.info(os.fspath(path)).duration
    except (soundfile.LibsndfileError, OSError, RuntimeError):
        return 0.0


def expand(paths: Iterable[str]) -> Iterator[Path]:
    """Files as they are; of a folder every file that libsndfile knows by its ending, in order of their names.

    Raises:
        KwsError: a folder without any recording.
    """
    known = {f".{name.lower()}" for name in soundfile.available_formats()} | set(EXTENSIONS)
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in known and file.is_file())
        if not found:
            raise KwsError(f"there is no recording in the folder {str(path)!r}.")
        yield from found


def read_pipe(pipe: BinaryIO, rate: int, pipe_rate: int | None = None, channels: int = 1) -> Iterator[np.ndarray]:
    """16-bit little-endian samples from a pipe, raw or behind a WAV header, as they come.

    Args:
        pipe: what is read.
        rate: Hz of the blocks.
        pipe_rate: Hz of raw samples; `rate` when None. A WAV header says it itself.
        channels: of raw samples, interleaved; averaged.

    Raises:
        KwsError: a WAV header of samples that are not 16 bits wide.
    """
    head = pipe.read(4)
    pipe_rate = pipe_rate or rate
    if head == b"RIFF":
        pipe_rate, channels = _wav_header(pipe)
        head = b""
    resampler = Resampler(pipe_rate, rate)
    width = 2 * channels
    size = max(1, round(PIPE_SECONDS * pipe_rate)) * width
    rest = head
    while True:
        read = pipe.read1(size) if hasattr(pipe, "read1") else pipe.read(size)
        data = rest + read
        whole = len(data) // width * width
        rest = data[whole:]
        samples = np.frombuffer(data[:whole], "<i2").reshape(-1, channels)
        block = (samples.mean(axis=1) / 32768).astype(np.float32)
        yield resampler(block, last=not read)
        if not read:
            return


def _wav_header(pipe: BinaryIO) -> tuple[int, int]:
    """Rate and channels of a WAV whose RIFF has been read, up to its samples."""
    pipe.read(8)
    rate = channels = 0
    while True:
        head = pipe.read(8)
        if len(head) < 8:
            raise KwsError("the pipe ends before any samples; its WAV header has no data chunk.")
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            break
        chunk = pipe.read(length + length % 2)
        if name == b"fmt ":
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            if kind not in (PCM, EXTENSIBLE) or bits != 16:
                raise KwsError(f"the pipe's WAV header has {bits}-bit samples; hand in 16 bits (arecord -f S16_LE).")
    if not rate or not channels:
        raise KwsError("the pipe's WAV header does not say rate and channels.")
    return rate, channels
