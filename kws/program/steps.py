"""The steps of which a spotter is made: what each computes of one hop, its constants and the state it keeps.

A step reads one value (a row of numbers) or two, and makes one that bears its name. Constants are float32 arrays in
PyTorch's shapes and order of gates. States are rows of numbers too, all zeros at the start of a stream.

A value that is a picture (channels of filters) lies channel after channel: number c · filters + f.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np

Array = np.ndarray

SAMPLES = "samples"
"""The value that comes from outside: a hop of samples in [-1, 1]."""
FEATURES = "features"
"""What the last step of a featurizer is called."""
VOICE = "voice"
"""What a detector is called."""
NONLINEARITIES = ("sigmoid", "hard_sigmoid", "tanh", "hard_tanh")
"""Of a FastGRNN; see `kws.networks.fastgrnn`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One operation on a hop.

    Attributes:
        name: of the step, and of the value it makes.
        source: name of the value it reads.
    """

    name: str
    source: str

    STATES: ClassVar[tuple[str, ...]] = ()
    """What the states of a step outside the network are called; those of a network are numbered."""
    STATE_BYTES: ClassVar[int] = 4
    """Of a number of its states."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Every value it reads."""
        return (self.source,)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Numbers in each state that it keeps from hop to hop."""
        return ()

    @property
    def constants(self) -> dict[str, Array]:
        """Its arrays by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in named.items() if isinstance(value, Array)}
        for name, value in named.items():
            if isinstance(value, tuple):
                arrays |= {f"{name}{i}": item for i, item in enumerate(value, 1) if isinstance(item, Array)}
        return arrays

    @property
    def num_weights(self) -> int:
        """Numbers that a device has to store for it."""
        return sum(array.size for array in self.constants.values())

    @property
    def weight_bytes(self) -> int:
        """Bytes of these numbers: float32."""
        return 4 * self.num_weights

    def size(self, *inputs: int) -> int:
        """Numbers in the value it makes, from those in the values it reads.

        Raises:
            ValueError: they do not fit, with the reason.
        """
        return inputs[0]

    def multiply_adds(self, *inputs: int) -> float:
        """Multiply-adds of a hop; additions, activations, roots and logarithms are not counted."""
        return 0


def fit(what: str, needed: int, given: int) -> None:
    """ValueError where a step gets another number of values than it takes."""
    if needed != given:
        raise ValueError(f"{what} takes {needed} values and gets {given}")


# --- featurizer -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Clean(Step):
    """NaN and infinite samples become 0, the others are clipped to [-1, 1]."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PreEmphasis(Step):
    """y[t] = x[t] - factor · x[t-1]. The state is the last sample."""

    factor: float
    STATES: ClassVar = ("previous",)

    @property
    def state_sizes(self):
        return (1,)

    def multiply_adds(self, *inputs):
        return inputs[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Window(Step):
    """The last `window_size` samples times `weights`; the state is what the next window still contains.

    Attributes:
        weights: (window_size,), or None for ones.
        scale: what all samples are multiplied with, a power of two.
    """

    window_size: int
    hop_size: int
    weights: Array | None = None
    scale: float = 1.0
    STATES: ClassVar = ("buffer",)

    @property
    def state_sizes(self):
        return (self.window_size - self.hop_size,)

    def size(self, *inputs):
        fit(self.name, self.hop_size, inputs[0])
        return self.window_size

    def multiply_adds(self, *inputs):
        return 0 if self.weights is None else self.window_size


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectrum(Step):
    """Magnitudes of the real Fourier transform of `fft_size` points, zeros behind the window: fft_size / 2 + 1 values.

    With `power`, squared magnitudes over `fft_size`.
    """

    fft_size: int
    power: bool = False

    def size(self, *inputs):
        if inputs[0] > self.fft_size:
            raise ValueError(f"{self.name} of {self.fft_size} points gets {inputs[0]} samples")
        return self.fft_size // 2 + 1

    def multiply_adds(self, *inputs):
        """N·log2 N, half of the N/2·log2 N butterflies of a complex transform, of four multiplications each; the
        magnitude takes two for each bin."""
        return self.fft_size * math.log2(self.fft_size) + 2 * (self.fft_size // 2 + 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Filterbank(Step):
    """Sums of the bins under triangles: x @ weights.

    Attributes:
        kind: ``mel`` or ``linear``, as the points lie.
        sample_rate: Hz.
        weights: (bins, filters), nearly all of them zero.
    """

    kind: str
    sample_rate: int
    weights: Array

    @property
    def num_weights(self):
        return int(np.count_nonzero(self.weights))

    def size(self, *inputs):
        fit(self.name, len(self.weights), inputs[0])
        return self.weights.shape[1]

    def multiply_adds(self, *inputs):
        return self.num_weights


@dataclass(frozen=True, eq=False, kw_only=True)
class Logarithm(Step):
    """Natural logarithm of x + `delta`."""

    delta: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Cosines(Step):
    """A cosine transform: x @ weights, (filters, coefficients)."""

    weights: Array

    def size(self, *inputs):
        fit(self.name, len(self.weights), inputs[0])
        return self.weights.shape[1]

    def multiply_adds(self, *inputs):
        return self.weights.size


# --- voice activity ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Detector(Step):
    """ELL's voice activity detector (`kws.spotter.vad`): 1 while somebody speaks, else 0.

    The state is noise floor, signal, frames heard, and the time of the last one in seconds. In the first frame the
    noise floor is `initial_noise_floor`.

    Attributes:
        weights: (F,) of each feature in the level.
        settings: its parameters by name.
        initial_noise_floor: level.
    """

    weights: Array
    settings: Mapping[str, float]
    initial_noise_floor: float
    STATES: ClassVar = ("vad",)

    @property
    def state_sizes(self):
        return (4,)

    def size(self, *inputs):
        fit(self.name, len(self.weights), inputs[0])
        return 1

    def multiply_adds(self, *inputs):
        return 0  # a sum of F products beside hundreds of thousands, and never counted before


@dataclass(frozen=True, eq=False, kw_only=True)
class Reset(Step):
    """Where the source falls from 1 to 0, every state of the network becomes zero, after the hop's own output."""


