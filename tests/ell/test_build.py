from itertools import pairwise

import numpy as np
import pytest

from kws.ell import archive, build, metadata
from kws.ell.interpreter import run
from kws.ell.model import Model
from kws.ell.nodes import VadNode
from kws.errors import KwsError
from kws.featurizer import Featurizer
from tests.ell.facts import FEATURIZER, LABELS, VAD, Network, frames
from tests.ell.vectors import CLASSIFIERS, GOLDEN
from tests.ell.vectors import VAD as VAD_FILE

ALL_OPTIONS = {"hop_size": 128, "num_filters": 26, "pre_emphasis": True, "hamming": True, "power_spectrum": True}
ALL_OPTIONS |= {"log_delta": 0.001, "dct": 26}
WIDE = {"sample_rate": 16000, "window_size": 512}

# What the name of each of ELL's featurizers means.
CASES = {
    "f16k_256_256_40": {"sample_rate": 16000},
    "f16k_512_160_40_default": WIDE | {"hop_size": 160, "log": False},
    "f16k_512_512_80_log": WIDE | {"hop_size": 512, "num_filters": 80},
    "f8k_256_128_40_log": {"hop_size": 128},
    "f8k_256_256_40_log": {},
    "f8k_256_256_40_nolog": {"log": False},
    "f8k_all": ALL_OPTIONS,
    "f8k_autoscale": {"auto_scale": True},
    "f8k_dct": {"num_filters": 13, "dct": 13},
    "f8k_hamming": {"hamming": True},
    "f8k_iir": {"pre_emphasis": True},
    "f8k_linear": {"filterbank": "linear"},
    "f8k_nfft512": {"fft_size": 512},
    "f8k_power": {"power_spectrum": True},
    "f8k_ws400": {"window_size": 400, "hop_size": 160},
    "f8k_ws400_nfft512": {"window_size": 400, "hop_size": 160, "fft_size": 512},
}
NETWORKS = [(cell, sizes) for cell in ("gru", "lstm") for sizes in ((6,), (6, 4), (6, 6, 5))]


def bare(model: Model) -> Model:
    """`model` with its ids counted from 0 and without the metadata that only says where a node came from."""
    model = model.copy()
    ids = {node.id: str(index) for index, node in enumerate(model.nodes)}

    def renamed(source: str) -> str:
        return f"{ids[source.removesuffix('.output')]}.output"

    for node in model.nodes:
        for attribute, _, source in list(node.ports()):
            setattr(node, attribute, renamed(source))
        node.id = ids[node.id]
        for key in ("ancestor", "name", "GroupId", "op_type"):
            node.metadata.pop(key, None)
    model.input_ids = [ids[name] for name in model.input_ids]
    model.output_elements = [renamed(source) for source in model.output_elements]
    return model


