"""What a program calls: blocks of any size, several streams, settings that change while it runs."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from kws.native import CModel
from kws.spotter import StreamingSpotter
from kws.spotter.decoder import Decoder
from kws.support.errors import KwsError
from tests.native.spotters import DECODER, audio, make_spotter, model, need_compiler, said, spotter


def numbers(seconds=6.0, streams=1):
    return audio(seconds, streams).numpy()


def whole(samples):
    """The detections of one stream in one block."""
    (found,), _ = model().detect(samples, model().start())
    return found


@pytest.fixture(scope="module", autouse=True)
def _compiler():
    need_compiler()


def test_there_is_something_to_hear():
    assert {d.word for d in whole(numbers())} == {"yes", "no"}


@pytest.mark.parametrize("sizes", [(1,), (7, 0, 111), (40,), (39, 41), (5000,)], ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_blocks_of_any_size(sizes, kind):
    samples = numbers()
    if kind is np.int16:
        samples = (samples * 32767).astype(np.int16)
    (expected,), end = model().detect(samples, model().start())
    state, found, start, i = model().start(), [], 0, 0
    while start < samples.shape[1]:
        size = sizes[i % len(sizes)]
        (some,), state = model().detect(samples[:, start : start + size], state)
        found, start, i = found + some, start + size, i + 1
    assert found == expected
    assert np.array_equal(state, end)


def test_integers_are_the_numbers_that_they_stand_for():
    integers = (numbers() * 32767).astype(np.int16)
    (ours,), _ = model().detect(integers, model().start())
    assert ours == whole(integers.astype(np.float32) / 32768)
    streaming = StreamingSpotter(spotter())
    heard, _ = streaming.stream(integers, streaming.initial_state())
    assert said(ours) == said(heard.detections[0])


def test_streams_do_not_know_of_each_other():
    samples = numbers(3.0, streams=5)
    outputs, _ = model().hear(samples, model().start(5))
    for b in range(5):
        alone, _ = model().hear(samples[b : b + 1], model().start())
        assert np.array_equal(outputs.log_probabilities[b], alone.log_probabilities[0])
    for words, row in zip(model().detect(samples, model().start(5))[0], samples, strict=True):
        assert words == whole(row[None])


def test_a_state_is_left_as_it_was():
    samples = numbers(2.0)
    state = model().start()
    _, after = model().hear(samples, state)
    assert np.array_equal(state, model().start())
    again, _ = model().hear(samples, after)
    also, _ = model().hear(samples, after.copy())
    assert np.array_equal(again.log_probabilities, also.log_probabilities)


def test_reset():
    samples = numbers(2.0)
    _, after = model().hear(samples, model().start())
    assert np.array_equal(model().reset(after), model().start())
    settings = model().settings(after)
    settings.refractory = 77
    fresh = model().reset(after)
    assert model().settings(fresh).refractory == 77
    # The network alone: what PyTorch computes from a state whose classifier is zero.
    frames, theirs = spotter().stream(torch.from_numpy(samples), spotter().initial_state())
    theirs = theirs._replace(classifier=tuple(torch.zeros_like(tensor) for tensor in theirs.classifier))
    with torch.no_grad():
        frames, _ = spotter().stream(torch.from_numpy(samples[:, :400]), theirs)
    outputs, _ = model().hear(samples[:, :400], model().reset(after, network_alone=True))
    np.testing.assert_allclose(outputs.log_probabilities, frames.log_probabilities.numpy(), atol=1e-5)


def test_a_hop_drops_what_waits():
    samples = numbers(2.0)[:, :800]
    state = model().start()
    _, state = model().detect(numbers(3.0)[:, 1500:1517], state)
    outputs, _ = model().hear(samples, state)
    expected, _ = model().hear(samples, model().start())
    assert np.array_equal(outputs.log_probabilities, expected.log_probabilities)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": {"yes": 0.3, "no": 0.6}},
        {"smoothing": 0.04},
        {"smoothing": 0.48},
        {"consecutive": 1, "refractory": 0.0},
        {"consecutive": 4, "refractory": 1.0},
    ],
    ids=str,
)
def test_settings_may_change_while_it_runs(change):
    """As if the decoder had been another one from some hop on, that has heard what the first one has."""
    samples = numbers(9.0)
    half = samples.shape[1] // 80 * 40
    c = spotter()
    (before,), state = model().detect(samples[:, :half], model().start())
    other = Decoder(c.labels, c.featurizer.hop_seconds, **{**DECODER, **change})
    settings = model().settings(state)
    settings.threshold[:] = other.thresholds.tolist()
    settings.smoothing, settings.consecutive, settings.refractory = other.window, other.consecutive, other.wait
    (after,), _ = model().detect(samples[:, half:], state)

    with torch.no_grad():
        frames, _ = c.stream(torch.from_numpy(samples), c.initial_state())
    hops = half // 40
    heard = torch.from_numpy(samples)
    first, decoder_state = c.decoder.stream(
        frames.log_probabilities[:, :hops], c.decoder.initial_state(), heard[:, :half], frames.signal[:, :hops]
    )
    # The posteriors that a longer average asks for, and the run and the waiting time as they stand.
    known = frames.log_probabilities[:, :hops, other.words].exp()
    past = torch.cat([torch.zeros(1, other.window, len(other.words)), known], dim=1)
    past = past[:, past.shape[1] - (other.window - 1) :]
    decoder_state = decoder_state._replace(past=past)
    rest = heard[:, half : half + (frames.log_probabilities.shape[1] - hops) * 40]
    second, _ = other.stream(frames.log_probabilities[:, hops:], decoder_state, rest, frames.signal[:, hops:])
    assert said(before) == said(c.decoder.detections(first, torch.zeros(1, dtype=torch.int64))[0])
    assert said(after) == said(other.detections(second, torch.tensor([hops]))[0])


def test_a_threshold_above_1_takes_a_label_out():
    samples = numbers()
    words = make_spotter(decoder={**DECODER, "threshold": 0.3, "ignored": []})
    alone = make_spotter(decoder={**DECODER, "threshold": 0.3, "ignored": ["_silence_", "yes"]})
    found = {}
    for name, c in (("words", words), ("alone", alone)):
        model = CModel.of(c)
        state = model.start()
        if name == "words":
            model.settings(state).threshold[:] = [2.0, 1.5, 0.3]
        (found[name],), _ = model.detect(samples, state)
    assert found["words"] == found["alone"]
    assert {d.word for d in found["alone"]} == {"no"}
    model = CModel.of(words)
    state = model.start()
    model.settings(state).threshold[:] = [2.0, 2.0, 2.0]
    assert model.detect(samples, state)[0] == [[]]


def test_settings_out_of_range_are_taken_as_the_nearest():
    samples = numbers()
    for name, value, nearest in (
        ("smoothing", 10**6, model().max_smoothing),
        ("smoothing", -3, 1),
        ("consecutive", -5, 1),
        ("refractory", -9, 0),
    ):
        found = []
        for number in (value, nearest):
            state = model().start()
            setattr(model().settings(state), name, number)
            found.append(model().detect(samples, state)[0])
        assert found[0] == found[1]


def test_the_detectors_parameters_may_change_too():
    samples = numbers()
    changed = copy.deepcopy(spotter())
    parameters = {"tau_up": 0.3, "tau_down": 0.2, "large_input": 1.1, "gain_att": 0.1, "threshold_up": 2.5}
    parameters |= {"threshold_down": 1.2, "level_threshold": 0.02}
    changed.vad.settings.update(parameters)
    state = model().start()
    settings = model().settings(state).detector
    assert settings.tau_up == pytest.approx(0.5)
    for name, value in parameters.items():
        setattr(settings, name, value)
    outputs, _ = model().hear(samples, state)
    with torch.no_grad():
        frames, _ = changed.stream(torch.from_numpy(samples), changed.initial_state())
        other, _ = spotter().stream(torch.from_numpy(samples), spotter().initial_state())
    assert np.array_equal(outputs.signal, frames.signal.numpy())
    assert not np.array_equal(outputs.signal, other.signal.numpy())
    np.testing.assert_allclose(outputs.log_probabilities, frames.log_probabilities.numpy(), atol=1e-5)


def test_what_is_stored_is_what_it_starts_with():
    settings = model().settings(model().start())
    decoder = spotter().decoder
    np.testing.assert_allclose(list(settings.threshold), decoder.thresholds.numpy())
    stored = (settings.smoothing, settings.consecutive, settings.refractory)
    assert stored == (decoder.window, decoder.consecutive, decoder.wait)
    for name, value in spotter().vad.settings.items():
        if hasattr(settings.detector, name):
            assert getattr(settings.detector, name) == np.float32(value)


def test_what_it_says_of_itself():
    m, c = model(), spotter()
    assert (m.name, m.labels, m.sample_rate, m.hop_size) == ("c", c.labels, c.sample_rate, c.featurizer.hop_size)
    assert m.has_detector
    assert m.num_features == 12
    assert m.state_bytes % 8 == 0


def test_the_detectors_level_can_be_read():
    samples = numbers(2.0)
    _, state = model().hear(samples, model().start())
    with torch.no_grad():
        features, _ = spotter().featurizer.stream(torch.from_numpy(samples), spotter().featurizer.initial_state())
        _, theirs = spotter().vad.stream(features, spotter().vad.initial_state())
    level, floor = model().detector(state)
    assert level == pytest.approx(float(spotter().vad.level(features)[0, -1]), rel=1e-6)
    assert floor == pytest.approx(float(theirs.noise_floor), rel=1e-6)


def test_the_decoder_alone():
    samples = numbers()
    outputs, _ = model().hear(samples, model().start())
    found, _ = model().decode(outputs.log_probabilities[0], samples[0], outputs.signal[0], model().start())
    assert found == whole(samples)


def test_broken_samples_are_what_they_are_in_python():
    samples = numbers(3.0)
    samples[0, 100], samples[0, 500:503] = np.nan, np.inf
    samples[0, 900:1100], samples[0, 1200] = 7.0, -1.5
    streaming = StreamingSpotter(spotter())
    heard, theirs = streaming.stream(samples, streaming.initial_state())
    outputs, state = model().hear(samples, model().start())
    np.testing.assert_allclose(outputs.log_probabilities, heard.frames.log_probabilities.numpy(), atol=1e-5)
    assert np.isfinite(outputs.log_probabilities).all()
    # repaired and clipped follow each other in kws_state, behind voice.
    counts = np.frombuffer(state[0].tobytes(), np.uint32)
    pair = (int(theirs.repaired), int(theirs.clipped))
    assert pair == (4, 201)
    assert pair in pairwise(counts)


def test_a_shape_that_is_wrong_is_named():
    with pytest.raises(KwsError, match=r"shape \(1, 41\).*whole number of hops of 40"):
        model().hear(np.zeros((1, 41), np.float32), model().start())
    with pytest.raises(KwsError, match="state of 2 streams"):
        model().hear(np.zeros((1, 40), np.float32), model().start(2))


def test_two_models_live_side_by_side():
    other = make_spotter("lstm", hop_size=64, decoder=DECODER)
    theirs = CModel.of(other)
    samples = numbers(2.0)[:, :1920]
    first, _ = model().hear(samples, model().start())
    second, _ = theirs.hear(samples, theirs.start())
    again, _ = model().hear(samples, model().start())
    assert np.array_equal(first.log_probabilities, again.log_probabilities)
    with torch.no_grad():
        frames, _ = other.stream(torch.from_numpy(samples), other.initial_state())
    np.testing.assert_allclose(second.log_probabilities, frames.log_probabilities.numpy(), atol=1e-5)


def gate_signals() -> dict[str, np.ndarray]:
    """What the noise gate is about, 4 s each."""
    random, count = np.random.default_rng(4), 4000
    noise = random.normal(size=count)
    onset = np.where(np.arange(count) < 2000, 0.003, 0.2) * noise
    return {
        "silence": np.zeros(count),
        "dither": random.integers(-1, 2, count) / 32768,
        "offset": np.full(count, 0.7),
        "offset with dither": 0.7 + random.integers(-1, 2, count) / 32768,
        "noise": 0.1 * noise,
        "onset": onset,
        "onset on an offset": 0.4 + onset,
        "bursts": np.where(np.arange(count) // 400 % 3 == 0, 0.3, 0.001) * noise,
    }


@pytest.mark.parametrize("name", gate_signals())
def test_no_word_out_of_silence_with_any_setting(name):
    """At a threshold of 0 every hop would be a word; the gate says in which one may be heard, as in Python."""
    samples = gate_signals()[name].astype(np.float32)[None]
    own = make_spotter(decoder={**DECODER, "threshold": 0.0, "refractory": 0.0}, seed=3)
    streaming = StreamingSpotter(own)
    heard, _ = streaming.stream(samples, streaming.initial_state())
    state = model().start()
    settings = model().settings(state)
    settings.threshold[:] = [0.0] * len(own.labels)
    settings.refractory = 0
    (found,), _ = model().detect(samples, state)
    assert said(found) == said(heard.detections[0])
    if name in ("silence", "dither", "offset", "offset with dither"):
        assert found == []
    if name in ("onset", "bursts"):
        assert found
