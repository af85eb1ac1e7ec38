import re
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.ell import archive, build
from kws.ell.interpreter import run
from kws.ell.model import Model
from kws.ell.nodes import GRUNode
from kws.program import Chain, Program, steps
from kws.support.errors import KwsError
from tests.ell.vectors import ALL, CEPSTRA, CLASSIFIERS, FASTGRNNS, FEATURIZERS, SHARED, VAD, VAD_CLASSIFIERS, names

CLASSIFIER = CLASSIFIERS[0].read_text()
FEATURIZER = next(path for path in FEATURIZERS if path.stem == "f8k_256_256_40_nolog").read_text()


def small_classifier() -> Model:
    random = np.random.default_rng(0)

    def weights(*shape):
        return random.normal(size=shape).astype(np.float32)

    chain = Chain("features")
    chain.add(steps.Normalize, "normalization", mean=weights(4), deviation=np.ones(4, np.float32))
    layer = {"weight_ih": weights(9, 4), "weight_hh": weights(9, 3), "bias_ih": weights(9), "bias_hh": weights(9)}
    chain.add(steps.GRU, "layer1", **layer)
    chain.add(steps.Linear, "linear", weight=weights(2, 3), bias=weights(2))
    chain.add(steps.LogSoftmax, "log_probabilities")
    vad = dict.fromkeys(build.VAD_KEYS, 0.5) | {"sample_rate": 8000}
    return build.classifier(Program(chain.steps, 4, "features"), vad=vad)


@pytest.mark.parametrize("path", ALL, ids=names)
def test_ells_own_files_come_back_byte_for_byte(path):
    # With ELL's 7 digits the writer makes ELL's file again: order, spacing, doubled keys and all.
    assert archive.text(archive.read(path), digits=7) == path.read_text()


def test_every_file_that_ell_wrote_comes_back():
    if not SHARED.is_dir():
        pytest.skip("the full set of ELL's files is not on this machine")
    # Those under dct were written here and only read by ELL.
    paths = [path for path in sorted(SHARED.rglob("*.ell")) if path.parent.name != "dct"]
    assert len(paths) >= 36
    for path in paths:
        assert archive.text(archive.read(path), digits=7) == path.read_text(), path


@pytest.mark.parametrize("path", ALL, ids=names)
def test_write_read_write_gives_the_same_bytes(path, tmp_path):
    model = archive.read(path)
    archive.write(model, tmp_path / "first.ell")
    again = archive.read(tmp_path / "first.ell")
    archive.write(again, tmp_path / "second.ell")
    assert again == model
    assert (tmp_path / "first.ell").read_bytes() == (tmp_path / "second.ell").read_bytes()


def test_nine_digits_keep_every_bit():
    model = small_classifier()
    node = model.node(model.recurrent[0].input_weights)
    node.values = np.float32(1) + np.arange(len(node.values), dtype=np.float32) * np.finfo(np.float32).eps
    again = archive.parse(archive.text(model))
    assert np.array_equal(again.node(node.output).values, node.values)
    assert archive.parse(archive.text(model, digits=7)) != model


def test_both_activations_are_kept():
    text = archive.text(small_classifier())
    assert len(re.findall('"activation"', text)) == 2
    assert text.index("TanhActivation") < text.index("SigmoidActivation")
    node = archive.parse(text).of_type(GRUNode)[0]
    assert (node.activation, node.recurrent_activation) == ("tanh", "sigmoid")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: re.sub(r"\n\s*", "", text),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("  ", "\t"),
        lambda text: re.sub(r',\s*"order": [^\n]*\n\s*"increment": [^\n]*', "", text),
        lambda text: re.sub(r'"nodeId":\s*"\d+"', '"nodeId": "anything"', text),
    ],
    ids=["compact", "crlf", "tabs", "short layouts", "other nodeIds"],
)
def test_what_ell_loads_loads(change):
    changed = change(CLASSIFIER)
    assert changed != CLASSIFIER
    frames = np.ones((3, 40))
    np.testing.assert_array_equal(run(archive.parse(changed), frames), run(archive.parse(CLASSIFIER), frames))


