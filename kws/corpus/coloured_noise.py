"""Noise with a given spectrum, out of a random generator."""

import numpy as np

# Power falls with frequency as f^-exponent: 0, 3 and 6 dB per octave.
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}


def coloured_noise(colour: str, length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """Gaussian noise of a `COLOURS` colour, float64 `(length,)`, root mean square 1, nothing below 20 Hz.

    Drawn in the frequency domain, where white noise is Gaussian too. It is periodic in `length`.
    """
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    shape = np.zeros_like(frequencies)
    audible = frequencies >= 20
    shape[audible] = frequencies[audible] ** (-COLOURS[colour] / 2)
    spectrum = generator.standard_normal((2, len(frequencies)))
    noise = np.fft.irfft((spectrum[0] + 1j * spectrum[1]) * shape, length)
    return noise / root_mean_square(noise)


def hum(length: int, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
    """The hum of mains (50 or 60 Hz) and a motor over a floor of pink noise, float64 `(length,)`, RMS 1.

    Harmonics fall as 1/n at random phases; their level wavers slowly, as a compressor's or a fan's does.
    """
    time = np.arange(length) / sample_rate
    fundamental = generator.choice([50.0, 60.0])
    waver = 1 + 0.3 * np.sin(2 * np.pi * generator.uniform(0.1, 0.5) * time + generator.uniform(0, 2 * np.pi))
    n = np.arange(1, 21)
    amplitudes = np.exp(2j * np.pi * generator.random(len(n))) / n
    # The sum of amplitudes[n] exp(2 pi i n f t) is a polynomial in exp(2 pi i f t).
    harmonics = np.polynomial.polynomial.polyval(np.exp(2j * np.pi * fundamental * time), [0, *amplitudes]).imag
    sound = harmonics * waver
    sound = sound / root_mean_square(sound) + 0.3 * coloured_noise("pink", length, sample_rate, generator)
    return sound / root_mean_square(sound)


def stand_ins(sample_rate: int, seconds: float = 20.0) -> list[np.ndarray]:
    """Noise of every colour and a hum, int16 (S,) each and always the same: for a corpus without recordings of any."""
    generator, length = np.random.default_rng(0), round(seconds * sample_rate)
    sounds = [coloured_noise(colour, length, sample_rate, generator) for colour in COLOURS]
    sounds.append(hum(length, sample_rate, generator))
    return [np.clip(np.rint(sound * 0.08 * 32768), -32768, 32767).astype(np.int16) for sound in sounds]


def root_mean_square(sound: np.ndarray) -> float:
    """Root mean square of `sound`, 0 for an empty one."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0