def test_every_featurizer_of_ell_has_a_case():
    assert {path.stem for path in (GOLDEN / "featurizer").glob("*.ell")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_featurizer_is_the_model_that_ell_makes(name):
    ells = archive.read(GOLDEN / "featurizer" / f"{name}.ell")
    assert bare(build.featurizer(FEATURIZER | CASES[name])) == bare(ells)


@pytest.mark.parametrize("name", CASES)
def test_featurizer_computes_what_pytorch_computes(name):
    import torch

    settings = FEATURIZER | CASES[name]
    samples = np.load(GOLDEN / "featurizer" / "audio_pm1.npy")
    hop = settings["hop_size"]
    samples = samples[: len(samples) // hop * hop]
    expected = Featurizer(**settings)(torch.from_numpy(samples)[None])[0].numpy()
    scale = 1 if settings["auto_scale"] else 32768  # without auto_scale the device hands over 16-bit values
    found = run(build.featurizer(settings), samples.reshape(-1, hop) * np.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fft_size": 300}, "fft_size=300"),
        ({"window_size": 400, "fft_size": 256}, "fft_size=256"),
        ({"hop_size": 300}, "hop_size=300"),
        ({"filterbank": "bark"}, "bark"),
        ({"dct": 41}, "numFilters is 41"),
    ],
)
def test_featurizers_that_ell_cannot_be_are_refused(change, reason):
    with pytest.raises(KwsError, match=reason):
        build.featurizer(FEATURIZER | change)


@pytest.mark.parametrize(("cell", "sizes"), NETWORKS)
def test_classifier_computes_what_pytorch_computes(cell, sizes):
    network, x = Network(cell, sizes), frames(200)
    model = archive.parse(archive.text(build.classifier(**network.facts())))
    np.testing.assert_allclose(run(model, x), network.probabilities(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("cell", "sizes"), NETWORKS)
def test_classifier_with_vad_resets_every_layer(cell, sizes):
    network, x = Network(cell, sizes), frames(300)
    model = build.classifier(**network.facts(), vad=VAD)
    signal = run(model, x, outputs=[model.vad.id])[model.vad.id][:, 0]
    falls = [0, *(np.flatnonzero((signal[:-1] == 1) & (signal[1:] == 0)) + 2), len(x)]
    assert len(falls) > 4
    pieces = [network.probabilities(x[i:j]) for i, j in pairwise(falls) if i < j]
    np.testing.assert_allclose(run(model, x), np.concatenate(pieces), atol=1e-6, rtol=0)


def test_the_vad_hears_the_features_before_normalisation():
    network, x = Network("gru", (6, 4)), frames(300)
    model = build.classifier(**network.facts(), vad=VAD)
    alone = run(build.vad(VAD, x.shape[1]), x)
    np.testing.assert_array_equal(run(model, x, outputs=[model.vad.id])[model.vad.id], alone)
    assert {0, 1} == set(alone[:, 0])


def test_vad_alone_is_the_model_that_ell_makes():
    ells = archive.read(VAD_FILE)
    settings = {key: getattr(ells.vad.vad, key) for key in build.VAD_KEYS}
    assert bare(build.vad(settings, 40)) == bare(ells)


def test_structure_is_that_of_ells_importer():
    path = next(path for path in CLASSIFIERS if path.stem == "GRU32x2_ms")
    types = [node.TYPE for node in build.classifier(**Network("gru", (6, 4)).facts()).nodes]
    ells = [node.TYPE for node in archive.read(path).nodes]
    assert types == ells


@pytest.mark.parametrize("vad", [None, VAD])
def test_the_same_facts_make_the_same_bytes(vad, tmp_path):
    for name in ("a.ell", "b.ell"):
        archive.write(build.classifier(**Network("lstm", (6, 4)).facts(), vad=vad), tmp_path / name)
    text = (tmp_path / "a.ell").read_bytes()
    assert text == (tmp_path / "b.ell").read_bytes()
    archive.write(archive.read(tmp_path / "a.ell"), tmp_path / "c.ell")
    assert text == (tmp_path / "c.ell").read_bytes()


def test_labels_and_facts_come_back_from_the_file():
    model = archive.parse(archive.text(build.classifier(**Network("gru", (6,)).facts())))
    assert metadata.labels(model) == LABELS
    assert metadata.facts(model) == {"run": 'outputs/"a b"', "decoder.threshold": "0.5"}


def test_a_long_frame_duration_is_rounded_as_in_the_file():
    model = build.vad(VAD | {"frame_duration": 1 / 3}, 40)
    assert archive.parse(archive.text(model)) == model
    assert model.of_type(VadNode)[0].vad.frame_duration == 0.333333333


def broken(**changes):
    facts = Network("gru", (6,)).facts()
    layer = facts["layers"][0] | changes.pop("layer", {})
    return facts | {"layers": [layer]} | changes


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (broken(layer={"cell": "fastgrnn"}), "fastgrnn"),
        (broken(layer={"bias_hh": np.zeros(17)}), r"bias_hh has the shape \(17,\)"),
        (broken(layer={"weight_ih": np.zeros((17, 7))}), "weight_ih"),
        (broken(layers=[]), "at least one"),
        (broken(labels=["a"]), "1 labels for 5 classes"),
        (broken(deviation=np.zeros(7)), "above 0"),
        (broken(mean=np.zeros(6), deviation=np.ones(6)), "7 values where 6"),
        (broken(vad={"tau_up": 1.0}), "lack sample_rate"),
        (broken(vad=VAD | {"tau": 1.0}), "no setting tau"),
        (broken(vad=VAD | {"num_features": 40}), "40 features"),
        (broken(vad=VAD | {"tau_up": 0.0}), "tau_up"),
    ],
)
def test_facts_that_do_not_fit_are_refused(facts, reason):
    with pytest.raises(KwsError, match=reason):
        build.classifier(**facts)
