"""Clips as one stream: spans, modes and definitions, on a runtime whose answers are known."""

import numpy as np
import pytest
import torch

from kws.evaluation.stream.modes import MODES, hear_clips, judge, share, stream_accuracy, stream_order
from kws.spotter.runtime import Outputs, TorchRuntime
from tests.spotter.test_streaming import audio, make_spotter


class Echo:
    """Says of every hop what its first sample says (times 10), and of the first hop after a start label 2."""

    name, labels, sample_rate, hop_size = "echo", ("a", "b", "c"), 100, 10

    def start(self, streams=1):
        return True

    def hear(self, samples, state):
        label = np.rint(samples[:, :: self.hop_size] * 10).astype(int)  # (B, T)
        if state:
            label[:, 0] = 2
        return Outputs(np.log(np.eye(3)[label] * 0.8 + 0.1).astype(np.float32), None), False


def test_every_frame_is_judged_within_its_own_clip():
    clips = np.zeros((5, 47), np.float32)  # four hops and a rest that is cut off
    labels = np.array([0, 1, 0, 1, 1])
    clips[labels == 1, :] = 0.1
    order = stream_order(5, seed=3)
    never = hear_clips(Echo(), clips, order, reset=False, at_once=2)
    assert never.given["last"].tolist() == labels.tolist()
    assert never.given["mean"].tolist() == labels.tolist()
    reset = hear_clips(Echo(), clips, order, reset=True, at_once=2)
    # The frame after the start says 2 in every clip: a tie for "best", which the lower index wins.
    assert reset.given["mean"].tolist() == labels.tolist()
    assert (reset.confidences[:, 2] > np.log(0.85)).all()
    assert (never.confidences[:, 2] > np.log(0.85)).sum() == 1


def test_definitions():
    p = np.array([[[0.6, 0.4], [0.1, 0.9], [0.7, 0.3]]])
    given = judge(np.log(p), ["yes", "no"])
    assert {name: index.tolist() for name, index in given.items()} == {"best": [1], "last": [0], "mean": [1]}


def test_silence_around_a_word_does_not_win_the_clip():
    p = np.array([[[0.01, 0.99], [0.8, 0.2], [0.02, 0.98]], [[0.1, 0.9], [0.05, 0.95], [0.2, 0.8]]])
    assert judge(np.log(p), ["yes", "_silence_"])["best"].tolist() == [0, 1]
    assert judge(np.log(p), ["yes", "no"])["best"].tolist() == [1, 1]


def test_order_is_seeded_and_complete():
    assert stream_order(20, 1).tolist() == stream_order(20, 1).tolist() != stream_order(20, 2).tolist()
    assert sorted(stream_order(20, 1)) == list(range(20))


def test_share_of_nothing():
    assert share(np.zeros(0, bool)) == {"accuracy": None, "interval": None, "clips": 0}


@pytest.mark.parametrize("vad", [True, False])
def test_modes_of_a_spotter(vad):
    spotter = make_spotter(vad=vad, window=40)
    clips = (audio(0.99, streams=12).numpy() * 32767).astype(np.int16)
    labels = np.arange(12) % 3
    results = stream_accuracy(spotter, clips, labels, seed=4)
    for mode in MODES:
        assert results[mode]["clips"] == 12
        assert np.sum(results[mode]["confusion"]) == 12
        low, high = results[mode]["interval"]
        assert low <= results[mode]["accuracy"] <= high
        assert sum(word["clips"] for word in results[mode]["per_word"].values()) == 12
    assert results["vad"]["own_detector"] is vad
    # Reset before each clip is what the spotter itself does with a clip of whole hops.
    whole = torch.from_numpy(clips[:, :960].astype(np.float32) / 32768)
    given = hear_clips(TorchRuntime(spotter, "off"), clips, np.arange(12), reset=True).given["mean"]
    with torch.no_grad():
        expected = spotter.classifier(spotter.normalization(spotter.features(whole))).mean(1).argmax(-1)
    assert given.tolist() == expected.tolist()


def test_never_reset_is_one_long_stream():
    spotter = make_spotter(vad=False)
    clips = audio(0.98, streams=6).numpy()
    order = stream_order(6, 1)
    verdicts = hear_clips(TorchRuntime(spotter), clips, order, reset=False, at_once=4)
    stream = torch.from_numpy(clips[order, :960].reshape(1, -1))
    with torch.no_grad():
        frames, _ = spotter.stream(stream, spotter.initial_state())
    last = frames.log_probabilities[0, 23::24].argmax(-1).numpy()
    assert verdicts.given["last"][order].tolist() == last.tolist()


def test_resets_and_voice_are_counted():
    spotter = make_spotter(window=40)
    clips = audio(0.96, streams=10, seed=3).numpy()
    verdicts = hear_clips(TorchRuntime(spotter), clips, np.arange(10), reset=False, at_once=3)
    with torch.no_grad():
        frames, _ = spotter.stream(torch.from_numpy(clips.reshape(1, -1)), spotter.initial_state())
    signal = np.concatenate([[0], frames.signal[0].numpy()])
    assert verdicts.resets == (np.diff(signal) == -1).sum() > 0
    assert verdicts.voice == pytest.approx(signal.mean() * len(signal) / (len(signal) - 1))
