"""One clip of a synthetic voice: silence cut off, placed over light noise, written to disk."""

import io
from pathlib import Path

import numpy as np
import soundfile

from kws.corpus.coloured_noise import COLOURS, coloured_noise, hum, root_mean_square

SAMPLE_RATE = 16000


def trim(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """`sound` without the blocks of 10 ms at its ends that lie more than 40 dB below its loudest block."""
    block = sample_rate // 100
    blocks = np.pad(sound, (0, -len(sound) % block)).reshape(-1, block)
    levels = np.sqrt(np.mean(np.square(blocks), axis=1))
    loud = np.flatnonzero(levels > max(levels.max(initial=0) / 100, 1.0))  # 1.0: one step of 16 bit
    return sound[loud[0] * block : (loud[-1] + 1) * block] if len(loud) else sound[:0]


def place(speech: np.ndarray, generator: np.random.Generator, length: int = SAMPLE_RATE) -> np.ndarray:
    """`length` samples with `speech` at a drawn offset and level over light noise at a drawn ratio, float64 `(S,)`."""
    level = 10 ** (generator.uniform(-30, -14) / 20) / root_mean_square(speech)
    level = min(level, 0.9 / np.abs(speech).max())
    ratio = generator.uniform(15, 45)  # dB
    kind = generator.choice([*COLOURS, "hum"])
    noise = (
        hum(length, SAMPLE_RATE, generator) if kind == "hum" else coloured_noise(kind, length, SAMPLE_RATE, generator)
    )
    clip = noise * root_mean_square(speech) * level * 10 ** (-ratio / 20)
    # Around the middle, as people's clips are, rather than anywhere.
    room = length - len(speech)
    start = int(room * generator.beta(2, 2))
    clip[start : start + len(speech)] += speech * level
    return clip


def write(path: Path, sound: np.ndarray) -> None:
    """Write float samples as 16 bit at `SAMPLE_RATE`, in a folder that is made where it is missing."""
    samples = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    encoded = io.BytesIO()  # soundfile waits for the disk after every file that it writes itself
    soundfile.write(encoded, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded.getbuffer())
