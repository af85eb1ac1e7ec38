"""C computes what PyTorch computes, frame by frame, whatever the network and the options of the featurizer."""

import numpy as np
import pytest
import torch

from kws.native import CModel
from kws.spotter import StreamingSpotter
from tests.native.spotters import DECODER, NETWORKS, audio, make_spotter, need_compiler, said

OPTIONS = [
    {"hop_size": 64},
    {"hamming": True, "pre_emphasis": True},
    {"pre_emphasis": True, "hop_size": 1, "window_size": 32},
    {"power_spectrum": True, "dct": 5},
    {"log": False, "filterbank": "linear", "fft_size": 256},
    {"auto_scale": False, "window_size": 50},
    {"hamming": True, "fft_size": 75, "window_size": 50, "log_delta": 1e-6, "dct": 12},
    {"power_spectrum": True, "fft_size": 100, "auto_scale": False, "pre_emphasis": True},
    {"window_size": 400, "hop_size": 160, "num_filters": 40, "log_delta": 1e-3},
    {"window_size": 2, "hop_size": 1, "num_filters": 2},
    {"window_size": 1, "hop_size": 1, "num_filters": 1},
]


def check(spotter, seconds=6.0):
    need_compiler()
    model = CModel.of(spotter)
    samples = audio(seconds, streams=2)
    samples = samples[:, : samples.shape[1] // model.hop_size * model.hop_size]
    outputs, features, _ = model.listen(samples.numpy(), model.start(2))
    streaming = StreamingSpotter(spotter)
    heard, _ = streaming.stream(samples, streaming.initial_state(2))
    expected = heard.frames.features.numpy()
    assert (np.abs(features - expected) <= 1e-5 * (1 + np.abs(expected))).all()
    log_probabilities = heard.frames.log_probabilities.numpy()
    np.testing.assert_allclose(outputs.log_probabilities, log_probabilities, atol=1e-4)
    assert log_probabilities.std(axis=1).min() > 0.01  # there was something to compute
    if spotter.vad is None:
        assert outputs.signal is None
    else:
        assert np.array_equal(outputs.signal, heard.frames.signal.numpy())
    detections, _ = model.detect(samples.numpy(), model.start(2))
    assert [said(found) for found in detections] == [said(found) for found in heard.detections]
    for ours, theirs in zip(detections, heard.detections, strict=True):
        np.testing.assert_allclose([d.confidence for d in ours], [d.confidence for d in theirs], atol=1e-4)
    return outputs, detections


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network(network):
    outputs, _ = check(make_spotter(network, decoder=DECODER))
    assert (np.diff(outputs.signal) < 0).sum() >= 2  # the detector did reset it


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_of_the_featurizer(options):
    # Each with another network, with and without a detector.
    number = OPTIONS.index(options)
    network = list(NETWORKS)[number % len(NETWORKS)]
    if options.get("num_filters", 12) <= 2:
        network = "gru"
    check(make_spotter(network, vad=number % 3 != 1, **options), 1.0 if options.get("hop_size") == 1 else 6.0)


def test_a_wide_network():
    """Rows and columns that fill all of a processor's lanes, and some that do not."""
    torch.manual_seed(0)
    spotter = make_spotter("lstm", num_filters=40, window_size=256, hop_size=256, labels=[f"w{i}" for i in range(23)])
    check(spotter, 12.0)