# --- network ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalize(Step):
    """(x - mean) / deviation, both (F,)."""

    mean: Array
    deviation: Array

    def size(self, *inputs):
        fit(self.name, len(self.mean), inputs[0])
        return inputs[0]


class Picture:
    """Sizes of a convolution over frames and filters, whatever its numbers are: of the fields of `Convolution`."""

    @property
    def channels(self) -> int:
        """Of the picture it reads."""
        return self.weight.shape[1] * self.groups

    @property
    def past(self) -> int:
        """Frames before the present one that it sees."""
        return (self.weight.shape[2] - 1) * self.dilation

    @property
    def outputs(self) -> tuple[int, int]:
        """Channels and filters of the picture it makes."""
        return len(self.weight), (self.filters + 2 * self.padding - self.weight.shape[3]) // self.stride + 1

    @property
    def state_sizes(self):
        return (self.channels * self.past * self.filters,) if self.past else ()

    def size(self, *inputs):
        fit(self.name, self.channels * self.filters, inputs[0])
        return math.prod(self.outputs)

    def multiply_adds(self, *inputs):
        return self.weight.size * self.outputs[1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Picture, Step):
    """A convolution over the frames so far and the neighbouring filters. The state is the frames that the next still
    sees, a picture (channels, frames, filters).

    Attributes:
        weight: (outputs, channels / groups, kernel frames, kernel filters), a batch normalisation folded in.
        bias: (outputs,) or None.
        filters: of the picture it reads; 1 for a plain vector of channels.
        groups: as in PyTorch; the number of channels for a depthwise convolution.
        stride: over filters.
        padding: zeros at both ends of the filters.
        dilation: over frames.
    """

    weight: Array
    bias: Array | None = None
    filters: int = 1
    groups: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class ReLU(Step):
    """max(x, 0)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LeakyReLU(Step):
    """max(x, slope · x, floor).

    Attributes:
        slope: from 0 to 1, of what is below 0.
        floor: at most 0.
    """

    slope: float
    floor: float

    def __post_init__(self):
        if not (0 <= self.slope <= 1 and -math.inf < self.floor <= 0):
            raise ValueError(
                f"{self.name}: a slope of {self.slope} is not in 0 to 1, or a floor of {self.floor} above 0"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Step):
    """The largest of `width` neighbouring filters in this frame and, with 2 `frames`, the one `dilation` frames ago.

    The state is the frames that the next still sees, a picture (channels, frames, filters).

    Attributes:
        channels: of the picture.
        filters: of the picture it reads; each `width` of them become one, and a rest that is less is left out.
        width: filters in one.
        frames: 1 or 2.
        dilation: frames from the other to the present one.
    """

    channels: int
    filters: int
    width: int = 1
    frames: int = 1
    dilation: int = 1

    def __post_init__(self):
        if self.frames not in (1, 2) or self.dilation < 1 or not 1 <= self.width <= self.filters:
            raise ValueError(
                f"{self.name}: no pool of {self.frames} frames, {self.dilation} apart, and {self.width} of "
                f"{self.filters} filters"
            )

    @property
    def past(self) -> int:
        """Frames before the present one that it sees."""
        return (self.frames - 1) * self.dilation

    @property
    def outputs(self) -> tuple[int, int]:
        """Channels and filters of the picture it makes."""
        return self.channels, self.filters // self.width

    @property
    def state_sizes(self):
        return (self.channels * self.past * self.filters,) if self.past else ()

    def size(self, *inputs):
        fit(self.name, self.channels * self.filters, inputs[0])
        return math.prod(self.outputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Step):
    """The source and another value of the same size, number by number."""

    other: str

    @property
    def sources(self):
        return (self.source, self.other)

    def size(self, *inputs):
        fit(self.name, inputs[0], inputs[1])
        return inputs[0]


class Gated:
    """Sizes of a layer of stacked gates, whatever its numbers are: of the weights of `Recurrent`."""

    @property
    def hidden_size(self) -> int:
        """Units, H."""
        return self.weight_hh.shape[-1]

    @property
    def state_sizes(self):
        return (self.hidden_size,)

    def size(self, *inputs):
        fit(self.name, self.weight_ih.shape[1], inputs[0])
        return self.hidden_size

    def multiply_adds(self, *inputs):
        return self.weight_ih.size + self.weight_hh.size


@dataclass(frozen=True, eq=False, kw_only=True)
class Recurrent(Gated, Step):
    """What GRU and LSTM share. The value it makes is its first state.

    Attributes:
        weight_ih: (gates · H, I); weight_hh: (gates · H, H); bias_ih, bias_hh: (gates · H,).
    """

    weight_ih: Array
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array
    GATES: ClassVar[int]

    def __post_init__(self):
        rows = self.GATES * self.hidden_size
        wanted = {"weight_ih": (rows, self.weight_ih.shape[-1]), "weight_hh": (rows, self.hidden_size)}
        for name, array in self.constants.items():
            if array.shape != wanted.get(name, (rows,)):
                raise ValueError(
                    f"{self.name}: {name} has the shape {array.shape} where {self.hidden_size} units need "
                    f"{wanted.get(name, (rows,))}"
                )


class GRU(Recurrent):
    """PyTorch's GRU, gates r, z, n; the reset gate after the product (see `kws.networks.gru`)."""

    GATES = 3


