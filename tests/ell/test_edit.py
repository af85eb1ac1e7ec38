import numpy as np
import pytest

from kws.ell import archive, build, edit
from kws.ell.interpreter import run
from kws.ell.nodes import IntegerConstantNode
from kws.support.errors import KwsError
from tests.ell.facts import VAD, Network, featurizer_steps, frames
from tests.ell.vectors import CLASSIFIERS, GOLDEN, VAD_CLASSIFIERS, names

FEATURES = np.load(GOLDEN / "vad" / "vadseq.features.npy")
ELL = {"sample_rate": 8000, "frame_duration": 0.032, **edit.ELL_DEFAULTS}


def test_adding_a_vad_makes_what_building_with_one_makes():
    facts, x = Network("gru", (6, 4)).facts(), frames(300)
    added = edit.add_vad(build.classifier(**facts), VAD)
    np.testing.assert_array_equal(run(added, x), run(build.classifier(**facts, vad=VAD), x))
    assert not added.of_type(IntegerConstantNode)


@pytest.mark.parametrize("path", CLASSIFIERS, ids=names)
def test_a_file_that_ell_made_takes_a_vad(path):
    model = archive.read(path)
    added = archive.parse(archive.text(edit.add_vad(model, ELL)))
    assert model.vad is None
    assert {node.reset_trigger for node in added.recurrent} == {added.vad.output}
    alone = run(build.vad(ELL, 40), FEATURES)[:, 0]
    np.testing.assert_array_equal(run(added, FEATURES, outputs=[added.vad.id])[added.vad.id][:, 0], alone)
    first_fall = np.flatnonzero((alone[:-1] == 1) & (alone[1:] == 0))[0] + 1
    difference = np.abs(run(added, FEATURES) - run(model, FEATURES)).max(axis=1)
    assert not difference[: first_fall + 1].any()
    assert difference[first_fall + 1] > 1e-4


@pytest.mark.parametrize("semantics", ["compiled", "interpreter"])
def test_ells_own_placement_computes_what_ell_computed(semantics):
    path = next(path for path in VAD_CLASSIFIERS if path.stem == "GRU32x2_ms_vad")
    expected = np.load(path.with_suffix(".native.npy" if semantics == "compiled" else ".compute.npy"))
    model = archive.read(GOLDEN / "classifier" / "GRU32x2_ms.ell")
    found = run(edit.add_vad(model, ELL, placement="normalized"), FEATURES, semantics)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert not np.allclose(run(edit.add_vad(model, ELL), FEATURES, semantics), expected, atol=1e-3)


@pytest.mark.parametrize("path", VAD_CLASSIFIERS, ids=names)
def test_settings_of_a_vad_that_is_there_are_changed_and_nothing_else(path):
    model = archive.read(path)
    changed = edit.add_vad(model, {"threshold_up": 4.0})
    assert (model.vad.vad.threshold_up, changed.vad.vad.threshold_up) == (3.552713, 4.0)
    assert changed.vad.vad.tau_up == 1.54
    assert changed.vad.input == model.vad.input
    same = edit.add_vad(changed, {"threshold_up": 3.552713})
    np.testing.assert_array_equal(run(same, FEATURES), run(model, FEATURES))


def test_adding_twice_adds_one():
    once = edit.add_vad(build.classifier(**Network("gru", (6,)).facts()), VAD)
    assert archive.text(edit.add_vad(once, VAD)) == archive.text(once)


@pytest.mark.parametrize("model", [build.featurizer(featurizer_steps()), build.vad(VAD, 40)], ids=["featurizer", "vad"])
def test_what_is_not_recurrent_is_refused(model):
    with pytest.raises(KwsError, match="no recurrent layer"):
        edit.add_vad(model, VAD)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "lack sample_rate"), (VAD | {"tauUp": 1}, "tauUp"), (VAD | {"tau_down": -1.0}, "tau_down")],
)
def test_settings_that_do_not_fit_are_refused(settings, reason):
    with pytest.raises(KwsError, match=reason):
        edit.add_vad(build.classifier(**Network("gru", (6,)).facts()), settings)


def test_an_unknown_placement_is_refused():
    with pytest.raises(KwsError, match="raw or normalized"):
        edit.add_vad(build.classifier(**Network("gru", (6,)).facts()), VAD, placement="front")
