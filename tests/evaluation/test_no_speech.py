"""Streams without speech: of the stated length and level, seeded, and as silent as they say."""

import numpy as np
import pytest

from kws.corpus.coloured_noise import root_mean_square
from kws.evaluation.stream.no_speech import LEVELS, SECTION, STEP, music, noise_and_music, silence

RATE = 8000


def heard(stream, lane=0):
    pieces = list(stream.pieces(lane))
    assert not any(piece.truths or piece.speech for piece in pieces)
    return [piece.samples for piece in pieces]


def test_noise_and_music_have_their_levels_and_every_sound_comes_first_once():
    recording = (np.sin(np.arange(30 * RATE)) * 3000).astype(np.int16)
    stream = noise_and_music([recording], RATE, hours=0.1, lanes=2)
    sections = heard(stream)
    assert len(stream.sounds) == 6
    assert sum(map(len, sections)) >= stream.lane_samples == 0.05 * 3600 * RATE
    for section in sections:
        assert len(section) == SECTION * RATE
        decibel = 20 * np.log10(root_mean_square(section))
        assert LEVELS[0] - 0.1 < decibel < LEVELS[1] + 0.1
    assert "1 background recordings" in stream.what
    # Of the first round each is another sound: a sine alone has half of its power in one line.
    lines = [
        np.abs(np.fft.rfft(section)).max() ** 2 / np.square(section).sum() / len(section) for section in sections[:6]
    ]
    assert sum(line > 0.4 for line in lines) == 1


def test_silence_is_silent():
    stream = silence(RATE, hours=0.1, lanes=2)
    sections = heard(stream)
    assert len(stream.sounds) == 5
    for section in sections[:5]:
        assert np.abs(section - section.mean()).max() <= 20 * STEP
    assert sum(not section.any() for section in sections[:5]) == 1
    assert sum(section.any() and np.ptp(section) == 0 for section in sections[:5]) == 1


def test_everything_follows_from_the_seed():
    for make in (
        lambda seed: noise_and_music((), RATE, hours=0.02, lanes=1, seed=seed),
        lambda seed: silence(RATE, hours=0.02, lanes=1, seed=seed),
    ):
        one, again, other = (np.concatenate(heard(make(seed))) for seed in (1, 1, 2))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("seed", range(3))
def test_music_has_onsets(seed):
    sound = music(10 * RATE, RATE, np.random.default_rng(seed))
    assert root_mean_square(sound) == pytest.approx(1)
    level = np.sqrt(np.square(sound).reshape(-1, RATE // 50).mean(1))
    assert np.percentile(level, 95) > 1.5 * np.percentile(level, 20)
