"""ELL exports: PyTorch's numbers through ELL's interpreter, for every preset, and mismatches that are located."""

import numpy as np
import onnx
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.ell import archive, importer, interpreter, metadata
from kws.export.base import Probe
from kws.export.ell import EllExport, GraphExport, models, transform_rounding
from kws.export.parity import ParityError
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer

register_resolvers()

LABELS = ("yes", "no", "up")


def names(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


RECURRENT = [name for name in names("model") if name.startswith(("gru", "lstm"))]


def make(*overrides, **replaced):
    """A small untrained spotter composed from conf/, and loud and quiet clips for it."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        size = "width" if {"model=ds_tcn", "model=mdtc"} & set(overrides) else "hidden_size"
        config = compose("train", overrides=["directory=.", f"model.{size}=7", *overrides])
    torch.manual_seed(0)
    front = instantiate(config.featurizer)
    network = instantiate(config.model)(input_size=front.num_features, num_classes=len(LABELS))
    vad = instantiate(config.vad)(num_features=front.num_features, frame_duration=front.hop_seconds)
    spotter = Spotter(front, network, LABELS, vad=vad, about={"corpus": "test"}).eval()
    rate = front.sample_rate
    samples = torch.randn(12, rate, generator=torch.Generator().manual_seed(1))
    envelope = (torch.linspace(0, 12, 12 * rate).reshape(12, rate) % 1.0 > 0.4) * 0.5 + 0.0005
    samples = (samples * envelope).clamp(-1, 1)
    waveforms = (samples * 32767).short()
    features = front(waveforms.float() / 32768)
    spotter.normalization.measure([features])
    return spotter, Probe(waveforms.numpy(), features.numpy())


@pytest.mark.parametrize("model", RECURRENT)
@pytest.mark.parametrize("vad", [name for name in names("vad") if name != "off"])
@pytest.mark.parametrize("featurizer", [name for name in names("featurizer") if name != "speech_embedding"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_preset_is_exact(tmp_path, featurizer, model, vad, rate):
    spotter, probe = make(f"featurizer={featurizer}", f"model={model}", f"vad={vad}", f"data.sample_rate={rate}")
    exported = {e.format: e for e in EllExport().export(spotter, probe, tmp_path)}
    assert set(exported) == {
        "featurizer_ell",
        "classifier_ell",
        "classifier_vad_ell",
        "vad_ell",
        "ell_onnx",
        "categories",
    }
    for item in exported.values():
        assert item.path.is_file()
        if item.parity:
            assert item.parity.label_agreement == 1.0
    assert exported["classifier_ell"].parity.max_abs_difference <= 1e-5
    assert exported["classifier_vad_ell"].parity.max_abs_difference <= 1e-5
    assert (tmp_path / "categories.txt").read_text().split() == list(LABELS)


def test_a_featurizer_that_ell_has_not_is_no_file(tmp_path, capsys):
    spotter, probe = make("featurizer=speech_embedding")
    assert EllExport().write(spotter, probe, tmp_path) == []
    assert capsys.readouterr().out.startswith("No Ell files: ELL has no window but Hamming's (the step 'window');")


def test_the_stream_of_the_check_has_resets():
    spotter, probe = make()
    signal = spotter.vad(torch.from_numpy(probe.features.reshape(1, -1, 40)))[0]
    assert ((signal[:-1] == 1) & (signal[1:] == 0)).sum() >= 5


def test_same_weights_same_bytes(tmp_path):
    for folder in ("a", "b"):
        spotter, probe = make()
        EllExport().export(spotter, probe, tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_files_say_what_they_hear(tmp_path):
    spotter, probe = make()
    EllExport().export(spotter, probe, tmp_path)
    model = archive.read(tmp_path / "classifier_vad.ell")
    assert metadata.labels(model) == LABELS
    assert "'corpus': 'test'" in str(metadata.facts(model)) or '"corpus"' in str(metadata.facts(model))


def test_the_onnx_form_imports_to_the_same_classifier(tmp_path):
    spotter, probe = make("model=lstm")
    EllExport().export(spotter, probe, tmp_path)
    model = importer.from_onnx(onnx.load(tmp_path / "classifier_ell.onnx"))
    ours = archive.read(tmp_path / "classifier.ell")
    frames = probe.features[0]
    np.testing.assert_allclose(interpreter.run(model, frames), interpreter.run(ours, frames), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "vad", "tensor", "node"),
    [
        ("classifier.ell", "off", "layers.0.weight_hh_l0", "gru 1"),
        ("classifier_vad.ell", "tutorial", "layers.1.bias_ih_l0", "gru 2"),
        ("classifier.ell", "off", "linear.bias", "softmax"),
    ],
)
def test_a_mismatch_names_the_node_where_it_starts(tmp_path, monkeypatch, name, vad, tensor, node):
    spotter, probe = make(f"vad={vad}")
    right = models(spotter)
    with torch.no_grad():
        spotter.classifier.get_parameter(tensor).mul_(1.3)
    kept = {"classifier.ell": ["classifier.ell"], "classifier_vad.ell": ["classifier_vad.ell"]}[name]
    monkeypatch.setattr("kws.export.ell.models", lambda _: {key: right[key] for key in kept})
    with pytest.raises(ParityError, match=f"{name} differs from PyTorch from node '{node}' on"):
        EllExport().export(spotter, probe, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_detector_there_are_no_detector_files(tmp_path):
    spotter, probe = make()
    EllExport().export(spotter, probe, tmp_path)
    spotter, probe = make("vad=off")
    exported = EllExport().export(spotter, probe, tmp_path)
    assert "classifier_vad_ell" not in {e.format for e in exported}
    assert not (tmp_path / "classifier_vad.ell").exists()


def test_raw_samples_for_a_device_that_does_not_scale(tmp_path):
    spotter, probe = make("featurizer.auto_scale=false")
    exported = {e.format: e for e in EllExport().export(spotter, probe, tmp_path)}
    assert exported["featurizer_ell"].parity.max_abs_difference < 1e-3
    features = interpreter.run(
        archive.read(tmp_path / "featurizer.ell"), probe.waveforms[3, : 31 * 256].reshape(31, 256).astype(np.float32)
    )
    np.testing.assert_allclose(features, probe.features[3], atol=1e-4)


def test_models_are_drawn(tmp_path):
    spotter, probe = make()
    paths = [e.path for e in GraphExport().export(spotter, probe, tmp_path)]
    assert {p.name for p in paths} >= {
        "spotter.dot",
        "spotter.svg",
        "classifier_vad.dot",
        "classifier_vad.svg",
        "featurizer.svg",
    }
    text = (tmp_path / "classifier_vad.dot").read_text()
    assert text.count('label="reset"') == 2
    assert (tmp_path / "classifier_vad.svg").read_text().lstrip().startswith("<?xml")


@torch.no_grad()
@pytest.mark.parametrize("settings", [{"log_delta": 1e-3}, {"log_delta": 1e-6, "dct": 13}, {"log": False}], ids=str)
def test_rounding_of_the_transform_is_allowed_and_no_more(settings):
    """Against a float64 featurizer, on clicks and whispers: quiet filters in loud frames keep few digits."""
    front = Featurizer(hamming=True, **settings)
    time = torch.arange(8000) / 8000
    samples = (torch.sin(2 * np.pi * 300 * time) + 1e-4 * torch.randn(8000))[None] * torch.tensor([[1.0], [1e-3]])
    exact = Featurizer(hamming=True, **settings).double()
    error = np.abs(front(samples).numpy() - exact(samples.double()).numpy())
    allowed = transform_rounding(front, samples)
    assert (error <= 1e-5 * np.abs(exact(samples.double()).numpy()).max() + allowed).all()
    if settings.get("log", True):
        assert np.median(allowed) < 1e-2
    else:
        assert not allowed.any()
