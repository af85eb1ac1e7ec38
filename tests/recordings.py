"""Recordings and corpora that the tests make for themselves."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

REAL = Path(__file__).parents[1].parent / "shared" / "speech_commands"


def tone(seconds: float = 1.0, rate: int = 16000, frequency: float = 440.0, level: float = 0.3, seed: int = 0):
    """A tone in a little noise, float32 (S,)."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time)) * 0.01
    return (level * np.sin(2 * np.pi * frequency * time) + noise).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = 16000, subtype: str | None = None) -> Path:
    """Write a recording whatever its name is; the format follows the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix[1:].upper()
    with path.open("wb") as file:
        soundfile.write(file, waveform, rate, subtype=subtype, format=kind)
    return path


def make_corpus(
    root: Path,
    words: Iterable[str] = ("yes", "no"),
    speakers: int = 12,
    takes: int = 2,
    seconds: float = 0.2,
    ending: str = ".wav",
    noise_seconds: float = 0.0,
) -> Path:
    """A small corpus laid out as Speech Commands is, with lists: speakers 0 and 1 validate, 2 and 3 test."""
    lists = {"validation": [], "testing": []}
    for index, word in enumerate(words):
        for speaker in range(speakers):
            for take in range(takes):
                name = f"{word}/{speaker:08x}_nohash_{take}{ending}"
                write(
                    root / name, tone(seconds, frequency=300 + 100 * index, seed=hash((index, speaker, take)) % 2**32)
                )
                if speaker < 4:
                    lists["validation" if speaker < 2 else "testing"].append(name)
    for split, names in lists.items():
        (root / f"{split}_list.txt").write_text("".join(f"{name}\n" for name in names))
    if noise_seconds:
        rng = np.random.default_rng(1)
        for name in ("hum", "hiss"):
            recording = (0.1 * rng.standard_normal(round(16000 * noise_seconds))).astype(np.float32)
            write(root / "_background_noise_" / f"{name}.wav", recording)
    return root


def odd_name(root: Path, ending: str = ".wav") -> Path:
    """A file name with a space, a line break and bytes that are no UTF-8."""
    return root / os.fsdecode(b"a b\nc\xff\xfe" + ending.encode())
