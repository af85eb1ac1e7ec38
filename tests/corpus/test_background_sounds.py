import zlib

import numpy as np
import pytest
from scipy.signal import welch
from scipy.stats import kurtosis

from kws.corpus.background_sounds import SOUNDS, background_sounds, clatter, rhythm, steady, tones

RATE, SECONDS = 16000, 10


def generator(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


@pytest.fixture(scope="module")
def sounds():
    return background_sounds(SECONDS * RATE, RATE, generator)


def some(make, count=8, rate=RATE):
    return [make(SECONDS * rate, rate, np.random.default_rng(seed)) for seed in range(count)]


def test_each_kind_is_there_as_often_as_it_says_and_as_loud_as_another(sounds):
    assert list(sounds) == [f"{kind}_{number}" for kind, (_, count) in SOUNDS.items() for number in range(count)]
    for sound in sounds.values():
        assert sound.shape == (SECONDS * RATE,)
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(1)


def test_the_same_generators_make_the_same_sounds_and_each_is_another(sounds):
    again = background_sounds(SECONDS * RATE, RATE, generator)
    assert all(np.array_equal(sounds[name], again[name]) for name in sounds)
    stacked = np.array(list(sounds.values()))
    alike = np.abs(np.corrcoef(stacked) - np.eye(len(stacked)))
    assert alike.max() < 0.2


def test_spectra_of_machines_differ_by_more_than_those_of_three_colours():
    slopes = []
    for sound in some(steady, 12):
        frequencies, power = welch(sound, RATE, nperseg=1024)
        band = (frequencies > 100) & (frequencies < 6000)
        slopes.append(np.polyfit(np.log2(frequencies[band]), 10 * np.log10(power[band]), 1)[0])
    assert min(slopes) < -5
    assert max(slopes) > 0
    assert len(np.unique(np.round(slopes))) > 5


def envelope(sound, rate, hop=0.02):
    frames = sound[: len(sound) // int(hop * rate) * int(hop * rate)].reshape(-1, int(hop * rate))
    return np.sqrt(np.mean(frames**2, axis=1))


def test_a_rhythm_comes_back():
    def periodic(sound):
        course = envelope(sound, RATE)
        course = course - course.mean()
        lags = np.correlate(course, course, "full")[len(course) :] / (course @ course)
        return lags[8:75].max()  # 0.18 to 1.5 s

    strokes = [periodic(sound) for sound in some(rhythm)]
    machines = [periodic(sound) for sound in some(steady)]
    assert np.median(strokes) > 0.5
    assert np.median(machines) < np.median(strokes)


def test_knocks_stand_out_of_their_sound():
    assert np.median([kurtosis(sound) for sound in some(clatter)]) > 10
    assert np.median([kurtosis(sound) for sound in some(steady)]) < 3


def test_notes_lie_in_few_frequencies():
    def flatness(sound):
        _, power = welch(sound, RATE, nperseg=4096)
        return np.exp(np.mean(np.log(power))) / np.mean(power)

    assert np.median([flatness(sound) for sound in some(tones)]) < 0.1 * np.median(
        [flatness(np.random.default_rng(seed).standard_normal(SECONDS * RATE)) for seed in range(3)]
    )


@pytest.mark.parametrize("make", [kind for kind, _ in SOUNDS.values()])
def test_half_the_rate_is_fine(make):
    for sound in some(make, 4, rate=8000):
        assert sound.shape == (SECONDS * 8000,)
        assert np.isfinite(sound).all()
        assert sound.any()
