"""The benchmark of texts that are like the words: what is said, what is counted, what is written."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kws.corpus.neural_speakers import NeuralVoice
from kws.spotter.decoder import Detection

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "sounds_like.py"
SPEAKERS = [NeuralVoice("gmw/en-US", (("af_sky", 1.0),), "testing", f"{number:08x}") for number in range(3)]


@pytest.fixture
def benchmark():
    specification = importlib.util.spec_from_file_location("sounds_like_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Model:
    """Says what sounds like yes as a high tone, everything else as a low one, half a second long."""

    def speak(self, ipa, mix, speed, english):
        hertz = 2000 if "jˈɛs" in ipa else 500
        return np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(12000) / 24000)).astype(np.int16)


class HighTones:
    """Reports yes twice where it hears a high tone."""

    def __init__(self, runtime, decoder):
        pass

    def hear(self, samples):
        high = np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples) > 1000
        return SimpleNamespace(detections=[Detection("yes", 1.0, 0.9), Detection("yes", 1.5, 0.9)] * int(high))


def test_what_is_said_lies_between_pauses_at_one_level(benchmark):
    ((one, other, _),) = benchmark.spoken(["yes"], SPEAKERS, Model(), 16000)
    assert len(one) == 24000 + 8000 + 24000 and one.dtype == np.float32
    assert np.sqrt(np.mean(one[24000:32000] ** 2)) == pytest.approx(0.1, rel=0.01)
    assert np.sqrt(np.mean(one[:24000] ** 2)) == pytest.approx(0.001, rel=0.05)
    assert not np.array_equal(one, other)
    assert np.array_equal(one, benchmark.spoken(["yes"], SPEAKERS, Model(), 16000)[0][0])


def test_speakers_are_counted_and_words_come_first(benchmark, monkeypatch):
    spotter = SimpleNamespace(labels=("_unknown_", "yes", "no"), sample_rate=16000, decoder=None)
    monkeypatch.setattr(benchmark, "load_spotter", lambda run: (spotter, None))
    monkeypatch.setattr(benchmark, "TorchRuntime", lambda spotter: None)
    monkeypatch.setattr(benchmark, "Ears", HighTones)
    rows = benchmark.judge("run", "mine", ["kettle", "yes sir", "no"], SPEAKERS, Model())
    assert [(row["text"], row["speakers"], row["reported"]) for row in rows] == [
        ("yes", 3, {"yes": 3}), ("no", 3, {}), ("kettle", 3, {}), ("yes sir", 3, {"yes": 3}),
    ]  # fmt: skip
    lines = benchmark.table([*rows, {**rows[3], "listener": "other", "reported": {}}], "About.").splitlines()
    assert lines[2] == "| said | mine | other |"
    assert lines[4] == "| yes | yes: 3 |  |"
    assert lines[-1] == "| yes sir | yes: 3 | 0 |"
