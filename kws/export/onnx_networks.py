"""Classifiers as ONNX nodes: whole clips, and one frame with the state passed in and handed back."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from kws.errors import KwsError
from kws.export.onnx_graph import Graph, array
from kws.networks import CRNNClassifier, FastGRNNClassifier, RecurrentClassifier
from kws.networks.crnn import CausalBlock, CausalConvolution, TemporalBlock, folded

# Rows of PyTorch's stacked gates in ONNX's order: GRU r,z,n to z,r,h; LSTM i,f,g,o to i,o,f,c.
GATES = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}

# ONNX's HardSigmoid is 0.2 x + 0.5 when it is not told otherwise.
NONLINEARITIES = {
    "sigmoid": ("Sigmoid", ()),
    "hard_sigmoid": ("HardSigmoid", ()),
    "tanh": ("Tanh", ()),
    "hard_tanh": ("Clip", ("minus_one", "one")),
}


def state_names(classifier) -> list[str]:
    """What the tensors of a classifier's state are called in an exported model."""
    return [f"state_{i}" for i in range(len(classifier.state_sizes))]


def clip_classifier(graph: Graph, frames: str, classifier) -> str:
    """Normalised features (T, B, F), time first as ONNX counts, to log-probabilities (T, B, C), from the zero state."""
    over_clip, _ = _layers(classifier)
    hidden = over_clip(graph, frames, classifier)
    scores = graph.node("Add", graph.node("MatMul", hidden, _linear(graph, classifier)[0]), "linear.bias")
    return graph.node("LogSoftmax", scores, axis=-1)


def frame_classifier(graph: Graph, frame: str, classifier, state: Sequence[str]) -> tuple[str, list[str]]:
    """One frame (B, F) and the state, (B, H) each, to log-probabilities (B, C) and the state after it."""
    _, over_frame = _layers(classifier)
    hidden, after = over_frame(graph, frame, classifier, state)
    return graph.node("LogSoftmax", graph.node("Gemm", hidden, *_linear(graph, classifier)), axis=-1), after


def _layers(classifier) -> tuple[Callable, Callable]:
    """How the layers of a classifier are built for clips and for one frame."""
    for network, functions in LAYERS.items():
        if isinstance(classifier, network):
            return functions
    raise KwsError(f"there is no ONNX form of the network {type(classifier).__name__} yet; see {__name__}.")


def _linear(graph: Graph, classifier) -> list[str]:
    """Weight (H, C) and bias (C,) of the last layer."""
    weight = graph.constant("linear.weight", array(classifier.linear.weight).T)
    return [weight, graph.constant("linear.bias", array(classifier.linear.bias))]


# --- GRU and LSTM: operators of ONNX itself ---------------------------------------------------------------------------


