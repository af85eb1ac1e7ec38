"""The decoder against hand-made posteriors and a plain frame-by-frame loop."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.spotter.decoder import Decoder
from kws.spotter.gate import CLOSED, OPEN
from kws.support.errors import KwsError

LABELS = ("_silence_", "yes", "no")


def posteriors(*rows):
    """(1, T, 3) log-probabilities from rows (silence, yes, no)."""
    return torch.tensor(rows).clamp(min=1e-9).log()[None]


def decoder(**settings):
    return Decoder(LABELS, 0.1, **{"smoothing": 0.0, "refractory": 0.0, "threshold": 0.5, **settings})


def heard(decoder, log_probabilities):
    state = decoder.initial_state(len(log_probabilities))
    frames, _ = decoder.stream(log_probabilities, state)
    return [[(d.word, round(d.time, 6), round(d.confidence, 4)) for d in row]
            for row in decoder.detections(frames, state.frames)]  # fmt: skip


QUIET, YES, NO = (0.9, 0.05, 0.05), (0.1, 0.8, 0.1), (0.1, 0.2, 0.7)


def test_a_run_is_reported_once_with_its_time_and_confidence():
    assert heard(decoder(), posteriors(QUIET, YES, YES, QUIET, NO)) == [[("yes", 0.2, 0.8), ("no", 0.5, 0.7)]]


def test_silence_is_never_reported():
    assert heard(decoder(threshold=0.0, ignored=None), posteriors(QUIET))[0][0][0] in ("yes", "no")
    assert heard(decoder(), posteriors((1.0, 0.0, 0.0))) == [[]]


def test_consecutive_frames():
    frames = posteriors(YES, QUIET, YES, YES, NO, NO, NO)
    assert heard(decoder(consecutive=2), frames) == [[("yes", 0.4, 0.8), ("no", 0.6, 0.7)]]
    assert heard(decoder(consecutive=3), frames) == [[("no", 0.7, 0.7)]]


def test_refractory_time_holds_any_word_back_and_a_lasting_one_is_reported_after_it():
    frames = posteriors(YES, NO, QUIET, NO, NO, NO)
    assert heard(decoder(refractory=0.3), frames) == [[("yes", 0.1, 0.8), ("no", 0.5, 0.7)]]


def test_smoothing_is_a_mean_that_starts_from_nothing():
    found = heard(decoder(smoothing=0.4, threshold=0.5), posteriors(YES, YES, YES, YES))
    assert found == [[("yes", 0.3, 0.6)]]  # 0.2, 0.4, 0.6


def test_thresholds_per_word():
    assert heard(decoder(threshold={"yes": 0.85, "no": 0.6}), posteriors(YES, NO)) == [[("no", 0.2, 0.7)]]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"threshold": {"yes": 0.5}}, "no threshold for no"),
        ({"threshold": {"yes": 0.5, "no": 0.5, "maybe": 0.5}}, "'maybe'"),
        ({"threshold": {"yes": -0.5, "no": 0.5}}, "threshold.yes"),
        ({"consecutive": 0}, "consecutive=0"),
        ({"consecutive": 1.5}, "consecutive=1.5"),
        ({"smoothing": -1.0}, "smoothing=-1"),
        ({"refractory": float("nan")}, "refractory=nan"),
        ({"ignored": ["yes", "no", "_silence_"]}, "leaves no word"),
        ({"ignored": ["maybe"]}, "'maybe'"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(KwsError, match=named):
        decoder(**settings)


def reference(log_probabilities, window, threshold, consecutive, wait, gate):
    """The documented rule, one stream, frame by frame, in plain Python."""
    rows = log_probabilities.exp().double().tolist()
    found, word, length, reported, free = [], None, 0, False, 0
    for t in range(len(rows)):
        past = rows[max(0, t + 1 - window) : t + 1]
        score = {w: sum(row[w] for row in past) / window for w in (1, 2)}
        best = max(score, key=score.get)
        current = best if score[best] >= threshold else None
        length, reported = (length + 1, reported) if current == word else (1, gate[t] == CLOSED)
        word = current
        opened = OPEN in list(gate[max(0, t + 1 - window) : t + 1])
        if word is not None and length >= consecutive and not reported and t >= free and opened:
            found.append((word, t))
            reported, free = True, t + 1 + wait
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    window=st.integers(1, 4),
    consecutive=st.integers(1, 3),
    wait=st.integers(0, 5),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_equals_the_plain_loop_however_the_stream_is_cut(seed, window, consecutive, wait, cuts):
    torch.manual_seed(seed)
    # Slow random posteriors, so that runs of several lengths occur; sounds that come and go, and a voice beside them.
    scores = torch.randn(3, 40, 3).cumsum(1)
    log_probabilities = scores.log_softmax(-1)
    samples = torch.randn(3, 40, 20) * 10 ** torch.randint(-6, 0, (3, 8, 1)).repeat_interleave(5, dim=1)
    samples, voice = samples.flatten(1), (torch.rand(3, 40) > 0.1).long()
    d = decoder(smoothing=window * 0.1, threshold=0.6, consecutive=consecutive, refractory=wait * 0.1)
    whole, last = d.stream(log_probabilities, d.initial_state(3), samples, voice)
    state, pieces = d.initial_state(3), []
    edges = [0, *sorted(cuts), 40]
    for start, end in pairwise(edges):
        sound = samples[:, 20 * start : 20 * end]
        piece, state = d.stream(log_probabilities[:, start:end], state, sound, voice[:, start:end])
        pieces.append(piece)
    for name in whole._fields:
        assert torch.equal(getattr(whole, name), torch.cat([getattr(piece, name) for piece in pieces], 1))
    assert all(torch.equal(a, b) for a, b in zip(state.gate, last.gate, strict=True))
    gates, _ = d.listen(samples, 40, voice, d.initial_state(3).gate)
    for b in range(3):
        expected = reference(log_probabilities[b], window, 0.6, consecutive, wait, gates[b].tolist())
        assert [(int(whole.word[b, t]), t) for t in whole.detected[b].nonzero().flatten().tolist()] == expected


def test_step_equals_stream():
    torch.manual_seed(0)
    log_probabilities = torch.randn(2, 30, 3).cumsum(1).log_softmax(-1)
    samples = torch.randn(2, 30, 20) * torch.linspace(0, 0.5, 30)[:, None]
    d = decoder(smoothing=0.3, refractory=0.2)
    whole, state = d(log_probabilities, samples.flatten(1)), d.initial_state(2)
    assert whole.detected.any()
    for t in range(30):
        frame, state = d.step(log_probabilities[:, t], state, samples[:, t])
        assert torch.equal(frame.detected, whole.detected[:, t])
        assert torch.equal(frame.score, whole.score[:, t])
    assert state.frames.tolist() == [30, 30]


def test_a_word_is_reported_while_its_average_still_holds_the_sound_that_was_over():
    """The detector ends with the word, and closes the gate in the frame in which the average passes its threshold."""
    tried = decoder(smoothing=0.4, threshold=0.5, consecutive=1)  # four frames
    word = torch.tensor([[1] * 12])
    gate = torch.tensor([[OPEN] * 4 + [CLOSED] * 8])

    def reported(hits, gate, cut=0):
        state = tried.initial_state()
        hit = torch.tensor([[t in hits for t in range(12)]])
        first, state = tried.decide(word[:, :cut], hit[:, :cut], state, gate[:, :cut])
        rest = tried.decide(word[:, cut:], hit[:, cut:], state, gate[:, cut:])[0]
        return torch.cat([first, rest], dim=1)[0].nonzero().flatten().tolist()

    for cut in range(12):
        assert reported({3, 4, 5}, gate, cut) == [3]
        assert reported({4, 5, 6}, gate, cut) == [], "the run began with a closed gate"
    late = tried.initial_state()._replace(wait=torch.tensor([6]))  # a report just before
    hit = torch.tensor([[t >= 3 for t in range(12)]])
    assert tried.decide(word, hit, late, gate)[0].nonzero().tolist() == [[0, 6]]
    late = late._replace(wait=torch.tensor([7]))
    assert not tried.decide(word, hit, late, gate)[0].any(), "all of the average is of what came after the sound"
