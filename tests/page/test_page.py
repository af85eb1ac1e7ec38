"""The page: what it switches is what is stored, in PyTorch and in node; it cuts and reads as Python does."""

import json
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from kws.corpus.audio import fit
from kws.export.stream_parity import compare_detections
from kws.native import CModel
from kws.page import STATIC, facts, heard_by_the_page, static_files, write_page
from kws.page.node import hear_in_node
from kws.spotter import StreamingSpotter
from tests.native.spotters import DECODER, audio, make_spotter, need_compiler, need_tool, said, zig


@pytest.fixture(scope="module")
def _wasm():
    need_tool("node")
    if zig() is None:
        pytest.skip("needs ziglang")


@pytest.mark.parametrize("vad", [True, False])
def test_what_the_page_switches_is_what_a_spotter_stores(vad):
    need_compiler()
    spotter = make_spotter(vad=vad, decoder={**DECODER, "ignored": ["_silence_", "no"]})
    told = heard_by_the_page(spotter)
    assert told.decoder.ignored == () and told.vad is not None
    model = CModel.of(told)
    state = model.start()
    settings, stored = model.settings(state), facts(spotter, "it")["settings"]
    for i, (threshold, ignored) in enumerate(zip(stored["threshold"], stored["ignored"], strict=True)):
        settings.threshold[i] = 2.0 if ignored else threshold
    for name in ("smoothing", "consecutive", "refractory"):
        setattr(settings, name, stored[name])
    if not stored["reset"]:
        settings.detector.level_threshold = np.inf
    samples = audio(8.0).numpy()
    (found,), _ = model.detect(samples, state)
    (expected,), _ = CModel.of(spotter).detect(samples, CModel.of(spotter).start())
    assert found == expected
    assert len(expected) > 1


@pytest.mark.parametrize("vad", [True, False])
def test_in_node_it_hears_what_pytorch_hears(_wasm, tmp_path, vad):
    spotter = make_spotter(vad=vad, decoder={**DECODER, "ignored": ["_silence_", "yes"], "threshold": 0.3})
    write_page(spotter, tmp_path, "it")
    samples = audio(6.0).numpy()
    heard = hear_in_node(tmp_path, samples[0], 3)
    with torch.no_grad():
        frames, _ = spotter.stream(torch.from_numpy(samples), spotter.initial_state())
    np.testing.assert_allclose(heard.posteriors, frames.log_probabilities[0].exp(), atol=1e-5)
    assert heard.voice.tolist() == (frames.signal[0].tolist() if vad else [0] * len(heard.voice))
    streaming = StreamingSpotter(spotter)
    expected, _ = streaming.stream(torch.from_numpy(samples), streaming.initial_state())
    assert said(heard.detections) == said(expected.detections[0])
    assert len(heard.detections) > 1
    voice = heard.voice if vad else None
    compare_detections(spotter, np.log(heard.posteriors), samples[0], voice, heard.detections, "page")


def test_facts_are_plain_and_follow_weights_and_settings():
    spotter = make_spotter()
    first = facts(spotter, "it")
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert first["labels"] == ["_silence_", "yes", "no"]
    assert first["settings"]["ignored"] == [True, False, False]
    assert facts(make_spotter(), "it")["id"] == first["id"]
    assert facts(make_spotter(seed=1), "it")["id"] != first["id"]
    assert list(first["detector_hints"]) == list(first["settings"]["vad"])


def test_the_page_asks_nobody_else():
    for path in static_files():
        text = path.read_text(encoding="utf-8")
        assert "://" not in text.replace("http://www.w3.org/2000/svg", ""), path.name
    page = (STATIC / "index.html").read_text()
    assert "default-src 'self'" in page


def node(module: str, script: str):
    """Run a script that has imported everything of a module as `m`; what it prints as JSON."""
    program = f"const m = await import({json.dumps((STATIC / module).as_uri())});\n{script}"
    words = [need_tool("node"), "--input-type=module", "--no-warnings"]
    return json.loads(subprocess.run(words, input=program, capture_output=True, text=True, check=True).stdout)


def test_a_second_is_cut_as_corpora_are_cut():
    random = np.random.default_rng(0)
    samples = (0.01 * random.standard_normal(3000)).astype(np.float32)
    samples[1400:1900] += np.sin(np.arange(500)).astype(np.float32)
    script = f"console.log(JSON.stringify([...m.fit(Float32Array.from({samples.tolist()}), 1000)]));"
    np.testing.assert_allclose(node("takes.js", script), fit(samples, 1000), rtol=1e-6)


def test_a_spoken_word_is_found_in_silence():
    rate, random = 1000, np.random.default_rng(0)
    samples = (0.001 * random.standard_normal(5 * rate)).astype(np.float32)
    samples[2000:2500] += (0.3 * np.sin(np.arange(500) * 0.7)).astype(np.float32)
    script = f"""
const samples = Float32Array.from({samples.tolist()});
const take = new m.Take({rate});
let found = null, at = 0;
while (!found && at < samples.length) found = take.hear(samples.subarray(at, (at += 32)));
console.log(JSON.stringify([at, [...found]]));"""
    at, found = node("takes.js", script)
    assert 2500 + 500 <= at <= 2500 + 600
    assert len(found) == rate
    loud = np.flatnonzero(np.abs(found) > 0.1)
    assert 200 < loud[0] < 300 and 700 < loud[-1] < 800  # in the middle


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_wavs_are_read_to_the_bit(tmp_path, subtype):
    samples = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype=subtype)
    expected = soundfile.read(tmp_path / "a.wav", dtype="float32")[0].mean(axis=1)
    data = list((tmp_path / "a.wav").read_bytes())
    script = f"""
const read = m.readWav(Uint8Array.from({data}).buffer);
const again = m.readWav(m.writeWav(read.samples, read.rate));
console.log(JSON.stringify([read.rate, [...read.samples], [...again.samples], m.readWav(new ArrayBuffer(80))]));"""
    rate, found, again, nothing = node("wav.js", script)
    assert rate == 8000 and nothing is None
    np.testing.assert_array_equal(np.float32(found), expected)
    np.testing.assert_allclose(again, expected, atol=0.51 / 32768)


@pytest.mark.parametrize(("source", "target"), [(48_000, 16_000), (44_100, 16_000), (44_100, 8000), (8000, 16_000)])
def test_the_pages_own_resampler(source, target):
    time, band = np.arange(source // 4) / source, min(source, target) / 2
    tones = {"kept": 0.5 * np.sin(2 * np.pi * 0.8 * band * time), "gone": 0.5 * np.sin(2 * np.pi * 1.25 * band * time)}
    if source < target:
        del tones["gone"]
    for name, tone in tones.items():
        script = f"""
const samples = Float32Array.from({[round(x, 7) for x in tone.tolist()]});
const [one, pieces] = [new m.Resampler({source}, {target}), new m.Resampler({source}, {target})];
const made = [];
for (let at = 0; at < samples.length; at += 128) made.push(...pieces.push(samples.subarray(at, at + 128)));
console.log(JSON.stringify([[...one.push(samples)], made]));"""
        whole, made = map(np.array, node("resampler.js", script))
        np.testing.assert_allclose(made, whole, atol=1e-5)  # wherever it is cut
        middle = slice(200, len(whole) - 200)
        expected = (
            0.5 * np.sin(2 * np.pi * 0.8 * band * np.arange(len(whole)) / target) if name == "kept" else 0 * whole
        )
        assert np.abs(whole - expected)[middle].max() < 1e-3
