"""From which state a clip starts in training, and the pauses before it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kws.data import Batch
from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError
from kws.training.module import SpotterModule
from kws.training.pauses import Pauses


def module(**settings):
    torch.manual_seed(0)
    spotter = Spotter(Featurizer(), RecurrentClassifier(40, 3, hidden_size=6), ["a", "b", "c"])
    made = SpotterModule(spotter, torch.optim.SGD, **settings)
    made.log = lambda *_, **__: None
    return made


def batch(clips=64):
    features = torch.rand(clips, 9, 40, generator=torch.Generator().manual_seed(1))
    return Batch(features, None, torch.arange(clips) % 3)


def test_reset_starts_every_clip_from_zeros():
    trained = module(state="reset")
    losses = [trained.training_step(batch(), i).item() for i in range(2)]
    assert losses[0] == losses[1]


def test_carry_goes_on_where_the_clip_before_ended():
    trained = module(state="carry")
    trained.training_step(batch(), 0)
    spotter = trained.spotter
    with torch.no_grad():
        features = spotter.normalization(batch().features)
        _, end = spotter.classifier.stream(features, spotter.classifier.initial_state(64))
    for ours, expected in zip(trained.first_state(64), end, strict=True):
        torch.testing.assert_close(ours, expected)
        assert not ours.requires_grad  # the gradient is cut between clips


def test_a_new_epoch_and_a_wider_batch_start_from_zeros():
    trained = module(state="carry")
    trained.training_step(batch(8), 0)
    assert not any(tensor.any() for tensor in trained.first_state(64))
    assert all(tensor[:4].any() for tensor in trained.first_state(4))
    trained.on_train_epoch_start()
    assert not any(tensor.any() for tensor in trained.first_state(8))


def test_mixed_carries_the_share_it_is_told():
    trained = module(state="mixed", carry_share=0.2)
    trained.training_step(batch(), 0)
    carried = torch.stack([trained.first_state(64)[0].any(1) for _ in range(100)]).float().mean().item()
    assert carried == pytest.approx(0.2, abs=0.02)


def test_a_pause_moves_the_state():
    trained = module(state="carry", pause_seconds=0.5)
    noise = (np.random.default_rng(0).normal(size=20000) * 3000).astype(np.int16)
    data = SimpleNamespace(waveforms=SimpleNamespace(noise=[noise]))
    trained._trainer = SimpleNamespace(datamodule=data, global_step=0, log_every_n_steps=10, loggers=[])
    trained.training_step(batch(), 0)
    before = [tensor.clone() for tensor in trained.carried]
    torch.manual_seed(3)
    after = trained.first_state(64)
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


def test_pauses_are_silence_or_noise_of_drawn_length():
    torch.manual_seed(0)
    noise = (np.random.default_rng(0).normal(size=30000) * 3000).astype(np.int16)
    pauses = Pauses(Featurizer(), [noise, noise[:10]], 0.32)
    drawn = [pauses.features(50) for _ in range(60)]
    assert {features.shape[1] for features in drawn} == set(range(11))
    levels = torch.cat([features.mean((1, 2)) for features in drawn if features.shape[1]])
    assert (levels == 0).float().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert levels.max() > 20 * levels[levels > 0].min()
    silent = Pauses(Featurizer(), [], 0.32)
    assert not any(silent.features(4).any() for _ in range(5))


@pytest.mark.parametrize("readout", ["last", "best"])
def test_joined_clips_follow_each_other(readout):
    """Against the clips put end to end by hand; the last of a batch that is no multiple is left out."""
    trained = module(joined=3)
    classifier = trained.spotter.classifier
    classifier.readout_name = readout
    clips = batch(7)
    loss = trained.training_step(clips, 0)
    features = trained.spotter.normalization(clips.features)
    expected = []
    for lane in (0, 3):
        frames = classifier(torch.cat(list(features[lane : lane + 3]))[None])[0]  # (27, C)
        for i in range(3):
            scores = classifier.readout(frames[None, 9 * i : 9 * i + 9])
            expected.append(-scores[0, clips.labels[lane + i]])
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert trained.training_clips.results()["clips"] == 6


def test_the_gradient_goes_through_joined_clips():
    trained = module(joined=2)
    first, second = batch(2).features.clone().requires_grad_(), torch.tensor([0, 1])
    log_probabilities = trained.listen(first.reshape(1, 18, 40)).reshape(2, 9, 3)[1, -1]
    log_probabilities[second[1]].backward()
    assert first.grad[0].abs().max() > 0  # the first clip's frames, from the second clip's label


def test_a_batch_smaller_than_what_is_joined():
    trained = module(joined=4)
    assert torch.isfinite(trained.training_step(batch(3), 0))
    assert trained.training_clips.results()["clips"] == 3


def test_joined_is_counted_from_one():
    with pytest.raises(KwsError, match=r"training\.joined=0"):
        module(joined=0)
