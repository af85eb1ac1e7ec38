"""The NumPy twin of integer networks against a slow one, number by number in Python's integers, that watches int32."""

import numpy as np
import pytest

from kws.program import FEATURES, Program, floating, integer, steps, stored
from kws.program import fixed_point as fp
from kws.program import quantized as q
from kws.program.quantize import peaks, quantize
from kws.support.errors import KwsError

F = 6
"""Features of the networks here."""


# --- the slow twin: every operation as the docstrings of kws.program.quantized have it --------------------------------


def i32(x):
    assert -(2**31) <= x < 2**31, x
    return x


def clamp(x, low=-32767, high=32767):
    return min(max(x, low), high)


def requantize(total, multiplier, bits):
    high = i32((i32(total) * int(multiplier)) >> 16)
    return i32(high + ((1 << int(bits)) >> 1)) >> int(bits)


def tanh(x):
    u = min(i32(abs(x)), 32767)
    entry = int(fp.TANH[u >> 7])
    y = (entry >> 16) + (i32((entry & 0xFFFF) * (u & 127) + 2048) >> 12)
    return -y if x < 0 else y


def sigmoid(half):
    return (tanh(half) + 32768) >> 1


def hard_sigmoid(x):
    return clamp(16384 + (i32(26214 * clamp(x, -65535, 65535) + 8192) >> 14), 0)


def hard_tanh(x):
    return clamp(8 * clamp(x, -4096, 4096))


def dot(row, x):
    total = 0
    for weight, value in zip(row, x, strict=True):
        total = i32(total + int(weight) * value)
    return total


def sums(weight, bias, x, multiplier, bits):
    return [requantize(i32(b + dot(row, x)), m, s) for row, b, m, s in zip(weight, bias, multiplier, bits, strict=True)]


def slow_quantize(step, inputs, states):
    y = (np.asarray(inputs[0], np.float32) - step.mean) * step.factor
    return [int(np.rint(min(v, np.float32(32767)))) if v > -32767 else -32767 for v in y], []


def picture(step, inputs, states):
    """x of a channel so many frames ago at a filter; zeros beside the picture."""

    def at(channel, back, place):
        if not 0 <= place < step.filters:
            return 0
        if back == 0:
            return inputs[0][channel * step.filters + place]
        return states[0][(channel * step.past + step.past - back) * step.filters + place]

    return at


def kept(step, at):
    """The state after a frame, of what its `picture` was."""
    if not step.past:
        return []
    backs, places = range(step.past - 1, -1, -1), range(step.filters)
    return [[at(c, back, f) for c in range(step.channels) for back in backs for f in places]]


def slow_convolution(step, inputs, states):
    outputs, filters = step.outputs
    per_group, kernel, width = step.weight.shape[1:]
    at, result = picture(step, inputs, states), []
    for o in range(outputs):
        first = o // (outputs // step.groups) * per_group
        for f in range(filters):
            total = int(step.bias[o])
            for c in range(per_group):
                for k in range(kernel):
                    for w in range(width):
                        x = at(first + c, (kernel - 1 - k) * step.dilation, f * step.stride - step.padding + w)
                        total = i32(total + int(step.weight[o, c, k, w]) * x)
            result.append(clamp(requantize(total, step.multiplier[o], step.shift[o]), 0 if step.relu else -32767))
    return result, kept(step, at)


def slow_pool(step, inputs, states):
    channels, filters = step.outputs
    at = picture(step, inputs, states)
    backs, width = (0, step.dilation)[: step.frames], step.width
    return [
        max(at(c, back, f * width + w) for back in backs for w in range(width))
        for c in range(channels)
        for f in range(filters)
    ], kept(step, at)


def slow_offset(step, inputs, states):
    half = (1 << step.right) >> 1
    offsets = step.offset.tolist()
    return [clamp(i32(i32(x + o) + half) >> step.right) for x, o in zip(inputs[0], offsets, strict=True)], []


