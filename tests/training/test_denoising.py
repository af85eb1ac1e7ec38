"""An embedding that learns to hear in noise what the published one hears without, and nothing of the labels."""

import json
from functools import partial

import pytest
import torch

from kws.corpus import FolderCorpus
from kws.data import SpeechDataModule
from kws.data.augment import Augment, BackgroundNoise, Gain, RandomEqualizer, SpecAugment, SpeedPitch, TimeShift
from kws.networks.speech_embedding import layers, pretrained
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.training import denoising
from kws.training.denoising import Distance, denoise
from kws.training.module import SpotterModule
from kws.training.run import RESULTS, SPOTTER
from tests.networks.test_speech_embedding import drawn, featurizer, needs_weights
from tests.scripts import call, tone_corpus
from tests.training.test_targets import spotter

KEPT = len(layers(denoising.FIRST))


def alive(**settings):
    """A network whose embedding is not nearly the same whatever it hears."""
    network = drawn(**settings).float().train()
    torch.manual_seed(1)
    for layer in network.embedding:
        for weight in layer.parameters():
            if weight.dim() == 4:
                torch.nn.init.kaiming_normal_(weight)
    network.settle()
    return network


@pytest.fixture
def published(monkeypatch):
    """In place of the weights of the package, drawn ones."""
    monkeypatch.setattr(denoising, "pretrained", alive)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"), clips=8)


@pytest.fixture
def data(corpus, tmp_path):
    made = SpeechDataModule(
        FolderCorpus(corpus),
        featurizer(8000),
        Augment(8000, [TimeShift(0.1), BackgroundNoise(0, 10, 1.0)]),
        seconds=0.5,
        batch_size=6,
        cache_dir=tmp_path,
    )
    made.prepare_data()
    return made


def learner(**settings):
    settings = {"input_size": 32, "num_classes": 3, "blocks": 3, "width": 8, "sample_rate": 8000, **settings}
    network = alive(**settings)
    made = Spotter(featurizer(8000), network, ("high", "low", "mid"))
    made.normalization.fix(*network.fixed_normalization)
    return made


