"""A float program and features to calibrate on become an integer program (`kws.program.quantized`).

Weights are int8 with one scale a row (`kws.program.rows`). Values are int16, each with as many bits behind the point as
its largest number on the clips leaves room for; hidden states of GRU and LSTM have 15.
"""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from kws.program import fixed_point as fp
from kws.program import floating
from kws.program import quantized as q
from kws.program import steps as s
from kws.program.fixed_point import ARGUMENT, LIMIT, STATE
from kws.program.program import Program
from kws.program.rows import Rows, finest
from kws.program.steps import Array, Step
from kws.support.errors import KwsError

LARGEST_BIAS = 2**28
"""Of a FastGRNN, so that its sums fit."""
LARGEST_OFFSET = 2**29
"""Of a value that is moved."""
FEATURES_FRACTION = 9
"""The least of the normalised features: they are cut off at 64 deviations, which linear features alone ever pass, for
else large weights would need more than a multiplier can give."""
STREAM_CLIPS = 16
"""Clips that are heard one after the other, to see what the states reach when nobody resets them."""
AT_ONCE = 64
"""Clips that are computed together, which bounds the memory."""


def quantize(program: Program, features: Array, headroom: float = 2.0) -> Program:
    """The integer program of a float program. Featurizer, detector and log-softmax stay as they are.

    A ReLU behind a convolution or a sum becomes part of it; the step then has the ReLU's name, so that every name still
    means the same value.

    Args:
        program: whose network.
        features: raw features of training clips, (N, T, F); some hundred clips are enough.
        headroom: how many times the largest number seen on them a value can hold.

    Raises:
        KwsError: the network has a step that has no integer form, or numbers that no int16 can hold.
    """
    if q.is_integer(program):
        raise KwsError("the program is one of integers already; quantise the float program that it was made from.")
    if not len(features) or not features.shape[1]:
        raise KwsError("there are no frames to calibrate on; hand over the features of some training clips.")
    return Quantizer(program, peaks(program, features), headroom).program()


def peaks(program: Program, features: Array) -> dict[str, float]:
    """The largest magnitude of every value of a network by its name, over clips from zero and over a long stream.

    Beside the values of its steps: ``<name>.cell`` of an LSTM, ``<name>.input`` and ``<name>.hidden`` of a FastGRNN of
    low rank.
    """
    features = np.asarray(features, np.float32)
    length = min(STREAM_CLIPS, len(features))
    streams = features[: len(features) // length * length].reshape(-1, length * features.shape[1], features.shape[2])
    largest: dict[str, float] = {}
    for rows in (features, streams):
        at_once = max(1, AT_ONCE * features.shape[1] // rows.shape[1])
        for start in range(0, len(rows), at_once):
            values, _ = floating.run(program, rows[start : start + at_once])
            for name, value in values.items():
                largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max(initial=0)))
    return largest


