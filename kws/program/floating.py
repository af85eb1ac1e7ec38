"""The float twin of a program's network, in NumPy: what its values reach on real features, for whoever quantises it.

It computes many streams side by side and, where nothing runs in a circle, all their frames at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kws.program import steps as s
from kws.program.program import Program
from kws.program.steps import FEATURES, Array, Step
from kws.support.errors import KwsError

States = tuple[Array, ...]
Values = dict[str, Array]
Function = Callable[[Any, tuple[Array, ...], States, Values], tuple[Array, States]]
"""A step's inputs (B, T, n) and states (B, m) to its value (B, T, k) and the states after it. What happens inside of it
may be added to the values under names of its own."""


def walk(
    program: Program, features: Array, states: Sequence[Array], functions: Mapping[type[Step], Function]
) -> tuple[Values, States]:
    """The network of a program on the next T frames of B streams.

    Args:
        program: whose network.
        features: raw ones, (B, T, F).
        states: (B, n) each, in the order of ``program.states``.
        functions: what computes each kind of step.

    Returns:
        the value of every step by its name, (B, T, n), and the states after the last frame.
    """
    values, states, after = {FEATURES: features}, list(states), []
    for step in program.network:
        if type(step) not in functions:
            raise KwsError(f"the step {step.name!r} is a {type(step).__name__}, which cannot be computed here.")
        count = len(step.state_sizes)
        own, states = tuple(states[:count]), states[count:]
        values[step.name], ends = functions[type(step)](step, tuple(values[name] for name in step.sources), own, values)
        after += ends
    return values, tuple(after)


def run(program: Program, features: Array, states: States | None = None) -> tuple[Values, States]:
    """`walk` in float32, from zeros where no states are given."""
    if states is None:
        states = [np.zeros((len(features), x.size), np.float32) for x in program.states_of(program.network)]
    return walk(program, features, states, FUNCTIONS)


def pictures(step: Any, x: Array, states: States) -> tuple[Array, States]:
    """The frames that a step looks at, of floats or of integers.

    Args:
        step: a convolution or a pool.
        x: (B, T, channels · filters).
        states: (B, channels · past · filters), the frames before the first one; none where it sees no past.

    Returns:
        (B, channels, past + T, filters), and the states after the last frame.
    """
    batch, frames = x.shape[:2]
    x = x.reshape(batch, frames, step.channels, step.filters).swapaxes(1, 2)
    past = [state.reshape(batch, step.channels, step.past, step.filters) for state in states]
    x = np.concatenate([*past, x], axis=2)
    return x, tuple(x[:, :, x.shape[2] - step.past :].reshape(batch, -1) for _ in states)


def seen(step: Any, x: Array, states: States) -> tuple[Array, States]:
    """What each output of a convolution sees; see `pictures`.

    Returns:
        (B, T, channels, kernel frames, output filters, kernel filters), a view, and the states after the last frame.
    """
    x, after = pictures(step, x, states)
    x = np.pad(x, ((0, 0), (0, 0), (0, 0), (step.padding, step.padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (step.past + 1, step.weight.shape[3]), axis=(2, 3))
    windows = windows[:, :, :, :: step.stride, :: step.dilation]  # (B, C, T, F', kernel frames, kernel filters)
    return windows.transpose(0, 2, 1, 4, 3, 5), after


def convolve(step: Any, x: Array, states: States) -> tuple[Array, States]:
    """The sums of a convolution without its bias: (B, T, outputs, output filters), and the states after; see `seen`."""
    windows, after = seen(step, x, states)
    batch, frames, channels, kernel, filters, width = windows.shape
    grouped = windows.reshape(batch, frames, step.groups, channels // step.groups, kernel, filters, width)
    outputs = len(step.weight) // step.groups
    weight = step.weight.reshape(step.groups, outputs, -1).astype(x.dtype)  # (G, O/G, C/G·kt·kf)
    rows = grouped.transpose(2, 0, 1, 5, 3, 4, 6).reshape(step.groups, batch * frames * filters, -1)
    sums = rows @ weight.swapaxes(1, 2)  # (G, B·T·F', O/G)
    sums = sums.reshape(step.groups, batch, frames, filters, outputs).transpose(1, 2, 0, 4, 3)
    return sums.reshape(batch, frames, len(step.weight), filters), after


def _convolution(step: s.Convolution, inputs, states, values):
    y, after = convolve(step, inputs[0], states)
    if step.bias is not None:
        y = y + step.bias[:, None]
    return y.reshape(*y.shape[:2], -1), after


def _leaky_relu(step: s.LeakyReLU, inputs, states, values):
    (x,) = inputs
    return np.maximum(np.maximum(x, np.float32(step.slope) * x), np.float32(step.floor)), ()


def max_pool(step: s.MaxPool, inputs, states, values):
    """Of floats or of integers, which stay what they are."""
    frames, (_, filters) = inputs[0].shape[1], step.outputs
    x, after = pictures(step, inputs[0], states)
    x = np.maximum(x[:, :, :frames], x[:, :, step.past :])
    x = x[..., : filters * step.width].reshape(*x.shape[:3], filters, step.width).max(axis=-1)
    return x.swapaxes(1, 2).reshape(len(x), frames, -1), after


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2


def _gru(step: s.GRU, inputs, states, values):
    (h,), size = states, step.hidden_size
    x = inputs[0] @ step.weight_ih.T + step.bias_ih  # (B, T, 3H)
    outputs = []
    for a in x.swapaxes(0, 1):
        b = h @ step.weight_hh.T + step.bias_hh
        r, z = np.split(_sigmoid(a[:, : 2 * size] + b[:, : 2 * size]), 2, axis=1)
        n = np.tanh(a[:, 2 * size :] + r * b[:, 2 * size :])
        h = n + z * (h - n)
        outputs.append(h)
    return np.stack(outputs, axis=1), (h,)


def _lstm(step: s.LSTM, inputs, states, values):
    h, c = states
    x = inputs[0] @ step.weight_ih.T + (step.bias_ih + step.bias_hh)  # (B, T, 4H)
    outputs, cells = [], []
    for a in x.swapaxes(0, 1):
        i, f, g, o = np.split(a + h @ step.weight_hh.T, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
        cells.append(c)
    values[f"{step.name}.cell"] = np.stack(cells, axis=1)
    return np.stack(outputs, axis=1), (h, c)


NONLINEARITIES = {
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


def _fastgrnn(step: s.FastGRNN, inputs, states, values):
    (h,), x = states, inputs[0]
    gate, update = NONLINEARITIES[step.gate], NONLINEARITIES[step.update]
    zeta, nu = step.gains
    *first, last = step.input_weights
    for weight in first:
        x = values[f"{step.name}.input"] = x @ weight.T  # (B, T, rank)
    x = x @ last.T  # (B, T, H)
    *first, last = step.hidden_weights
    outputs, inner = [], []
    for a in x.swapaxes(0, 1):
        y = h
        for weight in first:
            y = y @ weight.T
            inner.append(y)
        a = a + y @ last.T
        z = gate(a + step.gate_bias)
        h = (zeta * (1 - z) + nu) * update(a + step.update_bias) + z * h
        outputs.append(h)
    if inner:
        values[f"{step.name}.hidden"] = np.stack(inner, axis=1)
    return np.stack(outputs, axis=1), (h,)


def log_softmax(scores: Array) -> Array:
    """Scores (…, C) to log-probabilities, in their own type."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


FUNCTIONS: dict[type[Step], Function] = {
    s.Normalize: lambda step, inputs, states, values: ((inputs[0] - step.mean) / step.deviation, ()),
    s.Convolution: _convolution,
    s.ReLU: lambda step, inputs, states, values: (np.maximum(inputs[0], 0), ()),
    s.LeakyReLU: _leaky_relu,
    s.MaxPool: max_pool,
    s.Add: lambda step, inputs, states, values: (inputs[0] + inputs[1], ()),
    s.GRU: _gru,
    s.LSTM: _lstm,
    s.FastGRNN: _fastgrnn,
    s.Linear: lambda step, inputs, states, values: (inputs[0] @ step.weight.T + step.bias, ()),
    s.LogSoftmax: lambda step, inputs, states, values: (log_softmax(inputs[0]), ()),
}
