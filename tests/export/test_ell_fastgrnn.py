"""What `export=ell` writes of a FastGRNN: everything but the classifiers in .ell, and it says so."""

import pytest

from kws.export.ell import EllExport, GraphExport
from kws.export.parity import ParityError
from tests.export.test_ell import LABELS, make


@pytest.mark.parametrize(
    "options", [[], ["model.gate_nonlinearity=hard_sigmoid", "model.update_nonlinearity=hard_tanh"]]
)
@pytest.mark.parametrize("model", ["fastgrnn", "fastgrnn_lowrank"])
def test_all_but_the_classifiers_is_written(tmp_path, capsys, model, options):
    spotter, probe = make(f"model={model}", *options)
    (tmp_path / "classifier.ell").write_text("of a network that was here before")
    exported = {e.format: e for e in EllExport().export(spotter, probe, tmp_path)}
    assert set(exported) == {"featurizer_ell", "vad_ell", "ell_onnx", "categories"}
    assert {p.name for p in tmp_path.iterdir()} == {
        "featurizer.ell",
        "vad.ell",
        "classifier_ell.onnx",
        "categories.txt",
    }
    assert capsys.readouterr().out.startswith("FastGRNN: classifier.ell is not available")
    parity = exported["ell_onnx"].parity
    assert parity.max_abs_difference < 1e-5  # over all frames, with the state kept
    assert (parity.label_agreement, parity.clips) == (1, 12 * 31)
    assert (tmp_path / "categories.txt").read_text().split() == list(LABELS)


def test_without_a_detector(tmp_path):
    spotter, probe = make("model=fastgrnn", "vad=off")
    exported = EllExport().export(spotter, probe, tmp_path)
    assert [e.format for e in exported] == ["featurizer_ell", "ell_onnx", "categories"]


def test_featurizer_and_detector_are_drawn(tmp_path):
    spotter, probe = make("model=fastgrnn")
    names = {e.path.name for e in GraphExport().export(spotter, probe, tmp_path)}
    assert names == {"featurizer.dot", "featurizer.svg", "vad.dot", "vad.svg"}


def test_a_wrong_form_fails_and_is_not_kept(tmp_path, monkeypatch):
    spotter, probe = make("model=fastgrnn")
    monkeypatch.setattr("kws.ell.fastgrnn.SCALARS", ("nu", "zeta"))
    with pytest.raises(ParityError, match=r"classifier_ell\.onnx differs from PyTorch"):
        EllExport().export(spotter, probe, tmp_path)
    assert not (tmp_path / "classifier_ell.onnx").exists()
