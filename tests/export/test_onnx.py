"""ONNX exports: the numbers of PyTorch, the right attributes, and files that say what they hear."""

import json

import numpy as np
import onnx
import pytest
import torch

from kws.export.base import Probe
from kws.export.onnx import OnnxExport, clip_model, run_clips, run_steps, step_model
from kws.export.parity import ParityError, compare
from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.runtime import log_probabilities


def make(cell="gru", layers=2, readout="last"):
    torch.manual_seed(1)
    front = Featurizer()
    network = RecurrentClassifier(
        40,
        4,
        cell=cell,
        hidden_size=16,
        num_layers=layers,
        last_hidden_size="classes" if layers == 3 else None,
        readout=readout,
    )
    spotter = Spotter(front, network, ["yes", "no", "up", "ünter wegs"]).eval()
    samples = torch.randn(30, 8000, generator=torch.Generator().manual_seed(2)) * torch.linspace(0, 0.5, 30)[:, None]
    features = front(samples)
    spotter.normalization.measure([features])
    return spotter, Probe((samples.clamp(-1, 1) * 32767).short().numpy(), features.numpy())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("readout", ["last", "mean", "best"])
def test_exports_equal_pytorch(tmp_path, cell, layers, readout):
    spotter, probe = make(cell, layers, readout)
    exported = {e.format: e for e in OnnxExport(tolerance=1e-5).export(spotter, probe, tmp_path)}
    assert set(exported) == {"onnx", "onnx_step"}
    expected = log_probabilities(spotter, probe.features).numpy()
    np.testing.assert_allclose(run_clips(exported["onnx"].path, probe.features), expected, atol=1e-5)
    frames = run_steps(exported["onnx_step"].path, probe.features)
    with torch.no_grad():
        every = spotter.classifier(spotter.normalization(torch.from_numpy(probe.features))).numpy()
    np.testing.assert_allclose(frames, every, atol=1e-5)
    for item in exported.values():
        assert item.parity.max_abs_difference <= 1e-5
        assert item.parity.label_agreement == 1.0


def test_the_reset_gate_comes_after_the_product():
    model = clip_model(make()[0])
    layers = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(layers) == 2
    for node in layers:
        assert {a.name: a.i for a in node.attribute}["linear_before_reset"] == 1


@pytest.mark.parametrize("build", [clip_model, step_model])
def test_metadata_says_what_the_model_hears(build):
    spotter, _ = make()
    facts = {p.key: p.value for p in build(spotter).metadata_props}
    assert json.loads(facts["labels"]) == ["yes", "no", "up", "ünter wegs"]
    assert json.loads(facts["featurizer"]) == spotter.featurizer.settings
    assert json.loads(facts["mean"]) == pytest.approx(spotter.normalization.mean.tolist())
    assert json.loads(facts["classifier"])["network"] == "RecurrentClassifier"


def test_same_weights_same_bytes():
    assert clip_model(make()[0]).SerializeToString() == clip_model(make()[0]).SerializeToString()


def test_a_wrong_export_fails_and_is_not_kept(tmp_path, monkeypatch):
    spotter, probe = make()

    def wrong_gates(spotter):
        model = clip_model(spotter)
        weights = next(i for i in model.graph.initializer if i.name == "layer1.R")
        array = onnx.numpy_helper.to_array(weights)
        weights.CopyFrom(onnx.numpy_helper.from_array(np.roll(array, 16, axis=1), "layer1.R"))
        return model

    monkeypatch.setattr("kws.export.onnx.clip_model", wrong_gates)
    with pytest.raises(ParityError, match=r"clip\.onnx differs from PyTorch by"):
        OnnxExport().export(spotter, probe, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_compare_names_what_is_wrong():
    expected = np.log(np.array([[0.7, 0.3], [0.2, 0.8]]))
    parity = compare("x", expected, expected + 5e-5, 1e-4)
    assert parity.max_abs_difference == pytest.approx(5e-5)
    assert parity.label_agreement == 1.0
    with pytest.raises(ParityError, match="clip 1, output 0"):
        compare("x", expected, expected + np.array([[0, 0], [1e-3, 0]]), 1e-4)
    with pytest.raises(ParityError, match="nan"):
        compare("x", expected, np.full_like(expected, np.nan), 1e-4)
    # Every difference is allowed, but they add up to another label where the choice was clear.
    with pytest.raises(ParityError, match="another label than PyTorch on clip 0"):
        compare("x", [[-0.5, -0.50015]], [[-0.50009, -0.500065]], 1e-4)
    with pytest.raises(ParityError, match="shape"):
        compare("x", expected, expected[:1], 1e-4)
    # A tie within the tolerance may fall either way.
    tie = np.array([[-0.5, -0.5 - 1e-6]])
    assert compare("x", tie, tie[:, ::-1], 1e-4).label_agreement == 0.0
