"""The steps of networks in C."""

from kws.native.parts import Part, Value, by_columns, number, shape, translates
from kws.program import steps


@translates(steps.Normalize)
def normalize(step: steps.Normalize, source: Value) -> Part:
    """c/normalize.c, or c/add.c where nothing is scaled."""
    tables = {name: source.columns(array[None])[0] for name, array in step.constants.items()}
    if (step.deviation == 1).all():
        call = f"add({{out}}, {{source}}, {{offset}}, {source.size});"
        offset = {"offset": -tables["mean"]}
        return Part(("add.c",), call, "x and a constant", offset, over=True, picture=source.picture)
    call = f"normalize({{out}}, {{source}}, {source.size}, {{mean}}, {{deviation}});"
    about = "to zero mean and unit deviation"
    return Part(("normalize.c",), call, about, tables, over=True, picture=source.picture)


@translates(steps.GRU)
def gru(step: steps.GRU, source: Value) -> Part:
    """c/gru.c: the recurrent biases of r and z join those of the input, that of n stays inside the reset gate."""
    units = step.hidden_size
    bias = step.bias_ih.copy()
    bias[: 2 * units] += step.bias_hh[: 2 * units]
    tables = {
        "W_i": by_columns(source.columns(step.weight_ih)),
        "bias": bias,
        "W_hrz": by_columns(step.weight_hh[: 2 * units]),
        "W_hn": by_columns(step.weight_hh[2 * units :]),
        "bias_n": step.bias_hh[2 * units :],
    }
    call = (
        f"gru({{h}}, {units}, {{source}}, {source.size}, {{W_i}}, {{bias}}, {{W_hrz}}, {{W_hn}}, {{bias_n}}, {{work}});"
    )
    return Part(("gru.c",), call, f"GRU of {units} units", tables, states={"h": units}, work=4 * units, is_state="h")


@translates(steps.LSTM)
def lstm(step: steps.LSTM, source: Value) -> Part:
    """c/lstm.c: both biases in one."""
    units = step.hidden_size
    tables = {
        "W_i": by_columns(source.columns(step.weight_ih)),
        "W_h": by_columns(step.weight_hh),
        "bias": step.bias_ih + step.bias_hh,
    }
    call = f"lstm({{h}}, {{c}}, {units}, {{source}}, {source.size}, {{W_i}}, {{W_h}}, {{bias}}, {{work}});"
    states = {"h": units, "c": units}
    return Part(("lstm.c",), call, f"LSTM of {units} units", tables, states=states, work=4 * units, is_state="h")


@translates(steps.FastGRNN)
def fastgrnn(step: steps.FastGRNN, source: Value) -> Part:
    """c/fastgrnn.c."""
    units = step.hidden_size
    tables = {"bias": step.gate_bias, "difference": step.update_bias - step.gate_bias}
    constants, ranks = {}, []
    for letter, (first, *second) in (("W", step.input_weights), ("U", step.hidden_weights)):
        first = source.columns(first) if letter == "W" else first
        tables[f"{letter}1"] = by_columns(first)
        rank = 0
        if second:
            tables[f"{letter}2"], rank = by_columns(second[0]), len(first)
        ranks.append(rank)
        names = f"{{{letter}1}}, {{{letter}2}}" if second else f"{{{letter}1}}, NULL"
        constants[letter] = ("factors", f"{names}, {rank}")
    zeta, nu = (number(gain) for gain in step.gains)
    hard = ", ".join(str(int(name.startswith("hard"))) for name in (step.gate, step.update))
    call = (
        f"fastgrnn({{h}}, {units}, {{source}}, {source.size}, &{{W}}, &{{U}}, {{bias}}, {{difference}}, {zeta}, {nu}, "
        f"{hard}, {{work}});"
    )
    return Part(
        ("fastgrnn.c",),
        call,
        f"FastGRNN of {units} units",
        tables,
        constants,
        states={"h": units},
        work=units + max(ranks),
        is_state="h",
    )


