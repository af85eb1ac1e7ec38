"""The streaming ONNX file: PyTorch on every frame, whatever the options, and nothing needed beside it."""

import json
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from kws.export.base import Probe
from kws.export.onnx_stream import FRONT, OnnxStreamExport, StreamModel, compare_streams, dft_matrices, stream_model
from kws.export.parity import ParityError
from kws.export.stream_parity import rounding
from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.streaming import StreamingSpotter, clean
from kws.spotter.vad import VoiceActivityDetector
from tests.spotter.test_streaming import audio

EXAMPLE = Path(__file__).parents[2] / "examples" / "listen_onnx.py"


def make_spotter(cell="gru", vad=True, seed=0, decoder=None, **featurizer):
    torch.manual_seed(seed)
    front = Featurizer(**{"sample_rate": 1000, "window_size": 64, "hop_size": 40, "num_filters": 12, **featurizer})
    detector = VoiceActivityDetector(front.num_features, front.hop_seconds, tau_up=0.5, threshold_up=1.5)
    network = RecurrentClassifier(front.num_features, 3, cell=cell, hidden_size=7)
    spotter = Spotter(front, network, ["_silence_", "yes", "no"], vad=detector if vad else None, decoder=decoder).eval()
    spotter.normalization.measure([front(audio(5.0))])
    with torch.no_grad():
        for weight in network.parameters():
            weight *= 3
    return spotter


def save(spotter, path):
    onnx.save(stream_model(spotter), path)
    return StreamModel(path)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hop_size": 64},
        {"hamming": True, "pre_emphasis": True},
        {"pre_emphasis": True, "hop_size": 1, "window_size": 32},
        {"power_spectrum": True, "dct": 5},
        {"log": False, "filterbank": "linear", "fft_size": 256},
        {"auto_scale": False, "window_size": 50},
    ],
    ids=str,
)
def test_equals_pytorch_on_every_frame(tmp_path, cell, vad, options):
    spotter = make_spotter(cell, vad, **options)
    model = save(spotter, tmp_path / "stream.onnx")
    seconds = 1.0 if options.get("hop_size") == 1 else 10.0
    parity = compare_streams(spotter, model, audio(seconds).numpy().reshape(5, -1), 1e-4)
    assert parity.max_abs_difference < 1e-4
    if vad and not options:
        streaming = StreamingSpotter(spotter)
        heard, _ = streaming.stream(audio(10.0), streaming.initial_state())
        outputs, _ = model.hear(audio(10.0).numpy(), model.start())
        assert np.array_equal(outputs.signal, heard.frames.signal.numpy())
        assert (np.diff(outputs.signal) < 0).sum() >= 2  # it did reset


def test_many_streams_are_their_streams(tmp_path):
    model = save(make_spotter(), tmp_path / "stream.onnx")
    samples = audio(2.0, streams=3).numpy()
    together, _ = model.hear(samples, model.start(3))
    for b in range(3):
        alone, _ = model.hear(samples[b : b + 1], model.start())
        np.testing.assert_allclose(together.log_probabilities[b], alone.log_probabilities[0], atol=1e-5)
        assert np.array_equal(together.signal[b], alone.signal[0])


def test_bad_samples_do_what_they_do_in_pytorch(tmp_path):
    spotter = make_spotter()
    model = save(spotter, tmp_path / "stream.onnx")
    samples = audio(2.0)
    samples[0, 100], samples[0, 500], samples[0, 900:1100] = float("nan"), float("inf"), 7.0
    ours, _ = model.hear(samples.numpy(), model.start())
    theirs, _ = StreamingSpotter(spotter).stream(samples, StreamingSpotter(spotter).initial_state())
    np.testing.assert_allclose(ours.log_probabilities, theirs.frames.log_probabilities.numpy(), atol=1e-4)
    assert np.isfinite(ours.log_probabilities).all()
    assert torch.equal(clean(samples)[0], clean(clean(samples)[0])[0])


@pytest.mark.parametrize("size", [256, 512])
def test_the_matrices_are_the_transform(size):
    featurizer = Featurizer(sample_rate=16000, window_size=size, hop_size=size, hamming=True)
    waveform = np.random.default_rng(0).normal(size=(50, size)).astype(np.float32)
    steps = {step.name: step for step in featurizer.steps()}
    cosine, sine = dft_matrices(steps["window"], steps["spectrum"])
    magnitude = np.hypot(waveform @ cosine, waveform @ sine)
    expected = np.abs(np.fft.rfft(waveform.astype(np.float64) * featurizer.window.double().numpy(), axis=1))
    assert (np.abs(magnitude - expected) / expected.max(1, keepdims=True)).max() < 1e-6
    assert np.median(np.abs(magnitude - expected) / expected) < 1e-6


