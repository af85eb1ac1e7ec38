"""Nothing is heard where nothing is: the noise gate against closed forms, and a spotter that always answers a word."""

import numpy as np
import pytest
import torch
from torch import nn

from kws.networks import Classifier, RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.decoder import Decoder
from kws.spotter.featurizer import Featurizer
from kws.spotter.gate import AJAR, ATTACK, CLOSED, FLOOR, HOLD, OPEN, RISE, Gate, level
from kws.spotter.runtime import TorchRuntime
from kws.spotter.streaming import StreamingSpotter
from kws.spotter.vad import VoiceActivityDetector

RATE, HOP = 8000, 256
RANDOM = np.random.default_rng(0)


class Babbler(Classifier):
    """Says its two words in turn, one in each frame, with a probability of 0.99, whatever it hears."""

    state_sizes = (1,)

    def __init__(self):
        super().__init__()
        self.settings = {}
        self.weight = nn.Parameter(torch.zeros(()))

    def stream(self, features, state):
        frames = state[0] + torch.arange(1, features.shape[1] + 1)  # (B, T)
        return self.says(features, frames), (frames[:, -1:],)

    def says(self, features, frames):
        return torch.where(frames[..., None] % 2 == torch.arange(2), 0.99, 0.01).log()


class Reflex(Babbler):
    """Knows its word by its loudness, and says it as well half a second after every start from zeros."""

    def says(self, features, frames):
        word = (features.mean(-1) > 0.5) | ((frames >= 15) & (frames < 18))
        return torch.where(word[..., None] == (torch.arange(2) == 0), 0.99, 0.01).log()


def spotter_of(network, vad=None, **decoder):
    """A spotter of the default kind with such a network."""
    featurizer = Featurizer(RATE, HOP, HOP)
    detector = VoiceActivityDetector(featurizer.num_features, featurizer.hop_seconds, **(vad or {}))
    settings = {"smoothing": 0.0, "threshold": 0.5, "refractory": 0.0, **decoder}
    return Spotter(featurizer, network, ["eight", "_unknown_"] if isinstance(network, Reflex) else ["eight", "four"],
                   vad=detector, decoder=settings).eval()  # fmt: skip


def detections(spotter, samples):
    return list(StreamingSpotter(spotter).listen([np.asarray(samples, np.float32)]))


def noise(seconds, amplitude):
    return amplitude * RANDOM.standard_normal(round(seconds * RATE))


def word(seconds=0.5, amplitude=0.3):
    """Half a second of a voice: a buzz of 120 Hz under an envelope that rises and falls."""
    time = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 15))
    return amplitude * buzz / 3 * np.sin(np.pi * time / seconds) ** 2


