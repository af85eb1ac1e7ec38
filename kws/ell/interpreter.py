"""Runs an ELL model in NumPy, frame by frame as far as anyone can tell.

A model is evaluated node by node over many frames at once: within a frame the nodes only feed forward, and what they
remember stays inside each node. So a whole sequence gives what its frames give one after the other.

Everything is float32, as in ELL. Formulas: `FORMAT.md` of the project's notes on ELL, established by running ELL;
the VAD's order of operations follows its ``emittable_functions/src/VoiceActivityDetector.cpp``.
"""

from collections.abc import Callable, Iterable

import numpy as np

from kws.ell import nodes as n
from kws.ell.model import Model
from kws.support.errors import KwsError

SEMANTICS = ("compiled", "interpreter")
CHUNK = 4096  # frames evaluated at once; bounds the memory for overlapping windows

Array = np.ndarray
F32 = np.float32


def run(
    model: Model, frames: Array, semantics: str = "compiled", outputs: Iterable[str] | None = None
) -> Array | dict[str, Array]:
    """Run `model` from its initial state.

    Args:
        model: what to run.
        frames: (T, input size); for a featurizer each row is one hop of samples.
        semantics: what comes out on the frame on which a recurrent layer is reset. ``compiled``: the state before
            the reset, as on a device; ``interpreter``: the cleared state, as when ELL computes a model itself.
        outputs: ids of nodes whose outputs are wanted in place of the model's.

    Returns:
        (T, output size) float32, or a dict of such arrays by id.
    """
    return Interpreter(model, semantics).run(frames, outputs)


class Interpreter:
    """A model together with its state. ``run`` carries the state on; ``reset`` clears it."""

    def __init__(self, model: Model, semantics: str = "compiled"):
        if semantics not in SEMANTICS:
            raise KwsError(f"semantics={semantics!r} is unknown; choose {' or '.join(SEMANTICS)}.")
        self.model = model
        self.sizes = model.check_computable()
        if len(model.input_ids) != 1:
            raise KwsError(f"The model has {len(model.input_ids)} inputs; only models with one can be run.")
        self.steps = [(node, _step(node, self.sizes, semantics)) for node in model.nodes]

    def reset(self) -> None:
        """Forget everything, except that recurrent layers keep the last trigger value, as ELL's reset() does."""
        for _, step in self.steps:
            if isinstance(step, _Stateful):
                step.reset()

    def run(self, frames: Array, outputs: Iterable[str] | None = None) -> Array | dict[str, Array]:
        """The next frames, as in the function `run`."""
        frames = np.asarray(frames, F32)
        width = self.model.input_size
        if frames.ndim != 2 or frames.shape[1] != width:
            raise KwsError(f"The model takes frames of {width} values, (T, {width}); got {frames.shape}.")
        wanted = self.model.output_elements[:1] if outputs is None else list(outputs)
        wanted = [self.model.node(source).id for source in wanted]
        pieces: dict[str, list[Array]] = {name: [] for name in wanted}
        for start in range(0, max(len(frames), 1), CHUNK):
            values = self._evaluate(frames[start : start + CHUNK])
            for name in wanted:
                pieces[name].append(values[name])
        whole = {name: np.concatenate(piece) for name, piece in pieces.items()}
        return whole[wanted[0]] if outputs is None else whole

    def trace(self, frames: Array) -> dict[str, Array]:
        """The next frames; the output of every node that is no constant by id, in the model's order.

        Where two computations part, the first node whose outputs differ is where they do.
        """
        constants = (n.ConstantNode, n.IntegerConstantNode)
        return self.run(frames, [node.id for node in self.model.nodes if not isinstance(node, constants)])

    def _evaluate(self, frames: Array) -> dict[str, Array]:
        values: dict[str, Array] = {}
        for node, step in self.steps:
            if isinstance(node, n.InputNode):
                value = frames
            else:
                value = step(*(values[source.removesuffix(".output")] for _, _, source in node.ports()))
            # A constant has one row; everything else has one per frame.
            values[node.id] = np.broadcast_to(value, (len(frames), self.sizes[node.id]))
        return values


# --- one function per kind of node: (T, inputs)… to (T, outputs) ----------------------------------------------------


class _Stateful:
    """A step that remembers."""

    def reset(self) -> None:
        raise NotImplementedError