class LSTM(Recurrent):
    """PyTorch's LSTM, gates i, f, g, o. States: hidden state, then cell."""

    GATES = 4

    @property
    def state_sizes(self):
        return (self.hidden_size, self.hidden_size)


@dataclass(frozen=True, eq=False, kw_only=True)
class FastGRNN(Step):
    """One FastGRNN layer (see `kws.networks.fastgrnn` for its equations).

    Attributes:
        input_weights: W (H, I), or W1 (rank, I) and W2 (H, rank) in the order in which they are applied.
        hidden_weights: U likewise.
        gate_bias, update_bias: (H,).
        zeta, nu: before their sigmoid, shape ().
        gate, update: names of the nonlinearities.
    """

    input_weights: tuple[Array, ...]
    hidden_weights: tuple[Array, ...]
    gate_bias: Array
    update_bias: Array
    zeta: Array
    nu: Array
    gate: str
    update: str

    def __post_init__(self):
        for name in (self.gate, self.update):
            if name not in NONLINEARITIES:
                raise ValueError(f"{self.name}: {name!r} is no nonlinearity; there are {', '.join(NONLINEARITIES)}")
        for name, inputs in (("input_weights", None), ("hidden_weights", self.hidden_size)):
            shapes = [matrix.shape for matrix in getattr(self, name)]
            joined = all(rows[0] == columns[1] for rows, columns in pairwise(shapes))
            ends = shapes[-1][0] == len(self.update_bias) == self.hidden_size and inputs in (None, shapes[0][1])
            if len(shapes) not in (1, 2) or not joined or not ends:
                raise ValueError(f"{self.name}: {name} of the shapes {shapes} do not fit {self.hidden_size} units")

    @property
    def hidden_size(self) -> int:
        """Units, H."""
        return len(self.gate_bias)

    @cached_property
    def gains(self) -> tuple[np.float32, np.float32]:
        """ζ and ν as they are computed with, after their sigmoid."""
        return tuple(np.float32(1 / (1 + np.exp(-np.float64(value)))) for value in (self.zeta, self.nu))

    @property
    def state_sizes(self):
        return (self.hidden_size,)

    def size(self, *inputs):
        fit(self.name, self.input_weights[0].shape[1], inputs[0])
        return self.hidden_size

    def multiply_adds(self, *inputs):
        return sum(matrix.size for matrix in (*self.input_weights, *self.hidden_weights))


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Step):
    """weight @ x + bias, weight (outputs, inputs)."""

    weight: Array
    bias: Array

    def size(self, *inputs):
        fit(self.name, self.weight.shape[1], inputs[0])
        return len(self.weight)

    def multiply_adds(self, *inputs):
        return self.weight.size


@dataclass(frozen=True, eq=False, kw_only=True)
class LogSoftmax(Step):
    """Scores to log-probabilities."""
