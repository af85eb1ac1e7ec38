import time

import numpy as np
import pytest

from kws.ell import archive
from kws.ell.interpreter import Interpreter, run, vad_weights
from kws.support.errors import KwsError
from tests.ell.vectors import CLASSIFIERS, FEATURIZERS, GOLDEN, VAD, VAD_CLASSIFIERS, beside, names

AUDIO = np.load(GOLDEN / "featurizer" / "audio_pm1.npy")
FEATURES = np.load(GOLDEN / "vad" / "vadseq.features.npy")


def hops(samples: np.ndarray, hop: int) -> np.ndarray:
    return samples[: len(samples) // hop * hop].reshape(-1, hop)


@pytest.mark.parametrize("path", FEATURIZERS, ids=names)
def test_featurizers_compute_what_ell_computed(path):
    model = archive.read(path)
    expected = beside(path, ".out.npy")
    found = run(model, hops(AUDIO, model.input_size))
    # The relative part is one step of float32: f8k_all has values of 180.
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=np.finfo(np.float32).eps)


@pytest.mark.parametrize("path", CLASSIFIERS, ids=names)
def test_classifiers_compute_what_ell_computed(path):
    found = run(archive.read(path), beside(path, ".input.npy"))
    np.testing.assert_allclose(found, beside(path, ".compute.npy"), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sequence", ["vadseq", "speech"])
def test_vad_agrees_on_every_frame(sequence):
    features = np.load(GOLDEN / "vad" / f"{sequence}.features.npy")
    expected = np.load(GOLDEN / "vad" / f"{sequence}.vad.compute.npy")
    np.testing.assert_array_equal(run(archive.read(VAD), features)[:, 0], expected)


@pytest.mark.parametrize(("semantics", "suffix"), [("compiled", ".native.npy"), ("interpreter", ".compute.npy")])
@pytest.mark.parametrize("path", VAD_CLASSIFIERS, ids=names)
def test_resets_agree_on_every_frame(path, semantics, suffix):
    found = run(archive.read(path), FEATURES, semantics)
    np.testing.assert_allclose(found, beside(path, suffix), atol=1e-6, rtol=0)


@pytest.mark.parametrize("path", VAD_CLASSIFIERS, ids=names)
def test_the_two_semantics_differ_on_reset_frames_only(path):
    model = archive.read(path)
    vad = run(model, FEATURES, outputs=[model.vad.id])[model.vad.id][:, 0]
    falls = np.flatnonzero((vad[:-1] == 1) & (vad[1:] == 0)) + 1
    difference = np.abs(run(model, FEATURES) - run(model, FEATURES, "interpreter")).max(axis=1)
    assert len(falls)
    assert set(np.flatnonzero(difference > 1e-6)) == set(falls)


@pytest.mark.parametrize("path", [FEATURIZERS[6], CLASSIFIERS[1], VAD_CLASSIFIERS[-1]], ids=names)
def test_pieces_give_what_the_whole_gives(path):
    model = archive.read(path)
    width = model.input_size
    frames = hops(AUDIO, width) if "featurizer" in str(path) else FEATURES
    pieces = Interpreter(model)
    found = np.concatenate([pieces.run(frames[i:j]) for i, j in [(0, 1), (1, 1), (1, 8), (8, 9), (9, None)]])
    np.testing.assert_allclose(found, run(model, frames), atol=1e-6, rtol=1e-6)


def test_reset_starts_again_but_keeps_the_trigger():
    model = archive.read(VAD_CLASSIFIERS[0])
    interpreter = Interpreter(model)
    first = interpreter.run(FEATURES)
    interpreter.reset()
    # The sequence ends with a silent VAD, so nothing is left over from the trigger.
    np.testing.assert_array_equal(interpreter.run(FEATURES), first)

    loud = int(np.flatnonzero(run(model, FEATURES, outputs=[model.vad.id])[model.vad.id][:, 0])[0])
    interpreter.reset()
    interpreter.run(FEATURES[: loud + 1])
    interpreter.reset()
    after = interpreter.run(FEATURES[:3])
    # The trigger was 1 and is 0 on the first frame: the state is cleared once more after it.
    assert not np.allclose(after[1], first[1], atol=1e-6)
    np.testing.assert_allclose(after[0], first[0], atol=1e-7)
    np.testing.assert_allclose(after[1], run(model, FEATURES[1:2])[0], atol=1e-6)


def test_trace_shows_every_step():
    model = archive.read(CLASSIFIERS[1])
    frames = beside(CLASSIFIERS[1], ".input.npy")
    trace = Interpreter(model).trace(frames)
    assert list(trace) == [node.id for node in model.nodes if not node.TYPE.startswith("ConstantNode")]
    np.testing.assert_array_equal(trace[model.nodes[-1].id], run(model, frames))
    sizes = model.sizes()
    assert all(value.shape == (len(frames), sizes[name]) for name, value in trace.items())
    normalised = (frames - frames.mean()) - (frames[:1] - frames.mean()) + trace[model.named("xs").id][:1]
    np.testing.assert_allclose(trace[model.named("xs").id], normalised, atol=1e-5)


def test_the_vad_keeps_time_in_float32_as_ell_does():
    # After 2**17 frames the float32 clock moves by 31.25 or 32.5 ms, no longer by 32, and so does the noise floor.
    vad = Interpreter(archive.read(VAD)).steps[1][1]
    levels = np.full((1, 40), 1.0, np.float32)
    vad.frame, vad.last_time = 131_100, np.float32(131_099) * np.float32(0.032)
    vad(levels)
    step = np.float32(131_100) * np.float32(0.032) - np.float32(131_099) * np.float32(0.032)
    assert abs(step - 0.032) > 1e-4
    level = np.float32(0)
    for weight in vad.weights:
        level += weight
    level /= np.float32(40)
    expected = np.float32(0.1) + np.float32(0.002885) * step / np.float32(1.54) * (level - np.float32(0.1))
    assert vad.floor == expected


def test_vad_weights_follow_the_message_curve():
    weights = vad_weights(40)  # 100 Hz per bin
    assert weights[0] == 0
    np.testing.assert_allclose(weights[[1, 10, 39]], 10 ** (np.array([-41.71, 0.03, -13.72]) / 10), rtol=1e-6)


@pytest.mark.parametrize("frames", [np.zeros((3, 7)), np.zeros(40)])
def test_frames_of_another_width_are_refused(frames):
    with pytest.raises(KwsError, match="40 values"):
        run(archive.read(CLASSIFIERS[0]), frames)


def test_unknown_semantics_is_refused():
    with pytest.raises(KwsError, match="compiled or interpreter"):
        Interpreter(archive.read(VAD), "native")


def test_no_frames_give_no_output():
    assert run(archive.read(CLASSIFIERS[0]), np.zeros((0, 40))).shape == (0, 11)


def test_minutes_of_features_take_seconds():
    model = archive.read(VAD_CLASSIFIERS[0])
    frames = np.tile(FEATURES, (20, 1))
    start = time.process_time()
    assert len(run(model, frames)) == len(frames)
    assert time.process_time() - start < 5  # 164 s of audio; an hour takes about 4 s on an idle machine
