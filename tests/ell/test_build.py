from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kws.ell import archive, build, metadata
from kws.ell.interpreter import run
from kws.ell.model import Model
from kws.ell.nodes import DCTNode, SliceNode, VadNode
from kws.program import Program
from kws.program.steps import LeakyReLU, MaxPool, ReLU
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError
from tests.ell.facts import FEATURIZER, LABELS, VAD, Network, featurizer_steps, frames
from tests.ell.vectors import CEPSTRA, CLASSIFIERS, GOLDEN
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
    assert bare(build.featurizer(featurizer_steps(**CASES[name]))) == bare(ells)


@pytest.mark.parametrize("name", CASES)
def test_featurizer_computes_what_pytorch_computes(name):
    import torch

    settings = FEATURIZER | CASES[name]
    samples = np.load(GOLDEN / "featurizer" / "audio_pm1.npy")
    hop = settings["hop_size"]
    samples = samples[: len(samples) // hop * hop]
    expected = Featurizer(**settings)(torch.from_numpy(samples)[None])[0].numpy()
    scale = 1 if settings["auto_scale"] else 32768  # without auto_scale the device hands over 16-bit values
    found = run(build.featurizer(featurizer_steps(**CASES[name])), samples.reshape(-1, hop) * np.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_transform_that_ell_has_not_is_refused():
    with pytest.raises(KwsError, match="fft_size=300"):
        build.featurizer(featurizer_steps(fft_size=300))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hann": True}, r"no window but Hamming's \(the step 'window'\)"),
        ({"filterbank": "slaney"}, r"no filterbank of the kind slaney \(the step 'filterbank'\)"),
    ],
)
def test_windows_and_filters_that_ell_has_not_are_named(options, reason):
    with pytest.raises(build.NoNode, match=reason):
        build.featurizer(featurizer_steps(**options))


def test_a_slice_of_cepstra_is_the_file_that_ell_was_seen_to_compute():
    options = {"hop_size": 128, "hamming": True, "pre_emphasis": True, "power_spectrum": True, "auto_scale": True}
    built = build.featurizer(featurizer_steps(**options, log_delta=1e-6, dct=13))
    ells = archive.read(CEPSTRA)
    ells.of_type(SliceNode)[0].layout.increment = [1]  # which that file leaves out
    assert bare(built) == bare(ells)


@pytest.mark.parametrize("dct", [1, 13, 39])
def test_fewer_cepstra_are_a_slice_of_all(dct):
    model = build.featurizer(featurizer_steps(dct=dct))
    assert [node.num_filters for node in model.of_type(DCTNode)] == [40]  # all of them, as ELL wants it
    model.check_computable()
    hops = np.load(GOLDEN / "featurizer" / "audio_pm1.npy")[: 50 * 256].reshape(-1, 256)
    np.testing.assert_array_equal(run(model, hops), run(build.featurizer(featurizer_steps(dct=40)), hops)[:, :dct])


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
    network = Network("gru", (6,))
    for name in ("mean", "deviation"):
        setattr(network, name, changes.pop(name, getattr(network, name)))
    return network.facts() | changes


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (broken(labels=["a"]), "1 labels for 5 classes"),
        (broken(deviation=np.zeros(7, np.float32)), "above 0"),
        (broken(vad={"tau_up": 1.0}), "lack sample_rate"),
        (broken(vad=VAD | {"tau": 1.0}), "no setting tau"),
        (broken(vad=VAD | {"num_features": 40}), "40 features"),
        (broken(vad=VAD | {"tau_up": 0.0}), "tau_up"),
    ],
)
def test_facts_that_do_not_fit_are_refused(facts, reason):
    with pytest.raises(KwsError, match=reason):
        build.classifier(**facts)


def test_a_network_that_nothing_could_reset_is_refused():
    last = Network("gru", (7,)).program().network[-2:]
    linear = replace(last[0], source="features")
    with pytest.raises(KwsError, match="at least one recurrent layer"):
        build.classifier(Program((linear, last[1]), 7, "features"))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(ReLU, {}), (LeakyReLU, {"slope": 0.2, "floor": -0.4}), (MaxPool, {"channels": 1, "filters": 6})],
)
def test_a_step_without_a_node_is_named(kind, settings):
    program = Network("gru", (6,)).program()
    added = (*program.network[:2], kind(name="other", source="layer1", **settings), *program.network[2:])
    with pytest.raises(build.NoNode, match=rf"ELL has no node for a {kind.__name__} \(the step 'other'\)"):
        build.classifier(Program(added, 7, "features"))
