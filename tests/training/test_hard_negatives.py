"""Hard negatives: heard as a stream, weighted by what is answered, and a resumed run goes on with the weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.training import hard_negatives
from kws.training.hard_negatives import HardNegatives, answers
from kws.training.module import SpotterModule


@pytest.fixture
def trained():
    torch.manual_seed(0)
    spotter = Spotter(Featurizer(), RecurrentClassifier(40, 3, hidden_size=6), ["_unknown_", "yes", "no"])
    return SpotterModule(spotter, torch.optim.SGD, detection_seconds=0.1)


@pytest.fixture
def features():
    return 3 * torch.randn(10, 9, 40, generator=torch.Generator().manual_seed(1)).numpy()


@torch.no_grad()
def test_pieces_are_heard_one_after_the_other(trained, features, monkeypatch):
    monkeypatch.setattr(hard_negatives, "LANES", 2)
    clips = np.array([1, 2, 3, 5, 7])
    found = answers(trained.train(), features, clips)
    assert trained.spotter.training
    spotter, window = trained.spotter.eval(), trained.detection_window
    assert window == 3
    expected = []
    for lane in ([1, 2, 3], [5, 7]):
        heard = spotter.normalization(torch.from_numpy(features[lane].reshape(1, -1, 40)))
        posteriors = spotter.classifier(heard)[..., 1:].exp().transpose(1, 2)
        average = F.avg_pool1d(F.pad(posteriors, (window - 1, 0)), window, 1)
        expected += average.amax(1).reshape(len(lane), 9).amax(1).tolist()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_follow_and_are_kept(trained, features):
    data = SimpleNamespace(
        negatives=np.arange(4, 10), negative_weights=np.ones(6), split_features=lambda split: features
    )
    trainer = SimpleNamespace(datamodule=data, current_epoch=0, loggers=[], global_step=1)
    callback = HardNegatives(every=2, base=0.1)
    for epoch, moved in ((0, False), (1, False), (2, True)):
        trainer.current_epoch = epoch
        callback.on_train_epoch_start(trainer, trained)
        assert (data.negative_weights != 1).any() == moved
    np.testing.assert_allclose(data.negative_weights, 0.1 + answers(trained, features, data.negatives))
    resumed, data.negative_weights[:] = HardNegatives(every=2), 1
    resumed.load_state_dict(callback.state_dict())
    trainer.current_epoch = 3
    resumed.on_train_epoch_start(trainer, trained)
    np.testing.assert_array_equal(data.negative_weights, callback.weights)
    data.negatives = None  # a corpus without long recordings
    callback.on_train_epoch_start(trainer, trained)