def without_metadata(text: str) -> str:
    return re.sub(r'\s*"metadata": \{.*?\n      \},(?=\n      ")', "", text, flags=re.DOTALL)


def test_metadata_may_be_left_out():
    changed = without_metadata(CLASSIFIER)
    assert "PropertyBag" not in changed
    assert not any(node.metadata for node in archive.parse(changed).nodes)


def swap(text: str, a: str, b: str) -> str:
    """Exchange the first two lines that start with these keys."""
    lines = text.split("\n")
    i, j = (next(k for k, line in enumerate(lines) if line.strip().startswith(f'"{key}"')) for key in (a, b))
    lines[i], lines[j] = lines[j], lines[i]
    return "\n".join(lines)


def nodes_reversed(text: str) -> str:
    model = archive.parse(text)
    first, second = '"id":       "1026"', '"id":       "1027"'
    assert model.nodes and first in CLASSIFIER
    return text.replace(first, "X").replace(second, first).replace("X", second)


DAMAGE = {
    "blank in a node's name": (lambda t: t.replace('"1026', '"10 26'), "has a blank"),
    "tab in a node's name": (lambda t: t.replace('"1026', r'"10\t26'), "has a blank"),
    "missing property": (lambda t: re.sub(r'\s*"hiddenUnits": 32,', "", t), "hiddenUnits"),
    "missing second activation": (
        lambda t: re.sub(r',\s*"activation": \{\s*"_type": "Sigmoid[^}]*\}', "", t),
        "'activation' is missing",
    ),
    "out of order": (lambda t: swap(t, "size", "extent"), "expected the property 'size', found 'extent'"),
    "unknown property": (lambda t: t.replace('"hiddenUnits": 32,', '"hiddenUnits": 32,\n"colour": 1,'), "colour"),
    "unknown property at the end": (
        lambda t: t.replace('"increment": [40, 1, 1]', '"increment": [40, 1, 1], "colour": 1'),
        "unknown property",
    ),
    "short weights": (lambda t: re.sub(r'("values": \[)-?[\d.]+, ', r"\1", t, count=1), "values where"),
    "short output weights": (lambda t: re.sub(r'("weights_values": \[)-?[\d.]+, ', r"\1", t), "weights_values"),
    "short bias": (lambda t: re.sub(r'("bias": \[)-?[\d.]+, ', r"\1", t), "layer.bias"),
    "other hidden units": (lambda t: t.replace('"hiddenUnits": 32', '"hiddenUnits": 31'), "inputWeights"),
    "unknown node": (lambda t: t.replace('"GRUNode<float>"', '"RNNNode<float>"'), "unknown node type 'RNNNode<float>'"),
    "node of doubles": (lambda t: t.replace('"GRUNode<float>"', '"GRUNode<double>"'), "GRUNode<double>"),
    "unknown activation": (lambda t: t.replace("TanhActivation", "ReLUActivation"), "ReLUActivation"),
    "byte-order mark": (lambda t: "\ufeff" + t, "byte-order mark"),
    "unquoted version": (lambda t: t.replace('"_version": "2"', '"_version": 2', 1), "_version must be a quoted"),
    "old version": (lambda t: t.replace('"_version": "2"', '"_version": "1"', 1), "versions 2 and 3"),
    "no version": (lambda t: re.sub(r'\s*"_version": "3",', "", t, count=1), "_version"),
    "truncated": (lambda t: t[: len(t) // 2], "line"),
    "empty": (lambda t: "", "the file ends here"),
    "trailing": (lambda t: t + "{}", "end of the file"),
    "undefined source": (lambda t: re.sub(r'"input":(\s+)"1026.output"', r'"input":\1"77.output"', t), "'77.output'"),
    "no output port": (lambda t: re.sub(r'"input":(\s+)"1026.output"', r'"input":\1"1026"', t), "'1026'"),
    "wrong port type": (lambda t: t.replace('"type": 3', '"type": 1'), "type"),
    "float into the trigger": (
        lambda t: re.sub(r'("type": 3,\s*"input":\s+)"1027.output"', r'\1"1026.output"', t),
        "different types",
    ),
    "nodes out of order": (nodes_reversed, "different types|comes later|used twice"),
    "a constant after its user": (
        lambda t: t.replace('"1028.output"', '"1036.output"'),
        "'1036.output', which comes later",
    ),
    "id twice": (lambda t: t.replace('"id":       "1028"', '"id":       "1029"'), "used twice"),
    "not a number": (lambda t: re.sub(r'("values": \[)-?[\d.]+', r"\1nan", t, count=1), "number"),
    "infinite": (lambda t: re.sub(r'("values": \[)-?[\d.]+', r"\g<1>1e999", t, count=1), "too large"),
    "empty element": (lambda t: re.sub(r'("values": \[)-?[\d.]+, ', r"\1, ", t, count=1), "element 0"),
    "huge size": (
        lambda t: t.replace('"size": [1, 40, 1]', '"size": [1, 99999999999, 1]', 1),
        "MemoryLayout|values where",
    ),
    "unknown input": (lambda t: re.sub(r'("inputIds": \[\s*)"\d+"', r'\1"5"', t), "inputIds"),
    "unknown output": (lambda t: re.sub(r'("outputElements": \[\s*)"\d+', r'\1"5', t), "outputElements"),
    "JSON, but no model": (lambda t: '{"a": 1}', "_type"),
}


def renumbered(text: str) -> str:
    """CLASSIFIER's ids start at whatever ELL had counted to; tests speak of 1026 and up."""
    first = int(re.search(r'"id":\s+"(\d+)"', text)[1])
    return re.sub(r'"(\d{4})(\.output)?"', lambda m: f'"{int(m[1]) - first + 1026}{m[2] or ""}"', text)


CLASSIFIER = renumbered(without_metadata(CLASSIFIER))


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_with_its_place(name):
    damage, reason = DAMAGE[name]
    damaged = damage(CLASSIFIER)
    assert damaged != CLASSIFIER
    with pytest.raises(KwsError, match=reason) as caught:
        archive.parse(damaged, "some.ell")
    assert re.match(r"'some.ell', line \d+, column \d+", str(caught.value))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("start", -1, "start is -1"),
        ("start", 28, "start is 28 and count 13, which does not lie within its 40 inputs"),
        ("count", 0, "count is 0"),
        ("count", 12, "layout has 13 values where 12"),
        ("count", 1e300, "whole number"),
    ],
)
def test_a_slice_that_does_not_fit_is_refused(key, value, reason):
    text = CEPSTRA.read_text()
    changed = re.sub(rf'"{key}": \d+', f'"{key}": {value}', text)
    assert changed != text
    with pytest.raises(KwsError, match=reason):
        archive.parse(changed)


