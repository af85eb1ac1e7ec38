"""The NumPy twin of an integer program's network: the same integers as in C, for many streams side by side.

What each step computes is said in `kws.program.quantized`. Sums of products are taken in float64, where the fastest
products are: every partial sum is an integer below 2^31, so not a bit is lost.
"""

from typing import NamedTuple

import numpy as np

from kws.program import fixed_point as fp
from kws.program import quantized as q
from kws.program.fixed_point import LIMIT, clamp
from kws.program.floating import Function, States, Values, convolve, log_softmax, max_pool, walk
from kws.program.program import Program
from kws.program.steps import Array, LogSoftmax, Step

LARGEST_SIDE = 2**28
"""Bound of each side of a FastGRNN's sum."""


class Outputs(NamedTuple):
    """What an integer network says of T frames of B streams.

    Attributes:
        totals: (B, T, C) int32, the sums of `Scores` before they are scaled: what C has to reproduce to the last bit.
        log_probabilities: (B, T, C) float32.
    """

    totals: Array
    log_probabilities: Array


def initial_state(program: Program, streams: int = 1) -> States:
    """Zeros, (B, n) int16, for each state of the network in the order of ``program.states``."""
    return tuple(np.zeros((streams, state.size), np.int16) for state in program.states_of(program.network))


def run(program: Program, features: Array, states: States | None = None) -> tuple[Outputs, States]:
    """The next frames of B streams.

    Args:
        program: one that `kws.program.quantize` made.
        features: raw ones, (B, T, F) float32.
        states: after the frame before; those of a fresh stream where left out.
    """
    scores = program.step(program.output).source
    if not features.shape[1]:
        nothing = np.zeros((len(features), 0, program.sizes[scores]), np.int32)
        return Outputs(nothing, nothing.astype(np.float32)), states or initial_state(program, len(features))
    values, after = trace(program, features, states)
    return Outputs(values[f"{scores}.total"], values[program.output]), after


def trace(program: Program, features: Array, states: States | None = None) -> tuple[Values, States]:
    """`run` that gives every value by the name of its step, (B, T, n) int16, and the states after the last frame."""
    features = np.asarray(features, np.float32)
    states = initial_state(program, len(features)) if states is None else states
    return walk(program, features, states, FUNCTIONS)


def product(x: Array, columns: Array) -> Array:
    """Σ weight[k, i] * x[…, i] as int64: (…, I) int16 and `columns_of` (K, I) int8 to (…, K)."""
    return (x.astype(np.float64) @ columns).astype(np.int64)


def columns_of(weight: Array) -> Array:
    """A matrix as `product` takes it, (I, K) float64: exact, and once for all frames."""
    return np.ascontiguousarray(weight.T, np.float64)


def _quantize(step: q.Quantize, inputs, states, values):
    with np.errstate(over="ignore"):
        y = (inputs[0] - step.mean) * step.factor
    y = np.where(y > LIMIT, np.float32(LIMIT), y)
    y = np.where(y > -LIMIT, y, np.float32(-LIMIT))
    return np.rint(y).astype(np.int16), ()


def _convolution(step: q.IntegerConvolution, inputs, states, values):
    sums, after = convolve(step, inputs[0].astype(np.float64), tuple(x.astype(np.float64) for x in states))
    total = sums.astype(np.int64) + step.bias[:, None]
    y = fp.requantize(total, step.multiplier[:, None], step.shift[:, None])
    y = clamp(y, 0 if step.relu else -LIMIT).astype(np.int16)
    return y.reshape(*y.shape[:2], -1), tuple(x.astype(np.int16) for x in after)


def _offset(step: q.IntegerOffset, inputs, states, values):
    return clamp(fp.shift(inputs[0] + step.offset.astype(np.int64), step.right)).astype(np.int16), ()


def _leaky_relu(step: q.IntegerLeakyReLU, inputs, states, values):
    x = inputs[0].astype(np.int64)
    return np.maximum(np.maximum(x, fp.shift(step.slope * x, fp.STATE)), step.floor).astype(np.int16), ()


def _add(step: q.IntegerAdd, inputs, states, values):
    a, b = (x.astype(np.int64) for x in inputs)
    y = fp.shift((a << step.left) + (b << step.other_left), step.right)
    return clamp(y, 0 if step.relu else -LIMIT).astype(np.int16), ()


