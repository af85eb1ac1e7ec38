"""main.c: recordings in every form that a WAV file has, and what it says of those that it cannot hear."""

import subprocess
import wave

import numpy as np
import pytest
import soundfile

from kws.native import compiler
from tests.native.spotters import RATE, audio, model, need_compiler, need_tool, sources


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    need_compiler()
    folder, path = sources(), tmp_path_factory.mktemp("program") / "kws"
    flags = ("-std=c99", "-O1", f"-I{folder / 'src'}")
    compiler.find_compiler().run(*flags, folder / "main.c", folder / "src/kws_model.c", "-o", path, "-lm")
    return path


@pytest.fixture(scope="module")
def samples():
    return (audio(6.0)[0].numpy() * 32767).astype(np.int16)


def lines(samples) -> list[str]:
    """What is expected of samples in [-1, 1], or int16."""
    (found,), _ = model().detect(samples, model().start())
    assert len(found) > 2
    return [f"{d.time:7.2f} s  {d.word}  {d.confidence:.2f}" for d in found]


def run(program, *arguments, **options):
    return subprocess.run([program, *arguments], capture_output=True, **options)


@pytest.mark.parametrize("kind", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_of_every_kind(program, tmp_path, samples, kind, form, channels):
    path = tmp_path / "sound.wav"
    floats = samples.astype(np.float32) / 32768
    beside = np.zeros_like(floats) if channels == 2 else floats
    soundfile.write(path, np.stack([2 * floats, 0 * beside], 1) if channels == 2 else floats, RATE, kind, format=form)
    stored, _ = soundfile.read(path, dtype="float32", always_2d=True)
    done = run(program, path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == lines(stored.mean(1))


def test_samples_without_a_header(program, samples):
    done = run(program, input=samples.tobytes() + b"x")  # half a sample at the end
    assert done.returncode == 0
    assert done.stdout.decode().splitlines() == lines(samples)


def test_chunks_in_front_of_the_samples_and_a_file_that_ends_early(program, tmp_path, samples):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    content = path.read_bytes()
    odd = b"LIST" + (5).to_bytes(4, "little") + b"abcde\0"
    path.write_bytes(content[:12] + odd + content[12:])
    assert run(program, path).stdout.decode().splitlines() == lines(samples)
    path.write_bytes(content[:-401])
    assert run(program, path).stdout.decode().splitlines() == lines(samples[:-201])
    path.write_bytes(content[:40] + b"\xff\xff\xff\xff" + content[44:])  # its writer did not know how much it would be
    assert run(program, path).stdout.decode().splitlines() == lines(samples)


def test_what_cannot_be_heard_is_named(program, tmp_path, samples):
    path = tmp_path / "sound.wav"
    soundfile.write(path, samples, 16000)
    done = run(program, path)
    assert done.returncode == 1
    assert done.stderr.decode() == f"{path}: it has 16000 Hz, but this model hears 1000 Hz; resample it first.\n"
    soundfile.write(path, samples, RATE, "DOUBLE")
    assert b"neither PCM of 8, 16, 24 or 32 bits nor floating point of 32 bits" in run(program, path).stderr
    for content in (b"", b"RIFF", b"hello, this is no sound at all", b"RIFF\0\0\0\0WAVEdata\0\0\0\0"):
        path.write_bytes(content)
        done = run(program, path)
        assert done.returncode == 1
        assert done.stderr.decode() == f"{path}: this is no WAV file.\n"
    assert b"it cannot be opened" in run(program, tmp_path / "missing.wav").stderr
    assert run(program, "--help").returncode == 2
    assert b"16-bit samples of 1000 Hz on standard input" in run(program, "--help").stderr


def test_cmake_builds_it(tmp_path, samples):
    cmake = need_tool("cmake")
    need_compiler()
    folder = sources()
    subprocess.run([cmake, "-S", folder, "-B", tmp_path], check=True, capture_output=True)
    subprocess.run([cmake, "--build", tmp_path], check=True, capture_output=True)
    assert run(tmp_path / "kws", input=samples.tobytes()).stdout.decode().splitlines() == lines(samples)
