"""The operator FastGRNN as ELL's importer looks for it, checked by its structure and by its equations."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from kws.ell import importer
from kws.ell.fastgrnn import FastGRNN
from kws.ell.onnx_form import classifier_onnx
from kws.errors import KwsError

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


def facts(form, layers=2):
    """Random layers, a linear layer and a normalisation."""
    rng = np.random.default_rng(0)
    w_rank, u_rank, gate, update = FORMS[form]

    def matrices(inputs, rank):
        return (
            [rng.normal(size=(H, inputs))]
            if rank is None
            else [rng.normal(size=(rank, inputs)), rng.normal(size=(H, rank))]
        )

    def layer(inputs):
        return {
            "cell": "fastgrnn",
            "input_weights": matrices(inputs, w_rank),
            # Small enough that a rounding at one frame does not grow with those that follow.
            "hidden_weights": [matrix / 2 for matrix in matrices(H, u_rank)],
            "gate_bias": rng.normal(size=H),
            "update_bias": rng.normal(size=H),
            "zeta": rng.normal(),
            "nu": rng.normal(),
            "gate": gate,
            "update": update,
        }

    return {
        "layers": [layer(F if i == 0 else H) for i in range(layers)],
        "output_weight": rng.normal(size=(C, H)),
        "output_bias": rng.normal(size=C),
        "labels": ("yes", "no", "up"),
        "mean": rng.normal(size=F),
        "deviation": rng.uniform(1, 2, size=F),
    }


def by_hand(facts, frames):
    """(T, F) to (T, C) log-probabilities in float64, by the equations of the paper."""
    x = (frames - facts["mean"]) / facts["deviation"]
    for layer in facts["layers"]:
        W, U = (
            np.linalg.multi_dot([*m[::-1], np.eye(m[0].shape[1])])
            for m in (layer["input_weights"], layer["hidden_weights"])
        )
        zeta, nu = CURVES["sigmoid"](layer["zeta"]), CURVES["sigmoid"](layer["nu"])
        h, outputs = np.zeros(H), []
        for frame in x:
            z = CURVES[layer["gate"]](W @ frame + U @ h + layer["gate_bias"])
            new = CURVES[layer["update"]](W @ frame + U @ h + layer["update_bias"])
            h = (zeta * (1 - z) + nu) * new + z * h
            outputs.append(h)
        x = np.array(outputs)
    scores = x @ facts["output_weight"].T + facts["output_bias"]
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@pytest.mark.parametrize("form", FORMS)
def test_frame_by_frame_with_the_state_inside_it_is_the_network(form):
    network, frames = facts(form), np.random.default_rng(1).normal(size=(20, F)).astype(np.float32)
    model = ReferenceEvaluator(classifier_onnx(**network), new_ops=[FastGRNN])
    computed = np.concatenate([model.run(None, {"input": frame[None, None]})[0] for frame in frames])
    np.testing.assert_allclose(computed, by_hand(network, frames.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_operator_has_what_the_importer_asks_for(form):
    network = facts(form)
    model = classifier_onnx(**network)
    assert [i.name for i in model.graph.input] == ["input"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 1, F]
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    w_rank, u_rank, *_ = FORMS[form]
    nodes = [node for node in model.graph.node if node.op_type == "FastGRNN"]
    assert len(nodes) == 2
    for node, layer in zip(nodes, network["layers"], strict=True):
        assert (node.domain, len(node.output), node.name) == ("", 1, "")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        expected = {"hidden_size": H} | {k: v for k, v in (("wRank", w_rank), ("uRank", u_rank)) if v}
        hard = FORMS[form][2] == "hard_sigmoid"
        expected |= {"gate_nonlinearity": b"hardSigmoid" if hard else b"sigmoid"}
        expected |= {"update_nonlinearity": b"hardTanh" if hard else b"tanh"}
        assert attributes == expected
        given = [weights[name] for name in node.input[1:]]  # every one a constant
        order = [*layer["input_weights"], *layer["hidden_weights"], layer["gate_bias"], layer["update_bias"]]
        for tensor, value in zip(given, order, strict=False):
            np.testing.assert_array_equal(tensor, np.float32(value))
        assert [t.shape for t in given[-2:]] == [(1, 1), (1, 1)]
        assert [t.item() for t in given[-2:]] == [np.float32(layer["zeta"]), np.float32(layer["nu"])]  # no sigmoid yet
    # After the operator everything is as in a GRU's form, which ELL was seen to import.
    assert [n.op_type for n in model.graph.node][-5:] == ["Squeeze", "Slice", "Squeeze", "Gemm", "LogSoftmax"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gate": "relu"}, "no gate nonlinearity 'relu'"),
        ({"hidden_weights": [np.zeros((H, H + 1))]}, "Layer 1: hidden_weights"),
        ({"input_weights": [np.zeros((2, F)), np.zeros((H, 3))]}, "Layer 1: input_weights"),
        ({"update_bias": np.zeros(H + 1)}, "do not fit 5 units"),
    ],
)
def test_what_does_not_fit_is_named(change, named):
    network = facts("full", layers=1)
    network["layers"][0] |= change
    with pytest.raises(KwsError, match=named):
        classifier_onnx(**network)


def test_import_says_that_there_is_no_ell_form():
    with pytest.raises(KwsError, match="FastGRNN 'Y1': the operator FastGRNN has no ELL form here"):
        importer.from_onnx(classifier_onnx(**facts("full")))
