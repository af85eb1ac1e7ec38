"""The operator ``FastGRNN`` that ELL's trainer writes into ONNX files and ELL's importer reads; ONNX has no such thing.

Read in ELL's source (github microsoft/ELL), not seen to run:

* ``tools/utilities/pythonlibs/audio/training/train_classifier.py``, ``onnx_exportable_fastgrnn``: the operator is of
  the default domain; its attributes are hidden_size, wRank, uRank, gate_nonlinearity and update_nonlinearity; its
  inputs x, W (or W1, W2), U (or U1, U2), bias_gate, bias_update, zeta, nu; its one output the state after every frame.
* ``…/audio/training/rnn.py``, ``FastGRNNCell``: W1 (rank, I), W2 (H, rank), the biases (H,), zeta and nu (1, 1) before
  their sigmoid.
* ``tools/importers/onnx/lib/onnx_converters.py``, ``OnnxFastGRNNConverter``: the nonlinearities are called sigmoid,
  tanh, hardSigmoid and hardTanh (the trainer's own quantSigmoid is not among them); a rank that is absent or 0 stands
  for a full matrix; zeta and nu go through a sigmoid; the output has the shape (frames, directions, 1, H) that ONNX's
  GRU has.
* ``libraries/nodes/src/FastGRNNNode.cpp``: the arithmetic; ``…/ActivationFunctions.cpp``: hardSigmoid is 0.2 x + 0.5
  between 0 and 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from kws.errors import KwsError

OPERATOR = "FastGRNN"
NONLINEARITIES = {"sigmoid": "sigmoid", "hard_sigmoid": "hardSigmoid", "tanh": "tanh", "hard_tanh": "hardTanh"}
"""The importer's names by ours."""

VECTORS = ("gate_bias", "update_bias")
SCALARS = ("zeta", "nu")


def check_layer(index: int, layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` with arrays, and its shapes checked.

    Args:
        index: of the layer, from 0; for the message.
        layer: ``input_weights`` and ``hidden_weights``, one full matrix or the two of a low-rank one in the order in
            which they are applied, ``gate_bias`` and ``update_bias`` (H,), ``zeta`` and ``nu`` before their sigmoid,
            ``gate`` and ``update``, of `NONLINEARITIES`.
    """
    checked: dict[str, Any] = {"cell": "fastgrnn"}
    for key in ("gate", "update"):
        if layer[key] not in NONLINEARITIES:
            raise KwsError(f"Layer {index + 1}: ELL's FastGRNN has no {key} nonlinearity {layer[key]!r}.")
        checked[key] = layer[key]
    checked |= {key: np.asarray(layer[key], np.float32).reshape(-1) for key in VECTORS}
    checked |= {key: np.asarray(layer[key], np.float32).reshape(1, 1) for key in SCALARS}
    hidden = len(checked["gate_bias"])
    for key in ("input_weights", "hidden_weights"):
        matrices = [np.asarray(matrix, np.float32) for matrix in layer[key]]
        rows = [len(matrix) for matrix in matrices]
        columns = [matrix.shape[1] for matrix in matrices]
        fits = len(matrices) in (1, 2) and rows[-1] == hidden and columns[1:] == rows[:-1]
        if not fits or (key == "hidden_weights" and columns[0] != hidden) or len(checked["update_bias"]) != hidden:
            shapes = [matrix.shape for matrix in matrices]
            raise KwsError(f"Layer {index + 1}: {key} of the shapes {shapes} do not fit {hidden} units.")
        checked[key] = matrices
    return checked


def attributes(layer: Mapping[str, Any]) -> dict[str, int | str]:
    """The operator's attributes for a checked layer."""
    ranks = {
        rank: len(layer[key][0])
        for rank, key in (("wRank", "input_weights"), ("uRank", "hidden_weights"))
        if len(layer[key]) == 2
    }
    return {
        "hidden_size": len(layer["gate_bias"]),
        **ranks,
        "gate_nonlinearity": NONLINEARITIES[layer["gate"]],
        "update_nonlinearity": NONLINEARITIES[layer["update"]],
    }


def weights(layer: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The operator's inputs after the first, in their order, by name."""
    named = {}
    for letter, key in (("W", "input_weights"), ("U", "hidden_weights")):
        for i, matrix in enumerate(layer[key], start=1):
            named[f"{letter}{i if len(layer[key]) > 1 else ''}"] = matrix
    return (
        named | {"bias_gate": layer["gate_bias"], "bias_update": layer["update_bias"]} | {k: layer[k] for k in SCALARS}
    )


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
