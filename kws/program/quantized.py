"""The steps of an integer network: what each computes to the last bit, its constants and its states.

They stand in a `kws.program.Program` in the place of the network's float steps; what makes the features, the detector
and its reset stay as they are, in float32. `kws.program.quantize` makes them, `kws.program.integer` computes them.

Every value and every state is a row of int16 from -32767 to 32767 and stands for integer / 2^fraction. The functions
`clamp`, `shift`, `requantize`, `tanh`, `sigmoid` … are those of `kws.program.fixed_point`, ``>>`` is the arithmetic
shift, and everything fits into int32, the product inside `requantize` alone excepted: for every row of weights

    |bias| + 32767 · Σ|weight| <= 2^31 - 1

so that its sum may be taken in any order and in any number of lanes. A row of weights is int8 (-127 to 127), and
belongs to one output; ``multiplier`` (int16) and ``shift`` (int8) have one number a row and bring its sum to the
fraction in which it is used. Shapes, the order of gates and the layout of pictures are those of `kws.program.steps`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kws.program.fixed_point import LIMIT, STATE, TANH
from kws.program.program import Program
from kws.program.steps import Array, Gated, MaxPool, Picture, Step, fit


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerStep(Step):
    """A step of an integer network.

    Attributes:
        fraction: of the value it makes.
    """

    fraction: int = STATE
    STATE_BYTES: ClassVar = 2

    @property
    def weight_bytes(self):
        return sum(array.nbytes for array in self.constants.values())


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantize(IntegerStep):
    """The normalised features, from float32 (the last one that is not an integer):

        y = (x - mean) * factor                  in float32, each operation rounded by itself
        y = y > 32767 ? 32767 : y
        y = y > -32767 ? y : -32767              so NaN becomes -32767
        result = (int16) rint(y)                 to nearest, halves to the even number

    Attributes:
        mean, factor: (F,) float32; factor is 2^fraction / deviation.
    """

    mean: Array
    factor: Array

    def size(self, *inputs):
        fit(self.name, len(self.mean), inputs[0])
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerConvolution(Picture, IntegerStep):
    """A convolution, and a ReLU behind it. The state is the frames that the next one still sees, (channels, past
    frames, filters) int16, the oldest first.

        total = bias[o] + Σ weight[o, c, k, f] * x        over the group's channels, kernel frames and kernel filters
        result = clamp(requantize(total, multiplier[o], shift[o]), low, 32767)         low = relu ? 0 : -32767

    Kernel frame k looks ``(kernel frames - 1 - k) · dilation`` frames back. A linear layer is one of 1 filter.

    Attributes:
        weight: (outputs, channels / groups, kernel frames, kernel filters) int8.
        bias: (outputs,) int32. multiplier: (outputs,) int16. shift: (outputs,) int8.
        relu: whether negative results become 0.
        filters, groups, stride, padding, dilation: as of `kws.program.steps.Convolution`.
    """

    weight: Array
    bias: Array
    multiplier: Array
    shift: Array
    relu: bool = False
    filters: int = 1
    groups: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerOffset(IntegerStep):
    """A constant added to every number.

        result = clamp(shift(x + offset[i], right))

    Attributes:
        offset: (n,) int32 of the source's fraction, within ±2^29.
        right: 0 to 15; it brings the sum to the fraction of the value.
    """

    offset: Array
    right: int

    def size(self, *inputs):
        fit(self.name, len(self.offset), inputs[0])
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerReLU(IntegerStep):
    """max(x, 0), where it could not go into the step before it. The fraction is that of its source."""


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerLeakyReLU(IntegerStep):
    """A LeakyReLU, of the fraction of its source.

        result = max(x, shift(slope * x, 15), floor)

    |slope * x| is at most 32768 · 32767.

    Attributes:
        slope: of fraction 15, 0 to 32768.
        floor: of the fraction of the value, -32767 to 0.
    """

    slope: int
    floor: int


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerMaxPool(IntegerStep, MaxPool):
    """`kws.program.steps.MaxPool`, of the fraction of its source. The state is int16, the oldest frame first."""


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerAdd(IntegerStep):
    """The source a and another value b of the same size, number by number, and a ReLU behind them.

        result = clamp(shift((a << left) + (b << other_left), right), low, 32767)      low = relu ? 0 : -32767

    Attributes:
        other: name of b.
        left, other_left: 0 to 15; one of them is 0. They bring a and b to the larger of their fractions.
        right: 0 to 15.
        relu: whether negative results become 0.
    """

    other: str
    left: int
    other_left: int
    right: int
    relu: bool = False

    @property
    def sources(self):
        return (self.source, self.other)

    def size(self, *inputs):
        fit(self.name, inputs[0], inputs[1])
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerRecurrent(Gated, IntegerStep):
    """What GRU and LSTM share. The value it makes is its first state. Both are of fraction 15.

    Attributes:
        weight_ih: (gates · H, I) int8; weight_hh: (gates · H, H) int8.
        bias_ih: (gates · H,) int32, of the first sum; it holds both biases where they are only added.
        multiplier_ih, multiplier_hh: (gates · H,) int16; shift_ih, shift_hh: (gates · H,) int8. They bring the sums to
            fraction 12, and halve those of the gates that go through a sigmoid.
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    multiplier_ih: Array
    multiplier_hh: Array
    shift_ih: Array
    shift_hh: Array
    GATES: ClassVar[int]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerGRU(IntegerRecurrent):
    """`kws.program.steps.GRU`, gates r, z, n. With row k of unit j in gate g = g · H + j and the state h:

        a[k] = requantize(bias_ih[k] + Σ weight_ih[k, i] * x[i], multiplier_ih[k], shift_ih[k])
        b[k] = requantize(          Σ weight_hh[k, i] * h[i], multiplier_hh[k], shift_hh[k])
                          (+ bias_n[j] in the sum of gate n)
        r = sigmoid(a[r] + b[r])        z = sigmoid(a[z] + b[z])
        n = tanh(a[n] + ((r * clamp(b[n], -65535, 65535) + 16384) >> 15))
        h' = n + ((z * (h - n) + 16384) >> 15)

    |a| and |b| are below 2^30, |r * b| and |z * (h - n)| at most 32767 · 65535, and h' lies between n and h.

    Attributes:
        bias_n: (H,) int32.
    """

    bias_n: Array
    GATES = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerLSTM(IntegerRecurrent):
    """`kws.program.steps.LSTM`, gates i, f, g, o. States: hidden state h, then cell c of fraction `cell_fraction`.

        a[k], b[k] as of `IntegerGRU`, without bias_n
        i, f, o = sigmoid(a + b)        g = tanh(a + b)
        c' = clamp((f * c + ((i * g) >> (15 - cell_fraction)) + 16384) >> 15)
        h' = (o * tanh(c' << (12 - cell_fraction)) + 16384) >> 15

    |f * c| and |i * g| are at most 32767².

    Attributes:
        cell_fraction: 0 to 12.
    """

    cell_fraction: int
    GATES = 4

    @property
    def state_sizes(self):
        return (self.hidden_size, self.hidden_size)


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerFastGRNN(IntegerStep):
    """`kws.program.steps.FastGRNN`. The value it makes is its state; its fraction is calibrated, for it may pass 1.

        y[k] = requantize(Σ weight[k, i] * x[i], multiplier[k], shift[k])
        of one matrix: u = clamp(y, -2^28, 2^28)
        of two: clamp(y) is the second one's x, and u = clamp(y, -2^28, 2^28) of that; fraction 12 in both cases
        s = u of input_… and x + u of hidden_… and h
        z = sigmoid((s + gate_bias + 1) >> 1)   or   hard_sigmoid(s + gate_bias)
        new = tanh(s + update_bias)             or   hard_tanh(s + update_bias)
        gain = min(((zeta * (32768 - z) + 16384) >> 15) + nu, 65535)
        h' = clamp((((gain * new) >> (16 - fraction)) + ((z * h) >> 1) + 8192) >> 14)

    Attributes:
        input_weights: int8, one matrix (H, I) or two, (rank, I) and (H, rank).
        input_multipliers, input_shifts: int16 and int8, one number for each row.
        hidden_weights, hidden_multipliers, hidden_shifts: likewise.
        gate_bias, update_bias: (H,) int32 of fraction 12, within ±2^28.
        zeta, nu: ζ and ν after their sigmoid, of fraction 15, 0 to 32768.
        gate: ``sigmoid`` or ``hard_sigmoid``.
        update: ``tanh`` or ``hard_tanh``.
    """

    input_weights: tuple[Array, ...]
    input_multipliers: tuple[Array, ...]
    input_shifts: tuple[Array, ...]
    hidden_weights: tuple[Array, ...]
    hidden_multipliers: tuple[Array, ...]
    hidden_shifts: tuple[Array, ...]
    gate_bias: Array
    update_bias: Array
    zeta: int
    nu: int
    gate: str
    update: str

    @property
    def hidden_size(self) -> int:
        """Units, H."""
        return len(self.gate_bias)

    @property
    def state_sizes(self):
        return (self.hidden_size,)

    def size(self, *inputs):
        fit(self.name, self.input_weights[0].shape[1], inputs[0])
        return self.hidden_size

    def multiply_adds(self, *inputs):
        return sum(matrix.size for matrix in (*self.input_weights, *self.hidden_weights))


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores(Step):
    """The last linear layer, from integers back to float32: the only value of a network that is not int16.

        total = bias[o] + Σ weight[o, i] * x[i]         int32
        result = (float) total * scale[o]               the conversion rounds to nearest, halves to even

    Attributes:
        weight: (outputs, inputs) int8. bias: (outputs,) int32. scale: (outputs,) float32.
    """

    weight: Array
    bias: Array
    scale: Array

    @property
    def weight_bytes(self):
        return sum(array.nbytes for array in self.constants.values())

    def size(self, *inputs):
        fit(self.name, self.weight.shape[1], inputs[0])
        return len(self.weight)

    def multiply_adds(self, *inputs):
        return self.weight.size