NOTHING = {
    "digital silence": np.zeros(10 * RATE),
    "dither": RANDOM.integers(-1, 2, 10 * RATE) / 32768,
    "an offset": np.full(10 * RATE, 0.25),
    "an offset with dither": 0.25 + RANDOM.integers(-1, 2, 10 * RATE) / 32768,
    "soft noise": noise(10, 0.001),
    "loud noise": noise(10, 0.1),
    "loud noise that began before": noise(10, 0.1) * np.linspace(1, 0.5, 10 * RATE),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("settings", [{}, {"threshold": 0.0}, {"smoothing": 1.0, "threshold": 0.01}], ids=str)
def test_nothing_is_reported_where_nothing_is(name, settings):
    assert detections(spotter_of(Babbler(), **settings), NOTHING[name]) == []


def test_the_networks_of_these_tests_would_report_it():
    for network, least in ((Babbler(), 100), (Reflex(), 1)):
        spotter = spotter_of(network)
        frames, _ = spotter.stream(torch.zeros(1, 100 * HOP), spotter.initial_state())
        assert frames.log_probabilities.exp()[0, :, 0].max() > 0.98
        assert int(spotter.decoder(frames.log_probabilities).detected.sum()) >= least, (
            "without samples there is no gate"
        )


def test_nothing_is_reported_after_a_reset():
    """By the detector, whose signal falls at the end of the word, or by hand."""
    spotter = spotter_of(Babbler(), vad={"threshold_down": 3.0})
    quiet = np.zeros(3 * RATE)
    samples = np.concatenate([quiet, word(), quiet]).astype(np.float32)
    streaming = StreamingSpotter(spotter)
    heard, state = streaming.stream(samples, streaming.initial_state())
    resets = np.flatnonzero(np.diff(heard.frames.signal[0].numpy()) == -1) + 2  # the first frame from zeros
    times = [detection.time for detection in heard.detections[0]]
    assert len(resets) == 1
    assert 3.5 < (resets[0] + 1) * HOP / RATE < 3.7
    assert times
    assert min(times) >= 3 + ATTACK
    assert max(times) <= resets[0] * HOP / RATE
    for parts in (["classifier"], ["decoder"], ["vad"], []):
        later, _ = streaming.stream(quiet, streaming.reset(state, *parts))
        assert later.detections == [[]]


@pytest.mark.parametrize("level", [0.0, 1e-4, 3e-3], ids=str)
def test_four_words_are_four_reports(level):
    """Of a spotter that fires half a second after every start from zeros: once in the beginning, four times behind."""
    spotter = spotter_of(Reflex(), vad={"threshold_down": 3.0})
    said = np.concatenate([np.zeros(RATE), word(), np.zeros(RATE)])
    samples = (np.tile(said, 4) + noise(10, level)).astype(np.float32)[: 312 * HOP]
    found = detections(spotter, samples)
    assert [detection.word for detection in found] == ["eight"] * 4
    assert [1 < detection.time - 2.5 * i < 1.6 for i, detection in enumerate(found)] == [True] * 4
    frames, _ = spotter.stream(torch.from_numpy(samples)[None], spotter.initial_state())
    assert int(spotter.decoder(frames.log_probabilities).detected.sum()) == 9


def test_a_run_that_began_in_silence_is_never_reported():
    """What was said before there was a sound was not said of it."""
    decoder = Decoder(["eight"], HOP / RATE, smoothing=0.0)
    samples = torch.from_numpy(np.concatenate([np.zeros(20 * HOP), noise(40 * HOP / RATE, 0.1)]).astype(np.float32))[
        None
    ]
    always = torch.zeros(1, 60, 1)
    assert not decoder(always, samples).detected.any()
    always[:, :25] = -10.0
    assert decoder(always, samples).detected.nonzero()[:, 1].tolist() == [25]


def test_level_is_what_its_formula_says():
    assert level(torch.full((2, 5 * HOP), 0.7), 5).tolist() == [[0.0] * 5] * 2
    # Of a sine of frequency f the sum of neighbours keeps cos²(π f / rate) of its power; whole periods in a hop.
    for periods in (4, 32, 96):
        sine = np.sin(2 * np.pi * periods * np.arange(HOP) / HOP)
        wanted = 0.5 * np.cos(np.pi * periods / HOP) ** 2
        assert float(level(torch.from_numpy(sine)[None], 1)) == pytest.approx(wanted, rel=0.02)
    # White noise loses half of it.
    assert float(level(torch.from_numpy(noise(100, 0.1))[None, : 3000 * HOP], 3000).mean()) == pytest.approx(
        0.005, 0.02
    )
    assert level(torch.zeros(3, 0), 0).shape == (3, 0)


def steady(*decibels):
    return torch.tensor([[10 ** (d / 10) for d in decibels]], dtype=torch.float32)


def test_opens_after_the_attack_and_closes_after_the_hold():
    gate = Gate(0.05)
    assert (gate.attack, gate.hold) == (round(ATTACK / 0.05), round(HOLD / 0.05)) == (2, 15)
    levels = steady(*[-60.0] * 3, *[-30.0] * 4, *[-60.0] * 20)
    found, _ = gate.stream(levels, None, gate.initial_state())
    assert found[0].tolist() == [CLOSED] * 3 + [AJAR] + [OPEN] * (3 + 15) + [CLOSED] * 5


@pytest.mark.parametrize("low", [-40.0, -70.0, -120.0])
def test_a_sound_is_what_rises_above_the_background_and_the_floor(low):
    gate = Gate(0.1)  # in a hop of it the background grows by a decibel
    edge = max(low, FLOOR) + 1 + RISE
    for loud, sound in ((edge + 0.01, True), (edge - 0.01, False)):
        found, _ = gate.stream(steady(low, loud), None, gate.initial_state())
        assert (found[0, 1] == OPEN) == sound, loud


def test_the_background_follows_at_once_downwards_and_slowly_upwards():
    gate = Gate(0.1)
    _, state = gate.stream(steady(-20, -40), None, gate.initial_state())
    assert 10 * np.log10(float(state.background)) == pytest.approx(-40, abs=1e-3)
    _, state = gate.stream(steady(*[-20] * 5), None, state)
    assert 10 * np.log10(float(state.background)) == pytest.approx(-35, abs=1e-3)
    _, state = gate.stream(steady(*[-20] * 50), None, state)
    assert 10 * np.log10(float(state.background)) == pytest.approx(-20, abs=1e-3)


def test_a_fall_of_the_voice_forgets_everything_after_its_hop():
    gate = Gate(0.1)
    voice = torch.tensor([[0, 1, 1, 0, 0, 0]])
    found, state = gate.stream(steady(-60, -20, -20, -30, -35, -40), voice, gate.initial_state())
    assert found[0].tolist() == [CLOSED, OPEN, OPEN, OPEN, CLOSED, CLOSED], "the end of a word is no rise"
    assert int(state.heard) == 0
    apart, after = gate.stream(steady(-60, -20, -20), voice[:, :3], gate.initial_state())
    rest, after = gate.stream(steady(-30, -35, -40), voice[:, 3:], after)
    assert torch.equal(torch.cat([apart, rest], 1), found)
    assert all(torch.equal(a, b) for a, b in zip(after, state, strict=True))


def test_streams_of_a_batch_are_their_own():
    gate = Gate(0.05)
    levels = 10 ** (torch.rand(4, 60) * 6 - 8)
    voice = (torch.rand(4, 60) > 0.2).long()
    found, _ = gate.stream(levels, voice, gate.initial_state(4))
    assert set(found.unique().tolist()) == {CLOSED, AJAR, OPEN}
    for b in range(4):
        alone, _ = gate.stream(levels[b : b + 1], voice[b : b + 1], gate.initial_state())
        assert torch.equal(alone, found[b : b + 1])


def test_old_spotters_have_it_too(tmp_path):
    torch.manual_seed(0)
    spotter = spotter_of(RecurrentClassifier(40, 2, hidden_size=4), threshold=0.0)
    assert "gate" not in spotter.settings["decoder"], "nothing to store, nothing to turn off"
    spotter.save(tmp_path / "spotter.ckpt")
    assert detections(Spotter.load(tmp_path / "spotter.ckpt"), NOTHING["dither"]) == []
    runtime = TorchRuntime(spotter)
    outputs, _ = runtime.hear(np.zeros((1, 10 * HOP), np.float32), runtime.start())
    expected = spotter.classifier(spotter.normalization(torch.zeros(1, 10, 40)))
    assert np.allclose(outputs.log_probabilities, expected.detach(), atol=1e-6), "the network's answers are left alone"
