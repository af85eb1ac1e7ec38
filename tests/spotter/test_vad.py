"""The voice activity detector against ELL's signal, and against itself in the other gear."""

import numpy as np
import pytest
import torch

from kws.ell import build
from kws.ell.interpreter import run
from kws.spotter.vad import VoiceActivityDetector, frequency_weights
from kws.support.errors import KwsError
from tests.conftest import GOLDEN

VECTORS = GOLDEN / "ell" / "vad"


@pytest.mark.parametrize("name", ["speech", "vadseq"])
def test_equals_ell_on_every_frame(name):
    features = torch.from_numpy(np.load(VECTORS / f"{name}.features.npy").astype(np.float32))[None]
    expected = np.load(VECTORS / f"{name}.vad.compute.npy").ravel()
    signal = VoiceActivityDetector(40, 0.032)(features)[0].numpy()
    assert set(expected) == {0, 1}
    np.testing.assert_array_equal(signal, expected)


def test_stream_equals_whole_sequence():
    detector = VoiceActivityDetector(40, 0.032)
    speech = torch.from_numpy(np.load(VECTORS / "speech.features.npy").astype(np.float32))
    other = torch.from_numpy(np.load(VECTORS / "vadseq.features.npy").astype(np.float32))[: len(speech)]
    features = torch.stack([speech, other])
    whole = detector(features)
    state, signals = detector.initial_state(2), []
    for frame in features.unbind(1):
        signal, state = detector.step(frame, state)
        signals.append(signal)
    assert torch.equal(torch.stack(signals, 1), whole)


@pytest.mark.parametrize(
    ("hop", "settings"),
    [
        (0.032, {}),
        (0.032, {"tau_up": 1.5, "tau_down": 0.09, "large_input": 4.0, "gain_att": 0.01, "threshold_up": 3.5}),
        (0.064, {"threshold_down": 0.9, "level_threshold": 0.02}),
    ],
)
def test_equals_the_ell_interpreter_for_an_hour(hop, settings):
    """Speech and noise that come and go at changing levels, through the model that is written for ELL."""
    frames = round(3600 / hop)
    random = np.random.default_rng(7)
    pieces = [np.load(VECTORS / f"{name}.features.npy").astype(np.float32) for name in ("speech", "vadseq")]
    chosen = [pieces[random.integers(2)] * random.uniform(0.02, 3) for _ in range(frames // 100)]
    features = np.concatenate(chosen)[:frames].astype(np.float32)
    features += np.abs(random.normal(0, 0.02, features.shape)).astype(np.float32)
    detector = VoiceActivityDetector(40, hop, **settings)
    model = build.vad({**detector.settings, "sample_rate": 8000}, 40)
    expected = run(model, features).ravel()
    assert np.abs(np.diff(expected)).sum() > 50
    np.testing.assert_array_equal(detector(torch.from_numpy(features)[None])[0].numpy(), expected)


def test_weights_follow_the_curve():
    weights = frequency_weights(40)
    assert weights[0] == 0  # below 60 Hz
    assert weights[10] == pytest.approx(10 ** (0.03 / 10), rel=1e-6)  # 1000 Hz: 0.03 dB
    assert weights[39] == pytest.approx(10 ** (-13.72 / 10), rel=1e-6)  # 3900 Hz: -13.72 dB


def test_noise_floor_by_hand():
    """Two frames of level 1 and 2, worked out with the formulas: the first frame takes no time."""
    detector = VoiceActivityDetector(2, 0.5, tau_up=2.0, tau_down=0.5, large_input=3.0, gain_att=0.1)
    state = detector.initial_state()

    def follow(level):
        return detector.follow(torch.tensor([[level]]), state)[1]

    state = follow(1.0)
    assert state.noise_floor.item() == pytest.approx(0.1)
    state = follow(2.0)
    # 2 > 3 · 0.1, so the floor moves by 0.1 · 0.5 / 2 of the distance.
    assert state.noise_floor.item() == pytest.approx(0.1 + 0.1 * 0.25 * 1.9)
    state = follow(0.05)
    assert state.noise_floor.item() == pytest.approx(0.05)  # down by all of it: 0.5 s / 0.5 s
    state = follow(0.1)
    assert state.noise_floor.item() == pytest.approx(0.05 + 0.25 * 0.05)


def test_a_time_constant_of_zero_is_named():
    with pytest.raises(KwsError, match="tau_up"):
        VoiceActivityDetector(40, 0.032, tau_up=0)
