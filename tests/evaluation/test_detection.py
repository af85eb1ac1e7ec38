"""Matching, curves and thresholds on hand-made streams whose misses and false alarms are known."""

import math

import numpy as np
import pytest
import soundfile

from kws.evaluation.detection import recordings
from kws.evaluation.detection.detection import Detection, DetectionSettings
from kws.evaluation.detection.kinds import by_name
from kws.evaluation.detection.matching import PROTOCOLS, Report, match, score
from kws.evaluation.detection.thresholds import (
    THRESHOLDS,
    Trace,
    WordCounts,
    choose,
    choose_per_word,
    count_words,
    curve,
    expected,
    hear,
    hear_lanes,
    join,
    operating_point,
    reports,
)
from kws.evaluation.stream.long_stream import OTHER_WORDS, REVERSED_WORDS, LongStream, Piece, Truth
from kws.evaluation.stream.word_ends import word_span
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Outputs
from kws.support.errors import BrokenRecording, KwsError

RATE, HOP = 100, 10
LABELS = ("_silence_", "yes", "no")
TRUTHS = (Truth("yes", 1.0, 1.5, None), Truth("no", 3.0, 3.5, None), Truth("yes", 5.0, 5.5, 10.0))


def test_a_word_is_hit_between_its_start_and_the_tolerance_after_its_end():
    for time, hit in ((0.9, False), (1.0, True), (1.5, True), (2.25, True), (2.26, False)):
        assert (match([Report("yes", time)], TRUTHS, 0.75).hit_by[0] is not None) is hit, time


def test_matching():
    rows = [
        Report("yes", 1.2),  # hits the first
        Report("yes", 1.9),  # the same again
        Report("yes", 3.2),  # the wrong word
        Report("no", 4.6),  # nothing there
        Report("yes", 5.6),  # hits the third
    ]
    assert match(rows, TRUTHS, 0.75) == ([0, None, 4], [1, 2, 3], [2])
    assert match(rows, TRUTHS, 0.75, substitutions=False) == ([0, None, 4], [1, 3], [2])
    figures = score(rows, TRUTHS, hours=0.5, tolerance=0.75, speech=[(4.3, 4.7)])
    assert (figures["misses"], figures["keywords"], figures["false_alarms"]) == (1, 3, 3)
    assert figures["miss_rate"] == pytest.approx(1 / 3)
    assert figures["false_alarms_per_hour"] == 6
    assert figures["false_alarm_interval"] == pytest.approx([0.6187 * 2, 8.7673 * 2], abs=1e-3)
    assert list(figures["false_alarms_by_kind"].values()) == [2, 1, 0]
    assert (figures["substitutions"], figures["substitution_rate"]) == (1, pytest.approx(1 / 3))
    assert figures["latency"]["median"] == pytest.approx(0.1)


def test_mlperf_tiny_counts_as_its_runner_does():
    """A second behind the word, everything more of the word in there ignored, and a false alarm once a second."""
    rules = PROTOCOLS["mlperf_tiny"]
    assert (rules.tolerance, rules.debounce) == (1.0, 1.0)
    assert rules.reference[1:] == (10 / 50, 4 / (19_200_000 / 16_000 / 3600))
    for time, hit in ((0.99, False), (1.0, True), (2.5, True), (2.51, False)):
        assert (match([Report("yes", time)], TRUTHS, *rules[:2]).hit_by[0] is not None) is hit, time
    rows = [
        Report("yes", 1.2),  # hits the first
        Report("yes", 1.9),  # once more: nothing
        Report("no", 2.0),  # another word is a false alarm
        Report("yes", 2.6),  # behind the window: another
        Report("yes", 3.5),  # less than a second later
        Report("yes", 3.6),  # just a second later
        Report("yes", 3.7),  # counts again: the debounce runs from what counted
        Report("no", 4.4),  # hits the second
    ]
    assert match(rows, TRUTHS, *rules[:2]) == ([0, 7, None], [2, 3, 6], [2, 6])
    assert match(rows, TRUTHS, 1.0) == ([0, 7, None], [1, 2, 3, 4, 5, 6], [2, 4, 5, 6])
    assert match(rows, TRUTHS, 1.0, substitutions=False) == ([0, 7, None], [1, 3], [2, 4, 5, 6])