def slow_leaky_relu(step, inputs, states):
    return [max(x, i32(i32(step.slope * x) + 16384) >> 15, step.floor) for x in inputs[0]], []


def slow_add(step, inputs, states):
    low = 0 if step.relu else -32767
    half = (1 << step.right) >> 1
    return [
        clamp(i32(i32((a << step.left) + (b << step.other_left)) + half) >> step.right, low)
        for a, b in zip(*inputs, strict=True)
    ], []


def slow_gru(step, inputs, states):
    (h,), size = states, step.hidden_size
    a = sums(step.weight_ih, step.bias_ih.tolist(), inputs[0], step.multiplier_ih, step.shift_ih)
    bias = [0] * (2 * size) + step.bias_n.tolist()
    b = sums(step.weight_hh, bias, h, step.multiplier_hh, step.shift_hh)
    after = []
    for j in range(size):
        r, z = sigmoid(i32(a[j] + b[j])), sigmoid(i32(a[size + j] + b[size + j]))
        inner = i32(r * clamp(b[2 * size + j], -65535, 65535) + 16384) >> 15
        n = tanh(i32(a[2 * size + j] + inner))
        after.append(n + (i32(z * (h[j] - n) + 16384) >> 15))
    return after, [after]


def slow_lstm(step, inputs, states):
    h, c = states
    size, fraction = step.hidden_size, step.cell_fraction
    a = sums(step.weight_ih, step.bias_ih.tolist(), inputs[0], step.multiplier_ih, step.shift_ih)
    b = sums(step.weight_hh, [0] * (4 * size), h, step.multiplier_hh, step.shift_hh)
    x = [i32(p + q) for p, q in zip(a, b, strict=True)]
    hidden, cell = [], []
    for j in range(size):
        i, f, g, o = sigmoid(x[j]), sigmoid(x[size + j]), tanh(x[2 * size + j]), sigmoid(x[3 * size + j])
        new = clamp(i32(f * c[j] + (i32(i * g) >> (15 - fraction)) + 16384) >> 15)
        cell.append(new)
        hidden.append(i32(o * tanh(i32(new << (12 - fraction))) + 16384) >> 15)
    return hidden, [hidden, cell]


def slow_side(x, weights, multipliers, bits):
    for i, weight in enumerate(weights):
        y = sums(weight, [0] * len(weight), x, multipliers[i], bits[i])
        last = i == len(weights) - 1
        x = [clamp(v, -(2**28), 2**28) if last else clamp(v) for v in y]
    return x


def slow_fastgrnn(step, inputs, states):
    (h,) = states
    u = slow_side(inputs[0], step.input_weights, step.input_multipliers, step.input_shifts)
    v = slow_side(h, step.hidden_weights, step.hidden_multipliers, step.hidden_shifts)
    after = []
    for j in range(step.hidden_size):
        s = i32(u[j] + v[j])
        of_gate, of_update = i32(s + int(step.gate_bias[j])), i32(s + int(step.update_bias[j]))
        z = hard_sigmoid(of_gate) if step.gate == "hard_sigmoid" else sigmoid((of_gate + 1) >> 1)
        new = hard_tanh(of_update) if step.update == "hard_tanh" else tanh(of_update)
        gain = min((i32(step.zeta * (32768 - z) + 16384) >> 15) + step.nu, 65535)
        total = (i32(gain * new) >> (16 - step.fraction)) + (i32(z * h[j]) >> 1)
        after.append(clamp(i32(total + 8192) >> 14))
    return after, [after]


def slow_scores(step, inputs, states):
    return [i32(int(b) + dot(row, inputs[0])) for row, b in zip(step.weight, step.bias, strict=True)], []


SLOW = {
    q.Quantize: slow_quantize,
    q.IntegerConvolution: slow_convolution,
    q.IntegerOffset: slow_offset,
    q.IntegerReLU: lambda step, inputs, states: ([max(x, 0) for x in inputs[0]], []),
    q.IntegerLeakyReLU: slow_leaky_relu,
    q.IntegerMaxPool: slow_pool,
    q.IntegerAdd: slow_add,
    q.IntegerGRU: slow_gru,
    q.IntegerLSTM: slow_lstm,
    q.IntegerFastGRNN: slow_fastgrnn,
    q.Scores: slow_scores,
}


