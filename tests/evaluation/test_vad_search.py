"""Tuning the detector: the stream's truth, what is counted, and detectors of others on the raster of hops."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from kws.evaluation.stream.modes import hear_clips, stream_order
from kws.evaluation.vad import tune as tune_vad
from kws.evaluation.vad.references import REFERENCES, GivenSignal, reference_signal
from kws.evaluation.vad.search import (
    ELL,
    SPACE,
    TUTORIAL,
    WORST_TIMING,
    _timing,
    detector,
    judge_detector,
    search,
    search_stream,
)
from kws.spotter.runtime import TorchRuntime
from kws.spotter.vad import VoiceActivityDetector
from kws.support.errors import KwsError
from tests.spotter.test_streaming import make_spotter


def words(count=12, rate=1000):
    """Clips of a second, each with a burst from 0.3 s to 0.6 s in faint noise."""
    random = np.random.default_rng(0)
    samples = 0.002 * random.standard_normal((count, rate))
    samples[:, 300:600] += 0.4 * random.standard_normal((count, 300))
    return samples.clip(-1, 1).astype(np.float32), np.arange(count) % 3


@pytest.fixture(scope="module")
def spotter():
    return make_spotter(window=40)


@pytest.fixture(scope="module")
def stream(spotter):
    return search_stream(spotter, *words(), lanes=5, seed=1)


def test_the_stream_knows_its_words(stream):
    assert stream.features.shape == (5, 50, 6)
    assert stream.labels.shape == (5, 2)
    assert stream.word.mean() == pytest.approx(0.3, abs=0.05)
    assert stream.ends[:, 0] == pytest.approx(15, abs=1)
    assert stream.ends[:, 1] == pytest.approx(40, abs=1)


def test_timing():
    falls = np.zeros((2, 50), bool)
    falls[0, [17, 41]] = True
    ends = np.array([[15.0, 40.0], [15.0, 40.0]])
    assert _timing(falls, ends, 0.04) == pytest.approx((0.08 + 0.04 + 2 * WORST_TIMING) / 4)


def test_a_given_signal_drives_the_reset(spotter, stream):
    perfect = judge_detector(spotter, GivenSignal(stream.word), stream)
    assert perfect["frames_agreed"] == 1
    assert perfect["timing"] < 0.05
    assert perfect["resets_per_clip"] == 1
    assert spotter.vad.settings == make_spotter(window=40).vad.settings, "the spotter's own detector is put back"
    never = judge_detector(spotter, GivenSignal(np.zeros((5, 50))), stream)
    assert (never["resets_per_clip"], never["timing"]) == (0, WORST_TIMING)


def test_a_detector_is_judged_as_it_is_on_the_stream(spotter):
    samples, labels = words()
    stream = search_stream(spotter, samples, labels, lanes=1, seed=3)
    figures = judge_detector(spotter, spotter.vad, stream)
    verdicts = hear_clips(TorchRuntime(spotter), samples, stream_order(12, 3), reset=False)
    assert figures["accuracy"] == (verdicts.given["best"] == labels).mean()
    assert figures["resets_per_clip"] == pytest.approx(verdicts.resets / 12)


def test_known_parameters_lie_in_the_space():
    for parameters in (ELL, TUTORIAL):
        assert set(parameters) == set(SPACE)
        assert all(low <= parameters[name] <= high for name, (low, high) in SPACE.items())
    assert VoiceActivityDetector(6, 0.04).settings.items() >= ELL.items()


def test_search(spotter, stream):
    pytest.importorskip("optuna")
    study = search(spotter, stream, trials=6, seed=1, timing_weight=0.5)
    assert study.trials[0].params == pytest.approx(ELL)
    assert study.trials[1].params == pytest.approx(TUTORIAL)
    assert study.best_value >= max(trial.value for trial in study.trials[:2])
    again = search(spotter, stream, trials=6, seed=1, timing_weight=0.5)
    assert study.best_params == again.best_params
    best = judge_detector(spotter, detector(spotter, study.best_params), stream)
    assert best["accuracy"] - 0.5 * best["timing"] == pytest.approx(study.best_value)


def test_the_written_config_makes_the_detector(tmp_path):
    tune_vad.write_config(tmp_path / "tuned.yaml", TUTORIAL, {"accuracy": 0.5, "timing": 0.1}, "outputs/x")
    config = OmegaConf.to_container(OmegaConf.load(tmp_path / "tuned.yaml"))
    assert config.pop("_target_") == "kws.spotter.vad.VoiceActivityDetector"
    assert config.pop("_partial_") is True
    assert VoiceActivityDetector(6, 0.04, **config).settings.items() >= TUTORIAL.items()


def test_the_picture(spotter, stream):
    figure = tune_vad.picture(spotter, detector(spotter, TUTORIAL), None, stream)
    assert len(figure.axes) == 3


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_detectors_of_others(name, rate):
    pytest.importorskip({"silero-vad": "silero_vad", "webrtcvad": "webrtcvad"}[name])
    random = np.random.default_rng(0)
    samples = (0.001 * random.standard_normal(2 * rate)).astype(np.float32)
    signal = reference_signal(name, samples, rate, hop_size=rate // 40)
    assert signal.shape == (80,)
    assert signal.mean() < 0.2


def test_other_rates_are_refused():
    with pytest.raises(KwsError, match="not 11025"):
        reference_signal("webrtcvad", np.zeros(100, np.float32), 11025, 10)


def test_real_words_are_heard(real_recordings):
    pytest.importorskip("webrtcvad")
    from kws.corpus import audio

    path = sorted((real_recordings / "seven").iterdir())[3]
    waveform, rate = audio.read(path)
    assert reference_signal("webrtcvad", waveform, rate, 512).mean() > 0.2
    assert torch.from_numpy(waveform).isfinite().all()
