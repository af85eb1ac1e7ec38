"""Spotters whose network computes in integers: every network that streams, judged like the float one, and as a file."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.evaluation.stream.modes import stream_accuracy
from kws.program import integer, stored
from kws.program.quantized import IntegerStep, Quantize, is_integer, sizes
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.spotter import Spotter
from kws.spotter.quantized import IntegerRuntime, quantized, with_program
from kws.spotter.runtime import TorchRuntime, log_probabilities
from kws.support.errors import KwsError

register_resolvers()

LABELS = ("yes", "no", "_silence_")
MODELS = [name for name in sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml")) if name != "bcresnet"]


def make(*overrides):
    """A small untrained spotter composed from conf/, and words and pauses for it, (12, S) in [-1, 1]."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        size = "width" if {"model=ds_tcn", "model=mdtc", "model=speech_embedding"} & set(overrides) else "hidden_size"
        if "model=speech_embedding" in overrides:  # with drawn weights, which need no other package
            drawn = "model._target_=kws.networks.speech_embedding.SpeechEmbeddingClassifier"
            overrides = [*overrides, drawn, "featurizer.num_filters=32"]
        config = compose("train", overrides=["directory=.", f"model.{size}=9", *overrides])
    torch.manual_seed(0)
    front = instantiate(config.featurizer)
    network = instantiate(config.model)(input_size=front.num_features, num_classes=len(LABELS))
    vad = instantiate(config.vad)(num_features=front.num_features, frame_duration=front.hop_seconds)
    spotter = Spotter(front, network, LABELS, vad=vad, about={"corpus": "test"}).eval()
    rate = front.sample_rate
    samples = torch.randn(12, rate, generator=torch.Generator().manual_seed(1))
    envelope = (torch.linspace(0, 12, 12 * rate).reshape(12, rate) % 1.0 > 0.4) * 0.5 + 0.0005
    waveforms = (samples * envelope).clamp(-1, 1)
    features = front(waveforms)
    spotter.normalization.measure([features])
    with torch.no_grad():  # batch normalisations that have seen something
        network.train()
        network(spotter.normalization(features))
        network.eval()
    return spotter, waveforms


@pytest.fixture(scope="module", params=[*MODELS, "speech_embedding model.blocks=3 model.kernels=[1,3]"])
def made(request):
    spotter, waveforms = make(*f"model={request.param}".split())
    return spotter, quantized(spotter, spotter.features(waveforms).numpy()), waveforms


@torch.no_grad()
def test_every_network_that_streams_stays_close(made):
    spotter, whole, waveforms = made
    assert (whole(waveforms).exp() - spotter(waveforms).exp()).abs().max() < 0.02
    frames, _ = whole.stream(waveforms.reshape(1, -1), whole.initial_state())
    expected, _ = spotter.stream(waveforms.reshape(1, -1), spotter.initial_state())
    assert torch.equal(frames.signal, expected.signal)
    assert (frames.log_probabilities.exp() - expected.log_probabilities.exp()).abs().max() < 0.02