def slow_trace(program, features):
    """Values by name, one list a frame, of one stream (T, F); those of scores before they are scaled."""
    states = {step.name: [[0] * size for size in step.state_sizes] for step in program.network}
    values = []
    for frame in features:
        now = {FEATURES: frame}
        for step in program.network:
            if isinstance(step, steps.LogSoftmax):
                continue
            now[step.name], states[step.name] = SLOW[type(step)](
                step, [now[name] for name in step.sources], states[step.name]
            )
        values.append(now)
    return values, [state for step in program.network for state in states[step.name]]


# --- networks ---------------------------------------------------------------------------------------------------------


def network(*made, classes=3, gain=1.0, seed=0):
    """A program of normalisation, the given steps (kind, arguments that depend on a random array maker), and scores."""
    random = np.random.default_rng(seed)

    def weights(*shape):
        fan = max(1, int(np.prod(shape[1:])))
        return (gain * random.standard_normal(shape) / fan**0.5).astype(np.float32)

    mean, deviation = (random.standard_normal((2, F)) * 0.5).astype(np.float32)
    deviation = np.exp(deviation)
    listed = [steps.Normalize(name="normalization", source=FEATURES, mean=mean, deviation=deviation)]
    size = F
    for i, make in enumerate(made):
        listed.append(make(f"step{i}", listed[-1].name, size, weights))
        size = listed[-1].size(*([size] * len(listed[-1].sources)))
    listed.append(
        steps.Linear(name="linear", source=listed[-1].name, weight=weights(classes, size), bias=weights(classes))
    )
    listed.append(steps.LogSoftmax(name="log_probabilities", source="linear"))
    return Program(tuple(listed), F, FEATURES)


def recurrent(kind, units):
    def make(name, source, size, weights):
        rows = kind.GATES * units
        constants = {"weight_ih": weights(rows, size), "weight_hh": weights(rows, units)}
        return kind(name=name, source=source, **constants, bias_ih=weights(rows), bias_hh=weights(rows))

    return make


def fastgrnn(units, rank=None, gate="sigmoid", update="tanh"):
    def make(name, source, size, weights):
        def matrices(inputs):
            if rank is None:
                return (weights(units, inputs),)
            return weights(rank, inputs), weights(units, rank)

        return steps.FastGRNN(
            name=name,
            source=source,
            input_weights=matrices(size),
            hidden_weights=matrices(units),
            gate_bias=weights(units) + 1,
            update_bias=weights(units),
            zeta=np.float32(1.0),
            nu=np.float32(-2.0),
            gate=gate,
            update=update,
        )

    return make


