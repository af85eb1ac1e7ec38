import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from kws.ell import archive, build, importer, metadata
from kws.ell.interpreter import run
from kws.ell.onnx_form import classifier_onnx
from kws.support.errors import KwsError
from tests.ell.facts import FEATURES, LABELS, Network, frames
from tests.ell.vectors import CLASSIFIERS, SHARED, beside, names

NETWORKS = [(cell, sizes) for cell in ("gru", "lstm") for sizes in ((6,), (6, 4), (6, 6, 5))]


@pytest.mark.parametrize("path", CLASSIFIERS, ids=names)
def test_import_makes_the_model_that_ells_importer_makes(path):
    model = importer.read(path.with_suffix(".onnx"))
    ells = archive.read(path)
    assert [node.TYPE for node in model.nodes] == [node.TYPE for node in ells.nodes]
    x = beside(path, ".input.npy")
    np.testing.assert_allclose(run(model, x), beside(path, ".compute.npy"), atol=1e-6, rtol=0)


def test_every_classifier_that_ell_imported_is_imported():
    if not SHARED.is_dir():
        pytest.skip("the full set of ELL's files is not on this machine")
    paths = sorted((SHARED / "classifier").glob("*.onnx"))
    assert len(paths) >= 7
    for path in paths:
        found = run(importer.read(path), beside(path, ".input.npy"))
        np.testing.assert_allclose(found, beside(path, ".compute.npy"), atol=1e-6, rtol=0, err_msg=str(path))


def onnx_of(cell="gru", sizes=(6, 4), normalized=True):
    return classifier_onnx(**Network(cell, sizes).facts(normalized))


@pytest.mark.parametrize(("cell", "sizes"), NETWORKS)
def test_onnx_form_runs_in_onnx_runtime(cell, sizes):
    network, x = Network(cell, sizes), frames(5)
    proto = onnx_of(cell, sizes)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("input", [1, 1, FEATURES])]
    for frame in x:
        found = session.run(None, {"input": frame[None, None]})[0]
        np.testing.assert_allclose(np.exp(found), network.probabilities(frame[None]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("cell", "sizes"), NETWORKS)
def test_onnx_form_comes_back_as_the_same_classifier(cell, sizes):
    facts, x = Network(cell, sizes).facts(), frames(100)
    model = importer.from_onnx(onnx_of(cell, sizes))
    np.testing.assert_array_equal(run(model, x), run(build.classifier(**facts), x))
    assert metadata.labels(model) == LABELS


@pytest.mark.parametrize("path", CLASSIFIERS, ids=names)
def test_onnx_form_has_the_structure_that_ell_takes(path):
    def structure(proto):
        return [
            (node.op_type, sorted(a.name for a in node.attribute), len(node.input), node.input[4:5])
            for node in proto.graph.node
        ]

    ells = onnx.load(path.with_suffix(".onnx"))
    cell = "gru" if "GRU" in path.stem else "lstm"
    layers = sum(node.op_type == cell.upper() for node in ells.graph.node)
    ours = onnx_of(cell, (6,) * layers, normalized="_ms" in path.stem)
    assert structure(ours) == structure(ells)
    assert (ours.ir_version, ours.opset_import[0].version) == (ells.ir_version, ells.opset_import[0].version)
    assert [node.name for node in ours.graph.node] == [node.name for node in ells.graph.node]
    assert len(ours.graph.input) == len(ells.graph.input) == 1


def test_onnx_form_is_the_same_every_time():
    assert onnx_of().SerializeToString() == onnx_of().SerializeToString()


# --- what is refused -------------------------------------------------------------------------------------------------


def node_of(proto, kind):
    return next(node for node in proto.graph.node if node.op_type == kind)


def set_attribute(kind, name, value):
    def change(proto):
        node = node_of(proto, kind)
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def drop_input(kind, index):
    def change(proto):
        node_of(proto, kind).input[index] = ""

    return change


def input_shape(*shape):
    def change(proto):
        proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, shape))

    return change


def rename(old, new):
    def change(proto):
        node_of(proto, old).op_type = new

    return change


def lengths_as_input(proto):
    node_of(proto, "GRU").input[4] = "lengths"
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.int32), "lengths"))


def weights_as_input(proto):
    proto.graph.input.append(helper.make_tensor_value_info("free", TensorProto.FLOAT, [1, 18, FEATURES]))
    node_of(proto, "GRU").input[1] = "free"


