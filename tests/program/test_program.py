"""What a spotter says of a hop: sizes, states and costs, and programs that do not fit together."""

import warnings

import numpy as np
import pytest

from kws.program import Chain, Program, steps
from kws.program.drawing import boxes, dot, places
from kws.runs.cost import clip_multiply_adds
from kws.support.errors import KwsError
from tests.export.test_ell import make

NETWORKS = ("gru", "gru3", "lstm", "lstm3", "fastgrnn", "fastgrnn_lowrank", "crnn", "crnn_temporal", "ds_tcn", "mdtc")


@pytest.mark.parametrize("model", NETWORKS)
def test_states_are_the_network_s_and_multiply_adds_pytorch_s(model):
    spotter, _ = make(f"model={model}")
    program = spotter.program()
    assert [state.size for state in program.states_of(program.network)] == spotter.classifier.state_sizes
    frames = 9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted = clip_multiply_adds(spotter.classifier, frames, 40)
    assert frames * program.multiply_adds(program.network) == counted
    assert program.sizes[program.output] == 3
    if not model.startswith(("crnn", "ds_tcn", "mdtc")):  # there, batch normalisation is folded in
        weights = sum(step.num_weights for step in program.network)
        assert weights == spotter.num_parameters + 2 * 40


def test_every_option_of_a_featurizer_is_a_step():
    more = ["featurizer.pre_emphasis=true", "featurizer.hamming=true", "featurizer.dct=13", "featurizer.hop_size=100"]
    spotter, _ = make(*more)
    program = spotter.program()
    kinds = [type(step).__name__ for step in program.front]
    assert kinds == ["Clean", "PreEmphasis", "Window", "Spectrum", "Filterbank", "Logarithm", "Cosines"]
    assert [(state.name, state.size) for state in program.states][:3] == [("previous", 1), ("buffer", 156), ("vad", 4)]
    assert program.sizes["features"] == 13
    plain = make("vad=off", "featurizer.log=false")[0].program()
    assert [type(step).__name__ for step in plain.front] == ["Clean", "Window", "Spectrum", "Filterbank"]
    assert plain.detector is None
    assert [state.name for state in plain.states] == ["state_0", "state_1"]


def test_a_network_of_whole_clips_has_no_program():
    spotter, _ = make()
    from kws.networks import BCResNet

    spotter.classifier = BCResNet(40, 3)
    with pytest.raises(KwsError, match="a BCResNet judges whole clips and has no state"):
        spotter.program()


def linear(rows, columns):
    return {"weight": np.zeros((rows, columns), np.float32), "bias": np.zeros(rows, np.float32)}


def test_what_does_not_fit_together_is_named():
    chain = Chain("features")
    chain.add(steps.Linear, "first", **linear(3, 4))
    chain.add(steps.Linear, "second", **linear(2, 5))
    with pytest.raises(KwsError, match="second takes 5 values and gets 3"):
        Program(chain.steps, 4, "features")
    with pytest.raises(KwsError, match="first takes 4 values and gets 6"):
        Program(chain.steps[:1], 6, "features")
    with pytest.raises(KwsError, match="'first' reads 'features', which nothing before it makes"):
        Program(chain.steps, 4)
    with pytest.raises(KwsError, match="two steps of the name 'first'"):
        Program([chain.steps[0], chain.steps[0]], 4, "features")
    added = steps.Add(name="sum", source="features", other="first")
    with pytest.raises(KwsError, match="sum takes 4 values and gets 3"):
        Program([chain.steps[0], added], 4, "features")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"bias_hh": np.zeros(8)}, r"layer: bias_hh has the shape \(8,\) where 3 units need \(9,\)"),
        ({"weight_ih": np.zeros((8, 4))}, r"layer: weight_ih has the shape \(8, 4\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, named):
    shapes = {"weight_ih": (9, 4), "weight_hh": (9, 3), "bias_ih": (9,), "bias_hh": (9,)}
    with pytest.raises(ValueError, match=named):
        steps.GRU(name="layer", source="x", **{k: np.zeros(v) for k, v in shapes.items()} | change)


@pytest.mark.parametrize("model", ["gru3", "crnn_temporal"])
def test_a_drawing_has_every_step_once_and_nothing_overlaps(model):
    program = make(f"model={model}")[0].program()
    drawn = boxes(program)
    assert [box.id for box in drawn] == ["samples", *(s.name for s in program.steps if not isinstance(s, steps.Reset))]
    assert len(set(places(drawn).values())) == len(drawn)
    wires = [line for line in dot(drawn).splitlines() if 'label="reset"' in line]
    stateful = {state.step for state in program.states_of(program.network)}
    assert len(wires) == len(stateful)
    assert all('"voice" -> ' in wire for wire in wires)
