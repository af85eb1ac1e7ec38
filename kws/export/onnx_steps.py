"""Steps of a program as ONNX nodes: one frame with the state passed in and handed back, or whole clips.

A new network of known steps needs nothing here; a new kind of step needs a method in `FrameTranslator`, and one in
`ClipTranslator` where frames depend on each other.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from kws.export.onnx_graph import Graph
from kws.program import Program, State, Step
from kws.program import steps as s
from kws.support.errors import KwsError

# Rows of PyTorch's stacked gates in ONNX's order: GRU r,z,n to z,r,h; LSTM i,f,g,o to i,o,f,c.
GATES = {s.GRU: (1, 0, 2), s.LSTM: (0, 3, 1, 2)}

# ONNX's HardSigmoid is 0.2 x + 0.5 when it is not told otherwise.
NONLINEARITIES = {
    "sigmoid": ("Sigmoid", ()),
    "hard_sigmoid": ("HardSigmoid", ()),
    "tanh": ("Tanh", ()),
    "hard_tanh": ("Clip", ("minus_one", "one")),
}


def recurrent_weights(step: s.Recurrent) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (1, gates · H, I), R (1, gates · H, H) and B (1, 2 · gates · H) of a layer, in ONNX's gate order."""

    def reorder(stacked: np.ndarray) -> np.ndarray:
        gates = stacked.reshape(step.GATES, step.hidden_size, *stacked.shape[1:])
        return gates[list(GATES[type(step)])].reshape(stacked.shape)

    bias = np.concatenate([reorder(step.bias_ih), reorder(step.bias_hh)])
    return reorder(step.weight_ih)[None], reorder(step.weight_hh)[None], bias[None]


