"""Learning rates: what knows much already learns at a share of the rate, under every schedule."""

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, OneCycleLR

from kws.networks import SpeechEmbeddingClassifier
from kws.networks.classifier import Classifier
from kws.support.errors import KwsError
from kws.training import schedule
from kws.training.module import SpotterModule
from tests.training.test_targets import spotter

SCHEDULES = {
    "one_cycle": partial(OneCycleLR, max_lr=0.02, pct_start=0.2, cycle_momentum=False),
    "cosine": partial(CosineAnnealingLR),
    "constant": partial(ConstantLR, factor=1.0),
}


def configured(classifier, make_schedule, steps=20):
    made = spotter()
    made.classifier = classifier
    module = SpotterModule(made, partial(torch.optim.AdamW, lr=0.02), make_schedule)
    module._trainer = type("Trainer", (), {"estimated_stepping_batches": steps})()
    parts = module.configure_optimizers()
    return parts["optimizer"], parts["lr_scheduler"]["scheduler"]


def rates(optimizer, scheduler, steps=20):
    found = []
    for _ in range(steps - 1):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_embedding_learns_at_a_share_of_the_rate(name):
    network = SpeechEmbeddingClassifier(32, 3, blocks=2, frozen=1, rate=0.05, width=4)
    optimizer, scheduler = configured(network, SCHEDULES[name])
    found = rates(optimizer, scheduler)
    plain = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    expected = rates(plain, schedule.make(SCHEDULES[name], plain, 20))[:, 0]
    torch.testing.assert_close(found, expected[:, None] * torch.tensor([1, 0.05], dtype=torch.float64))
    head, embedding = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert embedding == {id(p) for p in network.embedding.parameters()}
    assert head | embedding == {id(p) for p in network.parameters()} and not head & embedding


@pytest.mark.parametrize("classifier", [SpeechEmbeddingClassifier(32, 3, blocks=1, width=4), spotter().classifier])
def test_other_networks_learn_at_the_rate(classifier: Classifier):
    optimizer, _ = configured(classifier, SCHEDULES["one_cycle"])
    assert len(optimizer.param_groups) == 1
    assert len(optimizer.param_groups[0]["params"]) == len(list(classifier.parameters()))


def test_no_rate_is_refused():
    with pytest.raises(KwsError, match=r"model.rate=0 must be greater than 0; model.frozen=true keeps"):
        SpeechEmbeddingClassifier(32, 4, rate=0)
