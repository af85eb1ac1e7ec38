"""Hours in which nobody speaks: noise and music, and silence. Every word reported there is a false alarm.

Both are made piece by piece like `kws.evaluation.stream.long_stream`, from a seed, in lanes that can be heard side by
side; every lane starts from a fresh state.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kws.corpus.coloured_noise import COLOURS, coloured_noise, hum, root_mean_square
from kws.evaluation.stream.long_stream import Piece
from kws.evaluation.stream.modes import as_float

SECTION = 20.0  # seconds of one sound
LEVELS = (-50.0, -15.0)  # dB re full scale, root mean square, of noise and music
SOFTEST = -80.0  # of what is still called silence: a quiet room through a quiet microphone
STEP = 1 / 32768  # of 16 bits

Sound = Callable[[int, np.random.Generator], np.ndarray]
"""So many samples of a sound, float."""


@dataclass(frozen=True)
class NoSpeech:
    """One sound after the other, in an order and at levels that the seed decides.

    Args:
        sounds: what is heard, by name.
        what: a sentence's worth of it.
        sample_rate: Hz.
        hours: length of all lanes together.
        seed: decides everything.
        lanes: parts.
    """

    sounds: dict[str, Sound]
    what: str
    sample_rate: int
    hours: float
    seed: int = 1
    lanes: int = 8

    @property
    def lane_samples(self) -> int:
        """Length of a lane in samples."""
        return round(self.hours * 3600 * self.sample_rate / self.lanes)

    def pieces(self, lane: int = 0) -> Iterator[Piece]:
        """One lane from its beginning, a section at a time; all sounds come before any comes again."""
        random = np.random.default_rng([self.seed, lane])
        position, size = 0, round(SECTION * self.sample_rate)
        while True:
            for name in random.permutation(sorted(self.sounds)).tolist():
                if position >= self.lane_samples:
                    return
                samples = self.sounds[name](size, random)
                position += size
                yield Piece(np.clip(samples, -1, 1).astype(np.float32), (), ())


def noise_and_music(recordings: Sequence[np.ndarray], sample_rate: int, **settings) -> NoSpeech:
    """Background recordings, noise of every colour, hum, and music that is made up on the spot."""
    sounds: dict[str, Sound] = {f"colour {name}": _colour(name, sample_rate) for name in COLOURS}
    sounds["hum"] = lambda count, random: hum(count, sample_rate, random)
    sounds["music"] = lambda count, random: music(count, sample_rate, random)
    sounds |= {f"recording {i:03}": _stretch(recording) for i, recording in enumerate(recordings)}
    what = "white, pink and brown noise, hum, synthetic music" + (
        f", {len(recordings)} background recordings" if len(recordings) else ""
    )
    levelled = {name: _at_some_level(sound) for name, sound in sounds.items()}
    return NoSpeech(levelled, f"{what}, at {LEVELS[0]:g} to {LEVELS[1]:g} dB", sample_rate, **settings)


def silence(sample_rate: int, **settings) -> NoSpeech:
    """Digital silence, dither, offsets, and a room so quiet that it drowns in the last bits."""

    def dither(count: int, random: np.random.Generator) -> np.ndarray:
        return STEP * random.integers(-1, 2, count)

    def room(count: int, random: np.random.Generator) -> np.ndarray:
        return _to_steps(10 ** (SOFTEST / 20) * coloured_noise("pink", count, sample_rate, random))

    def offset(count: int, random: np.random.Generator) -> np.ndarray:
        return np.full(count, random.uniform(-0.1, 0.1))

    sounds: dict[str, Sound] = {
        "digital silence": lambda count, random: np.zeros(count),
        "dither": dither,
        "offset": offset,
        "offset and dither": lambda count, random: offset(count, random) + dither(count, random),
        "quiet room": room,
    }
    what = f"digital silence, dither, constant offsets, a room at {SOFTEST:g} dB"
    return NoSpeech(sounds, what, sample_rate, **settings)


def music(count: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Plucked and blown notes of a pentatonic scale over a bass and a beat, (count,), root mean square 1.

    No recording, and nobody would buy it; but it has pitch, onsets and rhythm, as music has and noise has not.
    """
    beat = 60 / random.uniform(80, 150)  # seconds
    root = random.uniform(110, 220)  # Hz
    scale = root * 2 ** (np.array([0, 3, 5, 7, 10, 12, 15, 17]) / 12)
    decay, partials = random.uniform(0.1, 1.0), int(random.integers(3, 12))
    out = np.zeros(count)
    for number in range(int(count / sample_rate / beat * 2)):
        start = round(number * beat / 2 * sample_rate)
        voices = [(random.choice(scale), 1.0)] if random.random() < 0.7 else []
        voices += [(scale[0] / 2, 0.8)] if number % 4 == 0 else []
        time = np.arange(min(round(2 * beat * sample_rate), count - start)) / sample_rate
        envelope = np.minimum(time / 0.01, 1) * np.exp(-time / decay)
        for hertz, amplitude in voices:
            for n in range(1, partials):
                if n * hertz < sample_rate / 2:
                    out[start : start + len(time)] += amplitude / n * envelope * np.sin(2 * np.pi * n * hertz * time)
        if number % 2 == 0:
            out[start : start + len(time)] += 0.5 * random.standard_normal(len(time)) * np.exp(-time / 0.03)
    return out / max(root_mean_square(out), 1e-9)


def _colour(name: str, sample_rate: int) -> Sound:
    return lambda count, random: coloured_noise(name, count, sample_rate, random)


def _stretch(recording: np.ndarray) -> Sound:
    def read(count: int, random: np.random.Generator) -> np.ndarray:
        start = int(random.integers(len(recording)))
        return as_float(np.take(recording, np.arange(start, start + count), mode="wrap"))

    return read


def _at_some_level(sound: Sound) -> Sound:
    def levelled(count: int, random: np.random.Generator) -> np.ndarray:
        samples = sound(count, random)
        return samples * 10 ** (random.uniform(*LEVELS) / 20) / max(root_mean_square(samples), 1e-6)

    return levelled


def _to_steps(samples: np.ndarray) -> np.ndarray:
    return STEP * np.round(samples / STEP)