def weights(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


def test_the_same_draws_with_noise_and_without():
    noise, clips = torch.randn(30000).mul(0.1).numpy(), 0.2 * torch.randn(6, 16000)

    def augment(probability):
        made = Augment(
            16000,
            [SpeedPitch(), TimeShift(0.2), BackgroundNoise(0, 10, probability), Gain(-9, 9)],
            [RandomEqualizer(3.0)],
        )
        made.set_noise([noise])
        return made

    noisy, quiet = augment(1.0), augment(0.0)
    assert noisy.noisy and not quiet.noisy and not Augment(16000).noisy
    with_noise = noisy.waveforms(clips, torch.Generator().manual_seed(5))
    generator, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    without = noisy.waveforms(clips, generator, noise=False)
    torch.testing.assert_close(without, quiet.waveforms(clips, other))
    assert torch.equal(generator.get_state(), other.get_state())
    ratio = 10 * torch.log10(without.square().sum(1) / (with_noise - without).square().sum(1))
    assert ((ratio > -0.5) & (ratio < 10.5)).all()  # gain and all: only the noise is missing


def test_nothing_is_hidden_from_an_embedding_that_learns_what_noise_is(corpus, tmp_path):
    """Its features are those of the same draws without masks; those that train the words have masks."""

    def made(*features):
        data = SpeechDataModule(
            FolderCorpus(corpus),
            featurizer(8000),
            Augment(8000, [BackgroundNoise(0, 10, 1.0)], [RandomEqualizer(3.0), *features]),
            seconds=0.5,
            batch_size=6,
            cache_dir=tmp_path,
        )
        data.prepare_data()
        return data

    masked, plain = made(SpecAugment(2, 0.3, 2, 0.3)), made()
    batch = next(iter(plain.loader("training", training=True)))
    for hidden, wanted in zip(masked.with_and_without_noise(batch), plain.with_and_without_noise(batch), strict=True):
        assert torch.equal(hidden, wanted)
    trains, noisy = masked._augmented(batch)[1], plain.with_and_without_noise(batch)[0]
    assert 0.2 < (trains == noisy).float().mean() < 0.9


def test_the_distance_is_zero_of_the_same_and_one_of_the_mean(published):
    network = alive(blocks=3)
    features = torch.randn(64, 80, 32)
    distance = Distance(network, features)
    embedding = network.embedded(features)
    assert distance(embedding, features).item() < 1e-10
    other = embedding + 0.5 * embedding.transpose(1, 2).flatten(0, 1).std(0)[:, None]
    assert distance(other, features).item() == pytest.approx(0.25, rel=1e-4)
    mean = embedding.mean(dim=(0, 2), keepdim=True).expand_as(embedding)
    assert distance(mean, features).item() == pytest.approx(1, rel=1e-2)


def test_a_channel_that_says_nothing_counts_for_little(published, monkeypatch):
    def constant(**settings):
        network = alive(**settings)
        with torch.no_grad():
            network.embedding[2].convolution.weight[0] = 0  # the last one in front of the poolings
        return network

    monkeypatch.setattr(denoising, "pretrained", constant)
    variance = Distance(alive(blocks=1), torch.randn(4, 40, 32)).variance
    assert variance.min() > 0
    assert variance[:, 0].max() < 2e-3 * variance.mean()


@pytest.mark.parametrize("frozen", [True, 2, 0])
def test_the_last_blocks_come_nearer_and_nothing_else_changes(published, data, frozen):
    made = learner(frozen=frozen)
    before, learned = weights(made.classifier), [p.requires_grad for p in made.classifier.parameters()]
    kept = len(list(made.classifier.embedding[:KEPT].parameters()))
    last = len(list(made.classifier.embedding.parameters()))
    state = torch.get_rng_state()
    said = []
    found = denoise(made, data, 6, said.append)
    assert [line.split(" · ")[0] for line in said] == [f"noise   {number}/6" for number in range(1, 7)]
    assert torch.equal(torch.get_rng_state(), state)
    assert found["passes"] == 6
    assert 0 < found["distance"] < 0.95 * found["published"]
    after = weights(made.classifier)
    assert [not torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [
        kept <= number < last for number in range(len(before))
    ]
    assert [p.requires_grad for p in made.classifier.parameters()] == learned
    assert all(p.grad is None for p in made.classifier.parameters())

    rest = made.classifier.embedding[KEPT + 1].rest.clone()  # what it makes of silence by now
    made.classifier.settle()
    assert torch.equal(rest, made.classifier.embedding[KEPT + 1].rest)

    again = learner(frozen=frozen)
    assert denoise(again, data, 6) == found
    assert all(torch.equal(one, other) for one, other in zip(after, weights(again.classifier), strict=True))


@pytest.mark.parametrize("augment", [None, Augment(8000, [TimeShift(0.1)]), Augment(8000, [BackgroundNoise(0, 9, 0)])])
def test_without_noise_there_is_nothing_to_learn(published, data, augment):
    data.augment = augment
    with pytest.raises(KwsError, match=r"training.denoising=2 needs clips with background noise.*augment=people"):
        denoise(learner(), data, 2)


@pytest.mark.parametrize(
    ("made", "passes", "said"),
    [
        (spotter, 1, "training.denoising=1 is for model=speech_embedding"),
        (partial(learner, blocks=2), 3, r"training.denoising=3 .*model.blocks=2 has none; set it to 0"),
        (learner, -1, "training.denoising=-1 must be a whole number"),
        (learner, 0.5, "training.denoising=0.5 must be a whole number"),
    ],
)
def test_what_is_refused(made, passes, said):
    with pytest.raises(KwsError, match=said):
        SpotterModule(made(), torch.optim.SGD, denoising=passes)


@needs_weights
def test_from_the_command_line_and_resumed(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    settings = [
        "experiment=own_words", "data=folder", f"data.root={corpus}", "data.sample_rate=8000", "export=[]",
        "data.seconds=0.5", "data.silence_share=0", "data.batch_size=6", "model.width=8", "model.frozen=true",
        "training.denoising=2", "trainer.max_epochs=2",
    ]  # fmt: skip

    def train(run, *more):
        return call("train", *settings, f"hydra.run.dir={tmp_path / run}", *more)

    whole = train("whole")
    assert whole.status == 0, whole.err
    made = Spotter.load(tmp_path / "whole" / SPOTTER)
    assert made.about["denoised"]["passes"] == 2
    assert "In noise the embedding is now" in whole.out
    results = json.loads((tmp_path / "whole" / RESULTS).read_text())
    assert results["training"]["denoised"] == made.about["denoised"]
    trained, before = made.classifier.embedding, pretrained(**made.classifier.settings).embedding
    for number, (one, other) in enumerate(zip(trained, before, strict=True)):
        for name, weight in one.named_parameters():
            assert torch.equal(weight, dict(other.named_parameters())[name]) == (number < KEPT), (number, name)

    step, steps = SpotterModule.training_step, []

    def interrupted(self, batch, number):
        steps.append(None)
        if len(steps) == 4:  # in the second epoch
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patched:
        patched.setattr(SpotterModule, "training_step", interrupted)
        assert train("half").status != 0
    with monkeypatch.context() as patched:
        patched.setattr("kws.training.module.denoise", lambda *_: pytest.fail("it knows what noise is"))
        done = call("train", f"resume={tmp_path / 'half'}")
    assert done.status == 0, done.err
    again = Spotter.load(tmp_path / "half" / SPOTTER)
    assert again.about["denoised"] == made.about["denoised"]
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in made.state_dict().items())
