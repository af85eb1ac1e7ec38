"""The functions and the transform that C brings along, against double precision."""

import ctypes
import subprocess

import numpy as np
import pytest

from kws.native import compiler
from kws.native.files import C
from kws.program import floating
from kws.program import steps as s
from tests.native.spotters import need_compiler

PROBE = """
#include "exponential.h"
#include "hard.h"
#include "logarithm.h"
#include "tangent.h"
#include "leaky_relu.c"
#include "max_pool.c"
#include "fft.c"
#include "dft.c"
#define EACH(name, function) \\
    void name(const float *x, float *y, int count) { for (int i = 0; i < count; i++) { y[i] = function(x[i]); } }
EACH(exponentials, exponential)
EACH(logs, logarithm)
EACH(tangents, tangent)
EACH(logistics, logistic)
EACH(hard_logistics, hard_logistic)
EACH(hard_tangents, hard_tangent)
void leak(const float *x, float *y, int count)
{
    leaky_relu(y, x, count, 0.2f, -0.4f);
}
void pool(float *y, const float *x, float *past, int channels, int filters, int width, int frames, int dilation)
{
    const convolution shape = {channels, filters, channels, filters / width, frames, width, width, 0, dilation, 1};
    max_pool(&shape, y, x, past);
}
void fast(float *y, float *x, int count, int points, const float *sine, const float *cosine, float *work)
{
    (void)cosine;
    squared_spectrum(y, x, count, points, sine, work);
}
void slow(float *y, float *x, int count, int points, const float *sine, const float *cosine, float *work)
{
    (void)work;
    squared_bins(y, x, count, points, sine, cosine);
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> ctypes.CDLL:
    need_compiler()
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text(PROBE)
    library = folder / "probe.so"
    compiler.find_compiler().run(
        *compiler.FLAGS, "-march=native", "-shared", "-fPIC", f"-I{C}", folder / "probe.c", "-o", library, "-lm"
    )
    return ctypes.CDLL(str(library))


def call(function, *arguments):
    function(*(a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else ctypes.c_int(a) for a in arguments))


def each(probe, name, x):
    x = np.ascontiguousarray(x, np.float32)
    y = np.empty_like(x)
    call(getattr(probe, name), x, y, len(x))
    return y


def spread(low, high, count=400_001):
    return np.linspace(low, high, count).astype(np.float32)


def relative(ours, exact):
    return np.abs(ours.astype(np.float64) / exact - 1).max()


def test_exponential(probe):
    x = spread(-87, 88)
    assert relative(each(probe, "exponentials", x), np.exp(x.astype(np.float64))) < 1.5e-7


def test_logarithm(probe):
    x = np.concatenate([np.exp(spread(-80, 80)), spread(0.5, 2)]).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(each(probe, "logs", x) - exact) / np.maximum(np.abs(exact), 0.1)).max() < 2e-7


def test_tangent(probe):
    x = np.concatenate([spread(-12, 12), np.exp(spread(-60, 0))]).astype(np.float32)
    x = x[x != 0]
    assert relative(each(probe, "tangents", x), np.tanh(x.astype(np.float64))) < 4e-7


def test_logistic(probe):
    x = spread(-30, 30)
    assert np.abs(each(probe, "logistics", x) - 1 / (1 + np.exp(-x.astype(np.float64)))).max() < 2e-7


def test_hard_functions(probe):
    x = spread(-4, 4)
    np.testing.assert_allclose(each(probe, "hard_logistics", x), np.clip(0.2 * x + 0.5, 0, 1), atol=1e-7)
    assert np.array_equal(each(probe, "hard_tangents", x), np.clip(x, -1, 1))


@pytest.mark.parametrize("name", ["exponentials", "logs", "tangents", "logistics", "hard_logistics", "hard_tangents"])
def test_nothing_makes_them_lose_their_footing(probe, name):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0, -0.0, 1e38, -1e38, 1e-45, -1e-45], np.float32)
    if name == "logs":
        x = x[~(np.signbit(x) | np.isnan(x))]  # of positive numbers
    y = each(probe, name, np.tile(x, 7))  # many at once take another way than one
    assert np.isfinite(y).all()


def test_a_leak_to_the_last_bit(probe):
    x = np.concatenate([spread(-4, 4), np.array([np.inf, -np.inf, 0, -0.0, 1e-45, -1e-45], np.float32)])
    step = s.LeakyReLU(name="leaky", source="x", slope=0.2, floor=-0.4)
    expected, _ = floating.FUNCTIONS[s.LeakyReLU](step, (x,), (), {})
    assert np.array_equal(each(probe, "leak", x), expected)
    assert each(probe, "leak", [np.nan, -np.nan]).tolist() == [np.float32(-0.4)] * 2


@pytest.mark.parametrize(("width", "frames", "dilation"), [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 2, 2), (1, 2, 4)])
def test_a_pool_to_the_last_bit(probe, width, frames, dilation):
    channels, filters = 5, 7
    places = {"width": width, "frames": frames, "dilation": dilation}
    step = s.MaxPool(name="pool", source="x", channels=channels, filters=filters, **places)
    heard = np.random.default_rng(0).normal(size=(1, 9, channels, filters)).astype(np.float32)
    states = [np.zeros((1, size), np.float32) for size in step.state_sizes]
    expected, after = floating.max_pool(step, (heard.reshape(1, 9, -1),), states, {})
    past, y = np.zeros(max(1, sum(step.state_sizes)), np.float32), np.empty(step.outputs[::-1], np.float32)
    for x, wanted in zip(heard[0], expected[0], strict=True):
        call(probe.pool, y, np.ascontiguousarray(x.T), past, channels, filters, width, frames, dilation)
        assert np.array_equal(y.T.ravel(), wanted)
    for state in after:
        assert np.array_equal(past.reshape(-1, filters, channels).transpose(2, 0, 1).ravel(), state[0])


@pytest.mark.parametrize("points", [1, 2, 3, 4, 8, 12, 16, 32, 64, 75, 128, 256, 400, 512, 1024, 2048])
def test_the_transform(probe, points):
    random = np.random.default_rng(points)
    turn = 2 * np.pi * np.arange(points) / points
    sine, cosine = np.sin(turn).astype(np.float32), np.cos(turn).astype(np.float32)
    power_of_two = points > 1 and points & (points - 1) == 0
    for count in {points, max(1, points * 2 // 3)}:
        x = random.normal(size=count).astype(np.float32)
        exact = np.abs(np.fft.rfft(x.astype(np.float64), points)) ** 2
        for name in ["slow"] + ["fast"] * power_of_two:
            y = np.full(points // 2 + 1, np.nan, np.float32)
            samples = np.concatenate([x, np.full(points - count, np.nan, np.float32)])
            call(getattr(probe, name), y, samples, count, points, sine, cosine, np.empty(points, np.float32))
            assert np.abs(y - exact).max() < 2e-6 * exact.max()


def test_every_file_stands_for_itself(tmp_path):
    """A C file names what it needs, so that it can be opened, and compiled, alone."""
    need_compiler()
    own = [path for path in sorted(C.glob("*.c")) if path.name not in ("kws_model.c", "interface.c")]
    alone = [path for path in own if "kws_model.h" not in path.read_text(encoding="utf-8")]
    assert len(alone) > 15
    for path in alone:
        words = [*compiler.find_compiler().command, "-std=c99", "-Wall", "-Wno-unused-function", "-Werror"]
        done = subprocess.run([*words, "-fsyntax-only", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
