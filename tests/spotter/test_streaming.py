"""A stream is the same however it is cut, batched or reset, and bad audio does what the documentation says."""

import resource
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.streaming import PARTS, StreamingSpotter, clean
from kws.spotter.vad import VoiceActivityDetector
from kws.support.errors import KwsError

LABELS = ("_silence_", "yes", "no")


def make_spotter(seed=27, sample_rate=1000, window=64, hop=40, vad=True, cell="gru", **decoder):
    torch.manual_seed(seed)
    featurizer = Featurizer(sample_rate=sample_rate, window_size=window, hop_size=hop, num_filters=6)
    detector = VoiceActivityDetector(6, hop / sample_rate, tau_up=0.5, threshold_up=1.5) if vad else None
    network = RecurrentClassifier(6, 3, cell=cell, hidden_size=5)
    with torch.no_grad():  # untrained networks answer nearly the same to everything; make this one lively
        for weight in network.parameters():
            weight *= 5
    decoder = {"smoothing": 0.08, "threshold": 0.4, "refractory": 0.1, **decoder}
    return Spotter(featurizer, network, LABELS, vad=detector, decoder=decoder).eval()


def audio(seconds=6.0, streams=1, rate=1000, seed=1):
    """Bursts of noise with pauses, (streams, samples) float32."""
    random = np.random.default_rng(seed)
    samples = random.normal(size=(streams, int(seconds * rate))) * 0.3
    loud = np.repeat(random.random((streams, int(seconds * 4) + 1)) > 0.5, rate // 4, axis=1)[:, : samples.shape[1]]
    return torch.from_numpy((samples * np.where(loud, 1.0, 0.01)).clip(-1, 1).astype(np.float32))


def run(streaming, blocks, state=None, **options):
    state = state or streaming.initial_state(len(blocks[0]))
    found, outputs = [[] for _ in range(len(blocks[0]))], []
    for block in blocks:
        heard, state = streaming.stream(block, state, **options)
        outputs.append(heard.frames.log_probabilities)
        for row, more in zip(found, heard.detections, strict=True):
            row += more
    return found, torch.cat(outputs, 1), state


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 4000), max_size=8), vad=st.booleans(), cell=st.sampled_from(["gru", "lstm"]))
def test_blocks_of_any_size(cuts, vad, cell):
    streaming = StreamingSpotter(make_spotter(vad=vad, cell=cell), chunk_hops=7)
    samples = audio(4.0, streams=2)
    edges = [0, *sorted(cuts), 4000]
    found, outputs, state = run(streaming, [samples[:, a:b] for a, b in pairwise(edges)])
    whole, expected, end = run(StreamingSpotter(streaming.spotter), [samples])
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    assert [[d[:2] for d in row] for row in found] == [[d[:2] for d in row] for row in whole]
    assert any(whole), "the stream should hold detections to compare"
    assert torch.equal(state.leftover, end.leftover)
    assert state.decoder.frames.tolist() == [100, 100]


def test_blocks_of_one_sample():
    streaming = StreamingSpotter(make_spotter())
    samples = audio(1.0)
    found, outputs, _ = run(streaming, [samples[:, i : i + 1] for i in range(samples.shape[1])])
    whole, expected, _ = run(streaming, [samples])
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    assert [d[:2] for d in found[0]] == [d[:2] for d in whole[0]]