@pytest.mark.parametrize(
    "text", ["a" * (1 << 20), "\\\\" * (1 << 19), '\\"' * (1 << 18)], ids=["letters", "pairs", "quotes"]
)
def test_a_text_without_an_end_costs_no_more_than_its_length(text):
    for damaged in ('{"_type": "' + text, '{"' + text):
        tracemalloc.start()
        with pytest.raises(KwsError, match="expected a quoted text"):
            archive.parse(damaged)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(damaged)
        tracemalloc.stop()


def test_escapes_in_texts():
    metadata = CLASSIFIER.replace('"_version": ', '"_version":  ', 1)
    assert archive.parse(metadata).nodes
    reader = archive._Reader(r'  "a \"b\" \\" : "\\"', "x")
    assert reader.string() == 'a "b" \\'
    assert reader.peek() == ":"


def test_a_name_with_a_blank_is_not_written():
    model = small_classifier()
    model.nodes[0].id = "first node"
    with pytest.raises(KwsError, match="blank"):
        archive.text(model)


def test_the_place_is_the_right_one():
    lines = CLASSIFIER.split("\n")
    line = next(i for i, text in enumerate(lines) if '"hiddenUnits"' in text)
    lines[line] = lines[line].replace("32", "thirty-two")
    with pytest.raises(KwsError) as caught:
        archive.parse("\n".join(lines))
    assert f"line {line + 1}, column {lines[line].index('thirty') + 1} " in str(caught.value)
    assert re.search(r"at model\.nodes\[\d+\] \(GRUNode<float> '\d+'\)\.hiddenUnits:", str(caught.value))


