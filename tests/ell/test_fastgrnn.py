"""FastGRNN in ELL: the operator that its importer takes, the node, and the numbers that ELL computed with it."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from kws.ell import archive, build, edit, importer
from kws.ell.fastgrnn import FastGRNN
from kws.ell.interpreter import Interpreter, run
from kws.ell.nodes import FastGRNNNode, RecurrentNode
from kws.ell.onnx_form import classifier_onnx
from kws.program import Chain, Program, steps
from kws.support.errors import KwsError
from tests.ell.vectors import FASTGRNNS, names

F, H, C = 6, 5, 3
FORMS = {
    "full": (None, None, "sigmoid", "tanh"),
    "low rank": (2, 3, "sigmoid", "tanh"),
    "only U": (None, 3, "hard_sigmoid", "hard_tanh"),
}
CURVES = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


def network(form, layers=2, **changes):
    """Random layers, a linear layer and a normalisation, as a program."""
    rng = np.random.default_rng(0)
    w_rank, u_rank, gate, update = FORMS[form]

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def matrices(inputs, rank):
        return (normal(H, inputs),) if rank is None else (normal(rank, inputs), normal(H, rank))

    chain = Chain("features")
    chain.add(steps.Normalize, "normalization", mean=normal(F), deviation=1 + np.abs(normal(F)))
    for i in range(layers):
        constants = {
            "input_weights": matrices(H if i else F, w_rank),
            # Small enough that a rounding at one frame does not grow with those that follow.
            "hidden_weights": tuple(matrix / 2 for matrix in matrices(H, u_rank)),
            "gate_bias": normal(H),
            "update_bias": normal(H),
            "zeta": normal(),
            "nu": normal(),
            "gate": gate,
            "update": update,
        }
        chain.add(steps.FastGRNN, f"layer{i + 1}", **constants | changes)
    chain.add(steps.Linear, "linear", weight=normal(C, H), bias=normal(C))
    chain.add(steps.LogSoftmax, "log_probabilities")
    return Program(chain.steps, F, "features")


def by_hand(program, frames):
    """(T, F) to (T, C) log-probabilities in float64, by the equations of the paper."""
    normalization, *layers, linear, _ = program.network
    x = (frames - normalization.mean) / normalization.deviation
    for layer in layers:
        W, U = (
            np.linalg.multi_dot([*m[::-1], np.eye(m[0].shape[1])]) for m in (layer.input_weights, layer.hidden_weights)
        )
        zeta, nu = CURVES["sigmoid"](np.float64(layer.zeta)), CURVES["sigmoid"](np.float64(layer.nu))
        h, outputs = np.zeros(H), []
        for frame in x:
            z = CURVES[layer.gate](W @ frame + U @ h + layer.gate_bias)
            new = CURVES[layer.update](W @ frame + U @ h + layer.update_bias)
            h = (zeta * (1 - z) + nu) * new + z * h
            outputs.append(h)
        x = np.array(outputs)
    scores = x @ linear.weight.T + linear.bias
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


FRAMES = np.random.default_rng(1).normal(size=(20, F)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_frame_by_frame_with_the_state_inside_it_is_the_network(form):
    program = network(form)
    model = ReferenceEvaluator(classifier_onnx(program), new_ops=[FastGRNN])
    computed = np.concatenate([model.run(None, {"input": frame[None, None]})[0] for frame in FRAMES])
    np.testing.assert_allclose(computed, by_hand(program, FRAMES.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_operator_has_what_the_importer_asks_for(form):
    program = network(form)
    model = classifier_onnx(program)
    assert [i.name for i in model.graph.input] == ["input"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 1, F]
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    w_rank, u_rank, *_ = FORMS[form]
    nodes = [node for node in model.graph.node if node.op_type == "FastGRNN"]
    assert len(nodes) == 2
    for node, layer in zip(nodes, program.of_type(steps.FastGRNN), strict=True):
        assert (node.domain, len(node.output), node.name) == ("", 1, "")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        expected = {"hidden_size": H} | {k: v for k, v in (("wRank", w_rank), ("uRank", u_rank)) if v}
        hard = FORMS[form][2] == "hard_sigmoid"
        expected |= {"gate_nonlinearity": b"hardSigmoid" if hard else b"sigmoid"}
        expected |= {"update_nonlinearity": b"hardTanh" if hard else b"tanh"}
        assert attributes == expected
        given = [weights[name] for name in node.input[1:]]  # every one a constant
        order = [*layer.input_weights, *layer.hidden_weights, layer.gate_bias, layer.update_bias]
        for tensor, value in zip(given, order, strict=False):
            np.testing.assert_array_equal(tensor, value)
        assert [t.shape for t in given[-2:]] == [(1, 1), (1, 1)]
        assert [t.item() for t in given[-2:]] == [layer.zeta, layer.nu]  # no sigmoid yet
    # After the operator everything is as in a GRU's form, which ELL was seen to import.
    assert [n.op_type for n in model.graph.node][-5:] == ["Squeeze", "Slice", "Squeeze", "Gemm", "LogSoftmax"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gate": "relu"}, "layer1: 'relu' is no nonlinearity"),
        ({"hidden_weights": (np.zeros((H, H + 1)),)}, "layer1: hidden_weights"),
        ({"input_weights": (np.zeros((2, F)), np.zeros((H, 3)))}, "layer1: input_weights"),
        ({"update_bias": np.zeros(H + 1)}, "do not fit 5 units"),
    ],
)
def test_what_does_not_fit_is_named(change, named):
    with pytest.raises(ValueError, match=named):
        network("full", layers=1, **change)


@pytest.mark.parametrize("form", ["full", "low rank"])
def test_the_model_is_the_network(form):
    program = network(form)
    model = archive.parse(archive.text(build.classifier(program)))
    expected = np.exp(by_hand(program, FRAMES.astype(np.float64)))
    np.testing.assert_allclose(run(model, FRAMES), expected, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(run(model, FRAMES), run(importer.from_onnx(classifier_onnx(program)), FRAMES))


def test_an_update_that_ell_cannot_compute_is_refused_in_building_and_importing():
    with pytest.raises(build.NoNode, match="ELL does not compute a FastGRNN whose update nonlinearity is hard_tanh"):
        build.classifier(network("only U"))
    with pytest.raises(KwsError, match=r"update nonlinearity hard_tanh\. ELL imports it without a word"):
        importer.from_onnx(classifier_onnx(network("only U")))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("wRank", 3, "wRank is 3 where the weights need 2"),
        ("uRank", -1, "uRank is -1 where the weights need 3"),
        ("wRank", 0, "form that is not supported"),
        ("hidden_size", 6, "hidden_size is 6"),
        ("gate_nonlinearity", "hardTanh", "does not compute a FastGRNN whose gate nonlinearity is hard_tanh"),
        ("gate_nonlinearity", "quantSigmoid", "'quantSigmoid' is unknown"),
        ("update_nonlinearity", "", "nonlinearity '' is unknown"),
    ],
)
def test_attributes_that_ell_would_misread_are_refused(key, value, reason):
    proto = classifier_onnx(network("low rank", layers=1))
    node = next(node for node in proto.graph.node if node.op_type == "FastGRNN")
    kept = [a for a in node.attribute if a.name != key]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(key, value)])
    with pytest.raises(KwsError, match=reason):
        importer.from_onnx(proto)


def test_such_a_file_can_be_read_but_not_run_or_written():
    text = next(p for p in FASTGRNNS if p.parent.name == "full").read_text()
    for kind in ("HardTanh", "ReLU"):
        model = archive.parse(text.replace("TanhActivation", f"{kind}Activation"))
        for use in (archive.text, Interpreter):
            with pytest.raises(KwsError, match="ELL does not compute a FastGRNN whose update nonlinearity is"):
                use(model)


# --- ELL's own files ---


@pytest.mark.parametrize("path", FASTGRNNS, ids=names)
def test_ells_numbers_in_every_way_of_running_it(path):
    """ELL's interpreter, its JIT and its object code agree with each other, also on the frame of a reset."""
    model, frames = archive.read(path), np.load(path.parent / "input.npy")
    for semantics in ("compiled", "interpreter"):
        found = run(model, frames, semantics)
        for name in ("compute", "jit", "native", "reference_float64"):
            expected = np.load(path.parent / f"{name}.npy")
            np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize("path", [p for p in FASTGRNNS if "_vad" in str(p)], ids=names)