def test_the_file_says_what_it_hears(tmp_path):
    spotter = make_spotter(decoder={"threshold": 0.7, "smoothing": 0.2})
    save(spotter, tmp_path / "stream.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "stream.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == ["_silence_", "yes", "no"]
    for name in ("featurizer", "classifier", "vad", "decoder"):
        assert json.loads(facts[name]) == json.loads(json.dumps(spotter.settings[name]))
    assert facts["sample_rate"] == "1000"
    assert facts["initial_state"] == "zeros"
    inputs = {i.name for i in session.get_inputs()} - {"samples"}
    assert {f"next_{name}" for name in inputs} < {o.name for o in session.get_outputs()}


def test_export_keeps_what_agrees_and_nothing_else(tmp_path, monkeypatch):
    spotter = make_spotter()
    waveforms = (audio(10.0).numpy().reshape(10, -1) * 32767).astype(np.int16)
    probe = Probe(waveforms, spotter.features(torch.from_numpy(waveforms.astype(np.float32) / 32768)).numpy())
    (exported,) = OnnxStreamExport().export(spotter, probe, tmp_path / "good")
    assert exported.path.is_file()
    assert exported.parity.label_agreement == 1
    other = make_spotter(seed=1)
    monkeypatch.setattr("kws.export.onnx_stream.stream_model", lambda _: stream_model(other))
    with pytest.raises(ParityError, match=r"stream\.onnx"):
        OnnxStreamExport().export(spotter, probe, tmp_path / "bad")
    assert not list((tmp_path / "bad").iterdir())


def test_what_float32_loses_itself_is_allowed_twice(tmp_path):
    """Against a spotter in float64, clip by clip; a difference above that and the tolerance is refused."""
    spotter = make_spotter(vad=False)
    clips = audio(5.0).numpy().reshape(5, -1)
    exact = make_spotter(vad=False).double()
    with torch.no_grad():
        heard = [
            each.classifier.stream(features, tuple(s.to(features) for s in each.classifier.initial_state(5)))[0]
            for each, samples in ((spotter, torch.from_numpy(clips)), (exact, torch.from_numpy(clips).double()))
            for features in [each.normalization(each.features(samples))]
        ]
    lost = rounding(spotter, clips)
    assert 0 < lost < 1e-4
    assert lost == pytest.approx((heard[0] - heard[1]).abs().max().item(), rel=1e-6)
    model = save(spotter, tmp_path / "stream.onnx")
    assert compare_streams(spotter, model, clips, 1e-4).tolerance == pytest.approx(1e-4 + 2 * lost)
    with torch.no_grad():
        spotter.classifier.linear.bias[0] += 1e-4 + 4 * lost
    with pytest.raises(ParityError, match="is allowed"):
        compare_streams(spotter, model, clips, 2e-5)


def test_a_detector_that_hears_otherwise_is_found(tmp_path):
    spotter, other = make_spotter(), make_spotter()
    other.vad = VoiceActivityDetector(
        12, other.featurizer.hop_seconds, tau_up=0.5, threshold_up=1.5, threshold_down=1.3
    )
    model = save(other, tmp_path / "stream.onnx")
    with pytest.raises(ParityError, match="hears voice otherwise"):
        compare_streams(spotter, model, audio(10.0).numpy().reshape(5, -1), 1e-4)


def test_the_example_prints_what_the_decoder_finds(tmp_path):
    decoder = {"threshold": 0.4, "smoothing": 0.08, "refractory": 0.2, "consecutive": 2}
    spotter = make_spotter(decoder=decoder)
    save(spotter, tmp_path / "stream.onnx")
    samples = (audio(8.0)[0].numpy() * 32767).astype(np.int16)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(samples.tobytes())
    command = [sys.executable, EXAMPLE, tmp_path / "stream.onnx", tmp_path / "sound.wav"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    streaming = StreamingSpotter(spotter)
    heard, _ = streaming.stream(samples, streaming.initial_state())
    expected = [f"{d.time:.2f} s  {d.word}  {d.confidence:.2f}" for d in heard.detections[0]]
    assert printed.splitlines() == expected
    assert len(expected) > 1


def test_nodes_in_front_of_the_network_say_so_and_can_be_left_out_of_quantizing(tmp_path):
    """The call that docs/streams.md shows: features and detector stay exact, and the labels what they were."""
    text = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()
    (call,) = re.findall(r"```python\n(import onnx\n.*?)```", text, re.S)
    spotter = make_spotter()
    model = save(spotter, tmp_path / "stream.onnx")
    names = [node.name for node in onnx.load(tmp_path / "stream.onnx").graph.node]
    front = [name for name in names if name.startswith(FRONT)]
    network = [name for name in names if not name.startswith((FRONT, "output_"))]
    assert any("MatMul" in name for name in front)
    assert {name.removeprefix(FRONT).partition("_")[0] for name in front} >= {"MatMul", "Log", "Split", "Where"}
    assert not any(name.startswith(("Log_", "Sqrt", "Split_")) for name in network)
    subprocess.run([sys.executable, "-c", call], cwd=tmp_path, check=True, capture_output=True)
    quantized = StreamModel(tmp_path / "stream_int8.onnx")
    kept = {node.name for node in onnx.load(tmp_path / "stream_int8.onnx").graph.node}
    assert set(front) <= kept, "as they were"
    samples = audio(20.0)[:, : 400 * 40].numpy()
    ours, theirs = (m.hear(samples, m.start())[0] for m in (model, quantized))
    np.testing.assert_array_equal(ours.signal, theirs.signal)
    assert (ours.log_probabilities.argmax(-1) == theirs.log_probabilities.argmax(-1)).mean() > 0.95