def test_overlapping_windows_are_both_found():
    truths = (Truth("yes", 1.0, 1.5, None), Truth("yes", 1.6, 2.0, None), Truth("no", 2.1, 2.4, None))
    assert match([Report("yes", 1.7), Report("yes", 2.2), Report("no", 2.3)], truths, 1.0).hit_by == [0, 1, 2]


def test_a_word_again_is_no_substitution_while_another_is_said_too():
    truths = (Truth("yes", 1.0, 1.5, None), Truth("no", 1.6, 2.0, None))
    rows = [Report("yes", 1.4), Report("yes", 1.8), Report("yes", 2.6)]
    assert match(rows, truths, 0.75) == ([0, None], [1, 2], [2])
    assert match(rows, truths, 0.75, substitutions=False) == ([0, None], [1], [2])


def test_nothing_said_and_nothing_heard():
    assert score([], [], 1.0, 0.75)["substitution_rate"] is None
    assert score([], [], 1.0, 0.75)["miss_rate"] is None
    assert score([], TRUTHS, 1.0, 0.75)["miss_rate"] == 1
    assert score([Report("yes", 3.0)], [], 2.0, 0.75)["false_alarms_per_hour"] == 0.5


def hand_made():
    """100 s of 10 frames a second. Hits score 0.9, 0.8 and 0.6; false alarms 0.7 ("yes") and 0.5 ("no")."""
    word, best = np.ones(1000, np.int16), np.zeros(1000, np.float32)
    for frame, label, value in ((12, 1, 0.9), (33, 2, 0.6), (53, 1, 0.8), (700, 1, 0.7), (800, 2, 0.5)):
        word[frame], best[frame] = label, value
    return Trace(word, best, TRUTHS, (), 100 / 3600)


DECODER = Decoder(LABELS, 0.1, smoothing=0.0, refractory=0.0)


def test_reports_at_every_threshold():
    found = reports(DECODER, hand_made(), np.array([0.95, 0.75, 0.55, 0.45]))
    assert [len(row) for row in found] == [0, 2, 4, 5]
    assert found[1] == [Report("yes", pytest.approx(1.3)), Report("yes", pytest.approx(5.4))]


