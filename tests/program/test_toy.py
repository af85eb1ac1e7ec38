"""A network of known steps is one file and one config: every export, its cost and its drawing follow."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.export.base import Probe
from kws.networks import NETWORKS
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.runs.cost import clip_multiply_adds, multiply_adds_per_second
from kws.spotter import Spotter

register_resolvers()
CONF = Path(__file__).parent / "conf"
LABELS = ("yes", "no", "up")


def make(*overrides, model="toy"):
    """The composed configuration, the spotter, and clips for it."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        search = f"hydra.searchpath=[file://{CONF}]"
        config = compose("train", overrides=["directory=.", search, f"model={model}", *overrides])
    torch.manual_seed(0)
    front = instantiate(config.featurizer)
    network = instantiate(config.model)(input_size=front.num_features, num_classes=len(LABELS))
    vad = instantiate(config.vad)(num_features=front.num_features, frame_duration=front.hop_seconds)
    spotter = Spotter(front, network, LABELS, vad=vad).eval()
    samples = torch.randn(12, 8000, generator=torch.Generator().manual_seed(1))
    envelope = (torch.linspace(0, 12, 12 * 8000).reshape(12, 8000) % 1.0 > 0.4) * 0.5 + 0.0005
    waveforms = ((samples * envelope).clamp(-1, 1) * 32767).short()
    features = front(waveforms.float() / 32768)
    spotter.normalization.measure([features])
    return config, spotter, Probe(waveforms.numpy(), features.numpy())


@pytest.mark.parametrize("look_back", [0, 3])
def test_it_is_exported_to_every_format(tmp_path, capsys, look_back):
    config, spotter, probe = make(f"model.look_back={look_back}", "export=[onnx,onnx_stream,ell,c,graph]")
    exporters = instantiate(config.export).values()
    exported = {e.format: e for exporter in exporters for e in exporter.write(spotter, probe, tmp_path)}
    everywhere = {"onnx", "onnx_step", "onnx_stream", "c", "spotter_dot", "spotter_svg"}
    ell = {"featurizer_ell", "classifier_ell", "classifier_vad_ell", "vad_ell", "ell_onnx"}
    if look_back:  # ELL has no convolution that keeps earlier frames
        assert set(exported) == everywhere
        assert "ELL has no node for a Convolution (the step 'past')" in capsys.readouterr().out
    else:
        assert set(exported) > everywhere | ell
    for item in exported.values():
        assert item.parity is None or item.parity.label_agreement == 1


@pytest.mark.parametrize(("frames", "dilation", "filters"), [(1, 1, 40), (2, 1, 13), (2, 2, 13), (2, 4, 5)], ids=str)
def test_pools_are_exported_to_every_format(tmp_path, capsys, frames, dilation, filters):
    shape = [f"model.frames={frames}", f"model.dilation={dilation}", f"featurizer.num_filters={filters}"]
    config, spotter, probe = make(*shape, "export=[onnx,onnx_stream,ell,c,graph]", model="toy_pool")
    exporters = instantiate(config.export).values()
    exported = {e.format: e for exporter in exporters for e in exporter.write(spotter, probe, tmp_path)}
    assert set(exported) == {"onnx", "onnx_step", "onnx_stream", "c", "spotter_dot", "spotter_svg"}
    assert "ELL has no node for a Convolution (the step 'first')" in capsys.readouterr().out
    for item in exported.values():
        assert item.parity is None or (item.parity.label_agreement == 1 and item.parity.max_abs_difference < 1e-4)
    text = (tmp_path / "spotter.dot").read_text()
    assert "LeakyReLU" in text
    assert f"MaxPool {5 * filters} → {5 * (filters // 2)}" in text


def test_it_is_stored_and_read():
    _, spotter, _ = make("model.look_back=2")
    assert NETWORKS["ToyClassifier"] is type(spotter.classifier)
    again = Spotter.from_settings(spotter.settings)
    assert again.classifier.settings == {"input_size": 40, "num_classes": 3, "width": 12, "look_back": 2}


def test_it_is_counted():
    _, spotter, _ = make("model.look_back=2")
    network = 40 * 2 + 40 * 12 + 3 * 12 * (12 + 12) + 12 * 3
    program = spotter.program()
    assert program.multiply_adds(program.network) == network
    frames = 31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted = clip_multiply_adds(spotter.classifier, frames, 40)
    # PyTorch's counter takes the convolution for one of the frames before the first, too.
    assert counted == frames * network
    assert multiply_adds_per_second(spotter) == pytest.approx(8000 / 256 * program.multiply_adds())
    assert [(state.name, state.size) for state in program.states] == [("vad", 4), ("state_0", 80), ("state_1", 12)]
    assert program.state_bytes == 4 * (4 + 80 + 12)
    weights = sum(p.numel() for p in spotter.classifier.parameters())
    filters = np.count_nonzero(spotter.featurizer.filters.numpy())
    assert program.weight_bytes == 4 * (weights + 2 * 40 + filters + 40)  # mean and deviation, filters, VAD


def test_it_is_drawn(tmp_path):
    config, spotter, probe = make("model.look_back=2", "export=[graph]")
    for exporter in instantiate(config.export).values():
        exporter.write(spotter, probe, tmp_path)
    text = (tmp_path / "spotter.dot").read_text()
    for wire in ('"projection" -> "memory"', '"memory" -> "sum"', '"projection" -> "sum"', '"features" -> "voice"'):
        assert wire in text
    assert text.count('label="reset"') == 2  # the convolution's frames and the GRU
    assert "GRU, 936 weights" in text