class Quantizer:
    """Goes through a network step by step.

    Args:
        program, headroom: see `quantize`.
        largest: see `peaks`.
    """

    def __init__(self, source: Program, largest: dict[str, float], headroom: float):
        self.source, self.largest, self.headroom = source, largest, headroom
        self.fractions: dict[str, int] = {}
        self.steps: list[Step] = []
        self.readers: dict[str, list[Step]] = {}
        for step in source.steps:
            for name in step.sources:
                self.readers.setdefault(name, []).append(step)

    def program(self) -> Program:
        """The integer program."""
        network = {step.name for step in self.source.network}
        fused: set[str] = set()
        for step in self.source.steps:
            if step.name in fused:
                continue
            if step.name not in network or isinstance(step, s.LogSoftmax):
                self.steps.append(step)
                continue
            if type(step) not in QUANTIZED:
                raise KwsError(f"the step {step.name!r} is a {type(step).__name__}, which has no integer form.")
            missing = [name for name in step.sources if name not in self.fractions]
            if missing and not isinstance(step, s.Normalize):
                raise KwsError(f"the step {step.name!r} reads {missing[0]!r}, which is not normalised: no int16.")
            relu = self.relu_behind(step) if isinstance(step, s.Convolution | s.Linear | s.Add) else None
            made = QUANTIZED[type(step)](self, step, relu.name if relu else step.name)
            if relu:
                made = replace(made, name=relu.name, relu=True)
                fused.add(relu.name)
            if isinstance(made, q.IntegerStep):
                self.fractions[made.name] = made.fraction
            q.check(made)
            self.steps.append(made)
        return replace(self.source, steps=tuple(self.steps))

    def relu_behind(self, step: Step) -> s.ReLU | None:
        """The ReLU that alone reads a step."""
        readers = self.readers.get(step.name, [])
        return readers[0] if len(readers) == 1 and isinstance(readers[0], s.ReLU) else None

    def fraction(self, name: str, highest: int = STATE) -> int:
        """That of a value, by the largest number seen."""
        largest = self.largest[name] * self.headroom
        if not math.isfinite(largest) or largest > LIMIT:
            raise KwsError(f"{name} reaches {self.largest[name]:.3g} on the clips, which no int16 can hold here.")
        return highest if largest <= 0 else min(highest, math.floor(math.log2(LIMIT / largest)))

    def normalize(self, step: s.Normalize, name: str) -> q.IntegerStep:
        """Features to int16."""
        if step.source in self.fractions:
            return self.normalize_integers(step, name)
        fraction = max(self.fraction(name), FEATURES_FRACTION)
        factor = (2.0**fraction / step.deviation.astype(np.float64)).astype(np.float32)
        mean = step.mean.astype(np.float32)
        return q.Quantize(name=step.name, source=step.source, fraction=fraction, mean=mean, factor=factor)

    def normalize_integers(self, step: s.Normalize, name: str) -> q.IntegerOffset | q.IntegerConvolution:
        """Only to be moved, or a convolution of every number for itself."""
        source = self.fractions[step.source]
        if (step.deviation != 1).any():
            weight = 1 / step.deviation
            return self.sums(step, name, weight[:, None, None, None], -step.mean * weight, groups=len(weight))
        fraction = self.fraction(name, source)
        offset = np.rint(-step.mean.astype(np.float64) * 2.0**source)
        offset = fp.clamp(offset, -LARGEST_OFFSET, LARGEST_OFFSET).astype(np.int32)
        constants = {"offset": offset, "right": source - fraction}
        return q.IntegerOffset(name=step.name, source=step.source, fraction=fraction, **constants)

    def convolution(self, step: s.Convolution, name: str) -> q.IntegerConvolution:
        """Weights, and the fraction that its result has."""
        places = ("filters", "groups", "stride", "padding", "dilation")
        return self.sums(step, name, step.weight, step.bias, **{place: getattr(step, place) for place in places})

    def linear(self, step: s.Linear, name: str) -> Step:
        """The last one gives scores; another is a convolution that sees one frame and one filter."""
        if not any(isinstance(reader, s.LogSoftmax) for reader in self.readers.get(step.name, [])):
            return self.sums(step, name, step.weight[:, :, None, None], step.bias)
        rows = Rows(step.name, step.weight, step.bias, self.fractions[step.source], None)
        scale = rows.unit.astype(np.float32)
        return q.Scores(name=step.name, source=step.source, weight=rows.weight, bias=rows.bias, scale=scale)

    def sums(self, step: Step, name: str, weight: Array, bias: Array | None, **places: int) -> q.IntegerConvolution:
        """Sums of products whose range was seen."""
        source = self.fractions[step.source]
        fraction = self.fraction(name, finest(weight, source))
        rows = Rows(step.name, weight, bias, source, fraction)
        constants = {**rows.requantized, "bias": rows.bias, **places}
        return q.IntegerConvolution(name=step.name, source=step.source, fraction=fraction, **constants)

    def relu(self, step: s.ReLU, name: str) -> q.IntegerReLU:
        """With the fraction of its source."""
        return q.IntegerReLU(name=step.name, source=step.source, fraction=self.fractions[step.source])

    def leaky_relu(self, step: s.LeakyReLU, name: str) -> q.IntegerLeakyReLU:
        """With the fraction of its source."""
        fraction = self.fractions[step.source]
        slope, floor = round(step.slope * 2**STATE), max(round(step.floor * 2**fraction), -LIMIT)
        return q.IntegerLeakyReLU(name=step.name, source=step.source, fraction=fraction, slope=slope, floor=floor)

    def max_pool(self, step: s.MaxPool, name: str) -> q.IntegerMaxPool:
        """With the fraction of its source."""
        own = {field.name: getattr(step, field.name) for field in fields(step)}
        return q.IntegerMaxPool(**own, fraction=self.fractions[step.source])

    def add(self, step: s.Add, name: str) -> q.IntegerAdd:
        """Both at the larger of their fractions."""
        own, other = self.fractions[step.source], self.fractions[step.other]
        common = max(own, other)
        fraction = self.fraction(name, common)  # of the ReLU's range where there is one: what it cuts off needs no room
        return q.IntegerAdd(
            name=step.name,
            source=step.source,
            other=step.other,
            fraction=fraction,
            left=common - own,
            other_left=common - other,
            right=common - fraction,
        )

    def recurrent(self, step: s.Recurrent, halved: list[bool]) -> dict[str, Any]:
        """What GRU and LSTM have in common; `halved` says which gates go through a sigmoid."""
        target = np.repeat(ARGUMENT - np.array(halved, np.int64), step.hidden_size)
        bias = step.bias_ih.astype(np.float64) + step.bias_hh
        if isinstance(step, s.GRU):
            bias[2 * step.hidden_size :] = step.bias_ih[2 * step.hidden_size :]
        of_input = Rows(step.name, step.weight_ih, bias, self.fractions[step.source], target)
        bias_n = np.zeros(len(bias))
        if isinstance(step, s.GRU):
            bias_n[2 * step.hidden_size :] = step.bias_hh[2 * step.hidden_size :]
        of_state = Rows(step.name, step.weight_hh, bias_n, STATE, target)
        constants = {f"{name}_ih": array for name, array in of_input.requantized.items()}
        constants |= {f"{name}_hh": array for name, array in of_state.requantized.items()}
        constants |= {"bias_ih": of_input.bias, "name": step.name, "source": step.source}
        if isinstance(step, s.GRU):
            constants["bias_n"] = of_state.bias[2 * step.hidden_size :]
        return constants

    def gru(self, step: s.GRU, name: str) -> q.IntegerGRU:
        """r and z are halved."""
        return q.IntegerGRU(**self.recurrent(step, [True, True, False]))

    def lstm(self, step: s.LSTM, name: str) -> q.IntegerLSTM:
        """All but g are halved."""
        cell = self.fraction(f"{step.name}.cell", ARGUMENT)
        return q.IntegerLSTM(**self.recurrent(step, [True, True, False, True]), cell_fraction=cell)

    def side(self, step: s.FastGRNN, side: str, source: int) -> dict[str, tuple[Array, ...]]:
        """The matrices that x or h goes through."""
        matrices = getattr(step, f"{side}_weights")
        names = {"weight": f"{side}_weights", "multiplier": f"{side}_multipliers", "shift": f"{side}_shifts"}
        constants: dict[str, tuple[Array, ...]] = dict.fromkeys(names.values(), ())
        for i, matrix in enumerate(matrices):
            last = i == len(matrices) - 1
            target = ARGUMENT if last else self.fraction(f"{step.name}.{side}", finest(matrix, source))
            rows = Rows(step.name, matrix, None, source, target)
            for kind, name in names.items():
                constants[name] += (rows.requantized[kind],)
            source = target
        return constants

    def fastgrnn(self, step: s.FastGRNN, name: str) -> q.IntegerFastGRNN:
        """Its biases belong to the argument of both nonlinearities, ζ and ν to the state."""
        fraction = self.fraction(step.name)
        zeta, nu = (min(round(float(gain) * 2**STATE), 2**STATE) for gain in step.gains)
        biases = {}
        for bias in ("gate_bias", "update_bias"):
            value = np.rint(getattr(step, bias).astype(np.float64) * 2**ARGUMENT)
            biases[bias] = fp.clamp(value, -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
        return q.IntegerFastGRNN(
            name=step.name,
            source=step.source,
            fraction=fraction,
            **self.side(step, "input", self.fractions[step.source]),
            **self.side(step, "hidden", fraction),
            **biases,
            zeta=zeta,
            nu=nu,
            gate=step.gate,
            update=step.update,
        )


QUANTIZED: dict[type[Step], Callable[[Quantizer, Any, str], Step]] = {  # … and the value whose range counts
    s.Normalize: Quantizer.normalize,
    s.Convolution: Quantizer.convolution,
    s.ReLU: Quantizer.relu,
    s.LeakyReLU: Quantizer.leaky_relu,
    s.MaxPool: Quantizer.max_pool,
    s.Add: Quantizer.add,
    s.Linear: Quantizer.linear,
    s.GRU: Quantizer.gru,
    s.LSTM: Quantizer.lstm,
    s.FastGRNN: Quantizer.fastgrnn,
}