class Translator:
    """Steps to nodes, one method for each kind of step, called as its class in lower case.

    Args:
        graph: to add to.
        program: whose steps are translated.

    Attributes:
        values: name in the graph of each of the program's values.
        pictures: where a value is there as a picture (B, channels, T, filters) too, its name then, and its shape.
    """

    def __init__(self, graph: Graph, program: Program):
        self.graph = graph
        self.program = program
        self.values: dict[str, str] = {}
        self.pictures: dict[str, tuple[str, tuple[int, int]]] = {}

    def run(self, steps: Iterable[Step]) -> str:
        """Translate `steps`; the graph's name of the value that the last one makes."""
        for step in steps:
            method = getattr(self, type(step).__name__.lower(), None)
            if method is None:
                raise KwsError(f"there is no ONNX form of the step {type(step).__name__} yet; see {__name__}.")
            result = method(step)
            if result is not None:
                self.values[step.name] = result
        return self.flat(step.name)

    def integers(self, name: str, *values: int) -> str:
        """A constant of int64 numbers, as shapes and axes are."""
        return self.graph.constant(name, np.array(values, dtype=np.int64))

    def number(self, name: str, value: float) -> str:
        """A constant float32 number."""
        return self.graph.constant(name, np.array(value, np.float32))

    def flat(self, name: str) -> str:
        """A value with its numbers in the last dimension."""
        if name not in self.values:
            self.values[name] = self.flatten(*self.pictures[name])
        return self.values[name]

    def picture(self, name: str, shape: tuple[int, int], of: str) -> str:
        """A value as (B, channels, T, filters); `of` names the constant that says its shape."""
        if self.pictures.get(name, ("", ()))[1] == shape:
            return self.pictures[name][0]
        return self.unflatten(self.flat(name), shape, of)

    def flatten(self, picture: str, shape: tuple[int, int]) -> str:
        """(B, channels, T, filters) to a value."""
        raise NotImplementedError

    def unflatten(self, value: str, shape: tuple[int, int], of: str) -> str:
        """A value to (B, channels, T, filters)."""
        raise NotImplementedError

    # - steps that look at one frame alone -

    def normalize(self, step: s.Normalize) -> str | None:
        prefix = "" if step.name == "normalization" else f"{step.name}."  # the spotter's own is as in earlier files
        channels, filters = self.pictures[step.source][1] if step.source in self.pictures else (None, None)

        def constant(name: str, array: np.ndarray) -> str:
            return self.graph.constant(
                prefix + name, array if channels is None else array.reshape(channels, 1, filters)
            )

        def operation(x: str) -> str:
            x = self.graph.node("Sub", x, constant("mean", step.mean))
            scaled = (step.deviation != 1).any()
            return self.graph.node("Div", x, constant("deviation", step.deviation)) if scaled else x

        return self.same(step, operation)

    def relu(self, step: s.ReLU) -> str | None:
        return self.same(step, partial(self.graph.node, "Relu"))

    def leakyrelu(self, step: s.LeakyReLU) -> str | None:
        floor, node = self.number(f"{step.name}.floor", step.floor), self.graph.node
        return self.same(step, lambda x: node("Max", node("LeakyRelu", x, alpha=step.slope), floor))

    def add(self, step: s.Add) -> str | None:
        return self.same(step, partial(self.graph.node, "Add"))

    def same(self, step: Step, operation: Callable[..., str]) -> str | None:
        """An operation number by number, in whatever form its sources are."""
        shapes = {self.pictures[name][1] if name in self.pictures else None for name in step.sources}
        if len(shapes) == 1 and None not in shapes:
            names = [self.pictures[name][0] for name in step.sources]
            self.pictures[step.name] = operation(*names), shapes.pop()
            return None
        return operation(*map(self.flat, step.sources))

    def logsoftmax(self, step: s.LogSoftmax) -> str:
        return self.graph.node("LogSoftmax", self.flat(step.source), axis=-1)

    def linear_constants(self, step: s.Linear) -> list[str]:
        """Weight (inputs, outputs) and bias."""
        weight = self.graph.constant(f"{step.name}.weight", step.weight.T)
        return [weight, self.graph.constant(f"{step.name}.bias", step.bias)]

    # - pieces of the others -

    def convolve(self, step: s.Convolution, picture: str, past: int) -> None:
        """The picture after a convolution that puts `past` frames of zeros before the first."""
        constants = {"weight": step.weight, "bias": step.bias}
        names = [self.graph.constant(f"{step.name}.{k}", v) for k, v in constants.items() if v is not None]
        pads, strides = [past, step.padding, 0, step.padding], [1, step.stride]
        options = {} if step.dilation == 1 else {"dilations": [step.dilation, 1]}
        made = self.graph.node("Conv", picture, *names, group=step.groups, strides=strides, pads=pads, **options)
        self.pictures[step.name] = made, step.outputs

    def pool(self, step: s.MaxPool, picture: str) -> None:
        """The picture after a pool, from one that begins with the frames before the first."""
        options = {} if step.dilation == 1 else {"dilations": [step.dilation, 1]}
        kernel, strides = [step.frames, step.width], [1, step.width]
        made = self.graph.node("MaxPool", picture, kernel_shape=kernel, strides=strides, **options)
        self.pictures[step.name] = made, step.outputs

    def recurrent(self, step: s.Recurrent, x: str, state: Sequence[str] = ()) -> list[str]:
        """From (T, B, I) to the output (T, 1, B, H) and the state after that, (1, B, H) each."""
        weights = [
            self.graph.constant(f"{step.name}.{name}", weight)
            for name, weight in zip("WRB", recurrent_weights(step), strict=True)
        ]
        # PyTorch's GRU applies the reset gate to W h + b, which ONNX calls linear_before_reset.
        options = {"linear_before_reset": 1} if isinstance(step, s.GRU) else {}
        inputs = (x, *weights, "", *state)  # no sequence_lens: all frames count
        count = 1 + len(step.state_sizes)
        operator = type(step).__name__
        return self.graph.node(operator, *inputs, outputs=count, hidden_size=step.hidden_size, **options)

    def fastgrnn_constants(self, step: s.FastGRNN) -> dict[str, list[str] | str]:
        """The constants of a layer: matrices transposed, the scalars through their sigmoid."""
        names: dict[str, list[str] | str] = {
            kind: [
                self.graph.constant(f"{step.name}.{letter}{i + 1 if len(matrices) > 1 else ''}", matrix.T)
                for i, matrix in enumerate(matrices)
            ]
            for kind, letter, matrices in (("input", "W", step.input_weights), ("hidden", "U", step.hidden_weights))
        }
        for name in ("gate_bias", "update_bias"):
            names[name] = self.graph.constant(f"{step.name}.{name}", getattr(step, name))
        for name, value in zip(("zeta", "nu"), step.gains, strict=True):
            names[name] = self.number(f"{step.name}.{name}", value)
        return names | {"one": self.number("one", 1), "minus_one": self.number("minus_one", -1)}


