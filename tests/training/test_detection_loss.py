"""The detector's loss: what it asks of whom, in numbers."""

import math

import pytest
import torch

from kws.training.detection_loss import FLOOR, detection_loss

WORDS = torch.tensor([1, 2])  # label 0 is no keyword
T = 10


def posteriors(lanes=1, clips=2):
    """Frames that say label 0, nearly surely."""
    return torch.tensor([0.998, 0.001, 0.001]).repeat(lanes, clips * T, 1)


def say(frames, word, start, end, p=0.99):
    frames[:, start:end] = (1 - p) / 2
    frames[:, start:end, word] = p
    return frames


def loss(frames, labels, window=1, slack=3, weight=1.0):
    return detection_loss(frames.log(), torch.tensor([labels]), WORDS, window, slack, weight)[0]


def missed(p):
    return -math.log(FLOOR + (1 - FLOOR) * p)


def alarmed(p):
    return -math.log1p(-(1 - FLOOR) * p)


def test_by_hand():
    found = loss(say(posteriors(), 1, 4, 5, 0.8), [1, 0])
    assert found[0] == pytest.approx(missed(0.8) + alarmed(0.1), abs=1e-5)  # the rest of that frame is shared
    assert found[1] == pytest.approx(2 * alarmed(0.001), abs=1e-5)


def test_a_wrong_word_costs_both_ways_and_an_alarm_its_weight():
    frames = say(posteriors(), 2, 4, 6)
    wrong, _ = loss(frames, [1, 0])
    assert wrong == pytest.approx(missed(0.005) + alarmed(0.99), abs=1e-4)
    alarm, _ = loss(frames, [0, 0], weight=3.0)
    assert alarm == pytest.approx(3 * (alarmed(0.99) + alarmed(0.005)), abs=1e-4)


def test_a_moment_is_not_enough_for_a_longer_window():
    moment, lasting = say(posteriors(), 1, 4, 5), say(posteriors(), 1, 4, 9)
    assert loss(moment, [1, 0], window=5)[0] > 1.0 > loss(lasting, [1, 0], window=5)[0]
    assert loss(moment, [0, 0], window=5)[0] < 0.4 < loss(lasting, [0, 0], window=5)[0]


def test_a_word_may_be_recognised_a_little_later_by_its_own_clip_alone():
    late = say(posteriors(), 1, T, T + 2)
    assert loss(late, [1, 0]).sum() < 0.1
    assert loss(late, [1, 0], slack=0).sum() > 5
    assert loss(late, [2, 0]).sum() > 5
    too_late = say(posteriors(), 1, T + 3, T + 5)
    assert loss(too_late, [1, 0]).sum() > 5


def test_a_sure_mistake_has_a_finite_price_and_a_gradient():
    frames = say(posteriors(), 1, 0, T, 1.0).clamp(min=1e-12).log().requires_grad_()
    total = detection_loss(frames, torch.tensor([[0, 2]]), WORDS, 4, 3).sum()
    assert total.item() < 4 * -math.log(FLOOR)
    total.backward()
    assert frames.grad.isfinite().all()
    assert frames.grad.abs().max() > 0