@torch.no_grad()
def test_hop_by_hop_with_resets_is_the_whole(made):
    _, spotter, waveforms = made
    samples = waveforms[:3].reshape(1, -1)
    hop = spotter.featurizer.hop_size
    samples = samples[:, : samples.shape[1] // hop * hop]
    whole, after = spotter.stream(samples, spotter.initial_state())
    signal = whole.signal[0]
    assert ((signal[:-1] == 1) & (signal[1:] == 0)).any()
    state, pieces = spotter.initial_state(), []
    for start in range(0, samples.shape[1], hop):
        frame, state = spotter.step(samples[:, start : start + hop], state)
        pieces.append(frame.log_probabilities)
    assert torch.equal(torch.cat(pieces, 1), whole.log_probabilities)
    assert all(torch.equal(a, b) and a.dtype == torch.int16 for a, b in zip(state[2], after[2], strict=True))


def test_its_program_is_the_integer_one(made):
    spotter, whole, waveforms = made
    program = whole.program()
    assert not is_integer(spotter.program())
    assert is_integer(program)
    assert [type(step) for step in program.front] == [type(step) for step in spotter.program().front]
    assert program.detector is not None
    assert [type(step).__name__ for step in program.steps[-2:]] == ["LogSoftmax", "Reset"]
    assert sizes(program)["weights"] <= spotter.num_parameters
    assert sizes(program)["states"] == 2 * sum(spotter.classifier.state_sizes)
    features = spotter.features(waveforms).numpy()
    outputs, _ = integer.run(program, features)
    assert np.array_equal(whole.classifier(torch.from_numpy(features)).numpy(), outputs.log_probabilities)


def test_a_file_gives_the_same_integers(made, tmp_path):
    spotter, whole, waveforms = made
    stored.write(whole.program(), tmp_path / "int8.npz")
    again = with_program(spotter, stored.read(tmp_path / "int8.npz", spotter.program()))
    assert [step.name for step in again.program().steps] == [step.name for step in whole.program().steps]
    assert sizes(again.program()) == sizes(whole.program())
    features = spotter.features(waveforms).numpy()
    assert np.array_equal(log_probabilities(again, features), log_probabilities(whole, features))
    stored.write(again.program(), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "int8.npz").read_bytes()


def test_it_is_judged_like_any_other():
    spotter, waveforms = make("model=gru1")
    whole = quantized(spotter, spotter.features(waveforms).numpy())
    labels = np.arange(12) % 3
    results = stream_accuracy(whole, waveforms.numpy(), labels)
    expected = stream_accuracy(spotter, waveforms.numpy(), labels)
    assert {mode: results[mode]["confusion"] for mode in ("reset", "never", "vad")} == {
        mode: expected[mode]["confusion"] for mode in ("reset", "never", "vad")
    }
    runtime = IntegerRuntime(whole)
    assert runtime.name == "int8"
    samples = waveforms[:1, : 8 * runtime.hop_size].numpy()
    outputs, _ = runtime.hear(samples, runtime.start())
    expected, _ = TorchRuntime(whole).hear(samples, TorchRuntime(whole).start())
    assert np.array_equal(outputs.log_probabilities, expected.log_probabilities)
    nothing, _ = runtime.hear(samples[:, :0], runtime.start())
    assert nothing.log_probabilities.shape == (1, 0, 3)


@torch.no_grad()
def test_readout_and_labels_are_those_of_the_spotter():
    spotter, waveforms = make("model=gru1", "model.readout=best", "vad=off")
    whole = quantized(spotter, spotter.features(waveforms).numpy())
    assert whole.labels == spotter.labels
    assert whole.vad is None
    assert whole.about == spotter.about
    assert whole.classifier.resting == spotter.classifier.resting == 2
    assert torch.equal(whole(waveforms).argmax(1), spotter(waveforms).argmax(1))


def test_linear_features_far_away_are_cut_off():
    spotter, waveforms = make("model=gru1", "featurizer.log=false")
    features = spotter.features(waveforms).numpy()
    features[0, 0] *= 1e4
    program = quantized(spotter, features).program()
    assert program.of_type(Quantize)[0].fraction == 9
    assert all(step.fraction >= 0 for step in program.of_type(IntegerStep))


def test_what_cannot_be_quantised_is_named(tmp_path):
    spotter, waveforms = make("model=gru1")
    whole = quantized(spotter, spotter.features(waveforms).numpy())
    with pytest.raises(KwsError, match="an int8 spotter is not stored"):
        whole.save(tmp_path / "spotter.ckpt")
    with pytest.raises(KwsError, match="integers already"):
        quantized(whole, spotter.features(waveforms).numpy())
    with pytest.raises(KwsError, match="there is no integer network at"):
        stored.read(tmp_path / "none.npz", spotter.program())
    for content in (b"", b"nothing", b"PK\x03\x04"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(KwsError, match="cannot be read as an integer network"):
            stored.read(tmp_path / "broken.npz", spotter.program())
    stored.write(whole.program(), tmp_path / "int8.npz")
    other, _ = make("model=gru1", "featurizer.num_filters=20")
    with pytest.raises(KwsError, match="does not fit together"):
        stored.read(tmp_path / "int8.npz", other.program())
