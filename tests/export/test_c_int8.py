"""export.c.weights=int8: exports/c_int8 is there whole, its twin to the last bit, or not at all."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kws.export import c_int8
from kws.export.base import TRAINING_CLIPS, Probe
from kws.export.c import CExport
from kws.export.c import check as check_floats
from kws.export.c_int8 import Heard, check, twin
from kws.export.parity import ParityError
from kws.native import CModel, compiler
from kws.program import stored
from kws.program.quantized import Scores
from kws.spotter.quantized import quantized
from kws.spotter.runtime import TorchRuntime
from kws.support.errors import KwsError
from tests.export.test_c import FILES, clips, written
from tests.native.spotters import DECODER, audio, make_spotter, model, need_compiler, spotter
from tests.program.test_quant_spotter import make as composed


def features(own) -> np.ndarray:
    with torch.no_grad():
        return own.features(audio(2.0, streams=8, seed=5)).numpy()


def probe(seconds=10) -> Probe:
    waveforms = (clips(seconds) * 32767).astype(np.int16)
    heard = spotter().features(torch.from_numpy(waveforms.astype(np.float32) / 32768)).numpy()
    return Probe(waveforms, heard, lambda: features(spotter()))


@pytest.fixture(scope="module")
def pair():
    """The integer program of `spotter()`, and its C."""
    need_compiler()
    program = quantized(spotter(), features(spotter())).program()
    return program, CModel.of(spotter(), program)


@pytest.mark.parametrize(
    "network", ["gru3", "lstm3", "fastgrnn low rank", "fastgrnn hard", "crnn", "temporal", "pools"]
)
def test_every_kind_of_network_with_its_resets(network):
    need_compiler()
    own = make_spotter(network, decoder=DECODER)
    if network == "temporal":  # the sums of its blocks grow beyond int16 with weights like these
        with torch.no_grad():
            for weight in own.classifier.parameters():
                weight *= 0.5
    program = quantized(own, features(own)).program()
    model = CModel.of(own, program)
    parity = check(own, program, model, clips(), 0.8, "c_int8")
    assert parity.max_abs_difference < 0.5
    assert parity.tolerance == pytest.approx(0.2)
    heard = Heard(model, clips().reshape(1, -1))
    assert (np.diff(heard.signal) < 0).sum() >= 2
    assert heard.totals.std(axis=0).min() > 10


@pytest.mark.parametrize(("blocks", "heads"), [(3, 1), (5, 1), (5, 3)])
def test_an_embedding_of_several_filters_reaches_its_heads(blocks, heads):
    need_compiler()
    own, waveforms = composed(
        "model=speech_embedding", f"model.blocks={blocks}", "model.kernels=[1,3]", f"model.heads={heads}"
    )
    program = quantized(own, own.features(waveforms).numpy()).program()
    parity = check(own, program, CModel.of(own, program), waveforms.numpy(), 0.9, "c_int8")
    assert parity.max_abs_difference < 0.1
    assert check_floats(own, CModel.of(own), waveforms.numpy(), 1e-4).label_agreement == 1


def test_without_a_detector_nothing_resets_it():
    need_compiler()
    own = make_spotter("crnn", vad=False)
    program = quantized(own, features(own)).program()
    model = CModel.of(own, program)
    assert Heard(model, clips(1).reshape(1, -1)).signal is None
    check(own, program, model, clips(), 0.8, "c_int8")


def test_it_is_the_runtime_that_evaluate_judges(pair):
    """Fed the same samples; features may differ in the last bit, so integers may differ by a few."""
    program, model = pair
    samples = clips().reshape(1, -1)
    ours, _ = model.hear(samples, model.start())
    own = TorchRuntime(quantized(spotter(), features(spotter())))
    theirs, _ = own.hear(samples, own.start())
    assert np.array_equal(ours.signal, theirs.signal)
    np.testing.assert_allclose(ours.log_probabilities, theirs.log_probabilities, atol=0.02)
    expected, signal = twin(spotter(), program, Heard(model, samples).features)
    assert np.array_equal(signal, ours.signal[0])
    np.testing.assert_allclose(ours.log_probabilities[0], expected.log_probabilities, atol=1e-5)


def test_both_kinds_side_by_side(tmp_path):
    need_compiler()
    floats, integers = CExport(weights=["float32", "int8"]).export(spotter(), probe(), tmp_path)
    assert (floats.format, integers.format) == ("c", "c_int8")
    assert integers.path == tmp_path / "c_int8"
    library = {"host/build.json", f"host/{compiler.file_name('host')}"}
    assert written(integers.path) == FILES | library | {"int8.npz"}
    assert written(floats.path) == FILES | library
    assert 0.9 < integers.parity.label_agreement <= 1
    assert integers.parity.tolerance == pytest.approx(0.1)
    assert integers.native["flash_bytes"] < floats.native["flash_bytes"] + 5000  # the tables and kernels of a tiny one
    readme = (integers.path / "README.md").read_text()
    assert "its integers are those of its twin in Python to the last bit" in readme
    assert "weights of int8 in its network" in readme
    kept = stored.read(integers.path / "int8.npz", spotter().program())
    heard = Heard(CModel.in_folder(integers.path), clips().reshape(1, -1))
    assert np.array_equal(heard.totals, twin(spotter(), kept, heard.features)[0].totals)


def test_without_a_compiler_the_integers_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compiler, "find_compiler", lambda crosses=False: None)
    (exported,) = CExport(weights="int8").export(spotter(), probe(), tmp_path)
    assert exported.parity is None
    assert written(exported.path) == FILES | {"int8.npz"}
    assert "is written and not checked: there is no C compiler" in capsys.readouterr().out


def test_what_cannot_be_exported_is_named(tmp_path):
    with pytest.raises(KwsError, match=r"export\.c\.weights=int4 is unknown; choose float32, int8"):
        CExport(weights=["float32", "int4"])
    with pytest.raises(KwsError, match="calibrated on training clips, and there are none"):
        CExport(weights="int8").export(spotter(), replace(probe(), training=None), tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_integer_is_found(pair, tmp_path, monkeypatch):
    program, model = pair
    scores = next(step for step in program.steps if isinstance(step, Scores))
    weight = scores.weight.copy()
    weight[1, 3] ^= 1
    steps = tuple(replace(step, weight=weight) if step is scores else step for step in program.steps)
    with pytest.raises(ParityError, match=r"c_int8 computes other integers than its twin in Python in frame \d+"):
        check(spotter(), replace(program, steps=steps), model, clips(), 0.8, "c_int8")
    monkeypatch.setattr(c_int8, "twin", lambda own, _, heard: twin(own, replace(program, steps=steps), heard))
    with pytest.raises(ParityError, match=r"c_int8/src/kws_model\.c computes other integers"):
        CExport(weights="int8").export(spotter(), probe(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_voice_is_found(pair):
    program, model = pair
    other = make_spotter(decoder=DECODER, seed=3)
    other.vad.settings["threshold_down"] = 1.3

    def deaf(own, program, heard):
        expected, signal = twin(own, program, heard)
        return expected, 1 - signal

    with pytest.raises(ParityError, match=r"computes other integers|hears voice otherwise"):
        check(other, program, model, clips(), 0.8, "c_int8")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ParityError, match="hears voice otherwise than its twin"):
        patch.setattr(c_int8, "twin", deaf)
        check(spotter(), program, model, clips(), 0.8, "c_int8")


def test_too_many_other_labels_are_refused(pair):
    program, model = pair
    with pytest.raises(
        ParityError, match=r"the label of the float32 network in 9\d\.\d% of the frames, and 100\.1% were"
    ):
        check(spotter(), program, model, clips(), 1.001, "c_int8")


def test_a_probe_has_the_features_of_training_clips():
    def split_features(split):
        return np.arange(3000.0).reshape(-1, 1, 1) if split == "training" else np.zeros((5, 1, 1))

    splits = {"testing": SimpleNamespace(samples=np.zeros((5, 8), np.int16))}
    data = SimpleNamespace(waveforms=SimpleNamespace(splits=splits), split_features=split_features)
    training = Probe.of(data).training()
    assert training.shape == (TRAINING_CLIPS, 1, 1)
    assert (training[0], training[-1]) == (0, 2999)


def test_a_float_model_has_no_integers_to_compare():
    need_compiler()
    with pytest.raises(KwsError, match="has no totals"):
        Heard(model(), clips(1).reshape(1, -1))
