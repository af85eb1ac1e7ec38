"""The text that is written: what a model uses and nothing else, whatever its words are called."""

import re
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kws.native import CModel, sources
from kws.native.memory import Block, arrange
from kws.program import Program
from kws.program import steps as s
from kws.support.errors import KwsError
from tests.native.spotters import NETWORKS, audio, make_spotter, need_compiler, need_tool


def code(spotter) -> str:
    return sources(spotter)["kws_model.c"]


def test_the_road_is_there_to_be_read():
    text = code(make_spotter(hamming=True, pre_emphasis=True, dct=5))
    road = text[text.index("static void listen(") : text.index("What a program calls")]
    called = re.findall(r"^    (?:state->voice = )?(\w+)\(", road, re.MULTILINE)
    assert called == [
        *("weigh", "squared_spectrum", "magnitude", "filterbank", "logarithms", "cosines", "detect", "normalize"),
        *("gru", "gru", "linear", "log_softmax"),
    ]
    assert "forget(state);" in road
    assert "pre_emphasis(samples, count, 0.97f" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("gru", ["lstm(", "fastgrnn(", "convolve(", "squared_bins(", "power(", "cosines(", "pre_emphasis("]),
        ("lstm", ["gru(", "hard_update", "relu("]),
        ("crnn", ["lstm(", "fastgrnn("]),
        ("fastgrnn", ["lstm(", "gru(", "add("]),
    ],
)
def test_only_what_a_model_uses_is_in_it(name, without):
    text = code(make_spotter(name))
    assert not [function for function in without if re.search(rf"\b{re.escape(function)}", text)]
    assert not re.search(r"\b(malloc|free|printf|double)\b", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))


def test_without_a_detector_there_is_no_trace_of_it():
    texts = sources(make_spotter(vad=False))
    assert "detect(" not in texts["kws_model.c"]
    assert "tau_up" not in texts["kws_model.h"]
    assert "#define KWS_DETECTOR 0" in texts["kws_model.h"]


def test_the_same_spotter_is_the_same_text():
    assert sources(make_spotter()) == sources(make_spotter())


def test_words_of_any_kind_are_named_as_they_are():
    need_compiler()
    labels = ['say "so"', "back\\slash", "*/ int x; /*", "_größe_", "??/", "日本", "a\nb", "%s"]
    spotter = make_spotter(labels=labels)
    model = CModel.of(spotter)
    assert model.labels == tuple(labels)


def test_a_weight_that_is_no_number_is_refused():
    spotter = make_spotter()
    spotter.classifier.linear.weight.data[1, 2] = float("nan")
    with pytest.raises(KwsError, match="weight of the step 'linear' holds numbers that are not finite"):
        sources(spotter)


@dataclass(frozen=True, eq=False, kw_only=True)
class Unheard(s.Step):
    """A step for which there is no C."""


def test_a_step_without_c_is_named():
    spotter = make_spotter()
    program = spotter.program()
    steps = [*program.steps[:-2], Unheard(name="unheard", source="linear"), s.LogSoftmax(name="y", source="unheard")]
    with pytest.raises(KwsError, match=r"no C for the step 'unheard', a Unheard; it knows .*GRU.*Convolution"):
        sources(spotter, Program(steps, program.input_size))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 4)), max_size=12))
def test_what_is_needed_at_the_same_time_lies_apart(items):
    blocks = [Block(size, first, first + length) for size, first, length in items]
    total = arrange(blocks)
    for i, a in enumerate(blocks):
        assert 0 <= a.offset <= total - a.size
        for b in blocks[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert a.offset + a.size <= b.offset or b.offset + b.size <= a.offset


def test_memory_is_used_again():
    chain = [Block(100, i, i + 1) for i in range(10)]
    assert arrange(chain) == 200


@pytest.mark.parametrize("network", NETWORKS)
def test_constants_are_stored_to_the_last_bit(network):
    spotter = make_spotter(network)
    text = code(spotter)
    step = spotter.program().step("linear")
    found = re.search(r"float linear_weights\[\d+\] = \{(.*?)\};", text, re.DOTALL)[1]
    stored = np.array([np.float32(x.strip().removesuffix("f")) for x in found.split(",")])
    assert np.array_equal(stored, step.weight.T.ravel())


def test_cpp_reads_the_header(tmp_path):
    compiler = need_tool("g++")
    (tmp_path / "kws_model.h").write_text(sources(make_spotter())["kws_model.h"])
    (tmp_path / "a.cpp").write_text('#include "kws_model.h"\nint main() { static kws_state s; kws_init(&s); }\n')
    words = [compiler, "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    subprocess.run([*words, tmp_path / "a.cpp"], check=True)


def test_audio_is_what_the_tests_think():
    assert audio(2.0).abs().max() > 0.3
