"""Networks of integers in C are their twins in Python to the last bit."""

import re

import numpy as np
import pytest

from kws.native import CModel, builds, compiler, sources
from kws.native.files import C
from kws.native.integer import filled, tiles
from kws.program.fixed_point import TANH
from kws.program.floating import log_softmax
from kws.support.errors import KwsError
from tests.native import integers
from tests.native.integers import NETWORKS, hostile, totals_of
from tests.native.spotters import make_spotter, model, need_compiler

FUZZED = {  # with seeds that leave something to be heard
    **{"gru": 1, "lstm": 2, "fastgrnn": 2, "fastgrnn low rank": 5},
    **{"convolutions": 4, "groups": 9, "residual": 8, "wide": 4, "pools": 5},
}
CASES = [*((name, None) for name in NETWORKS), *FUZZED.items()]


def loaded(program, folder, flags=("-O1",)) -> CModel:
    """A program as a library, compiled quickly; test_integer_compilers is about all that compilers do to it."""
    integers.write(program, folder)
    paths, library = [folder / name for name in builds.SOURCES], folder / "model.so"
    flags = ["-std=c99", *flags, "-march=native", "-shared", "-fPIC", f"-I{folder / builds.HEADERS}"]
    compiler.find_compiler().run(*flags, *paths, "-o", library, "-lm")
    return CModel(library)


def heard(model, features, resets=()):
    """Totals and log-probabilities of (B, T, F); before the frames in `resets` the network of all streams forgets."""
    state, totals, rows = model.start(len(features)), [], []
    for t in range(features.shape[1]):
        if t in resets:
            state = model.reset(state, network_alone=True)
        outputs, state = model.hear(features[:, t], state)
        totals.append(model.totals(state))
        rows.append(outputs.log_probabilities[:, 0])
    return np.stack(totals, 1), np.stack(rows, 1)


@pytest.mark.parametrize(("name", "scramble"), CASES)
def test_every_network_to_the_last_bit(tmp_path, name, scramble):
    need_compiler()
    program = integers.program(name, scramble)
    model = loaded(program, tmp_path)
    features, resets = hostile(300, streams=2, seed=len(name)), np.array([1, 50, 51, 200])
    totals, log_probabilities = heard(model, features, resets)
    expected = totals_of(program, features, resets)
    assert np.array_equal(totals, expected)
    assert len(np.unique(expected[..., 0])) > 300  # there was something to compute
    scores = expected.astype(np.float32) * program.network[-2].scale
    np.testing.assert_allclose(log_probabilities, log_softmax(scores), rtol=1e-5, atol=1e-5)
    whole, _ = model.hear(features.reshape(2, -1), model.start(2))  # without resets, in one block
    assert np.array_equal(model.hear(features.reshape(2, -1)[1:], model.start())[0][0][0], whole.log_probabilities[1])


def test_quantising_rounds_as_the_twin_does(tmp_path):
    """Halves, and what lies next to them, in features that are integers and a half already."""
    need_compiler()
    program = integers.program("plain sums")
    step = program.network[0]
    step.mean[:], step.factor[:] = 0, 1
    random = np.random.default_rng(0)
    features = (random.integers(-33000, 33000, (1, 2000, integers.F)) / 2).astype(np.float32)
    features = np.concatenate([features, np.nextafter(features, np.inf), np.nextafter(features, -np.inf)], axis=1)
    model = loaded(program, tmp_path, compiler.FLAGS)
    totals, _ = heard(model, features)
    assert np.array_equal(totals, totals_of(program, features, np.array([], int)))


def test_the_table_of_tangents_is_the_twin_s():
    text = (C / "integer_tangent.h").read_text(encoding="utf-8")
    numbers = re.search(r"tangents\[256\] = \{(.*?)\}", text, re.DOTALL)[1]
    assert [int(number) for number in numbers.split(",")] == TANH.tolist()


def test_a_matrix_in_tiles():
    weight = np.arange(-30, 30, dtype=np.int8).reshape(10, 6)
    laid = tiles(weight)
    assert laid.shape == (2, 2, 8, 4)
    assert laid[0, 0, 3].tolist() == weight[3, [0, 2, 1, 3]].tolist()
    assert laid[0, 1, 3].tolist() == [weight[3, 4], 0, weight[3, 5], 0]
    assert laid[1, 0, 1].tolist() == weight[9, [0, 2, 1, 3]].tolist()
    assert not laid[1, :, 2:].any()
    assert filled(weight, 12, 8).shape == (12, 8)


def test_nothing_of_floats_is_left_in_an_integer_network():
    text = sources(make_spotter(), integers.program("wide"))["kws_model.c"]
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(double|add_product|logistic|tangent|malloc)\b", code)
    floats = re.findall(r"^static (?:inline )?(?:const )?\w+ \*?(\w+)\((?:[^)]*\bfloat\b)", code, re.MULTILINE)
    assert {name for name in floats if "integer" in name} == {"integer_quantize", "integer_scores"}
    assert max(map(len, text.splitlines())) <= 120


def test_integers_take_less_memory_than_floats():
    header = sources(make_spotter(), integers.program("wide"))["kws_model.h"]
    assert "int16_t step6[40];" in header  # 33 units, filled up
    assert "int32_t totals[KWS_LABELS];" in header
    assert "#define KWS_INTEGERS 1" in header


def test_a_model_of_floats_has_no_totals():
    need_compiler()
    assert "totals" not in sources(make_spotter())["kws_model.h"]
    with pytest.raises(KwsError, match=r"computes in float32 and has no totals.*export\.c\.weights=int8"):
        model().totals(model().start())
