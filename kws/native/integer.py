"""The steps of integer networks in C (`kws.program.quantized`)."""

import numpy as np

from kws.native import network
from kws.native.parts import Part, Value, shape, translates
from kws.program import quantized as q
from kws.program.fixed_point import STATE
from kws.program.steps import Array

TILE = 8
"""Rows of a matrix that are computed side by side, see c/integer_product.h; states are filled up to as many."""
QUAD = 4
"""Columns that are multiplied at a time; behind what is multiplied something lies that the missing ones may read."""
NUMBERS = "int16_t"


def up(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def filled(array: Array, *sizes: int) -> Array:
    """An array with zeros behind its ends, of the given sizes."""
    wider = np.zeros(sizes, array.dtype)
    wider[tuple(map(slice, array.shape))] = array
    return wider


def tiles(weight: Array) -> Array:
    """A matrix (rows, columns) as c/integer_product.h wants it: (tiles, columns / 4, 8 rows, 4)."""
    rows, columns = weight.shape
    weight = filled(weight, up(rows, TILE), up(columns, QUAD))
    return weight.reshape(-1, TILE, weight.shape[1] // QUAD, QUAD)[..., [0, 2, 1, 3]].swapaxes(1, 2)


class Matrix:
    """A matrix of a step, and how its sums become the next numbers.

    Args:
        name: of its tables in C.
        weight: (rows, columns). multiplier, shift: (rows,).

    Attributes:
        rows: filled up to whole tiles.
        tables: for `Part`.
        initialiser: of an integer_matrix.
    """

    def __init__(self, name: str, weight: Array, multiplier: Array, shift: Array):
        rows, columns = self.rows, _ = up(len(weight), TILE), up(weight.shape[1], QUAD)
        self.tables = {
            f"{name}_weights": tiles(weight),
            f"{name}_multipliers": filled(multiplier, rows),
            f"{name}_shifts": filled(shift, rows),
        }
        self.initialiser = ", ".join([*(f"{{{table}}}" for table in self.tables), str(rows), str(columns)])


@translates(q.Quantize)
def quantize(step: q.Quantize, source: Value) -> Part:
    """c/integer_quantize.c."""
    call = f"integer_quantize({{out}}, {{source}}, {source.size}, {{mean}}, {{factor}});"
    tables = {"mean": step.mean, "factor": step.factor}
    about = f"to integers of the fraction {step.fraction}"
    return Part(("integer_quantize.c",), call, about, tables, ctype=NUMBERS)


@translates(q.IntegerOffset)
def offset(step: q.IntegerOffset, source: Value) -> Part:
    """c/integer_offset.c."""
    call = f"integer_offset({{out}}, {{source}}, {source.size}, {{offset}}, {step.right});"
    tables = {"offset": source.columns(step.offset[None])[0]}
    about = "x and a constant"
    return Part(("integer_offset.c",), call, about, tables, over=True, ctype=NUMBERS, picture=source.picture)


@translates(q.IntegerReLU)
def relu(step: q.IntegerReLU, source: Value) -> Part:
    """c/integer_relu.c."""
    call = f"integer_relu({{out}}, {{source}}, {source.size});"
    return Part(("integer_relu.c",), call, "max(x, 0)", over=True, ctype=NUMBERS, picture=source.picture)


@translates(q.IntegerLeakyReLU)
def leaky_relu(step: q.IntegerLeakyReLU, source: Value) -> Part:
    """c/integer_leaky_relu.c."""
    call = f"integer_leaky_relu({{out}}, {{source}}, {source.size}, {step.slope}, {step.floor});"
    about = f"max(x, {step.slope / 2**STATE:.4g} x, {step.floor / 2**step.fraction:.4g})"
    return Part(("integer_leaky_relu.c",), call, about, over=True, ctype=NUMBERS, picture=source.picture)


@translates(q.IntegerMaxPool)
def max_pool(step: q.IntegerMaxPool, source: Value) -> Part:
    """c/integer_max_pool.c."""
    return network.max_pool(step, source, "integer_", NUMBERS)


@translates(q.IntegerAdd)
def add(step: q.IntegerAdd, source: Value) -> Part:
    """c/integer_add.c."""
    call = (
        f"integer_add({{out}}, {{source}}, {2**step.left}, {{other}}, {2**step.other_left}, {source.size}, "
        f"{step.right}, {_low(step)});"
    )
    about = f"x + {step.other}{_relu(step)}"
    return Part(("integer_add.c",), call, about, over=True, ctype=NUMBERS, picture=source.picture)


@translates(q.IntegerGRU)
def gru(step: q.IntegerGRU, source: Value) -> Part:
    """c/integer_gru.c."""
    tables = {"bias_n": step.bias_n}
    call = f"integer_gru({{h}}, {step.hidden_size}, {{source}}, &{{W_i}}, {{bias}}, &{{W_h}}, {{bias_n}}, {{work}});"
    return _recurrent(step, source, "GRU", call, tables, states=("h",))


@translates(q.IntegerLSTM)
def lstm(step: q.IntegerLSTM, source: Value) -> Part:
    """c/integer_lstm.c."""
    call = (
        f"integer_lstm({{h}}, {{c}}, {step.hidden_size}, {step.cell_fraction}, {{source}}, &{{W_i}}, {{bias}}, "
        "&{W_h}, {work});"
    )
    return _recurrent(step, source, "LSTM", call, {}, states=("h", "c"))


def _recurrent(step: q.IntegerRecurrent, source: Value, kind: str, call: str, tables, states) -> Part:
    """What GRU and LSTM share."""
    matrices = {
        "W_i": Matrix("W_i", source.columns(step.weight_ih), step.multiplier_ih, step.shift_ih),
        "W_h": Matrix("W_h", step.weight_hh, step.multiplier_hh, step.shift_hh),
    }
    tables = {"bias": step.bias_ih, **tables}
    for matrix in matrices.values():
        tables = {**matrix.tables, **tables}
    return Part(
        (f"integer_{kind.lower()}.c",),
        call,
        f"{kind} of {step.hidden_size} units",
        tables,
        {name: ("integer_matrix", matrix.initialiser) for name, matrix in matrices.items()},
        states=dict.fromkeys(states, up(step.hidden_size, TILE)),
        state_type=NUMBERS,
        work=sum(matrix.rows for matrix in matrices.values()),
        work_type="int32_t",
        is_state="h",
        ctype=NUMBERS,
        room=_room(source),
    )


@translates(q.IntegerFastGRNN)
def fastgrnn(step: q.IntegerFastGRNN, source: Value) -> Part:
    """c/integer_fastgrnn.c."""
    size, tables, constants, ranks = up(step.hidden_size, TILE), {}, {}, []
    sides = {
        "W": (step.input_weights, step.input_multipliers, step.input_shifts),
        "U": (step.hidden_weights, step.hidden_multipliers, step.hidden_shifts),
    }
    for letter, (weights, multipliers, shifts) in sides.items():
        weights = (source.columns(weights[0]), *weights[1:]) if letter == "W" else weights
        made = [
            Matrix(f"{letter}{number}", *constant)
            for number, constant in enumerate(zip(weights, multipliers, shifts, strict=True), 1)
        ]
        for matrix in made:
            tables |= matrix.tables
        second = f"{{{{{made[1].initialiser}}}}}" if len(made) > 1 else "{{NULL, NULL, NULL, 0, 0}}"
        ranks.append(len(weights[0]) if len(made) > 1 else 0)
        constants[letter] = ("integer_factors", f"{{{{{made[0].initialiser}}}}}, {second}, {ranks[-1]}")
    tables["gate_bias"], tables["update_bias"] = filled(step.gate_bias, size), filled(step.update_bias, size)
    hard = ", ".join(str(int(name.startswith("hard"))) for name in (step.gate, step.update))
    call = (
        f"integer_fastgrnn({{h}}, {step.hidden_size}, {step.fraction}, {{source}}, &{{W}}, &{{U}}, {{gate_bias}}, "
        f"{{update_bias}}, {step.zeta}, {step.nu}, {hard}, {{work}});"
    )
    return Part(
        ("integer_fastgrnn.c",),
        call,
        f"FastGRNN of {step.hidden_size} units",
        tables,
        constants,
        states={"h": size},
        state_type=NUMBERS,
        work=size + sum(up(rank, TILE) for rank in ranks),
        work_type=NUMBERS,
        is_state="h",
        ctype=NUMBERS,
        room=_room(source),
    )


@translates(q.IntegerConvolution)
def convolution(step: q.IntegerConvolution, source: Value) -> Part:
    """c/integer_convolve.c, or c/integer_convolve_channels.c where every channel is a group."""
    outputs, inputs, frames, width = step.weight.shape
    weight = read_as_it_lies(step, source)
    places = {"stride": step.stride, "padding": step.padding, "groups": step.groups, "low": _low(step)}
    constants = shape("integer_convolution", step, frames=frames, width=width, **places)
    past = "{past}" if step.past else "NULL"
    common = {
        "state_type": NUMBERS,
        "ctype": NUMBERS,
        "picture": step.outputs if step.outputs[1] > 1 else None,
    }
    about = _about(step)
    kept = sum(step.state_sizes)
    if step.groups == step.channels == outputs:
        size = up(outputs, TILE)
        tables = {
            "weights": filled(weight[:, 0].transpose(1, 2, 0), frames, width, size),
            "bias": filled(step.bias, size),
            "multipliers": filled(step.multiplier, size),
            "shifts": filled(step.shift, size),
        }
        call = (
            f"integer_convolve_channels(&{{shape}}, {{out}}, {{source}}, {past}, {{weights}}, {{bias}}, "
            "{multipliers}, {shifts}, {work});"
        )
        return Part(
            ("integer_convolve_channels.c",),
            call,
            about,
            tables,
            constants,
            states={"past": kept - outputs + size} if kept else {},
            work=size,
            work_type="int32_t",
            room=_room(source, outputs, TILE),
            **common,
        )
    rows, columns = outputs // step.groups, frames * width * inputs
    grouped = weight.transpose(0, 2, 3, 1).reshape(step.groups * rows, columns)  # (outputs, (frames, width, inputs))
    # Each group is filled up to whole tiles, as gates are.
    matrix = Matrix("matrix", *_by_groups(step.groups, grouped, step.multiplier, step.shift))
    (bias,) = _by_groups(step.groups, step.bias)
    call = f"integer_convolve(&{{shape}}, {{out}}, {{source}}, {past}, &{{matrix}}, {{bias}}, {{work}});"
    constants["matrix"] = ("integer_matrix", matrix.initialiser)
    as_it_lies = step.groups * frames * width == 1 and step.padding == 0
    if as_it_lies:
        call = call.replace("{work}", "NULL")
    return Part(
        ("integer_convolve.c",),
        call,
        about,
        {**matrix.tables, "bias": bias},
        constants,
        states={"past": kept} if kept else {},
        work=0 if as_it_lies else up(columns, QUAD),
        work_type=NUMBERS,
        room=_room(source, columns) if as_it_lies else 0,
        **common,
    )


def _by_groups(groups: int, *arrays: Array) -> list[Array]:
    """Rows (outputs, …), those of each group filled up to whole tiles."""
    made = []
    for array in arrays:
        array = array.reshape(groups, -1, *array.shape[1:])
        array = filled(array, groups, up(array.shape[1], TILE), *array.shape[2:])
        made.append(array.reshape(-1, *array.shape[2:]))
    return made


def read_as_it_lies(step: q.IntegerConvolution, source: Value) -> Array:
    """The weight of a convolution for a picture that lies as (filters, channels).

    Raises:
        KwsError: the source lies otherwise.
    """
    if source.picture is not None and step.filters == step.groups == 1 and step.weight.shape[2:] == (1, 1):
        return source.columns(step.weight[:, :, 0, 0]).reshape(step.weight.shape)  # read as one row of channels
    source.read_by(step)
    return step.weight


@translates(q.Scores)
def scores(step: q.Scores, source: Value) -> Part:
    """c/integer_scores.c; the totals stay to be looked at, for they are the same on every machine."""
    outputs, inputs = step.weight.shape
    tables = {"weights": tiles(source.columns(step.weight)), "bias": step.bias, "scale": step.scale}
    call = (
        f"integer_scores({{out}}, state->totals, {outputs}, {{source}}, {up(inputs, QUAD)}, {{weights}}, {{bias}}, "
        "{scale});"
    )
    return Part(("integer_scores.c",), call, f"{outputs} scores", tables, room=_room(source))


def _room(source: Value, columns: int = 0, multiple: int = QUAD) -> int:
    """Numbers in the place of a value whose last `columns` (all where 0) are multiplied so many at a time."""
    columns = columns or source.size
    return source.size - columns + up(columns, multiple)


def _low(step: q.IntegerConvolution | q.IntegerAdd) -> int:
    return 0 if step.relu else -q.LIMIT


def _relu(step: q.IntegerConvolution | q.IntegerAdd) -> str:
    return ", then max(x, 0)" if step.relu else ""


def _about(step: q.IntegerConvolution) -> str:
    outputs, _, frames, width = step.weight.shape
    picture = f"{step.channels}×{step.filters} to {outputs}×{step.outputs[1]}"
    if step.filters == 1:
        picture = f"{step.channels} to {outputs} channels"
    return (
        f"convolution of {picture}{f' over {frames} frames' if frames > 1 else ''}"
        f"{f' and {width} filters' if width > 1 else ''}{_relu(step)}"
    )