def is_integer(program: Program) -> bool:
    """Whether a program's network is one of integers."""
    return bool(program.of_type(Quantize))


def sizes(program: Program) -> dict[str, int]:
    """Bytes that an integer network needs on a device, apart from its code, by what they hold.

    Returns:
        ``weights`` (int8), ``biases`` (int32), ``multipliers`` (with their shifts), ``floats`` (float32: mean and
        factor of the features, scale of the scores), ``tables``, their sum ``flash``; and ``states`` of one stream in
        RAM.
    """
    network = program.network
    count = dict.fromkeys(("weights", "biases", "multipliers", "floats"), 0)
    for step in network:
        for array in step.constants.values():
            count[_kind(array)] += array.nbytes
    recurrent = any(isinstance(step, IntegerRecurrent | IntegerFastGRNN) for step in network)
    count["tables"] = TANH.nbytes if recurrent else 0
    count["flash"] = sum(count.values())
    count["states"] = np.dtype(np.int16).itemsize * sum(state.size for state in program.states_of(network))
    return count


def _kind(array: Array) -> str:
    if array.dtype == np.int8 and array.ndim > 1:
        return "weights"
    return {"int32": "biases", "float32": "floats"}.get(array.dtype.name, "multipliers")


def check(step: Step) -> None:
    """That the sums of a step fit into int32 whatever it hears, and its constants into their types.

    Raises:
        ValueError: they do not.
    """
    constants = step.constants
    for name, array in constants.items():
        if array.dtype != np.int8 or array.ndim < 2:
            continue
        bias = constants.get(name.replace("weight", "bias"), np.zeros(len(array), np.int32)).astype(np.int64)
        if isinstance(step, IntegerGRU) and name == "weight_hh":
            bias = np.concatenate([np.zeros(2 * step.hidden_size, np.int64), step.bias_n])
        reach = np.abs(bias) + LIMIT * np.abs(array.astype(np.int64)).reshape(len(array), -1).sum(1)
        if reach.max(initial=0) > 2**31 - 1 or np.abs(array.astype(np.int16)).max(initial=0) > 127:
            raise ValueError(f"{step.name}: a row of {name} can pass the bounds of int32")