def _step(node: n.Node, sizes: dict[str, int], semantics: str) -> Callable[..., Array]:
    def size(source: str) -> int:
        return sizes[source.removesuffix(".output")]

    cleared = semantics == "interpreter"
    match node:
        case n.ConstantNode():
            return lambda: node.values[None]
        case n.IntegerConstantNode():
            return lambda: np.array(node.values, np.int64)[None]
        case n.InputNode() | n.OutputNode() | n.ReinterpretLayoutNode():
            return lambda *x: x[0]
        case n.TypeCastNode():
            return lambda x: x.astype(F32)
        case n.BufferNode():
            return _Buffer(node.window_size)
        case n.IIRFilterNode():
            return _Filter(node.filter.b)
        case n.HammingWindowNode():
            count = sizes[node.id]
            window = (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(count) / max(count - 1, 1))).astype(F32)
            return lambda x: x * window
        case n.FFTNode():
            return lambda x: np.abs(np.fft.rfft(x.astype(np.float64), node.fft_size)).astype(F32)
        case n.MelFilterBankNode():
            bank = _triangles(mel_bins(node.filters), node.filters.window_size)
            return lambda x: _product(x, bank)
        case n.LinearFilterBankNode():
            bank = _triangles(linear_bins(node.filters), node.filters.window_size)
            return lambda x: _product(x, bank)
        case n.UnaryOperationNode():
            return {"log": _log, "square": np.square}[node.operation]
        case n.BinaryOperationNode():
            return {"add": np.add, "subtract": np.subtract, "divide": _divide}[node.operation]
        case n.DCTNode():
            inputs = size(node.input)
            bins = np.arange(inputs)[:, None] + 0.5
            step = float(F32(np.pi) / F32(inputs))  # ELL rounds the step to float32, which shows in the fifth digit
            matrix = np.cos(step * bins * np.arange(node.num_filters)).astype(F32)
            return lambda x: _product(x, matrix)
        case n.SliceNode():
            return lambda x: x[:, node.start : node.start + node.count]
        case n.FullyConnectedNode():
            weights = node.layer.weights.reshape(node.layer.rows, node.layer.columns).T
            return lambda x: x @ weights
        case n.BiasNode():
            return lambda x: x + node.layer.bias
        case n.SoftmaxNode():
            return _softmax
        case n.VadNode():
            return _Vad(node.vad)
        case n.GRUNode():
            return _Gru(node, cleared)
        case n.LSTMNode():
            return _Lstm(node, cleared)
        case n.FastGRNNNode():
            return _FastGrnn(node, cleared=False)  # unlike the other two, the same however ELL runs it
    raise KwsError(f"{node.label} cannot be run.")


def _product(x: Array, matrix: Array) -> Array:
    """x @ matrix summed in float64: cepstra are sums of large numbers, and ELL's order of summation is unknown."""
    return (x.astype(np.float64) @ matrix).astype(F32)


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