def test_a_block_of_ten_minutes():
    streaming = StreamingSpotter(make_spotter(window=256, hop=256), chunk_hops=256)
    samples = audio(600.0)
    heard, state = streaming.stream(samples, streaming.initial_state())
    assert heard.frames.log_probabilities.shape == (1, 600_000 // 256, 3)
    assert state.leftover.shape == (1, 600_000 % 256)
    _, expected, _ = run(streaming, list(samples.split(100_000, dim=1)))
    torch.testing.assert_close(heard.frames.log_probabilities, expected, atol=1e-5, rtol=0)


def test_equals_the_spotter_and_its_vad():
    spotter = make_spotter(window=40)
    samples = audio(4.0)
    heard, _ = StreamingSpotter(spotter).stream(samples, StreamingSpotter(spotter).initial_state())
    with torch.no_grad():
        frames, _ = spotter.stream(samples, spotter.initial_state())
    assert torch.equal(heard.frames.signal, frames.signal)
    assert 0 < frames.signal.float().mean() < 1
    torch.testing.assert_close(heard.frames.log_probabilities, frames.log_probabilities, atol=1e-6, rtol=0)


def test_a_batch_of_streams_is_its_streams():
    streaming = StreamingSpotter(make_spotter())
    samples = audio(3.0, streams=3)
    found, outputs, _ = run(streaming, [samples])
    for b in range(3):
        alone, expected, _ = run(streaming, [samples[b : b + 1]])
        torch.testing.assert_close(outputs[b : b + 1], expected, atol=1e-5, rtol=0)
        assert [d[:2] for d in found[b]] == [d[:2] for d in alone[0]]


def test_the_state_that_went_in_is_left_as_it_was():
    streaming = StreamingSpotter(make_spotter())
    state = run(streaming, [audio(1.0)])[2]
    copies = [tensor.clone() for tensor in tensors(state)]
    streaming.stream(audio(1.0, seed=2), state)
    streaming.reset(state)
    assert all(torch.equal(a, b) for a, b in zip(copies, tensors(state), strict=True))


def tensors(state):
    return [state] if isinstance(state, torch.Tensor) else [t for part in state for t in tensors(part)]


def test_a_reset_stream_is_a_fresh_one():
    streaming = StreamingSpotter(make_spotter())
    later = audio(2.0, seed=5)
    state = streaming.reset(run(streaming, [audio(3.01)])[2])
    found, outputs, _ = run(streaming, [later], state)
    fresh, expected, _ = run(streaming, [later])
    assert found == fresh
    assert torch.equal(outputs, expected)


def test_one_stream_of_a_batch_is_reset():
    streaming = StreamingSpotter(make_spotter())
    first, later = audio(3.0, streams=2), audio(2.0, streams=2, seed=5)
    kept = run(streaming, [first])[2]
    state = streaming.reset(kept, streams=[1])
    _, outputs, _ = run(streaming, [later], state)
    torch.testing.assert_close(outputs[:1], run(streaming, [later], kept)[1][:1])
    torch.testing.assert_close(outputs[1:], run(streaming, [later[1:]])[1])


def test_parts_are_reset_by_name():
    streaming = StreamingSpotter(make_spotter())
    state = run(streaming, [audio(1.01)])[2]
    cleared = streaming.reset(state, "classifier")
    assert all((tensor == 0).all() for tensor in cleared.spotter.classifier)
    assert cleared.decoder._replace(gate=None) == state.decoder._replace(gate=None)
    assert cleared.decoder.gate.background.isinf().all()
    assert torch.equal(cleared.leftover, state.leftover)
    assert streaming.reset(state, "audio").leftover.shape == (1, 0)
    assert streaming.reset(state, "decoder").decoder.frames.tolist() == [0]
    with pytest.raises(KwsError, match="no part 'network'"):
        streaming.reset(state, "network")
    assert set(PARTS) >= set(state.spotter._fields)


def test_not_finite_samples_are_silence():
    streaming = StreamingSpotter(make_spotter())
    broken, repaired = audio(2.0), audio(2.0)
    broken[0, 500:510], broken[0, 700] = float("nan"), float("inf")
    repaired[0, 500:510], repaired[0, 700] = 0.0, 0.0
    _, outputs, state = run(streaming, [broken])
    assert torch.equal(outputs, run(streaming, [repaired])[1])
    assert state.repaired.tolist() == [11]
    assert outputs.isfinite().all()


def test_only_bad_audio_never_breaks_the_stream():
    streaming = StreamingSpotter(make_spotter())
    for value in (float("nan"), float("inf"), -float("inf"), 0.0, 1e30, -1.0):
        _, outputs, _ = run(streaming, [torch.full((1, 2000), value)])
        assert outputs.isfinite().all(), value


def test_samples_beyond_full_scale_are_clipped():
    streaming = StreamingSpotter(make_spotter())
    loud = audio(1.0) * 3
    _, outputs, state = run(streaming, [loud])
    assert torch.equal(outputs, run(streaming, [loud.clamp(-1, 1)])[1])
    assert state.clipped.tolist() == [int((loud.abs() > 1).sum())]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int8, np.uint8, np.int64, np.float64, np.float16, ">i2"])
