"""FastGRNN and CRNN as ONNX: PyTorch's numbers in all three files, whatever the form, and any clips and frames."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from kws.ell.build import NoNode
from kws.export.base import Probe
from kws.export.ell import EllExport, models
from kws.export.onnx import OnnxExport, clip_model, run_clips, run_steps, step_model
from kws.export.onnx_stream import OnnxStreamExport, StreamModel
from kws.export.parity import ParityError, allowed, compare
from kws.networks import CRNNClassifier, DilatedClassifier, FastGRNNClassifier
from kws.program import Step
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.vad import VoiceActivityDetector
from kws.support.errors import KwsError

FORMS = [
    {"num_layers": 1},
    {"num_layers": 3, "last_hidden_size": "classes", "readout": "mean"},
    {"input_rank": 5, "hidden_rank": 4, "gate_nonlinearity": "hard_sigmoid"},
    {"hidden_rank": 4, "update_nonlinearity": "hard_tanh"},
    {"network": CRNNClassifier, "channels": [6, 8], "kernel_frames": [4, 1], "kernel_filters": [5, 3]},
    {"network": CRNNClassifier, "cell": "lstm", "readout": "mean"},
    {"network": CRNNClassifier, "temporal_frames": [4, 1], "temporal_channels": 10, "num_layers": 1},
    {"hidden_rank": 4, "readout": "best"},
    {"network": DilatedClassifier, "width": 12},
    {"network": DilatedClassifier, "width": 10, "pointwise": 2, "multi_scale": True, "dilations": [1, 3]},
    {"network": DilatedClassifier, "channels": [6, 8], "kernel_frames": [4, 1], "kernel_filters": [5, 3], "frames": 3},
]


def make(seed=1, network=FastGRNNClassifier, **form):
    torch.manual_seed(seed)
    front = Featurizer()
    size = {} if network is DilatedClassifier else {"hidden_size": 16}
    network = network(40, 4, **size, **form)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    detector = VoiceActivityDetector(40, front.hop_seconds)
    spotter = Spotter(front, network, ["yes", "no", "up", "_silence_"], vad=detector).eval()
    envelope = (torch.arange(30 * 8000).reshape(30, 8000) % 7000 > 3000) * 0.4 + 0.0005
    samples = torch.randn(30, 8000, generator=torch.Generator().manual_seed(2)) * envelope
    features = front(samples)
    spotter.normalization.measure([features])
    return spotter, Probe((samples.clamp(-1, 1) * 32767).short().numpy(), features.numpy())


def test_ell_cannot_hold_a_crnn(tmp_path, capsys):
    spotter, probe = make(network=CRNNClassifier)
    assert EllExport().write(spotter, probe, tmp_path) == []
    assert capsys.readouterr().out.startswith("No Ell files: ELL has no node for a Convolution (the step 'conv1.0');")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoNode, match="ELL has no node for a Convolution"):
        models(spotter)


@pytest.mark.parametrize("form", FORMS, ids=str)
@torch.no_grad()
def test_every_file_equals_pytorch(tmp_path, form):
    spotter, probe = make(**form)
    exported = OnnxExport(tolerance=1e-5).export(spotter, probe, tmp_path)
    exported += OnnxStreamExport(tolerance=1e-4).export(spotter, probe, tmp_path)
    assert [e.path.name for e in exported] == ["clip.onnx", "step.onnx", "stream.onnx"]
    assert all(e.parity.label_agreement == 1 for e in exported)
    features = torch.from_numpy(probe.features)
    # Other numbers of clips and frames than any the graph was made with.
    few = run_clips(tmp_path / "clip.onnx", probe.features[:1, :7])
    np.testing.assert_allclose(few, spotter.classify(features[:1, :7]).numpy(), atol=1e-5)
    frames = run_steps(tmp_path / "step.onnx", probe.features)
    every = spotter.classifier(spotter.normalization(features)).numpy()
    np.testing.assert_allclose(frames, every, atol=1e-5)
    model = StreamModel(tmp_path / "stream.onnx")
    hops = probe.waveforms[:, : 31 * 256].reshape(1, -1) / np.float32(32768)
    outputs, _ = model.hear(hops, model.start())
    assert (np.diff(outputs.signal) < 0).sum() >= 5  # the stream of the check has resets


def test_the_clip_runs_over_time_inside_the_graph():
    model = clip_model(make(num_layers=2)[0])
    assert [node.op_type for node in model.graph.node].count("Scan") == 2
    assert not any(node.domain for node in model.graph.node)
    step = step_model(make(num_layers=2)[0])
    assert "Scan" not in {node.op_type for node in step.graph.node}
    for built in (model, step):
        onnxruntime.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])


def test_same_weights_same_bytes():
    first, second = (clip_model(make()[0]).SerializeToString() for _ in range(2))
    assert first == second


def test_a_step_without_onnx_form_is_named(monkeypatch):
    class Unheard(Step):
        pass

    spotter, _ = make()
    steps = [*spotter.classifier.steps("normalization")[:-2], Unheard(name="unheard", source="layer2")]
    steps += [replace(spotter.classifier.steps("")[-2], source="unheard"), *spotter.classifier.steps("")[-1:]]
    monkeypatch.setattr(type(spotter.classifier), "steps", lambda self, source: steps)
    for build in (clip_model, step_model):
        with pytest.raises(KwsError, match="no ONNX form of the step Unheard"):
            build(spotter)


def test_operators_are_of_the_opset():
    onnx.checker.check_model(clip_model(make(**FORMS[2])[0]), full_check=True)


def test_what_is_allowed_grows_with_the_scores():
    expected = np.array([[-0.1, -9.0], [-0.1, -90.0]])
    np.testing.assert_allclose(allowed(expected, 1e-4), [[1e-4], [9e-4]])
    assert compare("x", expected, np.add(expected, [[0, 0], [5e-4, 5e-4]]), 1e-4).max_abs_difference == pytest.approx(
        5e-4
    )
    with pytest.raises(ParityError, match=r"by 0.0005 \(clip 0, output 0\); 0.0001 is allowed"):
        compare("x", expected, np.add(expected, [[5e-4, 0], [6e-4, 0]]), 1e-4)
