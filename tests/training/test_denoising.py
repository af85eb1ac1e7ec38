"""An embedding that learns to hear in noise what the published one hears without, and nothing of the labels."""

from functools import partial

import pytest
import torch

from kws.data import Batch
from kws.data.augment import Augment, BackgroundNoise, Gain, RandomEqualizer, SpeedPitch, TimeShift
from kws.networks.speech_embedding import pretrained
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.training import denoising
from kws.training.denoising import Denoising
from kws.training.module import SpotterModule
from kws.training.run import SPOTTER
from tests.networks.test_speech_embedding import drawn, featurizer, needs_weights
from tests.scripts import call, tone_corpus
from tests.training.test_targets import spotter

LABELS = ("_silence_", "a", "b")


def alive(**settings):
    """A network whose embedding is not nearly the same whatever it hears."""
    torch.manual_seed(1)
    network = drawn(**settings).float().train()
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


def learner(**settings):
    settings = {"input_size": 32, "num_classes": 3, "blocks": 3, "width": 8, "dropout": 0.0, "frozen": 1, **settings}
    network = alive(**settings)
    made = Spotter(featurizer(), network, LABELS).train()
    made.normalization.fix(*network.fixed_normalization)
    return made


def module(made, **settings):
    trained = SpotterModule(made, torch.optim.SGD, **{"denoising": 1.0, **settings})
    trained.distance = Denoising(made.classifier, torch.randn(4, 40, 32))
    return trained


def batch(seed=1, clips=8, frames=40):
    generator = torch.Generator().manual_seed(seed)
    features, clean = torch.randn(2, clips, frames, 32, generator=generator)
    return Batch(features, None, torch.arange(clips) % 3, clean=clean)


def gradients(network, part):
    return [0.0 if p.grad is None else p.grad.abs().sum().item() for p in getattr(network, part).parameters()]


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
    without = noisy.without_noise(clips, generator)
    torch.testing.assert_close(without, quiet.waveforms(clips, other))
    assert torch.equal(generator.get_state(), other.get_state())
    ratio = 10 * torch.log10(without.square().sum(1) / (with_noise - without).square().sum(1))
    assert ((ratio > -0.5) & (ratio < 10.5)).all()  # gain and all: only the noise is missing


def test_the_distance_is_zero_of_the_same_and_one_of_the_mean(published):
    network = alive(blocks=3, frozen=1)
    features = torch.randn(64, 80, 32)
    distance = Denoising(network, features)
    embedding = network.embedded(features)
    assert distance(embedding, features).item() < 1e-10
    other = embedding + 0.5 * embedding.transpose(1, 2).flatten(0, 1).std(0)[:, None]
    assert distance(other, features).item() == pytest.approx(0.25, rel=1e-4)
    mean = embedding.mean(dim=(0, 2), keepdim=True).expand_as(embedding)
    assert distance(mean, features).item() == pytest.approx(1, rel=1e-2)


def test_a_channel_that_says_nothing_counts_for_little(published):
    network = alive(blocks=1, frozen=0)
    with torch.no_grad():  # what is in front of the poolings: constant
        network.embedding[2].convolution.weight[0] = 0
    features = torch.randn(4, 40, 32)
    assert Denoising(network, features).variance.min() > 0


@pytest.mark.parametrize("detached", [True, False])
def test_what_learns_from_what(published, detached):
    made = learner(detached=detached)
    network, clips = made.classifier, batch()
    trained = module(made, denoising=0.7)
    loss = trained.training_step(clips, 0)
    loss.backward()
    frozen = sum(p.numel() > 0 and not p.requires_grad for p in network.embedding.parameters())
    assert 0 < frozen < len(gradients(network, "embedding"))
    both = gradients(network, "embedding")[frozen:]
    assert all(both) and not any(gradients(network, "embedding")[:frozen])
    assert all(gradients(network, "linear"))

    network.zero_grad()
    features = made.normalization(clips.features)
    embedding = network.embedded(features)
    far = 0.7 * trained.distance(embedding, made.normalization(clips.clean))
    answers = network.readout(network.judged(embedding, 40))
    torch.testing.assert_close(loss, far + trained.loss(answers, clips.labels))
    far.backward()
    alone = gradients(network, "embedding")[frozen:]
    assert (alone == pytest.approx(both, rel=1e-4)) == detached