def test_a_number_in_a_list_is_found():
    lines = CLASSIFIER.split("\n")
    line = next(i for i, text in enumerate(lines) if '"bias"' in text)
    words = lines[line].split(", ")
    words[2] = "--1"
    lines[line] = ", ".join(words)
    with pytest.raises(KwsError, match=rf"line {line + 1}, .*layer\.bias: element 2 of the list is '--1'"):
        archive.parse("\n".join(lines))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(KwsError, match=r"absent\.ell"):
        archive.read(tmp_path / "absent.ell")
    with pytest.raises(KwsError, match=str(tmp_path)):
        archive.read(tmp_path)
    (tmp_path / "binary.ell").write_bytes(b"{\n\xff\xfe\x00")
    with pytest.raises(KwsError, match=r"binary.ell', line 2, column 1"):
        archive.read(tmp_path / "binary.ell")


@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", " a", "ü", "a\nb", ",a"])
def test_texts_that_ell_cannot_read_are_not_written(text):
    model = small_classifier()
    model.nodes[0].metadata["note"] = text
    with pytest.raises(KwsError, match="ELL cannot read the text"):
        archive.text(model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_written(value):
    model = small_classifier()
    model.node(model.recurrent[0].input_bias).values[0] = value
    with pytest.raises(KwsError, match="training"):
        archive.text(model)


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    model = small_classifier()
    model.nodes[0].metadata["note"] = ""
    with pytest.raises(KwsError):
        archive.write(model, tmp_path / "model.ell")
    assert not list(tmp_path.iterdir())


SMALL = [archive.text(small_classifier()), FEATURIZER, VAD.read_text(), CEPSTRA.read_text()]
SMALL.append(without_metadata(next(path for path in FASTGRNNS if path.parent.name == "lowrank_vad").read_text()))


@st.composite
def mutations(draw) -> bytes:
    """A valid file with a few pieces cut out, doubled, moved or overwritten."""
    data = draw(st.sampled_from(SMALL)).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.just(data[start:end] * 2),
                st.binary(max_size=4),
                st.sampled_from([b"0", b"-1", b"1e9", b"99999999999999999999", b"[]", b'""', b"{", b"}", b",", b"nan"]),
            )
        )
        data = data[:start] + piece + data[end:]
    return data


def load_and_run(text: bytes | str) -> None:
    model = archive.parse(text)
    if sum(model.sizes().values()) < 100_000:
        run(model, np.ones((2, model.input_size)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(mutations())
def test_mutated_files_load_or_are_refused(data):
    with suppress(KwsError):  # no other exception
        load_and_run(data)


def words(text: str) -> list[str]:
    return re.findall(r'"[^"]*"|[\w.+-]+|\s+|.', text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_files_with_words_exchanged_load_or_are_refused(data):
    parts = words(data.draw(st.sampled_from(SMALL)))
    solid = [i for i, part in enumerate(parts) if not part.isspace()]
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = data.draw(st.sampled_from(solid)), data.draw(st.sampled_from(solid))
        parts[i], parts[j] = parts[j], parts[i]
    with suppress(KwsError):
        load_and_run("".join(parts))


def test_vad_files_without_metadata_keep_their_versions():
    model = archive.read(VAD_CLASSIFIERS[0])
    assert model.vad.version == "0" and not model.vad.metadata