def convolution(outputs, kernel, width, channels=1, bias=True, **places):
    def make(name, source, size, weights):
        weight = weights(outputs, channels // places.get("groups", 1), kernel, width)
        return steps.Convolution(
            name=name,
            source=source,
            weight=weight,
            bias=weights(outputs) if bias else None,
            filters=size // channels,
            **places,
        )

    return make


def relu(name, source, size, weights):
    return steps.ReLU(name=name, source=source)


def normalize(name, source, size, weights):
    return steps.Normalize(name=name, source=source, mean=weights(size), deviation=np.exp(weights(size)))


def move(name, source, size, weights):
    return steps.Normalize(name=name, source=source, mean=3 * weights(size), deviation=np.ones(size, np.float32))


def leaky(slope=0.2, floor=-0.4):
    return lambda name, source, size, weights: steps.LeakyReLU(name=name, source=source, slope=slope, floor=floor)


def pool(channels=1, **places):
    def make(name, source, size, weights):
        return steps.MaxPool(name=name, source=source, channels=channels, filters=size // channels, **places)

    return make


def linear(outputs):
    def make(name, source, size, weights):
        return steps.Linear(name=name, source=source, weight=weights(outputs, size), bias=weights(outputs))

    return make


def add(other):
    return lambda name, source, size, weights: steps.Add(name=name, source=source, other=other)


NETWORKS = {
    "gru": (recurrent(steps.GRU, 5), recurrent(steps.GRU, 4)),
    "lstm": (recurrent(steps.LSTM, 5), recurrent(steps.LSTM, 3)),
    "fastgrnn": (fastgrnn(5), fastgrnn(4, gate="hard_sigmoid", update="hard_tanh")),
    "fastgrnn low rank": (fastgrnn(5, rank=2, update="hard_tanh"), fastgrnn(5, rank=3, gate="hard_sigmoid")),
    "convolutions": (
        convolution(4, 3, 3, stride=2, padding=1),
        relu,
        convolution(4, 2, 3, channels=4, groups=4, padding=1, dilation=2, bias=False),
        convolution(6, 1, 1, channels=4),
        relu,
        recurrent(steps.GRU, 3),
    ),
    "groups": (convolution(4, 2, 1, channels=2, groups=2, dilation=3), relu),
    "residual": (
        linear(5),
        relu,
        convolution(5, 3, 1, channels=5, groups=5),
        convolution(5, 1, 1, channels=5),
        add("step1"),
        relu,
    ),
    "pools": (
        convolution(5, 3, 3, padding=1),
        leaky(),
        move,
        pool(5, width=2, frames=2),
        move,
        convolution(4, 2, 3, channels=5, padding=1, dilation=2),
        leaky(slope=0.6, floor=-1.0),
        pool(4, width=2, frames=2, dilation=4),
        recurrent(steps.GRU, 3),
    ),
    "pools of features": (
        leaky(slope=1.0, floor=-0.5),
        pool(width=2, frames=2, dilation=2),
        pool(),
        recurrent(steps.GRU, 3),
    ),
    "plain sums": (linear(6), add("normalization"), recurrent(steps.LSTM, 3)),
    "a shared relu": (linear(6), relu, add("step0"), relu),
}


def hear(batch=4, frames=9, seed=1, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal((batch, frames, F))).astype(np.float32)


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    """A float program and its integer program."""
    program = network(*NETWORKS[request.param])
    return program, quantize(program, hear(20))


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_twin_is_the_slow_twin_to_the_last_bit(pair, scale):
    """At ordinary loudness, and at one at which everything saturates."""
    program = pair[1]
    features = hear(2, 6, seed=5, scale=scale)
    values, after = integer.trace(program, features)
    for stream in range(2):
        expected, states = slow_trace(program, features[stream])
        for step in program.network[:-1]:
            name = f"{step.name}.total" if isinstance(step, q.Scores) else step.name
            assert values[name][stream].tolist() == [now[step.name] for now in expected], step.name
        assert [state[stream].tolist() for state in after] == states
    scores = program.network[-2]
    total = values[f"{scores.name}.total"]
    assert np.array_equal(values[scores.name], total.astype(np.float32) * scores.scale)


@pytest.mark.parametrize("gain", [0.01, 2.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiny_and_huge_weights_overflow_nothing(name, gain):
    program = quantize(network(*NETWORKS[name], gain=gain), hear(8))
    features = hear(1, 5, seed=5, scale=3.0)
    expected, _ = slow_trace(program, features[0])
    scores = program.network[-2].name
    assert integer.run(program, features)[0].totals[0].tolist() == [now[scores] for now in expected]


def test_values_stay_close_to_those_of_float(pair):
    program, quantized = pair
    features = hear(20, 30, seed=7)
    exact, _ = floating.run(program, features)
    values, _ = integer.trace(quantized, features)
    for step in quantized.network:
        if isinstance(step, q.IntegerStep):
            error = values[step.name] / 2.0**step.fraction - exact[step.name]
            assert values[step.name].dtype == np.int16
            assert np.abs(error).max() < 0.04 * max(1, np.abs(exact[step.name]).max()), step.name
    assert np.abs(values["log_probabilities"] - exact["log_probabilities"]).max() < 0.1


def test_one_stream_or_many_in_pieces_or_whole(pair):
    program = pair[1]
    features = hear(3, 11, seed=2)
    whole, after = integer.run(program, features)
    for stream in range(3):
        states, pieces = None, []
        for start, end in [(0, 1), (1, 2), (2, 7), (7, 7), (7, 11)]:
            outputs, states = integer.run(program, features[stream : stream + 1, start:end], states)
            pieces.append(outputs)
        assert np.array_equal(np.concatenate([x.totals for x in pieces], 1)[0], whole.totals[stream])
        log_probabilities = np.concatenate([x.log_probabilities for x in pieces], 1)[0]
        assert np.array_equal(log_probabilities, whole.log_probabilities[stream])
        assert all(np.array_equal(a[0], b[stream]) for a, b in zip(states, after, strict=True))
    assert all(state.dtype == np.int16 for state in after)


def test_states_are_those_of_the_float_program(pair):
    program, quantized = pair
    kept = [(state.name, state.size) for state in program.states]
    assert [(state.name, state.size) for state in quantized.states] == kept
    assert quantized.multiply_adds() == program.multiply_adds()


def test_hostile_features_end_in_the_limits(pair):
    program = pair[1]
    features = hear(1, 4)
    features[0, :, 0] = [np.nan, np.inf, -np.inf, 1e38]
    values, after = integer.trace(program, features)
    assert values["normalization"][0, :, 0].tolist() == [-32767, 32767, -32767, 32767]
    assert np.isfinite(values["log_probabilities"]).all()
    assert all(np.abs(state.astype(int)).max(initial=0) <= 32767 for state in after)


def test_rounding_of_features_is_half_to_even():
    zeros, ones = np.zeros(F, np.float32), np.ones(F, np.float32)
    step = q.Quantize(name="x", source=FEATURES, mean=zeros, factor=ones, fraction=0)
    features = np.array([[[0.5, 1.5, -0.5, -1.5, 2.5, 32766.5]]], np.float32)
    value, _ = integer.FUNCTIONS[q.Quantize](step, (features,), (), {})
    assert value.tolist() == [[[0, 2, 0, -2, 2, 32766]]]


def test_products_in_float64_lose_nothing():
    x = np.full((1, 500), 32767, np.int16)
    weight = np.concatenate([np.full((1, 500), 127, np.int8), np.full((1, 500), -127, np.int8)])
    weight[:, -1] = 1
    expected = weight.astype(np.int64) @ x[0].astype(np.int64)
    assert integer.product(x, integer.columns_of(weight))[0].tolist() == expected.tolist()


def test_a_relu_goes_into_the_step_before_it_where_nobody_else_reads_that():
    fused = quantize(network(*NETWORKS["residual"]), hear())
    kinds = [(type(step).__name__, step.name, getattr(step, "relu", None)) for step in fused.network]
    assert kinds == [
        ("Quantize", "normalization", None),
        ("IntegerConvolution", "step1", True),  # step0 and its ReLU
        ("IntegerConvolution", "step2", False),
        ("IntegerConvolution", "step3", False),
        ("IntegerAdd", "step5", True),
        ("Scores", "linear", None),
        ("LogSoftmax", "log_probabilities", None),
    ]
    shared = quantize(network(*NETWORKS["a shared relu"]), hear())
    assert [type(step).__name__ for step in shared.network[1:4]] == ["IntegerConvolution", "IntegerReLU", "IntegerAdd"]


def test_what_is_normalised_inside_a_network_is_a_convolution():
    program = network(linear(6), leaky(), normalize, recurrent(steps.GRU, 3))
    made = quantize(program, hear(20))
    assert [type(step).__name__ for step in made.network[1:4]] == [
        *("IntegerConvolution", "IntegerLeakyReLU", "IntegerConvolution")
    ]
    features = hear(4, 20, seed=7)
    exact, values = floating.run(program, features)[0], integer.trace(made, features)[0]
    for step in made.network[1:4]:
        np.testing.assert_allclose(values[step.name] / 2.0**step.fraction, exact[step.name], atol=0.05)


def test_leaks_and_pools_have_the_fraction_of_their_source(tmp_path):
    program = quantize(network(*NETWORKS["pools"]), hear())
    convolution, leak, moved, pooled = program.network[1:5]
    assert convolution.fraction == leak.fraction == moved.fraction + moved.right
    assert moved.fraction == pooled.fraction
    assert (leak.slope, leak.floor) == (6554, round(-0.4 * 2**leak.fraction))
    low = quantize(network(linear(6), leaky(0.0, -1e6)), hear()).step("step1")
    assert (low.slope, low.floor) == (0, -32767)
    stored.write(program, tmp_path / "int8.npz")
    again = stored.read(tmp_path / "int8.npz", network(*NETWORKS["pools"]))
    assert np.array_equal(integer.run(again, hear())[0].totals, integer.run(program, hear())[0].totals)


def test_fractions_leave_the_headroom_that_was_asked_for():
    program, features = network(*NETWORKS["lstm"]), hear(20)
    largest = peaks(program, features)
    for headroom in (1.0, 4.0):
        step = quantize(program, features, headroom).step("step0")
        normal = quantize(program, features, headroom).step("normalization")
        assert largest["normalization"] * headroom * 2.0**normal.fraction <= 32767
        assert largest["normalization"] * headroom * 2.0 ** (normal.fraction + 1) > 32767
        assert largest["step0.cell"] * headroom * 2.0**step.cell_fraction <= 32767


def test_peaks_are_those_of_clips_and_of_a_long_stream():
    """A state that adds up what it hears passes on a stream what it reaches in a clip."""
    program = network(recurrent(steps.LSTM, 2))
    lstm = program.step("step0")
    lstm.weight_ih[:], lstm.weight_hh[:], lstm.bias_hh[:] = 0, 0, 0
    lstm.bias_ih[:] = np.repeat([20, 20, 20, 20], 2)  # every gate open, the candidate 1
    assert peaks(program, hear(32, 5))["step0.cell"] == pytest.approx(16 * 5)


def test_bytes_are_counted_by_what_they_hold():
    program = quantize(network(*NETWORKS["gru"]), hear())
    weights = 15 * F + 15 * 5 + 12 * 5 + 12 * 4 + 3 * 4
    rows, biases = 2 * 15 + 2 * 12, 15 + 5 + 12 + 4 + 3
    assert q.sizes(program) == {
        "weights": weights,
        "biases": 4 * biases,
        "multipliers": 3 * rows,
        "floats": 4 * (2 * F + 3),
        "tables": 1024,
        "flash": weights + 4 * biases + 3 * rows + 4 * (2 * F + 3) + 1024,
        "states": 2 * (5 + 4),
    }


def test_what_has_no_integer_form_is_named():
    program = network(*NETWORKS["gru"])
    with pytest.raises(KwsError, match="integers already"):
        quantize(quantize(program, hear()), hear())
    with pytest.raises(KwsError, match="no frames to calibrate on"):
        quantize(program, hear(0))
    huge = network(linear(3), gain=1e6)
    with pytest.raises(KwsError, match=r"step0 reaches .* which no int16 can hold"):
        quantize(huge, hear())

    class Unknown(steps.ReLU):
        pass

    strange = Program((*program.steps[:1], Unknown(name="x", source="normalization"), *program.steps[1:]), F, FEATURES)
    with pytest.raises(KwsError, match="step 'x' is a Unknown"):
        quantize(strange, hear())


def test_an_impossible_sum_is_found():
    step = q.Scores(
        name="x",
        source="y",
        weight=np.full((1, 600), 127, np.int8),
        bias=np.zeros(1, np.int32),
        scale=np.ones(1, np.float32),
    )
    with pytest.raises(ValueError, match="a row of weight can pass the bounds of int32"):
        q.check(step)