def _divide(x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return x / y


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


ONE = F32(1)


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), in place."""
    np.negative(x, x)
    np.exp(x, x)
    x += ONE
    return np.divide(ONE, x, x)


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(F32(0.2) * x + F32(0.5), 0, 1)


ACTIVATIONS = {"sigmoid": _sigmoid, "hard_sigmoid": _hard_sigmoid, "tanh": np.tanh}


class _Buffer(_Stateful):
    """The last `window` samples at each call."""

    def __init__(self, window: int):
        self.window = window
        self.reset()

    def reset(self):
        self.held = np.zeros(self.window, F32)

    def __call__(self, x: Array) -> Array:
        frames, hop = x.shape
        stream = np.concatenate([self.held, x.reshape(-1)])
        self.held = stream[len(stream) - self.window :].copy()
        windows = np.lib.stride_tricks.sliding_window_view(stream, self.window)
        return windows[hop::hop][:frames]  # (T, window)


class _Filter(_Stateful):
    """y[t] = Σ b[k] x[t-k] along the stream of samples."""

    def __init__(self, b: Array):
        self.b = b
        self.reset()

    def reset(self):
        self.held = np.zeros(len(self.b) - 1, F32)

    def __call__(self, x: Array) -> Array:
        stream = np.concatenate([self.held, x.reshape(-1)])
        past, count = len(self.b) - 1, x.size
        y = np.zeros(count, F32)
        for k, b in enumerate(self.b):
            y += b * stream[past - k : past - k + count]
        self.held = stream[len(stream) - past :].copy()
        return y.reshape(x.shape)


def mel_bins(filters: n.MelFilters) -> Array:
    """FFT bins of the corners of the triangles, equally spaced in mel from 0 to the Nyquist frequency."""
    top = 1127 * np.log(1 + filters.rate / 2 / 700)
    hertz = 700 * (np.exp(np.arange(filters.num_filters + 2) * top / (filters.num_filters + 1) / 1127) - 1)
    return (hertz * (filters.fft_size + 1) / filters.rate).astype(int)


def linear_bins(filters: n.LinearFilters) -> Array:
    """FFT bins of the corners of the triangles, equally spaced in Hz.

    ELL scales by the number of bins where the FFT size would be meant, so the filters cover the lower half.
    """
    hertz = np.arange(filters.num_filters + 2) * (filters.rate / 2) / (filters.num_filters + 1)
    return (hertz * (filters.window_size + 1) / filters.rate).astype(int)


def _triangles(corners: Array, points: int) -> Array:
    """(points, filters): rising from the first corner, 1 at the second, falling to the third."""
    bank = np.zeros((points, len(corners) - 2))
    for i, (start, centre, end) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for k in range(start, centre):
            bank[k, i] = (k - start) / (centre - start)
        for k in range(centre, end):
            bank[k, i] = (end - k) / (end - centre)
    return bank


# C-message weighting, ELL's table: Hz and dB.
_CURVE_HERTZ = [60.0] + [100.0 * k for k in range(1, 41)]
_CURVE_DECIBEL = [
    *(-54.65, -41.71, -25.17, -16.64, -11.29, -7.55, -4.75, -2.66, -1.19, -0.32),  # to 900 Hz
    *(0.03, 0.03, -0.17, -0.44, -0.71, -0.94, -1.12, -1.24, -1.32, -1.36),  # to 1900 Hz
    *(-1.38, -1.39, -1.41, -1.44, -1.50, -1.60, -1.76, -1.97, -2.26, -2.62),  # to 2900 Hz
    *(-3.09, -3.66, -4.35, -5.18, -6.18, -7.36, -8.75, -10.36, -12.12, -13.72, -14.43),  # to 4000 Hz
]


def vad_weights(count: int) -> Array:
    """Weight of each of `count` features, (count,) float32. Feature i stands for i · 4000 / count Hz at any rate."""
    hertz = np.arange(count) * 4000.0 / count
    power = 10 ** (np.interp(hertz, _CURVE_HERTZ, _CURVE_DECIBEL) / 10)
    return np.where(hertz > _CURVE_HERTZ[0], power, 0.0).astype(F32)


class _Vad(_Stateful):
    """Compares the weighted level of a frame with a noise floor that follows it."""

    def __init__(self, vad: n.VoiceActivityDetector):
        self.vad = vad
        self.weights = vad_weights(vad.window_size)
        self.reset()

    def reset(self):
        self.frame, self.last_time, self.floor, self.signal = 0, F32(0), F32(0.1), 0

    def __call__(self, features: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # absurd settings give absurd signals
            return self.signals(features)

    def signals(self, features: Array) -> Array:
        """(T, features) to (T, 1) of 0 and 1."""
        # Summed bin after bin as ELL does, so that the last digit agrees too.
        level = np.zeros(len(features), F32)
        for i, weight in enumerate(self.weights):
            level += features[:, i] * weight
        level /= F32(self.vad.window_size)

        vad = self.vad
        up, down, gain = F32(vad.tau_up), F32(vad.tau_down), F32(vad.gain_att)
        large, minimum = F32(vad.large_input), F32(vad.level_threshold)
        begin, end = F32(vad.threshold_up), F32(vad.threshold_down)
        # ELL keeps the time in float32 too: after minutes, the step between frames is no longer the frame duration.
        times = np.arange(self.frame, self.frame + len(features)).astype(F32) * F32(vad.frame_duration)
        steps = np.diff(times, prepend=self.last_time)
        floor, signal = self.floor, self.signal
        signals = np.zeros((len(features), 1), np.int64)
        for t, (now, step) in enumerate(zip(level, steps, strict=True)):
            difference = now - floor
            if now < floor:
                floor = max(floor + step / down * difference, now)
            elif now > large * floor:
                floor = min(floor + gain * step / up * difference, now)
            else:
                floor = min(floor + step / up * difference, now)
            if now > begin * floor and now > minimum:
                signal = 1
            if now < end * floor:
                signal = 0
            signals[t] = signal
        if len(features):
            self.last_time = times[-1]
        self.frame, self.floor, self.signal = self.frame + len(features), floor, signal
        return signals


class _Recurrent(_Stateful):
    """What the layers that remember share: the loop over frames, the reset.

    Args:
        node: the layer.
        cleared: whether the frame on which the state is cleared gives the cleared state, or still the one before.
    """

    def __init__(self, node: n.RecurrentNode, cleared: bool):
        self.node = node
        self.hidden = node.hidden_units
        self.output_cleared = cleared
        self.last_trigger = 0  # survives reset(): in ELL, too, nothing forgets it
        self.reset()

    def reset(self):
        self.state = np.zeros(self.hidden, F32)

    def __call__(self, x, trigger, *weights) -> Array:
        if not len(x):
            return np.zeros((0, self.hidden), F32)
        # Weights come from constant nodes: one row holds them all.
        projected = self.project(x, *(weight[0] for weight in weights))
        outputs = np.empty((len(x), self.hidden), F32)
        with np.errstate(over="ignore"):
            for t, (frame, now) in enumerate(zip(projected, trigger[:, 0].tolist(), strict=True)):
                self.update(frame)
                outputs[t] = self.state
                if self.last_trigger != 0 and now == 0:
                    self.reset()
                    if self.output_cleared:
                        outputs[t] = 0
                self.last_trigger = now
        return outputs

    def project(self, x: Array, *weights: Array) -> Array:
        """What the input adds in every frame, (T, rows); keeps the weights that the frames need one by one."""
        raise NotImplementedError

    def update(self, x: Array) -> None:
        """Advance the state by one frame, given what the input adds, (rows,)."""
        raise NotImplementedError


class _Gated(_Recurrent):
    """What GRU and LSTM share: stacked gates with separate biases for input and state."""

    def __init__(self, node: n.GatedNode, cleared: bool):
        if (node.activation, node.recurrent_activation) != ("tanh", "sigmoid"):
            raise KwsError(f"{node.label} has other activations than tanh and sigmoid; it cannot be run.")
        super().__init__(node, cleared)

    def project(self, x, input_weights, hidden_weights, input_bias, hidden_bias):
        rows = len(input_bias)  # gates · hidden
        self.recurrent, self.bias = _matrix(hidden_weights, rows), hidden_bias
        return x @ input_weights.reshape(rows, -1).T + input_bias

    def update(self, x):
        self.advance(x, self.state @ self.recurrent + self.bias)

    def advance(self, x: Array, h: Array) -> None:
        """Advance the state by one frame, given both projections, (gates · hidden,) each."""
        raise NotImplementedError


class _Gru(_Gated):
    def advance(self, x, h):
        H = self.hidden
        gates = _sigmoid(x[: 2 * H] + h[: 2 * H])
        z, r = gates[:H], gates[H:]
        candidate = np.tanh(x[2 * H :] + r * h[2 * H :])
        self.state = (ONE - z) * candidate + z * self.state


class _Lstm(_Gated):
    def reset(self):
        super().reset()
        self.cell = np.zeros(self.hidden, F32)

    def advance(self, x, h):
        H = self.hidden
        gates = x + h
        candidate = np.tanh(gates[2 * H : 3 * H])
        gates = _sigmoid(gates)
        i, f, o = gates[:H], gates[H : 2 * H], gates[3 * H :]
        self.cell = f * self.cell + i * candidate
        self.state = o * np.tanh(self.cell)


class _FastGrnn(_Recurrent):
    """h' = (ζ + ν) c - ζ z c + z h, in ELL's order: the equation of the paper, multiplied out."""

    def project(self, x, w1, w2, u1, u2, gate_bias, update_bias, zeta, nu):
        self.recurrent = _factors(u1, u2, self.node.u_rank, self.hidden)
        self.gate_bias, self.update_bias = gate_bias, update_bias
        self.zeta, self.sum = zeta[0], zeta[0] + nu[0]
        for matrix in _factors(w1, w2, self.node.w_rank, self.hidden):
            x = x @ matrix
        return x  # (T, H)

    def update(self, x):
        h = self.state
        for matrix in self.recurrent:
            h = h @ matrix
        both = x + h
        z = ACTIVATIONS[self.node.gate](both + self.gate_bias)
        candidate = ACTIVATIONS[self.node.update](both + self.update_bias)
        self.state = self.sum * candidate - self.zeta * z * candidate + z * self.state


def _matrix(weights: Array, rows: int) -> Array:
    """(rows · columns,) to (columns, rows), to be multiplied from the right."""
    return np.ascontiguousarray(weights.reshape(rows, -1).T)


def _factors(first: Array, second: Array, rank: int, hidden: int) -> list[Array]:
    """The matrices of a FastGRNN in the order in which they are applied. Without a rank the second is a dummy."""
    return [_matrix(first, rank), _matrix(second, hidden)] if rank else [_matrix(first, hidden)]
