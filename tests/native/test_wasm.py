"""The same model in WebAssembly, in node: the same words, and log-probabilities within rounding of the host's."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kws.native import builds
from tests.native.spotters import audio, model, need_tool, said, sources, zig


def test_in_node(tmp_path):
    node = need_tool("node")
    if zig() is None:
        pytest.skip("needs ziglang")
    module = builds.build_library(sources(), "wasm", tmp_path)
    assert b"\xfd" in module.read_bytes()  # the prefix of SIMD instructions
    samples = (audio(4.0)[0].numpy() * 32767).astype(np.int16)
    samples.tofile(tmp_path / "samples.raw")
    words = [node, Path(__file__).with_name("hear.mjs"), module, tmp_path / "samples.raw"]
    said_there = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert said_there["imports"] == []

    whole = samples[: len(samples) // model().hop_size * model().hop_size]
    outputs, _ = model().hear(whole[None].astype(np.float32) / 32768, model().start())
    np.testing.assert_allclose(said_there["rows"], outputs.log_probabilities[0], atol=1e-5)
    assert said_there["voice"] == outputs.signal[0].tolist()
    (expected,), _ = model().detect(samples, model().start())
    assert [(word, round(sample / 1000, 6)) for word, sample, _ in said_there["found"]] == said(expected)
    np.testing.assert_allclose([c for *_, c in said_there["found"]], [d.confidence for d in expected], atol=1e-5)
    assert len(expected) > 2
