"""`python -m kws.listen`: the words that the streaming spotter hears, whatever engine, file, rate or pipe."""

import io
import json
import wave

import numpy as np
import onnx
import pytest
import soundfile
import torch

from kws.export.onnx_stream import stream_model
from kws.listen import __main__ as command
from kws.listen.ears import Ears, open_ears, with_thresholds
from kws.listen.meter import decibel
from kws.listen.microphone import choose
from kws.listen.sources import Resampler, expand, read_file, read_pipe
from kws.native.compiler import find_compiler
from kws.spotter import StreamingSpotter
from kws.spotter.runtime import TorchRuntime
from kws.support.errors import BrokenRecording, KwsError
from tests.spotter.test_streaming import audio, make_spotter

RATE = 1000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A spotter file that hears something in noise, and a stream.onnx of it."""
    folder = tmp_path_factory.mktemp("run")
    spotter = make_spotter(threshold=0.4, smoothing=0.08, refractory=0.2)
    spotter.save(folder / "spotter.ckpt")
    onnx.save(stream_model(spotter), folder / "stream.onnx")
    return folder


@pytest.fixture(scope="module")
def samples():
    """Ten seconds, (S,) int16."""
    return (audio(10.0)[0].clamp(-1, 1) * 32767).short().numpy()


def expected(run, samples):
    streaming = StreamingSpotter(make_spotter(threshold=0.4, smoothing=0.08, refractory=0.2))
    heard, _ = streaming.stream(torch.from_numpy(samples)[None], streaming.initial_state())
    return heard.detections[0]


def same(found, wanted):
    assert [(d.word, round(d.time, 6)) for d in found] == [(d.word, round(d.time, 6)) for d in wanted]
    np.testing.assert_allclose([d.confidence for d in found], [d.confidence for d in wanted], atol=1e-4)


ENGINES = ["python", pytest.param("c", marks=pytest.mark.skipif(find_compiler() is None, reason="no C compiler"))]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("block", [1, 37, 40, 10_000])
def test_blocks_of_any_size_are_the_stream(run, samples, engine, block):
    count = 5000 if block == 1 else len(samples)
    ears = open_ears(run / "spotter.ckpt", engine)
    found = [d for i in range(0, count, block) for d in ears.hear(samples[i : min(i + block, count)]).detections]
    wanted = expected(run, samples[:count])
    assert len(wanted) >= 2
    same(found, wanted)
    ears.start()
    same(ears.hear(samples[:count]).detections, wanted)  # from the beginning again


def test_a_stream_onnx_hears_the_same(run, samples):
    same(open_ears(run / "stream.onnx").hear(samples).detections, expected(run, samples))


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_a_compiled_library_hears_the_same(run, samples, tmp_path):
    from kws.native.builds import build_library
    from kws.native.folder import write_sources
    from kws.spotter import Spotter

    write_sources(Spotter.load(run / "spotter.ckpt"), tmp_path)
    library = build_library(tmp_path)
    same(open_ears(library).hear(samples).detections, expected(run, samples))
    assert open_ears(library, threshold=["1"]).hear(samples).detections == []
    with pytest.raises(KwsError, match="holds its own detector"):
        open_ears(library, vad="off")


def test_the_command_prints_a_line_a_detection(run, samples, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    assert command.main_with([str(run / "spotter.ckpt"), "--engine", "python", str(tmp_path / "a.wav")]) == 0
    wanted = expected(run, samples)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{tmp_path / 'a.wav'}  {d.time:.2f} s  {d.word}  {d.confidence:.2f}" for d in wanted]
    command.main_with([str(run / "spotter.ckpt"), str(tmp_path), "--json", "--engine", "python"])
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(f["word"], f["time"]) for f in facts] == [(d.word, round(d.time, 4)) for d in wanted]


def test_without_a_run_the_bundled_spotter_hears(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    assert command.main_with([str(tmp_path / "a.wav"), "--engine", "python"]) == 0
    assert command.main_with([str(tmp_path), "--engine", "python", "--every-frame", str(tmp_path / "a.csv")]) == 0
    assert capsys.readouterr().out == ""
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert {"yes", "no", "stop"} < set(header)


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_every_frame_is_written(run, samples, tmp_path, suffix):
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    out = tmp_path / f"frames.{suffix}"
    command.main_with(
        [str(run / "spotter.ckpt"), "--engine", "python", str(tmp_path / "a.wav"), "--every-frame", str(out)]
    )
    ears = open_ears(run / "spotter.ckpt", "python")
    heard = ears.hear(samples)
    if suffix == "npz":
        stored = np.load(out)
        np.testing.assert_allclose(stored["posteriors_0"], np.exp(heard.outputs), rtol=1e-6)
        np.testing.assert_allclose(stored["times_0"][:2], [0.04, 0.08])
        np.testing.assert_array_equal(stored["voice_0"], heard.signal)
    else:
        rows = [line.split(",") for line in out.read_text().splitlines()]
        assert rows[0] == ["file", "time", "voice", *ears.labels]
        assert len(rows) == 1 + len(heard.outputs)
        np.testing.assert_allclose([float(x) for x in rows[-1][3:]], np.exp(heard.outputs[-1]), rtol=1e-4)


# --- sources ---


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff"])
def test_files_of_any_kind_rate_and_channels(tmp_path, kind):
    time = np.arange(48_000 * 3) / 48_000
    tone = 0.4 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / f"a.{kind}", np.stack([tone, tone], 1), 48_000)
    blocks = list(read_file(tmp_path / f"a.{kind}", 8000))
    heard = np.concatenate([block for block, _ in blocks])
    assert abs(len(heard) - 24_000) <= 1
    wanted = 0.4 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 8000)
    assert np.abs(heard[500:23_500] - wanted[500:23_500]).max() < (0.03 if kind == "ogg" else 1e-3)
    assert blocks[-1][1] == pytest.approx(3.0)


def test_pieces_resampled_are_the_whole_resampled():
    import soxr

    noise = np.random.default_rng(0).normal(size=30_000).astype(np.float32)
    resampler = Resampler(44_100, 16_000)
    pieces = [resampler(noise[i : i + 977], last=i + 977 >= len(noise)) for i in range(0, len(noise), 977)]
    whole = soxr.resample(noise, 44_100, 16_000, quality="HQ")
    found = np.concatenate(pieces)
    assert abs(len(found) - len(whole)) <= 1
    np.testing.assert_allclose(found[: len(whole)], whole[: len(found)], atol=1e-5)


class Trickle(io.RawIOBase):
    """A pipe that hands over a few bytes at a time."""

    def __init__(self, data, at_once):
        self.data, self.at_once = io.BytesIO(data), at_once

    def read(self, size=-1):
        return self.data.read(size)

    def read1(self, size=-1):
        return self.data.read(min(self.at_once, size))


@pytest.mark.parametrize("at_once", [1, 3, 100_000])
@pytest.mark.parametrize("header", [False, True])
def test_a_pipe_raw_or_with_a_header(header, at_once):
    samples = (np.sin(np.arange(600) / 7) * 20_000).astype("<i2")
    data = samples.tobytes()
    if header:
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(np.stack([samples, samples], 1).tobytes())
        data = file.getvalue()
    heard = np.concatenate(list(read_pipe(Trickle(data, at_once), 8000)))
    np.testing.assert_array_equal(heard, samples.astype(np.float32) / 32768)


def test_a_pipe_of_other_samples_is_refused():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(100), 8000, format="WAV", subtype="FLOAT")
    with pytest.raises(KwsError, match="32-bit samples; hand in 16 bits"):
        list(read_pipe(io.BytesIO(file.getvalue()), 8000))
    with pytest.raises(KwsError, match="ends before any samples"):
        list(read_pipe(io.BytesIO(b"RIFF\x00\x00\x00\x00WAVE"), 8000))
    assert sum(len(block) for block in read_pipe(io.BytesIO(b""), 8000)) == 0


def test_folders_are_heard_file_by_file(tmp_path):
    for name in ("b/two.flac", "one.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(100), 8000)
    (tmp_path / "notes.txt").write_text("none")
    assert [path.name for path in expand([str(tmp_path)])] == ["two.flac", "one.wav"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(KwsError, match="no recording in the folder"):
        list(expand([str(tmp_path / "empty")]))


def test_a_broken_file_is_named_and_the_others_are_heard(run, samples, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "b.wav", samples, RATE)
    status = command.main_with([str(run / "spotter.ckpt"), "--engine", "python", str(tmp_path)])
    printed = capsys.readouterr()
    assert status == 1
    assert "a.wav" in printed.err
    assert len(printed.out.splitlines()) == len(expected(run, samples))
    with pytest.raises(BrokenRecording):
        list(read_file(tmp_path / "a.wav", 8000))


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name files"),
        (["{run}"], "name files, folders or -"),
        (["{run}", "a.wav", "--microphone"], "name files, folders or -"),
        (["{run}", "a.wav", "--threshold", "much"], "'much' is no number"),
        (["{run}", "a.wav", "--threshold", "perhaps=0.4"], "'perhaps' is no word of this spotter"),
        (["{run}", "a.wav", "--threshold", "1.5"], "must lie between 0 and 1"),
        (["{run}", "a.wav", "--vad", "sharp"], "--vad=sharp is unknown"),
        (["{run}", "a.wav", "--every-frame", "frames.txt"], "written as .csv or .npz"),
        (["nowhere", "a.wav"], "no such directory"),
        (["nowhere.onnx", "a.wav"], "there is no file"),
    ],
)
def test_mistakes_are_one_sentence(run, arguments, reason):
    arguments = [argument.format(run=run / "spotter.ckpt") for argument in arguments]
    with pytest.raises(KwsError, match=reason):
        command.main_with(arguments)


def test_thresholds_for_all_words_or_for_one():
    stored = {"threshold": 0.5, "smoothing": 0.1}
    assert with_thresholds(stored, ("yes", "no"), ["0.7"]) == {"threshold": 0.7, "smoothing": 0.1}
    assert with_thresholds(stored, ("yes", "no"), ["no=0.9"])["threshold"] == {"yes": 0.5, "no": 0.9}
    assert with_thresholds(stored, ("yes", "no"), ["0.6", "no=0.9"])["threshold"] == {"yes": 0.6, "no": 0.9}


def test_bad_samples_are_counted(run):
    spotter = make_spotter()
    ears = Ears(TorchRuntime(spotter), spotter.decoder)
    ears.hear(np.array([np.nan, 0.5, 3.0, np.inf, -2.0], np.float32))
    assert (ears.repaired, ears.clipped) == (2, 2)


# --- the microphone ---


def test_a_device_by_number_and_name(monkeypatch):
    cards = [{"name": "Built-in", "id": "a"}, {"name": "USB Microphone", "id": "b"}, {"name": "USB Line", "id": "c"}]
    monkeypatch.setattr("kws.listen.microphone.devices", lambda: cards)
    assert [choose(name) for name in (None, "0", "microphone")] == [None, "a", "b"]
    for name in ("usb", "7", "piano"):
        with pytest.raises(KwsError, match=f"--device {name} means"):
            choose(name)
    monkeypatch.setattr("kws.listen.microphone.devices", lambda: [])
    with pytest.raises(KwsError, match="there is no sound card"):
        choose(None)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "miniaudio", None)
    with pytest.raises(KwsError, match=r"pip install 'kws\[listen\]'"):
        choose(None)


def test_levels_in_decibel():
    assert decibel(np.full(100, 16384, np.int16)) == pytest.approx(-6.02, abs=0.01)
    assert decibel(np.zeros(10, np.int16)) == pytest.approx(-96)