def test_clean_clips_are_joined_and_mixed_as_the_others_are(published):
    made, clips = learner(detached=True), batch()
    trained = module(made, joined=4, mixup=0.4)
    seen = []
    trained.distance = lambda given, clean: seen.append(clean) or given.sum() * 0
    torch.manual_seed(3)
    trained.training_step(clips, 0)
    torch.manual_seed(3)
    mixed = trained.mix(8)
    torch.testing.assert_close(seen[0], trained.sequences(clips.clean, mixed, 2))
    assert seen[0].shape == (2, 160, 32)


def test_the_steps_bring_it_nearer(published):
    torch.manual_seed(0)
    made, clips = learner(detached=True, frozen=0, blocks=2), batch(clips=16)
    clips = clips._replace(features=clips.clean + 0.5 * torch.randn_like(clips.clean))
    trained = module(made)
    optimizer = torch.optim.AdamW(made.classifier.parameters(), 1e-4)

    def distance():
        embedding = made.classifier.embedded(made.normalization(clips.features))
        return trained.distance(embedding, made.normalization(clips.clean)).item()

    first = distance()
    for step in range(30):
        optimizer.zero_grad()
        trained.training_step(clips, step).backward()
        optimizer.step()
    assert distance() < 0.95 * first


@pytest.mark.parametrize(
    ("made", "settings", "said"),
    [
        (spotter, {"denoising": 1.0}, "training.denoising=1.0 is for model=speech_embedding"),
        (partial(learner, frozen=True), {"denoising": 2.0}, r"model.frozen=true keeps all; set model.frozen=2"),
        (partial(learner, detached=True), {"denoising": 0.0}, r"model.detached=true.*set training.denoising=1"),
        (learner, {"denoising": -1.0}, "training.denoising=-1.0 must be 0 or more"),
        (learner, {"state": "mixed"}, "training.denoising=1.0 is for clips by themselves; set training.state=reset"),
    ],
)
def test_what_is_refused(made, settings, said):
    with pytest.raises(KwsError, match=said):
        SpotterModule(made(), torch.optim.SGD, **{"denoising": 1.0, **settings})


def test_a_frozen_embedding_may_be_detached():
    SpotterModule(learner(frozen=True, detached=True), torch.optim.SGD)


@needs_weights
def test_from_the_command_line_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    corpus = tone_corpus(tmp_path / "corpus", clips=8)
    settings = [
        "experiment=own_words", "data=folder", f"data.root={corpus}", "data.sample_rate=8000", "export=[]",
        "data.silence_share=0", "data.batch_size=6", "model.width=8", "model.detached=true", "training.denoising=1",
    ]  # fmt: skip

    def train(run, *more):
        return call("train", *settings, f"hydra.run.dir={tmp_path / run}", "trainer.max_epochs=2", *more)

    refused = train("bare", "augment=none")
    assert refused.status != 0
    assert "training.denoising=1 needs clips with background noise; choose augment=people" in refused.err
    whole = train("whole")
    assert whole.status == 0, whole.err
    trained = Spotter.load(tmp_path / "whole" / SPOTTER).state_dict()
    before = pretrained(**Spotter.load(tmp_path / "whole" / SPOTTER).classifier.settings).state_dict()
    changed = [not torch.equal(trained[f"classifier.{name}"], before[name]) for name in before if "convolution" in name]
    assert any(changed) and not all(changed)

    step, steps = SpotterModule.training_step, []

    def interrupted(self, batch, number):
        steps.append(None)
        if len(steps) == 4:  # in the second epoch
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patched:
        patched.setattr(SpotterModule, "training_step", interrupted)
        assert train("half").status != 0
    done = call("train", f"resume={tmp_path / 'half'}")
    assert done.status == 0, done.err
    again = Spotter.load(tmp_path / "half" / SPOTTER).state_dict()
    assert all(torch.equal(again[name], trained[name]) for name in trained)
