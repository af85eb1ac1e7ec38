"""A decoder's settings searched together: run by run as frame by frame, and the best that keeps to the target."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from kws.evaluation.detection.matching import score
from kws.evaluation.detection.search import SMOOTHINGS, Recorder, averaged, points, record, search
from kws.evaluation.detection.thresholds import Trace, curve, hear_lanes, reports, threshold_table
from kws.evaluation.stream.long_stream import LongStream, Truth
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Outputs

LABELS = ("_silence_", "yes", "no")
RATE, HOP = 100, 10


class Loud:
    """Says `yes` or `no` as samples are positive or negative, as sure as they are loud; the state is nothing."""

    name, labels, sample_rate, hop_size = "loud", LABELS, RATE, HOP

    def start(self, streams=1):
        return None

    def hear(self, samples, state):
        level = samples.reshape(len(samples), -1, HOP).mean(-1)  # (B, T)
        scores = torch.from_numpy(np.stack([np.full_like(level, 0.2), 4 * level, -4 * level], axis=-1))
        return Outputs(torch.log_softmax(scores, dim=-1).numpy(), None), state


def stream(seed=1):
    """Half an hour of noisy clips in three lanes."""
    random = np.random.default_rng(seed)
    labels = np.array([1, 2, -1] * 10)
    sign = np.array([0, 1, -1, 0.3])[labels]  # other speech sounds a little like yes
    clips = (0.4 * sign[:, None] + 0.3 * random.standard_normal((30, RATE))).clip(-1, 1)
    clips[:, : RATE // 3] = clips[:, -RATE // 3 :] = 0
    return LongStream(clips, labels, LABELS, RATE, hours=0.5, lanes=3, seed=seed, snr=(5.0, 20.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize(("consecutive", "refractory"), [(1, 0.0), (3, 0.5), (2, 2.0)])
def test_run_by_run_as_frame_by_frame(smoothing, consecutive, refractory):
    decoder = Decoder(LABELS, 0.1, smoothing=smoothing, consecutive=consecutive, refractory=refractory)
    heard, recorded = hear_lanes(Loud(), decoder, stream()), record(Loud(), decoder, stream(), [0.2, smoothing])
    assert recorded.score.shape == (len(heard.score), 2)
    found = averaged(recorded, 1)
    np.testing.assert_array_equal(found.word, heard.word)
    np.testing.assert_array_equal(found.score, heard.score)
    assert (found.truths, found.starts, found.hours) == (heard.truths, heard.starts, heard.hours)
    thresholds = np.linspace(0.31, 0.97, 12)
    sooner, frame_by_frame = points(decoder, found, 0.75, thresholds), curve(decoder, found, 0.75, None, thresholds)
    for mine, theirs in zip(sooner, frame_by_frame, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert sooner.false_alarms.max() > 0


def test_the_first_choice_does_what_it_says_and_the_others_have_fewer_false_alarms():
    decoder = Decoder(LABELS, 0.1)
    recorded = record(Loud(), decoder, stream())
    front = search(decoder, recorded, target=20, tolerance=0.75)
    assert len(front) > 1
    for choice, worse in pairwise(front):
        assert choice.miss_rate <= worse.miss_rate
        assert choice.false_alarms > worse.false_alarms
    assert front[0].false_alarms <= 20
    chosen = Decoder(LABELS, 0.1, **front[0].settings)
    again = hear_lanes(Loud(), chosen, stream())
    level = np.array([front[0].settings["threshold"]])
    assert curve(chosen, again, 0.75, None, level).miss_rate == pytest.approx(front[0].miss_rate)
    recorded = record(Loud(), decoder, stream(), [0.0])
    one_setting = search(decoder, recorded, 20, 0.75, smoothings=[0.0], consecutive=[1], refractory=[0.5])
    assert front[0].miss_rate <= one_setting[0].miss_rate


def test_other_streams_keep_to_the_target_by_themselves():
    decoder = Decoder(LABELS, 0.1)
    few = {"smoothings": (0.1, 0.3), "consecutive": (1,), "refractory": (0.5,)}
    recorded = record(Loud(), decoder, stream(), few["smoothings"])
    alone = search(decoder, recorded, 200, 0.75, **few)[0]
    posteriors = np.tile(np.float32([0.01, 0.01]), (3600, 1))
    posteriors[::100] = (0.995, 0.001)  # a frame every ten seconds that says yes
    speech = said(decoder, posteriors, 0.1, few["smoothings"])
    both = search(decoder, recorded, 200, 0.75, [speech], **few)[0]
    assert both.negatives[0] <= 200
    assert both.miss_rate >= alone.miss_rate
    always = said(decoder, np.tile(np.float32([1.0, 0.0]), (3600, 1)), 0.0001, few["smoothings"])
    assert search(decoder, recorded, 200, 0.75, [always], **few) == []


def test_the_stream_of_words_may_have_a_target_of_its_own():
    decoder = Decoder(LABELS, 0.1)
    few = {"smoothings": (0.1,), "consecutive": (1,), "refractory": (0.5,)}
    recorded = record(Loud(), decoder, stream(), few["smoothings"])
    posteriors = np.tile(np.float32([0.01, 0.01]), (3600, 1))
    posteriors[::100] = (0.7, 0.001)
    speech = said(decoder, posteriors, 0.1, few["smoothings"])
    strict = search(decoder, recorded, 1, 0.75, [speech], **few)
    loose = search(decoder, recorded, 1, 0.75, [speech], **few, among_words=200)[0]
    alone = search(decoder, recorded, 200, 0.75, **few)[0]
    assert 1 < loose.false_alarms <= 200 and loose.negatives == (0.0,)
    assert loose.settings["threshold"] > 0.7 > alone.settings["threshold"]
    assert alone.miss_rate <= loose.miss_rate and all(loose.miss_rate <= choice.miss_rate for choice in strict)


def test_a_threshold_a_word_keeps_the_other_word_from_paying():
    decoder = Decoder(LABELS, 0.1)
    few = {"smoothings": (0.1,), "consecutive": (1,), "refractory": (0.5,)}
    recorded = record(Loud(), decoder, stream(), few["smoothings"])
    posteriors = np.tile(np.float32([0.01, 0.01]), (3600, 1))
    posteriors[::100] = (0.9, 0.001)  # only ever yes
    speech = said(decoder, posteriors, 0.1, few["smoothings"])
    one = search(decoder, recorded, 1, 0.75, [speech], **few, among_words=400)[0]
    each = search(decoder, recorded, 1, 0.75, [speech], **few, among_words=400, per_word=True)[0]
    assert one.settings["threshold"] > 0.9
    assert each.settings["threshold"]["yes"] > 0.9 > each.settings["threshold"]["no"]
    assert each.miss_rate < one.miss_rate and each.negatives == (0.0,) and each.false_alarms <= 400
    chosen = Decoder(LABELS, 0.1, **each.settings)  # and a decoder does what was said of it
    heard = score(*said_by(chosen), 0.5, 0.75)
    assert heard["miss_rate"] == pytest.approx(each.miss_rate)
    assert heard["false_alarms"] == pytest.approx(each.false_alarms * recorded.hours)


def test_one_keyword_taken_for_another_may_be_left_to_the_misses():
    """It is heard with 0.9, two keywords with 0.8."""
    decoder = Decoder(LABELS, 0.1)
    truths = (Truth("yes", 1.0, 1.5, None), Truth("no", 3.0, 3.5, None), Truth("yes", 5.0, 5.5, None))
    word, best = np.zeros((3600, 1), np.int32), np.zeros((3600, 1), np.float32)
    for frame, label, value in ((13, "no", 0.9), (33, "no", 0.8), (53, "yes", 0.8), (700, "yes", 0.3)):
        word[frame], best[frame] = decoder.labels.index(label), value
    few = {"smoothings": (0.0,), "consecutive": (1,), "refractory": (0.5,)}
    trace = Trace(word, best, truths, (), 0.1)
    for per_word in (False, True):
        strict = search(decoder, trace, 1, 0.75, **few, per_word=per_word)[0]
        loose = search(decoder, trace, 1, 0.75, **few, per_word=per_word, substitutions=False)[0]
        assert (strict.false_alarms, strict.substitutions) == (0, 0)
        assert (loose.false_alarms, loose.substitutions) == (0, pytest.approx(1 / 3))
        assert loose.miss_rate == pytest.approx(1 / 3)
        assert strict.miss_rate > 0.5


def said_by(decoder):
    """Reports of a decoder on the stream, and the truth."""
    trace = hear_lanes(Loud(), decoder, stream())
    return reports(decoder, trace, threshold_table(decoder, decoder.settings["threshold"]))[0], trace.truths


def said(decoder, posteriors, hours, smoothings=SMOOTHINGS):
    """A recorded stream of (T, W) posteriors of the words, without keywords."""
    recorder = Recorder(decoder, smoothings)
    heard = torch.zeros(1, len(posteriors), len(LABELS))
    heard[0][:, 1:] = torch.from_numpy(posteriors)
    word, score, _ = recorder.smooth(heard.log(), recorder.initial_state().past)
    return Trace(word[0].numpy(), score[0].numpy(), (), (), hours)


def test_a_fresh_recording_ends_a_run_and_the_refractory_time():
    decoder = Decoder(LABELS, 0.1, smoothing=0.0, refractory=1.0)
    score = np.zeros(40, np.float32)
    score[[18, 19, 20, 21]] = 0.9
    truths = (Truth("yes", 1.5, 1.9, None),)
    trace = Trace(np.ones(40, np.int16), score, truths, (), 40 / 36000, starts=(0, 20))
    assert len(reports(decoder, trace, np.array([0.5]))[0]) == 2
    assert points(decoder, trace, 0.75, [0.5]).false_alarms == curve(decoder, trace, 0.75, None, [0.5]).false_alarms
