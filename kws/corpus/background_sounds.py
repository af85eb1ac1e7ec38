"""Sounds of rooms, made up: machines, water, rhythms, dishes and tones, for words that voices speak.

A network that met noise of a few colours alone hears badly over all other noise. None of these is a recording, and
nobody would take them for one; but their spectra, their course and their onsets are as various as those of recordings.
"""

from collections.abc import Callable, Mapping

import numpy as np

from kws.corpus.coloured_noise import root_mean_square

_BANDS = np.geomspace(60, 8000, 8)  # Hz, where a spectrum is drawn
_LOWEST = 40  # Hz
_SCALE = np.array([0, 2, 3, 5, 7, 8, 10, 12, 15, 17, 19, 24])  # semitones over the root


def steady(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """A machine, wind or running water: noise of a drawn spectrum whose level wanders, float64 `(length,)`."""
    points = 2 + length // (2 * sample_rate)
    level = np.interp(np.linspace(0, points, length), np.arange(points + 1), generator.normal(0, 3, points + 1))
    return _noise(length, sample_rate, generator) * 10 ** (level / 20)


def rhythm(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Noise that comes and goes, once or several times a second: steps, a saw, an engine; float64 `(length,)`."""
    points = 2 + 2 * length // sample_rate
    unsteady = np.interp(np.linspace(0, points, length), np.arange(points + 1), generator.normal(0, 0.05, points + 1))
    phase = np.cumsum(np.exp(generator.uniform(np.log(0.7), np.log(6))) * (1 + unsteady)) / sample_rate % 1
    rise = 0.05
    stroke = np.where(phase < rise, phase / rise, np.exp(-(phase - rise) * generator.uniform(1, 10)))
    return _noise(length, sample_rate, generator) * (stroke + 10 ** (generator.uniform(-25, -6) / 20))


def clatter(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Dishes, keys and doors: knocks that ring, at random times, over a soft noise; float64 `(length,)`."""
    ring = sample_rate // 2
    time = np.arange(ring) / sample_rate
    sound = np.zeros(length + ring)
    often = generator.uniform(1, 10)  # a second
    for start in (generator.random(generator.poisson(often * length / sample_rate)) * length).astype(int):
        modes = int(generator.integers(2, 7))
        highest = min(7500.0, 0.45 * sample_rate)
        frequencies = np.exp(generator.uniform(np.log(400), np.log(highest), modes))
        decays = np.exp(generator.uniform(np.log(0.004), np.log(0.15), modes))
        phases, levels = generator.uniform(0, 2 * np.pi, modes), generator.lognormal(0, 0.7, modes)
        waves = np.sin(2 * np.pi * np.outer(frequencies, time) + phases[:, None])
        knock = levels @ (waves * np.exp(-time / decays[:, None])) / 5
        blow = np.exp(-time / np.exp(generator.uniform(np.log(0.003), np.log(0.06))))
        knock += _noise(ring, sample_rate, generator) * blow * generator.uniform(0.2, 1.5)
        sound[start : start + ring] += knock * generator.lognormal(0, 0.7)
    return _over_noise(sound[:length], sample_rate, generator, -25, -10)


def tones(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Notes with harmonics that fade, one after the other and together, as of an instrument; float64 `(length,)`."""
    longest = round(1.5 * sample_rate)
    sound = np.zeros(length + longest)
    root, beat = generator.uniform(80, 300), generator.uniform(0.12, 0.6)
    start = 0.0
    while start < length:
        time = np.arange(int(generator.uniform(0.2, 1.5) * sample_rate)) / sample_rate
        pitch = root * 2 ** (generator.choice(_SCALE) / 12)
        harmonics = np.arange(1, int(generator.integers(2, 15)))
        harmonics = harmonics[harmonics * pitch < 0.45 * sample_rate]
        phases = generator.uniform(0, 2 * np.pi, len(harmonics))
        waves = np.sin(2 * np.pi * pitch * np.outer(harmonics, time) + phases[:, None])
        note = harmonics ** -generator.uniform(0.5, 2.0) @ waves
        note *= np.exp(-time / generator.uniform(0.08, 1.0)) * np.minimum(time / 0.01, 1)
        sound[int(start) : int(start) + len(note)] += note * generator.lognormal(0, 0.4)
        start += beat * generator.choice([0.5, 1, 1, 2]) * sample_rate
    return _over_noise(sound[:length], sample_rate, generator, -30, -12)


SOUNDS: Mapping[str, tuple[Callable[[int, int, np.random.Generator], np.ndarray], int]] = {
    "steady": (steady, 10),
    "rhythm": (rhythm, 6),
    "clatter": (clatter, 8),
    "tones": (tones, 4),
}
"""How each kind is made, and how many of it a corpus has."""


def background_sounds(
    length: int, sample_rate: int, generator: Callable[[str], np.random.Generator]
) -> dict[str, np.ndarray]:
    """All of them, float64 `(length,)` each, root mean square 1, by name: `clatter_3`.

    Args:
        length: samples.
        sample_rate: Hz.
        generator: a random generator for each name.
    """
    sounds = {}
    for kind, (make, count) in SOUNDS.items():
        for number in range(count):
            name = f"{kind}_{number}"
            sound = make(length, sample_rate, generator(name))
            sounds[name] = sound / root_mean_square(sound)
    return sounds


def _noise(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose spectrum is drawn: a slope, and hills and valleys of some dB; root mean square 1."""
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    octave = np.log(np.maximum(frequencies, _LOWEST))
    hills = np.interp(octave, np.log(_BANDS), generator.normal(0, 6, len(_BANDS)))
    slope = generator.uniform(-0.5, 2.2)  # of power, as the exponents of `COLOURS`
    shape = 10 ** (hills / 20) * np.exp(-slope / 2 * octave)
    shape[frequencies < _LOWEST] = 0
    real, imaginary = generator.standard_normal((2, len(frequencies)))
    noise = np.fft.irfft((real + 1j * imaginary) * shape, length)
    return noise / root_mean_square(noise)


def _over_noise(
    sound: np.ndarray, sample_rate: int, generator: np.random.Generator, low_db: float, high_db: float
) -> np.ndarray:
    """`sound` over noise that is softer by so many dB; the noise alone where nothing sounded."""
    noise = _noise(len(sound), sample_rate, generator)
    level = root_mean_square(sound)
    return sound / level + noise * 10 ** (generator.uniform(low_db, high_db) / 20) if level else noise