@translates(steps.Convolution)
def convolution(step: steps.Convolution, source: Value) -> Part:
    """c/convolve.c, or c/convolve_channels.c where every channel is a group; pictures lie as (filters, channels)."""
    outputs, inputs, frames, width = step.weight.shape
    weight = step.weight
    if source.picture is not None and step.filters == step.groups == frames == 1:
        weight = source.columns(weight[:, :, 0, 0]).reshape(weight.shape)  # a picture read as one row of channels
    else:
        source.read_by(step)
    places = {"stride": step.stride, "padding": step.padding, "groups": step.groups}
    tables = {} if step.bias is None else {"bias": step.bias}
    bias = "NULL" if step.bias is None else "{bias}"
    past = "{past}" if step.past else "NULL"
    if step.groups == step.channels == outputs:
        tables["weights"] = weight[:, 0].transpose(1, 2, 0)  # (frames, width, channels)
        file, work = "convolve_channels.c", 0
        call = f"convolve_channels(&{{shape}}, {{out}}, {{source}}, {past}, {{weights}}, {bias});"
    else:
        file, work = "convolve.c", frames * width * inputs
        grouped = weight.reshape(step.groups, -1, inputs, frames, width)
        tables["weights"] = grouped.transpose(0, 3, 4, 2, 1)  # (groups, frames, width, inputs, outputs)
        call = f"convolve(&{{shape}}, {{out}}, {{source}}, {past}, {{weights}}, {bias}, {{work}});"
    return Part(
        (file,),
        call,
        _about(step),
        tables,
        shape("convolution", step, frames=frames, width=width, **places),
        states={"past": step.state_sizes[0]} if step.past else {},
        work=work,
        picture=step.outputs if step.outputs[1] > 1 else None,
    )


def _about(step: steps.Convolution) -> str:
    outputs, _, frames, width = step.weight.shape
    picture = f"{step.channels}×{step.filters} to {outputs}×{step.outputs[1]}"
    if step.filters == 1:
        picture = f"{step.channels} to {outputs} channels"
    frames = f" over {frames} frames" if frames > 1 else ""
    return f"convolution of {picture}{frames}" + (f" and {width} filters" if width > 1 else "")


@translates(steps.ReLU)
def relu(step: steps.ReLU, source: Value) -> Part:
    """c/relu.c."""
    call = f"relu({{out}}, {{source}}, {source.size});"
    return Part(("relu.c",), call, "max(x, 0)", over=True, picture=source.picture)


@translates(steps.LeakyReLU)
def leaky_relu(step: steps.LeakyReLU, source: Value) -> Part:
    """c/leaky_relu.c."""
    call = f"leaky_relu({{out}}, {{source}}, {source.size}, {number(step.slope)}, {number(step.floor)});"
    about = f"max(x, {step.slope:g} x, {step.floor:g})"
    return Part(("leaky_relu.c",), call, about, over=True, picture=source.picture)


@translates(steps.MaxPool)
def max_pool(step: steps.MaxPool, source: Value, prefix: str = "", ctype: str = "float") -> Part:
    """c/max_pool.c; of integers likewise, where `prefix` is before the names in C."""
    source.read_by(step)
    past = "{past}" if step.past else "NULL"
    apart = f" in frames {step.dilation} apart" if step.past else ""
    return Part(
        (f"{prefix}max_pool.c",),
        f"{prefix}max_pool(&{{shape}}, {{out}}, {{source}}, {past});",
        f"the largest of {step.width} neighbours{apart}",
        constants=shape(f"{prefix}convolution", step, frames=step.frames, width=step.width, stride=step.width),
        states={"past": step.state_sizes[0]} if step.past else {},
        state_type=ctype,
        ctype=ctype,
        picture=step.outputs if step.outputs[1] > 1 else None,
    )


@translates(steps.Add)
def add(step: steps.Add, source: Value) -> Part:
    """c/add.c."""
    call = f"add({{out}}, {{source}}, {{other}}, {source.size});"
    return Part(("add.c",), call, f"x + {step.other}", over=True, picture=source.picture)


@translates(steps.Linear)
def linear(step: steps.Linear, source: Value) -> Part:
    """c/linear.c."""
    outputs = len(step.weight)
    tables = {"weights": by_columns(source.columns(step.weight)), "bias": step.bias}
    call = f"linear({{out}}, {outputs}, {{source}}, {source.size}, {{weights}}, {{bias}});"
    return Part(("linear.c",), call, f"{outputs} scores", tables)


@translates(steps.LogSoftmax)
def log_softmax(step: steps.LogSoftmax, source: Value) -> Part:
    """c/log_softmax.c."""
    call = f"log_softmax({{out}}, {{source}}, {source.size});"
    return Part(("log_softmax.c",), call, "scores to log-probabilities", over=True)