def recurrent_weights(layer, cell: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (1, gates · H, I), R (1, gates · H, H) and B (1, 2 · gates · H) of a layer, in ONNX's gate order."""

    def reorder(parameter):
        stacked = array(parameter)
        gates = stacked.reshape(len(GATES[cell]), layer.hidden_size, *stacked.shape[1:])
        return gates[list(GATES[cell])].reshape(stacked.shape)

    bias = np.concatenate([reorder(layer.bias_ih_l0), reorder(layer.bias_hh_l0)])
    return reorder(layer.weight_ih_l0)[None], reorder(layer.weight_hh_l0)[None], bias[None]


def _recurrent_layer(graph: Graph, x: str, classifier, index: int, state: Sequence[str] = ()) -> list[str]:
    """The operator of one layer: from (T, B, I) to its output (T, 1, B, H) and its state after that, (1, B, H) each."""
    layer, cell = classifier.layers[index], classifier.cell
    weights = [
        graph.constant(f"layer{index + 1}.{name}", weight)
        for name, weight in zip("WRB", recurrent_weights(layer, cell), strict=True)
    ]
    # PyTorch's GRU applies the reset gate to W h + b, which ONNX calls linear_before_reset.
    options = {"linear_before_reset": 1} if cell == "gru" else {}
    inputs = (x, *weights, "", *state)  # no sequence_lens: all frames count
    count = 1 + classifier.tensors_per_layer
    return graph.node(cell.upper(), *inputs, outputs=count, hidden_size=layer.hidden_size, **options)


def _recurrent_clip(graph: Graph, frames: str, classifier: RecurrentClassifier) -> str:
    """(T, B, F) to (T, B, H)."""
    directions = graph.constant("direction_axis", np.array([1], dtype=np.int64))
    for i in range(len(classifier.layers)):
        frames = graph.node("Squeeze", _recurrent_layer(graph, frames, classifier, i)[0], directions)
    return frames


def _recurrent_frame(
    graph: Graph, frame: str, classifier: RecurrentClassifier, state: Sequence[str]
) -> tuple[str, list[str]]:
    """(B, F) to (B, H), and the state after the frame.

    The state after one frame is also the output: (directions, B, H), which will do as the next layer's (time, B, H).
    """
    axis = graph.constant("first_axis", np.array([0], dtype=np.int64))
    count = classifier.tensors_per_layer
    x, after, hidden = graph.node("Unsqueeze", frame, axis), [], frame
    for i in range(len(classifier.layers)):
        before = [graph.node("Unsqueeze", tensor, axis) for tensor in state[count * i : count * (i + 1)]]
        _, *ends = _recurrent_layer(graph, x, classifier, i, before)
        x = ends[0]
        hidden, *memory = (graph.node("Squeeze", end, axis) for end in ends)
        after += [hidden, *memory]
    return hidden, after


# --- CRNN: convolutions with the batch normalisation folded in, then the above ---------------------------------------


def _convolve(
    graph: Graph, x: str, name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, past: int = 0
) -> str:
    """A convolution of (B, C, T, F), `past` frames of zeros before the first, and its normalisation if there is one."""
    tensors = folded(convolution, norm) if norm else (convolution.weight,)
    names = [graph.constant(f"{name}.{k}", array(v)) for k, v in zip(("weight", "bias"), tensors, strict=False)]
    filters = convolution.padding[1]
    pads, strides = [past, filters, 0, filters], list(convolution.stride)
    return graph.node("Conv", x, *names, group=convolution.groups, strides=strides, pads=pads)


def _causal_convolution(graph: Graph, x: str, block: CausalConvolution, name: str, past: int) -> str:
    """(B, C, T + frames - 1 - `past`, F) to (B, C', T, F/2)."""
    stages = list(block.stages)
    for i, (convolution, norm) in enumerate(zip(stages[:-1:2], stages[1:-1:2], strict=True)):
        # The second one of a separable convolution is 1×1.
        x = _convolve(graph, x, f"{name}.{i}", convolution, norm, past=0 if i else past)
    return graph.node("Relu", x)


def _temporal_block(graph: Graph, x: str, heard: str, block: TemporalBlock, name: str, past: int) -> str:
    """x (B, C, T, 1) and what the block hears of it, (B, C, T + frames - 1 - `past`, 1), to (B, C, T, 1)."""
    depthwise, pointwise, norm = block.stages
    heard = _convolve(graph, heard, f"{name}.0", depthwise, None, past)
    return graph.node("Relu", graph.node("Add", x, _convolve(graph, heard, f"{name}.1", pointwise, norm)))


def _projection(graph: Graph, x: str, classifier: CRNNClassifier) -> str:
    """(B, C·F', T, 1) to (B, C'', T, 1)."""
    return graph.node("Relu", _convolve(graph, x, "projection", *classifier.projection[:2]))


def _crnn_clip(graph: Graph, frames: str, classifier: CRNNClassifier) -> str:
    """(T, B, F) to (T, B, H)."""
    axis = graph.constant("channel_axis", np.array([1], dtype=np.int64))
    x = graph.node("Unsqueeze", graph.node("Transpose", frames, perm=[1, 0, 2]), axis)  # (B, 1, T, F)
    for i, convolution in enumerate(classifier.convolutions, start=1):
        x = _causal_convolution(graph, x, convolution, f"conv{i}", past=convolution.frames - 1)
    if classifier.blocks:
        shape = np.array([0, classifier.projection[0].in_channels, -1, 1], dtype=np.int64)
        x = graph.node("Reshape", graph.node("Transpose", x, perm=[0, 1, 3, 2]), graph.constant("one_filter", shape))
        x = _projection(graph, x, classifier)
    for i, block in enumerate(classifier.blocks, start=1):
        x = _temporal_block(graph, x, x, block, f"block{i}", past=block.frames - 1)
    shape = graph.constant("frames_shape", np.array([0, 0, -1], dtype=np.int64))
    x = graph.node("Reshape", graph.node("Transpose", x, perm=[2, 0, 1, 3]), shape)  # (T, B, C·F')
    return _recurrent_clip(graph, x, classifier)


def _crnn_frame(graph: Graph, frame: str, classifier: CRNNClassifier, state: Sequence[str]) -> tuple[str, list[str]]:
    """(B, F) to (B, H), and the state after the frame."""
    flat = graph.constant("flat_shape", np.array([0, -1], dtype=np.int64))
    time, one, end = (graph.constant(k, np.array([v], np.int64)) for k, v in (("time", 2), ("one_", 1), ("end", 2**31)))

    def reshape(tensor: str, name: str, channels: int, frames: int, filters: int) -> str:
        shape = np.array([-1, channels, frames, filters], dtype=np.int64)
        return graph.node("Reshape", tensor, graph.constant(name, shape))

    def with_past(x: str, before: str, block: CausalBlock, name: str) -> tuple[str, str]:
        """`CausalBlock.with_past` of one frame."""
        if block.frames == 1:
            return x, before
        past = reshape(before, f"{name}.past", block.inputs, block.frames - 1, block.input_filters)
        x = graph.node("Concat", past, x, axis=2)
        return x, graph.node("Reshape", graph.node("Slice", x, one, end, time), flat)

    before, after, x = list(state), [], frame
    for i, convolution in enumerate(classifier.convolutions, start=1):
        name = f"conv{i}"
        x = reshape(x, f"{name}.frame", convolution.inputs, 1, convolution.input_filters)
        heard, end_of_it = with_past(x, before.pop(0), convolution, name)
        after.append(end_of_it)
        x = _causal_convolution(graph, heard, convolution, name, past=0)
    if classifier.blocks:
        x = reshape(graph.node("Reshape", x, flat), "one_filter", classifier.projection[0].in_channels, 1, 1)
        x = _projection(graph, x, classifier)
    for i, block in enumerate(classifier.blocks, start=1):
        heard, end_of_it = with_past(x, before.pop(0), block, f"block{i}")
        after.append(end_of_it)
        x = _temporal_block(graph, x, heard, block, f"block{i}", past=0)
    hidden, recurrent = _recurrent_frame(graph, graph.node("Reshape", x, flat), classifier, before)
    return hidden, [*after, *recurrent]


# --- FastGRNN: its equations, and a Scan over time --------------------------------------------------------------------


def _fastgrnn_weights(graph: Graph, layer, number: int) -> dict[str, list[str] | str]:
    """The constants of a layer: matrices transposed, the scalars through their sigmoid."""
    prefix = f"layer{number}"
    names: dict[str, list[str] | str] = {
        kind: [
            graph.constant(f"{prefix}.{letter}{i + 1 if len(matrices) > 1 else ''}", array(weight).T)
            for i, weight in enumerate(matrices)
        ]
        for kind, letter, matrices in (("input", "W", layer.input_weights), ("hidden", "U", layer.hidden_weights))
    }
    for name in ("gate_bias", "update_bias"):
        names[name] = graph.constant(f"{prefix}.{name}", array(getattr(layer, name)))
    for name in ("zeta", "nu"):
        names[name] = graph.constant(f"{prefix}.{name}", array(getattr(layer, name).sigmoid()))
    names["one"] = graph.constant("one", np.array(1, np.float32))
    names["minus_one"] = graph.constant("minus_one", np.array(-1, np.float32))
    return names


def _product(graph: Graph, x: str, matrices: Sequence[str]) -> str:
    """`x` times one matrix after the other."""
    for matrix in matrices:
        x = graph.node("MatMul", x, matrix)
    return x


def _fastgrnn_step(graph: Graph, from_input: str, h: str, layer, names) -> str:
    """W x (B, H) and the state h (B, H) to the state after the frame; the equations of `kws.networks.fastgrnn`."""

    def nonlinearity(name: str, x: str) -> str:
        operator, constants = NONLINEARITIES[name]
        return graph.node(operator, x, *(names[c] for c in constants))

    argument = graph.node("Add", from_input, _product(graph, h, names["hidden"]))
    z = nonlinearity(layer.gate, graph.node("Add", argument, names["gate_bias"]))
    new = nonlinearity(layer.update, graph.node("Add", argument, names["update_bias"]))
    share = graph.node("Mul", names["zeta"], graph.node("Sub", names["one"], z))
    share = graph.node("Add", share, names["nu"])
    return graph.node("Add", graph.node("Mul", share, new), graph.node("Mul", z, h))


def _fastgrnn_frame(
    graph: Graph, frame: str, classifier: FastGRNNClassifier, state: Sequence[str]
) -> tuple[str, list[str]]:
    """(B, F) to (B, H), and the state after the frame."""
    after = []
    for i, (layer, h) in enumerate(zip(classifier.layers, state, strict=True), start=1):
        names = _fastgrnn_weights(graph, layer, i)
        frame = _fastgrnn_step(graph, _product(graph, frame, names["input"]), h, layer, names)
        after.append(frame)
    return frame, after


def _fastgrnn_clip(graph: Graph, frames: str, classifier: FastGRNNClassifier) -> str:
    """(T, B, F) to (T, B, H): W x of all frames at once, then a Scan with the step as its body."""
    index = graph.constant("batch_axis", np.array([1], dtype=np.int64))
    batch = graph.node("Gather", graph.node("Shape", frames), index)
    for i, layer in enumerate(classifier.layers, start=1):
        names = _fastgrnn_weights(graph, layer, i)
        size = graph.constant(f"layer{i}.hidden_size", np.array([layer.hidden_size], dtype=np.int64))
        start = graph.node("ConstantOfShape", graph.node("Concat", batch, size, axis=0))  # (B, H) zeros
        body = Graph(f"layer{i}", prefix=f"layer{i}.")
        shape = ["batch", layer.hidden_size]
        h, from_input = body.input(f"layer{i}.h", shape), body.input(f"layer{i}.from_input", shape)
        after = _fastgrnn_step(body, from_input, h, layer, names)
        body.output(after, f"layer{i}.next_h", shape)
        body.output(after, f"layer{i}.output", shape)
        _, frames = graph.node(
            "Scan", start, _product(graph, frames, names["input"]), outputs=2, num_scan_inputs=1, body=body.proto()
        )
    return frames


LAYERS = {
    CRNNClassifier: (_crnn_clip, _crnn_frame),  # before its base class
    RecurrentClassifier: (_recurrent_clip, _recurrent_frame),
    FastGRNNClassifier: (_fastgrnn_clip, _fastgrnn_frame),
}