def test_the_vad_is_ells_and_resets_every_layer(path):
    model, frames = archive.read(path), np.load(path.parent / "input.npy")
    signal = run(model, frames, outputs=[model.vad.id])[model.vad.id][:, 0]
    np.testing.assert_array_equal(signal, np.load(path.parent / "signal.npy").reshape(-1))
    assert (np.diff(signal) < 0).sum() == 4
    alone = archive.read(path.parents[1] / path.parent.name.removesuffix("_vad") / "model.ell")
    settings = {key: getattr(model.vad.vad, key) for key in build.VAD_KEYS}
    added = edit.add_vad(alone, settings, placement="normalized")
    np.testing.assert_array_equal(run(added, frames), run(model, frames))


@pytest.mark.parametrize("path", [p for p in FASTGRNNS if "_vad" in str(p)], ids=names)
def test_pieces_give_what_the_whole_gives_and_reset_starts_again(path):
    frames = np.load(path.parent / "input.npy")
    whole, pieces = run(archive.read(path), frames), Interpreter(archive.read(path))
    for _ in range(2):
        found = [pieces.run(frames[i:j]) for i, j in ((0, 1), (1, 1), (1, 40), (40, None))]
        np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-6, rtol=0)
        pieces.reset()


@pytest.mark.parametrize("path", [p for p in FASTGRNNS if "_vad" not in str(p)], ids=names)
def test_what_ells_importer_made_is_what_ours_makes(path):
    ours = importer.read(path.with_name("model.onnx"))
    types = [node.TYPE for node in ours.nodes if isinstance(node, RecurrentNode)]
    assert types == [node.TYPE for node in archive.read(path).nodes if isinstance(node, RecurrentNode)]
    frames = np.load(path.parent / "input.npy")
    np.testing.assert_allclose(run(ours, frames), np.load(path.parent / "native.npy"), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("wRank", 3, "inputWeights1"),
        ("uRank", 7, "updateWeights1"),
        ("wRank", -1, "wRank is -1"),
        ("hiddenUnits", 6, "inputWeights"),
        ("hiddenUnits", 0, "hiddenUnits"),
    ],
)
def test_sizes_that_do_not_fit_are_named(key, value, named):
    text = next(p for p in FASTGRNNS if p.parent.name == "lowrank").read_text()
    changed = re.sub(rf'"{key}": \d+', f'"{key}": {value}', text)
    assert changed != text
    with pytest.raises(KwsError, match=named):
        archive.parse(changed)


def test_the_activations_stand_gate_first():
    text = next(p for p in FASTGRNNS if p.parent.name == "gate_tanh").read_text()
    (node,) = archive.parse(text).of_type(FastGRNNNode)
    assert (node.gate, node.update) == ("tanh", "sigmoid")
    assert text.index("TanhActivation") < text.index("SigmoidActivation")