def test_curve_and_choice():
    thresholds = np.array([0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
    points = curve(DECODER, hand_made(), 0.75, thresholds=thresholds)
    assert points.miss_rate == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
    assert points.false_alarms == pytest.approx([72, 36, 36, 0, 0, 0])  # two and one in 100 s
    assert choose(points, 0.1) == 0.75
    assert choose(points, 36) == 0.55
    assert choose(points._replace(miss_rate=np.zeros(6)), 0.1) == 0.85  # the middle of three equals
    assert choose(points._replace(false_alarms=points.false_alarms + 1), 0.5) is None


def test_thresholds_per_word_beat_one_for_all():
    thresholds = np.array([0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
    counts = count_words(DECODER, hand_made(), 0.75, thresholds)
    assert counts.hits["yes"].tolist() == [2, 2, 2, 2, 1, 0]
    assert counts.false_alarms["no"].tolist() == [1, 0, 0, 0, 0, 0]
    each = choose_per_word(counts, target=1, margin=0)
    assert each == {"yes": 0.75, "no": 0.55}
    point = operating_point(DECODER, hand_made(), each, 0.75)
    assert (point["misses"], point["false_alarms"]) == (0, 0)


def taken_for_another():
    """`hand_made`, where "yes" is heard with 0.85 as "no" ends, and missed."""
    trace = hand_made()
    for frame, label, value in ((12, 1, 0.0), (13, 2, 0.85)):
        trace.word[frame], trace.score[frame] = label, value
    return trace


def test_one_keyword_taken_for_another_counts_or_does_not():
    thresholds = np.array([0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
    trace = taken_for_another()
    points = curve(DECODER, trace, 0.75, thresholds=thresholds)
    apart = curve(DECODER, trace, 0.75, thresholds=thresholds, substitutions=False)
    assert points.false_alarms == pytest.approx([108, 72, 72, 36, 36, 0])
    assert apart.false_alarms == pytest.approx([72, 36, 36, 0, 0, 0])
    assert (points.miss_rate == apart.miss_rate).all()
    assert (choose(points, 1), choose(apart, 1)) == (0.95, 0.75)
    counts = count_words(DECODER, trace, 0.75, thresholds, substitutions=False)
    assert counts.false_alarms["no"].tolist() == [1, 0, 0, 0, 0, 0]
    assert count_words(DECODER, trace, 0.75, thresholds).false_alarms["no"].tolist() == [2, 1, 1, 1, 1, 0]
    assert choose_per_word(counts, target=1, margin=0) == {"yes": 0.75, "no": 0.55}


def test_thresholds_for_false_alarms_between_keywords():
    """The same trace validates and tests: one keyword is taken for another at every threshold but the highest."""
    made = detection()
    made.decoder, made.validation = DECODER, taken_for_another()
    made.testing = made.validation
    results = made.results()
    chosen = results["chosen_on_validation"][0]
    strict, between = chosen["overall"], chosen["between"]["overall"]
    assert (strict["miss_rate"], strict["substitutions"]) == (1.0, 0)
    assert 0.7 < between["threshold"] < 0.8 and between["miss_rate"] == pytest.approx(2 / 3)
    assert between["substitution_rate"] == pytest.approx(1 / 3)
    alarms = {kind: figures["false_alarms"] for kind, figures in between["kinds"].items()}
    assert (alarms["words"], alarms["between"]) == (1, 0)
    assert between["kinds"]["between"]["false_alarm_interval"] == pytest.approx([0, 3.6889 * 36], rel=1e-3)
    assert chosen["between"]["per_word"]["threshold"].keys() == {"yes", "no"}
    assert results["kinds"]["between"]["operating_points"][0]["miss_rate"] == pytest.approx(2 / 3)
    assert made.calibrate(1.0) > 0.85 > made.calibrate(1.0, substitutions=False)


def test_thresholds_per_word_keep_to_the_targets_of_other_streams_too():
    thresholds = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    hits = {"yes": np.array([9, 8, 7, 6, 5, 0.0]), "no": np.array([9, 9, 8, 7, 5, 0.0])}
    here = {"yes": np.array([4, 2, 1, 1, 0, 0.0]), "no": np.array([2, 1, 1, 0, 0, 0.0])}
    there = {"yes": np.array([0, 0, 0, 0, 0, 0.0]), "no": np.array([9, 8, 7, 1, 0, 0.0])}
    stream, other = WordCounts(thresholds, 1.0, hits, here), WordCounts(thresholds, 2.0, hits, there)
    assert choose_per_word(stream, 3, margin=0) == {"yes": 0.6, "no": 0.6}
    assert choose_per_word(stream, 3, [(other, 0.5)], margin=0) == {"yes": 0.6, "no": 0.8}  # one in two hours
    assert choose_per_word(stream, 3, [(other, 0.4)], margin=0) == {"yes": 0.6, "no": 0.9}
    there["yes"][-1] = 1
    assert choose_per_word(stream, 3, [(other, 0.4)], margin=0) is None


def test_counts_of_other_people_are_those_of_scores_with_a_normal_error():
    """The share of a normal distribution above each threshold, where one score was counted."""
    said = 1 / (1 + math.exp(-3.0))
    alarms = (said >= THRESHOLDS).astype(float)
    counts = WordCounts(THRESHOLDS, 1.0, {"yes": 2 * alarms}, {"yes": alarms})
    soft = expected(counts, margin=0.8)
    logit = np.log(THRESHOLDS[:-1] / (1 - THRESHOLDS[:-1]))
    inside = (logit > -1.5) & (logit < 10)
    above = [0.5 * math.erfc((x - 3.0 - 1 / 12) / 0.8 / math.sqrt(2)) for x in logit]  # between two thresholds
    np.testing.assert_allclose(soft.false_alarms["yes"][:-1][inside], np.array(above)[inside], atol=1e-3)
    np.testing.assert_allclose(soft.hits["yes"], 2 * soft.false_alarms["yes"])
    assert expected(counts, margin=0) is counts
    # A threshold lies as far above what was counted as one in twenty needs.
    found = choose_per_word(counts._replace(hits={"yes": 1 - THRESHOLDS}), 0.05, margin=0.8)["yes"]
    assert soft.false_alarms["yes"][found == THRESHOLDS] <= 0.05 < soft.false_alarms["yes"][found > THRESHOLDS].min()
    assert math.log(found / (1 - found)) == pytest.approx(3 + 1.645 * 0.8, abs=0.25)


def test_a_threshold_that_is_not_reached_never_reports():
    point = operating_point(DECODER, hand_made(), None, 0.75)
    assert (point["miss_rate"], point["false_alarms"], point["threshold"]) == (1.0, 0, None)


def test_joined_recordings_start_afresh():
    trace = Trace(np.ones(5, np.int16), np.full(5, 0.9, np.float32), (TRUTHS[0],), ((0.1, 0.2),), 1.0)
    both = join([trace, trace], hop_seconds=0.1)
    assert both.hours == 2
    assert both.truths[1].start == pytest.approx(1.5)
    assert both.speech[1] == pytest.approx((0.6, 0.7))
    # One run in each: without the fresh start the second would be the first going on.
    assert [r.time for r in reports(DECODER, both, np.array([0.5]))[0]] == pytest.approx([0.1, 0.6])


class Loudness:
    """A runtime that knows the words by their loudest sample: 0.5 is yes, 0.25 is no, anything else is silence."""

    name, labels, sample_rate, hop_size = "loudness", LABELS, RATE, HOP

    def start(self, streams=1):
        return streams

    def hear(self, samples, state):
        level = np.abs(samples).reshape(len(samples), -1, HOP).max(-1)
        label = np.select([np.abs(level - 0.5) < 0.02, np.abs(level - 0.25) < 0.02], [1, 2], 0)
        return Outputs(np.log(np.eye(3)[label] * 0.98 + 0.01).astype(np.float32), None), state


def clips():
    """Half a second of yes or no in the middle of each second; the last two have no label. Square waves of 10 Hz."""
    labels = np.array([1, 2] * 10 + [-1] * 2)
    samples = np.zeros((22, RATE), np.float32)
    samples[:, 25:75] = np.array([0.5, 0.25] * 10 + [0.9, 0.7])[:, None] * np.tile(
        [1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5
    )
    return samples, labels


def recipe(**changes):
    samples, labels = clips()
    return LongStream(samples, labels, LABELS, RATE, **{"hours": 0.1, "snr": [None], "gap": (1.0, 2.0), **changes})


def test_a_long_stream_says_what_is_where():
    stream = recipe(lanes=1)
    assert stream.speech_kind == OTHER_WORDS
    samples = np.concatenate([piece.samples for piece in stream.pieces()])
    truths = [truth for piece in stream.pieces() for truth in piece.truths]
    speech = [span for piece in stream.pieces() for span in piece.speech]
    assert len(samples) >= 0.1 * 3600 * RATE
    assert truths and speech
    for truth in truths:
        start, end = round(truth.start * RATE), round(truth.end * RATE)
        level = {"yes": 0.5, "no": 0.25}[truth.word]
        assert abs(samples[start + 3 : end - 3]) == pytest.approx(level)
        assert end - start == pytest.approx(50, abs=4)
    for start, end in speech:
        assert samples[round(start * RATE) : round(end * RATE)].max() in (np.float32(0.9), np.float32(0.7))


def test_a_long_stream_is_seeded():
    def first(**changes):
        return next(iter(recipe(**changes).pieces())).samples

    assert np.array_equal(first(snr=[10.0]), first(snr=[10.0]))
    assert not np.array_equal(first(snr=[10.0]), first(snr=[10.0], seed=2))


def test_the_background_has_the_stated_level():
    tone = np.sin(np.arange(5000) * 0.3)
    for noise in ((), (tone.astype(np.float32),), ((tone * 3000).astype(np.int16),)):
        stream = recipe(snr=[12.0], noise=noise, gap=(5.0, 5.0), keyword_share=1.0)
        background = np.concatenate([piece.samples[:500] for piece in stream.pieces()])
        decibel = 20 * np.log10(stream.speech_level / background.std())
        assert decibel == pytest.approx(12, abs=0.4)


def test_without_other_words_keywords_are_played_backwards():
    samples, labels = clips()
    samples[:, 25:50] /= 2
    stream = LongStream(samples[:20], labels[:20], LABELS, RATE, hours=0.1, snr=[None])
    assert stream.speech_kind == REVERSED_WORDS
    piece = next(piece for piece in stream.pieces() if piece.speech)
    assert piece.samples[-70:].max() == piece.samples[-70]  # the louder half comes first


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hours": 0}, "hours=0"),
        ({"gap": (3.0, 1.0)}, "gap="),
        ({"keyword_share": 0.0}, "keyword_share"),
        ({"snr": []}, "snr is empty"),
        ({"lanes": 0}, "lanes=0"),
    ],
)
def test_impossible_recipes_are_named(changes, named):
    with pytest.raises(KwsError, match=named):
        recipe(**changes)


def test_a_split_without_keywords_is_named():
    samples, _ = clips()
    with pytest.raises(KwsError, match="no clip of a keyword"):
        LongStream(samples, np.zeros(22, int), LABELS, RATE)


def test_a_perfect_runtime_misses_nothing():
    decoder = Decoder(LABELS, HOP / RATE, smoothing=0.2, refractory=0.3)
    trace = hear_lanes(Loudness(), decoder, recipe(lanes=3))
    assert trace.hours == pytest.approx(0.1, rel=0.01)
    assert len(trace.starts) == 3
    figures = operating_point(decoder, trace, 0.9, 0.3)
    assert (figures["misses"], figures["false_alarms"]) == (0, 0)
    assert figures["keywords"] == len(trace.truths) > 20
    assert -0.4 < figures["latency"]["median"] < 0
    # The same lane alone, heard piece by piece.
    alone = hear(Loudness(), decoder, recipe(lanes=3).pieces(0))
    count = trace.starts[1]
    assert np.array_equal(alone.score[:count], trace.score[:count])


def detection(folder=None, **changes):
    changes = {"tolerance": 0.3, **changes} if "protocol" not in changes else changes
    settings = DetectionSettings(hours=0.05, snr=[None], gap=(1.0, 2.0), lanes=2, **changes)
    decoder = Decoder(LABELS, HOP / RATE, smoothing=0.2, refractory=0.3)
    return Detection(Loudness(), decoder, clips(), clips(), settings=settings, negatives=folder)


def test_results_have_what_evaluation_json_promises(tmp_path):
    random = np.random.default_rng(0)
    quiet = 0.1 * random.random(60 * 1000)
    quiet[:30_000] = 0.0
    soundfile.write(tmp_path / "a.wav", quiet, 1000)
    (tmp_path / "b.wav").write_bytes(b"no recording")
    made = detection(tmp_path)
    results = made.results()
    assert [point["false_alarms_per_hour"] for point in results["operating_points"]] == [0.1, 0.5, 1.0, 10.0]
    for point in results["operating_points"]:
        assert point["miss_rate"] == 0
        assert point["measured_false_alarms_per_hour"] == 0
        assert 0 < point["threshold"] <= 1
    assert results["stream"]["other_speech"] == OTHER_WORDS
    chosen = results["chosen_on_validation"][2]
    assert chosen["per_word"]["miss_rate"] == 0
    assert set(chosen["per_word"]["threshold"]) == {"yes", "no"}
    assert results["negatives"]["hours"] == pytest.approx(1 / 60, rel=0.01)
    assert len(results["negatives"]["refused"]) == 1
    assert results["negatives"]["operating_points"][0]["miss_rate"] == 0


def babble(folder, seconds=60):
    """A recording in which the loudest sample of a word's level comes every four seconds."""
    folder.mkdir()
    samples = np.zeros(seconds * RATE)
    for start in range(1, seconds, 4):
        samples[start * RATE : start * RATE + RATE // 2] = 0.5 * np.tile([1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5)
    soundfile.write(folder / "a.flac", samples, RATE)


def test_false_alarms_are_counted_apart(tmp_path):
    """Fifteen a minute in one folder, none elsewhere; thresholds come from the validation stream, without any."""
    babble(tmp_path / "running")
    (tmp_path / "quiet").mkdir()
    soundfile.write(tmp_path / "quiet" / "a.wav", np.zeros(1000 * 30), 1000)
    results = detection({"running": tmp_path / "running", "quiet": [tmp_path / "quiet"]}).results()
    assert list(results["kinds"]) == ["words", "between", "noise", "silence", "running", "quiet"]
    for point in [*results["operating_points"], results["as_stored"]]:
        alarms = {kind: figures["false_alarms"] for kind, figures in point["kinds"].items() if kind != "noise"}
        assert alarms == {"words": 0, "between": 0, "silence": 0, "running": 15, "quiet": 0}
        running = point["kinds"]["running"]
        assert running["hours"] == pytest.approx(1 / 60, rel=0.01)
        assert running["false_alarms_per_hour"] == pytest.approx(900, rel=0.01)
        assert running["false_alarm_interval"] == pytest.approx(
            [8.3954 * 60, 24.7402 * 60], rel=0.01
        )  # Garwood's of 15
        assert point["false_alarms"] == 0, "never in a sum"
        assert "negatives" not in point
    kinds = results["kinds"]
    assert [point["target"] for point in kinds["running"]["operating_points"]] == [0.1, 0.5, 1.0, 5.0, 10.0]
    # No false alarm there without all of them: the bound is to miss every word.
    assert [point["miss_rate"] for point in kinds["running"]["operating_points"]] == [1.0] * 5
    assert [point["miss_rate"] for point in kinds["quiet"]["operating_points"]] == [0.0] * 5
    assert {round(rate, -2) for rate in kinds["running"]["curve"]["false_alarms"]} <= {0.0, 900.0}
    assert kinds["noise"]["hours"] == pytest.approx(0.025, rel=0.05)
    assert kinds["silence"]["hours"] == pytest.approx(0.005, rel=0.05)
    assert "negatives" not in results


def test_the_headline_is_what_the_validation_stream_chose():
    """Of words that score less in the test split than in the validation split, the threshold misses all."""
    made = detection()
    made.testing = made.testing._replace(score=made.testing.score * np.float32(0.5))
    results = made.results()
    assert [point["miss_rate"] for point in results["operating_points"]] == [1.0] * 4
    assert [point["miss_rate"] for point in results["bounds"]] == [0.0] * 4
    for point, chosen in zip(results["operating_points"], results["chosen_on_validation"], strict=True):
        assert point["threshold"] == chosen["overall"]["threshold"]
        assert point["target"] == point["false_alarms_per_hour"] == chosen["target"]


def test_a_protocol_brings_its_own_target_and_reference():
    results = detection(protocol="mlperf_tiny").results()
    assert [point["target"] for point in results["operating_points"]] == [0.1, 0.5, 1.0, 10.0, 12.0]
    assert results["protocol"] == {"name": "mlperf_tiny", "tolerance": 1.0, "debounce": 1.0}
    assert (results["reference"]["miss_rate"], results["reference"]["false_alarms_per_hour"]) == (0.2, 12.0)
    assert results["stream"]["tolerance"] == 1.0
    with pytest.raises(KwsError, match="protocol=other is unknown; choose from kws, mlperf_tiny"):
        DetectionSettings(protocol="other")
    with pytest.raises(KwsError, match=r"tolerance=0\.5 would not be"):
        DetectionSettings(protocol="mlperf_tiny", tolerance=0.5)


def test_negatives_by_name():
    assert by_name(None) == {}
    assert by_name("a") == {"negatives": ["a"]}
    assert by_name(["a", "b"]) == {"negatives": ["a", "b"]}
    assert by_name({"running": "a", "tv": ["b", "c"]}) == {"running": ["a"], "tv": ["b", "c"]}
    with pytest.raises(KwsError, match=r"negatives\.noise: that is what"):
        by_name({"noise": "a"})
    with pytest.raises(KwsError, match=r"negatives\.tv names no folder"):
        by_name({"tv": None})


def test_calibration():
    threshold = detection().calibrate(1.0)
    assert 0.5 < threshold <= 1
    assert set(detection().calibrate(1.0, per_word=True)) == {"yes", "no"}

    class Chatter(Loudness):
        def hear(self, samples, state):
            label = np.arange(samples.shape[1] // HOP) // 5 % 2 + 1
            return Outputs(
                np.log(np.eye(3)[label] + 1e-30)[None].repeat(len(samples), 0).astype(np.float32), None
            ), state

    settings = DetectionSettings(hours=0.02, snr=[None], lanes=1)
    always = Detection(Chatter(), Decoder(LABELS, HOP / RATE, smoothing=0.0), clips(), None, settings=settings)
    with pytest.raises(KwsError, match="no threshold brings the false alarms"):
        always.calibrate(1.0)


def test_long_recordings(tmp_path):
    with pytest.raises(KwsError, match="is no folder"):
        recordings.find_recordings(tmp_path / "none")
    with pytest.raises(KwsError, match="holds no recording"):
        recordings.find_recordings(tmp_path)
    wave = np.sin(np.arange(25 * 800) * 0.05) * 0.5
    soundfile.write(tmp_path / "long.flac", np.stack([wave, wave], 1), 800)
    blocks = list(recordings.blocks(tmp_path / "long.flac", RATE))
    assert len(blocks) > 2
    assert sum(map(len, blocks)) == pytest.approx(25 * RATE, abs=2)
    soundfile.write(tmp_path / "nan.wav", np.full(900, np.nan, np.float32), 800, subtype="FLOAT")
    with pytest.raises(BrokenRecording, match="NaN"):
        list(recordings.blocks(tmp_path / "nan.wav", RATE))
    with pytest.raises(KwsError, match="none of the recordings"):
        (tmp_path / "long.flac").unlink()
        detection(tmp_path)


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_word_spans(noise):
    random = np.random.default_rng(1)
    waveform = noise * random.standard_normal(8000)
    waveform[2000:4000] += 0.5 * np.sin(np.arange(2000) * 0.3)
    waveform[5000:5400] += 0.1 * random.standard_normal(400)  # a final t after its closure
    start, end = word_span(waveform, 8000)
    assert start == pytest.approx(0.25, abs=0.03)
    assert end == pytest.approx(0.675, abs=0.03)
    assert word_span(np.zeros(8000), 8000) == (0.0, 1.0)


def test_pieces_hold_arrays():
    assert Piece(np.zeros(1), (), ()).samples.size == 1