REFUSED = {
    "linear_before_reset": (set_attribute("GRU", "linear_before_reset", 0), "linear_before_reset=0"),
    "reverse": (set_attribute("GRU", "direction", "reverse"), "direction=reverse"),
    "bidirectional": (set_attribute("GRU", "direction", "bidirectional"), "direction=bidirectional"),
    "activations": (set_attribute("GRU", "activations", ["HardSigmoid", "Tanh"]), "HardSigmoid"),
    "clip": (set_attribute("GRU", "clip", 1.0), "clip"),
    "layout": (set_attribute("GRU", "layout", 1), "layout"),
    "hidden size": (set_attribute("GRU", "hidden_size", 5), "hidden_size=5"),
    "no bias": (drop_input("GRU", 3), r"no bias \(B\)"),
    "sequence lengths": (lengths_as_input, "sequence_lens"),
    "free weights": (weights_as_input, "one input beside the recurrent state"),
    "batch": (input_shape(1, 2, FEATURES), r"\[1, 2, 7\]"),
    "frames": (input_shape(3, 1, FEATURES), r"\[3, 1, 7\]"),
    "symbolic": (input_shape(1, "batch", FEATURES), "symbolic size batch"),
    "unknown operator": (rename("LogSoftmax", "Softplus"), "operator Softplus"),
    "alpha": (set_attribute("Gemm", "alpha", 2.0), "alpha"),
    "dropped values": (set_attribute("Slice", "axes", [2]), "drops or moves"),
    "softmax over the batch": (set_attribute("LogSoftmax", "axis", 0), "does not run over the classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_ell_form_is_refused_by_name(name):
    change, reason = REFUSED[name]
    proto = onnx_of()
    change(proto)
    with pytest.raises(KwsError, match=reason):
        importer.from_onnx(proto)


def test_a_network_without_memory_is_refused():
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["input"], ["y"], axis=1)],
        "none",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    with pytest.raises(KwsError, match="no GRU, LSTM or FastGRNN"):
        importer.from_onnx(helper.make_model(graph))


# --- other forms that mean the same ----------------------------------------------------------------------------------


def test_states_as_graph_inputs_are_taken_over_by_ell():
    proto, x = onnx_of("lstm", (6,)), frames(50)
    node = node_of(proto, "LSTM")
    for name in node.input[5:7]:
        proto.graph.initializer.remove(next(t for t in proto.graph.initializer if t.name == name))
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 6]))
    for name in node.output[1:]:
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 6]))
    expected = run(build.classifier(**Network("lstm", (6,)).facts()), x)
    np.testing.assert_array_equal(run(importer.from_onnx(proto), x), expected)


def test_newer_opsets_and_matmul_are_understood():
    proto, x = onnx_of("gru", (6, 4)), frames(50)
    for node in proto.graph.node:  # axes as inputs, opset 13
        if node.op_type in ("Squeeze", "Slice"):
            values = {a.name: list(a.ints) for a in node.attribute}
            del node.attribute[:]
            for key in ("starts", "ends", "axes"):
                if key in values:
                    name = f"{node.output[0]}_{key}"
                    proto.graph.initializer.append(numpy_helper.from_array(np.array(values[key], np.int64), name))
                    node.input.append(name)
    gemm = node_of(proto, "Gemm")
    weight = next(t for t in proto.graph.initializer if t.name == gemm.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), weight.name))
    product = helper.make_node("MatMul", gemm.input[:2], ["product"])
    bias = helper.make_node("Add", ["product", gemm.input[2]], list(gemm.output))
    at = list(proto.graph.node).index(gemm)
    proto.graph.node.remove(gemm)
    proto.graph.node.insert(at, bias)
    proto.graph.node.insert(at, product)
    proto.opset_import[0].version = 13
    onnx.checker.check_model(proto)
    expected = run(build.classifier(**Network("gru", (6, 4)).facts()), x)
    np.testing.assert_array_equal(run(importer.from_onnx(proto), x), expected)


# --- damage ----------------------------------------------------------------------------------------------------------


def test_files_that_are_no_onnx_are_named(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07\xff\xff\xff")
    for name in ("bad.onnx", "absent.onnx"):
        with pytest.raises(KwsError, match=name):
            importer.read(tmp_path / name)


SMALL = onnx_of("gru", (3,)).SerializeToString()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
def test_mutated_onnx_loads_or_is_refused(changes):
    data = bytearray(SMALL)
    for at, piece in changes:
        data[at : at + len(piece)] = piece
    try:
        proto = onnx.load_from_string(bytes(data))
    except Exception:  # protobuf's own refusal; `importer.read` names the file
        return
    try:
        model = importer.from_onnx(proto)
    except KwsError:
        return
    run(model, np.zeros((2, model.input_size)))