def test_sample_types(dtype):
    values = np.array([-0.5, 0.0, 0.25])
    kind = np.dtype(dtype)
    if kind.kind == "u":
        array = (values * 128 + 128).astype(kind)
    elif kind.kind == "i":
        array = (values * {1: 2**7, 4: 2**31}.get(kind.itemsize, 2**15)).astype(kind)
    else:
        array = values.astype(kind)
    samples, _, _ = clean(array)
    assert samples.dtype == torch.float32
    assert samples.tolist() == [[-0.5, 0.0, 0.25]]


@pytest.mark.parametrize("array", [np.zeros(3, bool), np.zeros(3, complex), np.array(["a"]), np.zeros(3, np.uint16)])
def test_what_is_no_audio_is_refused(array):
    with pytest.raises(KwsError, match="mean nothing here"):
        clean(array)


def test_wrong_shapes_are_refused():
    streaming = StreamingSpotter(make_spotter())
    with pytest.raises(KwsError, match="shape"):
        streaming.stream(torch.zeros(1, 2, 3), streaming.initial_state())
    with pytest.raises(KwsError, match="2 streams came with the state of 1"):
        streaming.stream(torch.zeros(2, 30), streaming.initial_state())


def test_a_change_of_rate_is_refused_and_the_stream_goes_on():
    streaming = StreamingSpotter(make_spotter())
    samples = audio(2.0)
    _, first, state = run(streaming, [samples[:, :1000]], sample_rate=1000)
    with pytest.raises(KwsError, match="16000 Hz, but this spotter hears 1000 Hz"):
        streaming.stream(samples[:, 1000:], state, sample_rate=16000)
    _, second, _ = run(streaming, [samples[:, 1000:]], state, sample_rate=1000)
    torch.testing.assert_close(torch.cat([first, second], 1), run(streaming, [samples])[1], atol=1e-5, rtol=0)


def test_listen_gives_detections_as_they_come():
    streaming = StreamingSpotter(make_spotter())
    samples = audio(3.0)
    found = list(streaming.listen(samples[0].numpy()[i : i + 333] for i in range(0, 3000, 333)))
    assert [d[:2] for d in found] == [d[:2] for d in run(streaming, [samples])[0][0]]


def test_24_hours_with_flat_memory_and_no_drift():
    """A day of audio, a hop of four seconds so that the test takes one; ten minutes a block."""
    streaming = StreamingSpotter(make_spotter(sample_rate=200, window=1024, hop=800), chunk_hops=100)
    block = audio(600.0, rate=200)
    state = streaming.initial_state()
    for number in range(144):
        _, state = streaming.stream(block, state)
        if number == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 4096, f"{grown} KiB more after a day than after three hours"
    assert state.decoder.frames.tolist() == [21_600]
    fresh = streaming.initial_state()
    ours, _ = streaming.stream(block, streaming.reset(state))
    theirs, _ = streaming.stream(block, fresh)
    assert torch.equal(ours.frames.log_probabilities, theirs.frames.log_probabilities)
    assert ours.detections == theirs.detections


def test_blocks_as_sound_cards_hand_them_over():
    """(samples, channels): one channel is taken, more are refused in a sentence that says so."""
    streaming = StreamingSpotter(make_spotter())
    samples = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    state = streaming.initial_state()
    flat, _ = streaming.stream(samples, state)
    column, _ = streaming.stream(samples[:, None], state)
    assert torch.equal(flat.frames.log_probabilities, column.frames.log_probabilities)
    with pytest.raises(KwsError, match=r"shape \(4000, 2\) is of 2 channels; hand in one"):
        streaming.stream(np.stack([samples, samples], 1), state)
    one, _, _ = clean(np.int16([[100], [200], [300]]))
    assert one.shape == (1, 3)
    many, _, _ = clean(np.zeros((3, 1)), streams=3)
    assert many.shape == (3, 1), "three streams with a sample each"