def _sides(step: q.IntegerRecurrent, inputs, bias_hh: Array):
    """a of all frames, (T, B, rows), and a function from h to b."""
    total = product(inputs[0], columns_of(step.weight_ih)) + step.bias_ih
    a = fp.requantize(total, step.multiplier_ih, step.shift_ih).swapaxes(0, 1)
    columns = columns_of(step.weight_hh)

    def b(h: Array) -> Array:
        return fp.requantize(product(h, columns) + bias_hh, step.multiplier_hh, step.shift_hh)

    return a, b


def _gru(step: q.IntegerGRU, inputs, states, values):
    size = step.hidden_size
    sums, of_state = _sides(step, inputs, np.concatenate([np.zeros(2 * size, np.int64), step.bias_n]))
    h, outputs = states[0].astype(np.int64), []
    for a in sums:
        b = of_state(h)
        r, z = np.split(fp.sigmoid(a[:, : 2 * size] + b[:, : 2 * size]), 2, axis=1)
        candidate = clamp(b[:, 2 * size :], -fp.CANDIDATE, fp.CANDIDATE)
        n = fp.tanh(a[:, 2 * size :] + ((r * candidate + 16384) >> 15))
        h = n + ((z * (h - n) + 16384) >> 15)
        outputs.append(h.astype(np.int16))
    return np.stack(outputs, axis=1), (outputs[-1],)


def _lstm(step: q.IntegerLSTM, inputs, states, values):
    sums, of_state = _sides(step, inputs, np.int64(0))
    (h, c), outputs, fraction = (x.astype(np.int64) for x in states), [], step.cell_fraction
    for a in sums:
        i, f, g, o = np.split(a + of_state(h), 4, axis=1)
        i, f, g, o = fp.sigmoid(i), fp.sigmoid(f), fp.tanh(g), fp.sigmoid(o)
        c = clamp((f * c + ((i * g) >> (fp.STATE - fraction)) + 16384) >> 15)
        h = (o * fp.tanh(c << (fp.ARGUMENT - fraction)) + 16384) >> 15
        outputs.append(h.astype(np.int16))
    return np.stack(outputs, axis=1), (outputs[-1], c.astype(np.int16))


def _side(x: Array, matrices, multipliers, shifts) -> Array:
    """A FastGRNN's u: (…, I) to (…, H)."""
    last = len(matrices) - 1
    for i, (columns, multiplier, bits) in enumerate(zip(matrices, multipliers, shifts, strict=True)):
        y = fp.requantize(product(x, columns), multiplier, bits)
        x = clamp(y, -LARGEST_SIDE, LARGEST_SIDE) if i == last else clamp(y)
    return x


def _fastgrnn(step: q.IntegerFastGRNN, inputs, states, values):
    of_input, of_state = (list(map(columns_of, w)) for w in (step.input_weights, step.hidden_weights))
    sums = _side(inputs[0], of_input, step.input_multipliers, step.input_shifts).swapaxes(0, 1)
    h, outputs = states[0].astype(np.int64), []
    for a in sums:
        s = a + _side(h, of_state, step.hidden_multipliers, step.hidden_shifts)
        of_gate, of_update = s + step.gate_bias, s + step.update_bias
        z = fp.hard_sigmoid(of_gate) if step.gate == "hard_sigmoid" else fp.sigmoid((of_gate + 1) >> 1)
        new = fp.hard_tanh(of_update) if step.update == "hard_tanh" else fp.tanh(of_update)
        gain = np.minimum(((step.zeta * (32768 - z) + 16384) >> 15) + step.nu, 65535)
        h = clamp((((gain * new) >> (16 - step.fraction)) + ((z * h) >> 1) + 8192) >> 14)
        outputs.append(h.astype(np.int16))
    return np.stack(outputs, axis=1), (outputs[-1],)


def _scores(step: q.Scores, inputs, states, values):
    total = (product(inputs[0], columns_of(step.weight)) + step.bias).astype(np.int32)
    values[f"{step.name}.total"] = total
    return total.astype(np.float32) * step.scale, ()


FUNCTIONS: dict[type[Step], Function] = {
    q.Quantize: _quantize,
    q.IntegerConvolution: _convolution,
    q.IntegerOffset: _offset,
    q.IntegerReLU: lambda step, inputs, states, values: (np.maximum(inputs[0], 0), ()),
    q.IntegerLeakyReLU: _leaky_relu,
    q.IntegerMaxPool: max_pool,
    q.IntegerAdd: _add,
    q.IntegerGRU: _gru,
    q.IntegerLSTM: _lstm,
    q.IntegerFastGRNN: _fastgrnn,
    q.Scores: _scores,
    LogSoftmax: lambda step, inputs, states, values: (log_softmax(inputs[0]), ()),
}
