"""What `export=ell` writes of a FastGRNN: everything, as of a GRU; but for the update that ELL cannot compute."""

import pytest

from kws.ell import archive, interpreter
from kws.export.ell import EllExport, GraphExport
from kws.export.parity import ParityError
from tests.export.test_ell import LABELS, make

HARD_GATE = ["model.gate_nonlinearity=hard_sigmoid"]
HARD_UPDATE = ["model.update_nonlinearity=hard_tanh"]


@pytest.mark.parametrize("options", [[], HARD_GATE], ids=["usual", "hard gate"])
@pytest.mark.parametrize("model", ["fastgrnn", "fastgrnn_lowrank"])
def test_every_file_is_written_and_agrees(tmp_path, model, options):
    spotter, probe = make(f"model={model}", *options)
    exported = {e.format: e for e in EllExport().export(spotter, probe, tmp_path)}
    assert set(exported) == {
        "featurizer_ell",
        "classifier_ell",
        "classifier_vad_ell",
        "vad_ell",
        "ell_onnx",
        "categories",
    }
    for name in ("classifier_ell", "classifier_vad_ell", "ell_onnx"):
        parity = exported[name].parity
        assert parity.max_abs_difference < 1e-5
        assert parity.label_agreement == 1
    assert exported["ell_onnx"].parity.clips == 12 * 31  # every frame, with the state kept
    assert (tmp_path / "categories.txt").read_text().split() == list(LABELS)


def test_the_stream_has_resets_and_both_ways_of_running_agree(tmp_path):
    spotter, probe = make("model=fastgrnn")
    EllExport().export(spotter, probe, tmp_path)
    model = archive.read(tmp_path / "classifier_vad.ell")
    frames = probe.features.reshape(-1, 40)
    signal = interpreter.run(model, frames, outputs=[model.vad.id])[model.vad.id][:, 0]
    assert ((signal[:-1] == 1) & (signal[1:] == 0)).sum() >= 5
    assert (interpreter.run(model, frames) == interpreter.run(model, frames, "interpreter")).all()


def test_an_update_that_ell_cannot_compute_leaves_no_classifier(tmp_path, capsys):
    spotter, probe = make("model=fastgrnn", *HARD_UPDATE)
    (tmp_path / "classifier.ell").write_text("of a network that was here before")
    assert EllExport().export(spotter, probe, tmp_path) == []
    assert "ELL does not compute a FastGRNN whose update nonlinearity is hard_tanh" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_without_a_detector(tmp_path):
    spotter, probe = make("model=fastgrnn", "vad=off")
    exported = EllExport().export(spotter, probe, tmp_path)
    assert [e.format for e in exported] == ["featurizer_ell", "classifier_ell", "ell_onnx", "categories"]


def test_its_models_are_drawn(tmp_path):
    spotter, probe = make("model=fastgrnn")
    names = {e.path.name for e in GraphExport().export(spotter, probe, tmp_path)}
    models = ("spotter", "featurizer", "classifier", "classifier_vad", "vad")
    assert names == {f"{name}.{suffix}" for name in models for suffix in ("dot", "svg")}
    assert (tmp_path / "classifier_vad.dot").read_text().count('label="reset"') == 2


def test_a_wrong_form_fails_and_is_not_kept(tmp_path, monkeypatch):
    spotter, probe = make("model=fastgrnn")
    monkeypatch.setattr("kws.program.steps.FastGRNN.gains", property(lambda step: (step.zeta, step.nu)))
    with pytest.raises(ParityError, match=r"classifier\.ell differs from PyTorch from node 'fastgrnn 1' on"):
        EllExport().export(spotter, probe, tmp_path)
    assert not (tmp_path / "classifier.ell").exists()