def product(graph: Graph, x: str, matrices: Sequence[str]) -> str:
    """`x` times one matrix after the other."""
    for matrix in matrices:
        x = graph.node("MatMul", x, matrix)
    return x


def fastgrnn_frame(graph: Graph, from_input: str, h: str, step: s.FastGRNN, names) -> str:
    """W x (B, H) and the state h (B, H) to the state after the frame; the equations of `kws.networks.fastgrnn`."""

    def nonlinearity(name: str, x: str) -> str:
        operator, constants = NONLINEARITIES[name]
        return graph.node(operator, x, *(names[c] for c in constants))

    argument = graph.node("Add", from_input, product(graph, h, names["hidden"]))
    z = nonlinearity(step.gate, graph.node("Add", argument, names["gate_bias"]))
    new = nonlinearity(step.update, graph.node("Add", argument, names["update_bias"]))
    share = graph.node("Mul", names["zeta"], graph.node("Sub", names["one"], z))
    share = graph.node("Add", share, names["nu"])
    return graph.node("Add", graph.node("Mul", share, new), graph.node("Mul", z, h))


class FrameTranslator(Translator):
    """One frame of any number of streams. Values are (B, n).

    Args:
        graph, program: see `Translator`.
        states: the program's states that are inputs of the graph, by the names they have there.

    Attributes:
        after: each state's name after the frame.
    """

    def __init__(self, graph: Graph, program: Program):
        super().__init__(graph, program)
        self.after: dict[str, str] = {}
        self.sequences: dict[str, str] = {}  # values as (1, B, n), where they are there in that form

    def states_of(self, step: Step) -> list[State]:
        return self.program.states_of([step])

    def flatten(self, picture: str, shape: tuple[int, int]) -> str:
        return self.graph.node("Reshape", picture, self.integers("flat_shape", 0, -1))

    def unflatten(self, value: str, shape: tuple[int, int], of: str, frames: int = 1) -> str:
        channels, filters = shape
        return self.graph.node("Reshape", value, self.integers(of, -1, channels, frames, filters))

    def linear(self, step: s.Linear) -> str:
        return self.graph.node("Gemm", self.flat(step.source), *self.linear_constants(step))

    def frames(self, step: s.Convolution | s.MaxPool) -> str:
        """The picture that a step reads, behind those of the frames before it that it sees; the next sees the last."""
        shape = (step.channels, step.filters)
        x = self.picture(step.source, shape, f"{step.name}.frame")
        for state in self.states_of(step):
            time, one, end = (self.integers(*item) for item in (("time", 2), ("one_", 1), ("end", 2**31)))
            past = self.unflatten(state.name, shape, f"{step.name}.past", step.past)
            x = self.graph.node("Concat", past, x, axis=2)
            self.after[state.name] = self.flatten(self.graph.node("Slice", x, one, end, time), shape)
        return x

    def convolution(self, step: s.Convolution) -> None:
        self.convolve(step, self.frames(step), past=0)

    def maxpool(self, step: s.MaxPool) -> None:
        self.pool(step, self.frames(step))

    def gru(self, step: s.GRU) -> str:
        """The state after a frame is its output too: (directions, B, H) does as the next layer's (time, B, H)."""
        axis = self.integers("first_axis", 0)
        x = self.sequences.get(step.source) or self.graph.node("Unsqueeze", self.flat(step.source), axis)
        states = self.states_of(step)
        before = [self.graph.node("Unsqueeze", state.name, axis) for state in states]
        _, *ends = self.recurrent(step, x, before)
        self.sequences[step.name] = ends[0]
        for state, end in zip(states, ends, strict=True):
            self.after[state.name] = self.graph.node("Squeeze", end, axis)
        return self.after[states[0].name]

    lstm = gru

    def fastgrnn(self, step: s.FastGRNN) -> str:
        (state,) = self.states_of(step)
        names = self.fastgrnn_constants(step)
        x = product(self.graph, self.flat(step.source), names["input"])
        self.after[state.name] = fastgrnn_frame(self.graph, x, state.name, step, names)
        return self.after[state.name]


