"""The operator ``FastGRNN`` that ELL's trainer writes into ONNX files and ELL's importer reads; ONNX has no such thing.

As established by running ELL's importer: the operator is of the default domain; its attributes are hidden_size, wRank,
uRank (absent or 0: a full matrix), gate_nonlinearity and update_nonlinearity; its inputs x, W (or W1, W2), U (or U1,
U2), bias_gate, bias_update, zeta and nu before their sigmoid; its one output the state after every frame, (frames,
directions, 1, H). Names of the nonlinearities as in ``onnx_converters.py`` (``OnnxFastGRNNConverter``). The equations
are those of `kws.networks.fastgrnn`; hardSigmoid is 0.2 x + 0.5 between 0 and 1.
"""

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from kws.program.steps import FastGRNN as Layer

OPERATOR = "FastGRNN"
NONLINEARITIES = {"sigmoid": "sigmoid", "hard_sigmoid": "hardSigmoid", "tanh": "tanh", "hard_tanh": "hardTanh"}
"""The importer's names by ours."""


def attributes(layer: Layer) -> dict[str, int | str]:
    """The operator's attributes."""
    matrices = {"wRank": layer.input_weights, "uRank": layer.hidden_weights}
    return {
        "hidden_size": layer.hidden_size,
        **{rank: len(factors[0]) for rank, factors in matrices.items() if len(factors) == 2},
        "gate_nonlinearity": NONLINEARITIES[layer.gate],
        "update_nonlinearity": NONLINEARITIES[layer.update],
    }


def weights(layer: Layer) -> dict[str, np.ndarray]:
    """The operator's inputs after the first, in their order, by name."""
    named = {}
    for letter, factors in (("W", layer.input_weights), ("U", layer.hidden_weights)):
        for i, matrix in enumerate(factors, start=1):
            named[f"{letter}{i if len(factors) > 1 else ''}"] = matrix
    scalars = {"zeta": np.reshape(layer.zeta, (1, 1)), "nu": np.reshape(layer.nu, (1, 1))}
    return named | {"bias_gate": layer.gate_bias, "bias_update": layer.update_bias} | scalars


def layer(name: str, inputs: list[np.ndarray], facts: dict[str, Any]) -> Layer:
    """The layer of an operator with these inputs (after the first) and attributes.

    Raises:
        ValueError: they do not fit together, or a nonlinearity is unknown.
    """
    rest = [np.asarray(array, np.float32) for array in inputs]
    input_weights, hidden_weights = (
        tuple(rest.pop(0) for _ in range(2 if facts.get(rank, 0) else 1)) for rank in ("wRank", "uRank")
    )
    gate_bias, update_bias, zeta, nu = rest
    names = {theirs: ours for ours, theirs in NONLINEARITIES.items()}
    chosen = [facts.get(key, b"").decode() for key in ("gate_nonlinearity", "update_nonlinearity")]
    if unknown := [text for text in chosen if text not in names]:
        raise ValueError(f"the nonlinearity {unknown[0]!r} is unknown; known are {', '.join(names)}")
    made = Layer(
        name=name,
        source="",
        input_weights=input_weights,
        hidden_weights=hidden_weights,
        gate_bias=gate_bias.reshape(-1),
        update_bias=update_bias.reshape(-1),
        zeta=zeta.reshape(()),
        nu=nu.reshape(()),
        gate=names[chosen[0]],
        update=names[chosen[1]],
    )
    # ELL sizes its node by what the attributes say, not by the weights.
    needed = {"hidden_size": made.hidden_size, "wRank": 0, "uRank": 0} | attributes(made)
    for key in ("hidden_size", "wRank", "uRank"):
        if facts.get(key, needed[key]) != needed[key]:
            raise ValueError(f"{key} is {facts[key]} where the weights need {needed[key]}")
    return made


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class FastGRNN(OpRun):
    """The operator in NumPy, for ``onnx.reference.ReferenceEvaluator(model, new_ops=[FastGRNN])``.

    As in ELL the state stays inside, from one call to the next; an evaluator made anew starts at zero. Any number of
    frames and streams.
    """

    op_domain = ""

    FUNCTIONS = {  # noqa: RUF012
        "sigmoid": _sigmoid,
        "hardSigmoid": lambda x: np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1),
        "tanh": np.tanh,
        "hardTanh": lambda x: np.clip(x, -1, 1),
    }

    def _run(self, x: np.ndarray, *inputs: np.ndarray, **_: Any) -> tuple[np.ndarray]:
        rest = list(inputs)
        W = [rest.pop(0) for _ in range(2 if getattr(self, "wRank", 0) else 1)]
        U = [rest.pop(0) for _ in range(2 if getattr(self, "uRank", 0) else 1)]
        bias_gate, bias_update, zeta, nu = rest
        zeta, nu = _sigmoid(zeta).item(), _sigmoid(nu).item()
        gate, update = self.FUNCTIONS[self.gate_nonlinearity], self.FUNCTIONS[self.update_nonlinearity]
        x = x.reshape(len(x), -1, x.shape[-1])  # (T, B, I); between layers there may be an axis of directions
        h = getattr(self, "state", np.zeros((x.shape[1], self.hidden_size), np.float32))
        outputs = []
        for frame in x:
            argument = _apply(W, frame) + _apply(U, h)
            z, new = gate(argument + bias_gate), update(argument + bias_update)
            h = ((zeta + nu) * new - zeta * z * new + z * h).astype(np.float32)
            outputs.append(h)
        self.state = h
        return (np.stack(outputs)[:, None],)  # (T, directions, B, H)


def _apply(matrices: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    for matrix in matrices:
        x = x @ matrix.T
    return x
