"""Convolutions of any shape, and other programs that no network of today writes."""

import numpy as np
import pytest

from kws.native import CModel, sources
from kws.program import Chain, Program, floating
from kws.program import steps as s
from kws.support.errors import KwsError
from tests.native.spotters import LABELS, audio, make_spotter, need_compiler


def program_of(spotter, add) -> Program:
    """The spotter's featurizer, then what `add` puts into a chain, then scores."""
    program = spotter.program()
    random = np.random.default_rng(0)
    chain = Chain("normalization")
    width = add(chain, random)
    weight, bias = random.normal(size=(len(LABELS), width)) / np.sqrt(width), np.zeros(len(LABELS))
    chain.add(s.Linear, "scores", weight=weight.astype(np.float32), bias=bias.astype(np.float32))
    chain.add(s.LogSoftmax, "log_probabilities")
    normalization = next(i for i, step in enumerate(program.steps) if step.name == "normalization")
    reset = program.of_type(s.Reset)
    return Program([*program.steps[: normalization + 1], *chain.steps, *reset], program.input_size)


def convolution(chain, random, name, outputs, channels, filters, frames=1, width=1, bias=True, groups=1, **shape):
    weight = random.normal(size=(outputs, channels // groups, frames, width)) / np.sqrt(channels * frames * width)
    bias = random.normal(size=outputs).astype(np.float32) if bias else None
    shape = {"filters": filters, "groups": groups, **shape}
    chain.add(s.Convolution, name, weight=weight.astype(np.float32), bias=bias, **shape)
    return chain.steps[-1].outputs


def pool(chain, random, name, channels, filters, **shape):
    chain.add(s.MaxPool, name, channels=channels, filters=filters, **shape)
    return chain.steps[-1].outputs


def check(add):
    need_compiler()
    spotter = make_spotter(vad=False)
    program = program_of(spotter, add)
    model = CModel.of(spotter, program)
    samples = audio(4.0).numpy()
    outputs, features, _ = model.listen(samples, model.start())
    values, _ = floating.run(program, features)
    assert values["log_probabilities"].std(axis=1).max() > 0.01
    np.testing.assert_allclose(outputs.log_probabilities, values["log_probabilities"], atol=1e-5)


@pytest.mark.parametrize(
    "shapes",
    [
        [{"outputs": 6, "frames": 3, "width": 3, "padding": 1, "stride": 2}],
        [{"outputs": 4, "width": 5}, {"outputs": 4, "frames": 3, "groups": 4, "dilation": 2, "bias": False}],
        [{"outputs": 6, "width": 3}, {"outputs": 9, "frames": 3, "groups": 3, "width": 1}],
        [
            {"outputs": 6, "width": 1},
            {"outputs": 12, "frames": 2, "groups": 6, "width": 3, "padding": 1, "dilation": 3},
        ],
        [{"outputs": 3, "width": 2, "stride": 3}, {"outputs": 5, "stride": 2}, {"outputs": 5, "padding": 1}],
        [{"outputs": 2, "width": 12}, {"outputs": 17, "frames": 4}],
    ],
    ids=str,
)
def test_convolutions_of_any_shape(shapes):
    def add(chain, random):
        picture = (1, 12)
        for i, shape in enumerate(shapes):
            picture = convolution(chain, random, f"c{i}", channels=picture[0], filters=picture[1], **shape)
            chain.add(s.ReLU, f"c{i}.relu")
        return picture[0] * picture[1]

    check(add)


@pytest.mark.parametrize(
    "pools",
    [
        [{"width": 2}, {"frames": 2}],
        [{"width": 2, "frames": 2, "dilation": 2}, {"width": 5, "frames": 2}],
        [{"width": 3, "frames": 2, "dilation": 4}, {}],
    ],
    ids=str,
)
def test_pools_of_any_shape(pools):
    def add(chain, random):
        chain.add(s.LeakyReLU, "leaky", slope=0.5, floor=-0.6)
        picture = pool(chain, random, "first", 1, 12, frames=2)
        picture = convolution(chain, random, "up", 7, *picture, width=2)
        chain.add(s.LeakyReLU, "up.leaky", slope=0.2, floor=-0.4)
        for i, shape in enumerate(pools):
            picture = pool(chain, random, f"pool{i}", *picture, **shape)
        picture = convolution(chain, random, "mix", 5, *picture, frames=2, width=2, padding=1, dilation=2)
        return picture[0] * picture[1]

    check(add)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_picture_is_normalised_as_it_lies(scaled):
    def add(chain, random):
        channels, filters = convolution(chain, random, "picture", 5, 1, 12, width=3)
        mean, deviation = random.uniform(0.5, 2, size=(2, channels * filters)).astype(np.float32)
        chain.add(s.Normalize, "normal", mean=mean, deviation=deviation**scaled)
        channels, filters = convolution(chain, random, "next", 6, channels, filters, width=2)
        return channels * filters

    check(add)


def test_a_pool_of_a_row_of_channels():
    def add(chain, random):
        convolution(chain, random, "row", 6, 12, 1)
        pool(chain, random, "pool", 6, 1, frames=2, dilation=2)
        return 6

    check(add)


def test_a_picture_read_as_a_row():
    def add(chain, random):
        channels, filters = convolution(chain, random, "picture", 5, 1, 12, width=3)
        convolution(chain, random, "row", 7, channels * filters, 1)
        return 7

    check(add)


def test_a_value_that_is_read_twice_is_not_written_over():
    def add(chain, random):
        convolution(chain, random, "first", 6, 12, 1)
        first = chain.last
        chain.add(s.ReLU, "relu")
        chain.add(s.Add, "sum", source=first, other="relu")
        chain.add(s.Add, "more", source="sum", other=first)
        return 6

    check(add)


@pytest.mark.parametrize(
    ("add", "kind"),
    [
        (lambda chain, random: convolution(chain, random, "next", 40, 40, 1, groups=4), "row"),
        (lambda chain, random: pool(chain, random, "next", 40, 1), "row"),
        (lambda chain, random: pool(chain, random, "next", 2, 20), "picture"),
    ],
)
def test_what_lies_in_the_wrong_order_is_refused(add, kind):
    def both(chain, random):
        convolution(chain, random, "picture", 4, 1, 12, width=3)
        return int(np.prod(add(chain, random)))

    spotter = make_spotter(vad=False)
    with pytest.raises(KwsError, match=f"'next' takes a {kind} for which 'picture' lies in the wrong order"):
        sources(spotter, program_of(spotter, both))