class ClipTranslator(Translator):
    """Whole clips from the zero state. Values are (T, B, n), time first as ONNX counts."""

    def flatten(self, picture: str, shape: tuple[int, int]) -> str:
        frames = self.graph.node("Transpose", picture, perm=[2, 0, 1, 3])
        return self.graph.node("Reshape", frames, self.integers("frames_shape", 0, 0, -1))

    def unflatten(self, value: str, shape: tuple[int, int], of: str) -> str:
        frames = self.graph.node("Reshape", value, self.integers(of, 0, 0, *shape))  # (T, B, C, F)
        return self.graph.node("Transpose", frames, perm=[1, 2, 0, 3])

    def linear(self, step: s.Linear) -> str:
        weight, bias = self.linear_constants(step)
        return self.graph.node("Add", self.graph.node("MatMul", self.flat(step.source), weight), bias)

    def convolution(self, step: s.Convolution) -> None:
        x = self.picture(step.source, (step.channels, step.filters), f"{step.name}.frame")
        self.convolve(step, x, step.past)

    def maxpool(self, step: s.MaxPool) -> None:
        x = self.picture(step.source, (step.channels, step.filters), f"{step.name}.frame")
        if step.past:  # zeros, where the operator's own padding is lower than all numbers
            x = self.graph.node("Pad", x, self.integers(f"{step.name}.past", 0, 0, step.past, 0, 0, 0, 0, 0))
        self.pool(step, x)

    def gru(self, step: s.GRU) -> str:
        axis = self.integers("direction_axis", 1)
        return self.graph.node("Squeeze", self.recurrent(step, self.flat(step.source))[0], axis)

    lstm = gru

    def fastgrnn(self, step: s.FastGRNN) -> str:
        """W x of all frames at once, then a Scan with the frame's equations as its body."""
        names, label = self.fastgrnn_constants(step), step.name
        frames = self.flat(step.source)
        batch = self.graph.node("Gather", self.graph.node("Shape", frames), self.integers("batch_axis", 1))
        size = self.integers(f"{label}.hidden_size", step.hidden_size)
        start = self.graph.node("ConstantOfShape", self.graph.node("Concat", batch, size, axis=0))  # (B, H) zeros
        body = Graph(label, prefix=f"{label}.")
        shape = ["batch", step.hidden_size]
        h, from_input = body.input(f"{label}.h", shape), body.input(f"{label}.from_input", shape)
        after = fastgrnn_frame(body, from_input, h, step, names)
        body.output(after, f"{label}.next_h", shape)
        body.output(after, f"{label}.output", shape)
        inputs = product(self.graph, frames, names["input"])
        return self.graph.node("Scan", start, inputs, outputs=2, num_scan_inputs=1, body=body.proto())[1]
