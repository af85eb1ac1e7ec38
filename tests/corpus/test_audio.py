"""Reading recordings: every format that must work, every broken one that must be named."""

import contextlib
import os
import random
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kws.corpus import audio
from kws.support.errors import BrokenRecording
from tests.recordings import odd_name, tone, write


def refused(path, **options) -> str:
    """Why a recording is refused; the error names the file."""
    with pytest.raises(BrokenRecording) as caught:
        audio.read(path, **options)
    assert caught.value.path == str(path)
    assert Path(path).name[:1] in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_16", 1 / 32000),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 1 / 32000),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 0.2),
        ("a.aiff", "PCM_16", 1 / 32000),
        ("a.au", "PCM_16", 1 / 32000),
        ("a.caf", "PCM_16", 1 / 32000),
        ("a.w64", "PCM_24", 1e-6),
        ("a.rf64", "PCM_16", 1 / 32000),
        ("A.WAV", "PCM_16", 1 / 32000),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_formats_and_channels(tmp_path, name, subtype, tolerance, channels):
    waveform = tone(0.3, 22050)
    weights = np.linspace(0.2, 1.0, channels) / np.linspace(0.2, 1.0, channels).mean()
    path = write(tmp_path / name, waveform[:, None] * weights, 22050, subtype)
    read, rate = audio.read(path)
    assert rate == 22050
    assert read.dtype == np.float32
    assert read.shape == waveform.shape
    np.testing.assert_allclose(read, waveform, atol=tolerance + 1e-6)


def test_sixteen_bit_round_trip(tmp_path):
    samples = np.array([-32768, -32767, -1, 0, 1, 32766, 32767], np.int16)
    path = write(tmp_path / "a.wav", samples)
    np.testing.assert_array_equal(audio.to_int16(audio.read(path)[0]), samples)
    np.testing.assert_array_equal(audio.to_int16(audio.to_float32(samples)), samples)
    np.testing.assert_array_equal(audio.to_int16(np.array([-2.0, 2.0], np.float32)), [-32768, 32767])


def test_pieces(tmp_path):
    waveform = tone(3.0)
    for path in (write(tmp_path / "a.wav", waveform, subtype="FLOAT"), write(tmp_path / "a.flac", waveform)):
        piece, _ = audio.read(path, start=1.25, duration=0.5)
        np.testing.assert_allclose(piece, waveform[20000:28000], atol=1 / 32000)
        assert "before the piece" in refused(path, start=2.75, duration=0.5)


def test_odd_names(tmp_path):
    path = write(odd_name(tmp_path), tone(0.1))
    assert len(audio.read(path)[0]) == 1600
    path.write_bytes(b"")
    assert refused(path) == "an empty file"
    with pytest.raises(BrokenRecording, match=r"\\n"):  # one line, whatever the name
        audio.read(path)


def wav(data: bytes, rate=16000, channels=1, bits=16, code=1, size=None) -> bytes:
    """A WAV file by hand, so that it can be wrong."""
    step = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels, rate, min(rate * step, 2**32 - 1), step, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


GOOD = wav(b"\1\0" * 4000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"RIFF", "not readable"),
        (GOOD[:36], "not readable|no samples"),
        (GOOD[:44], "truncated"),
        (GOOD[:5000], "truncated: 3044 bytes"),
        (wav(b""), "no samples"),
        (b"X" + GOOD[1:], "not readable"),
        (b"ID3\3\0\0\0\0\0\0" + bytes(500), "not readable|no samples"),
        (b"<html>404 Not Found</html>" * 50, "a web page"),
        (wav(np.array([0, np.nan, 0], "<f4").tobytes(), bits=32, code=3), "NaN"),
        (wav(np.array([0, np.inf, 0], "<f4").tobytes(), bits=32, code=3), "NaN or infinite"),
        (wav(np.array([0, 12000, 0], "<f4").tobytes(), bits=32, code=3), "full scale"),
        (wav(b"\1\0" * 400, rate=0), "0 Hz|not readable"),
        (wav(b"\1\0" * 400, rate=2**32 - 1), "Hz|not readable"),
        (wav(b"\1\0" * 320, channels=32), "32 channels"),
        (wav(b"\1\0" * 320, channels=0), "channels|not readable"),
    ],
)
def test_broken_wav(tmp_path, content, reason):
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    assert any(part in refused(path) for part in reason.split("|")), refused(path)


def test_streamed_wav_is_whole(tmp_path):
    """Programs that write to a pipe leave the length open; such files are not truncated."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(b"\1\0" * 4000, size=0xFFFFFFFF))
    assert len(audio.read(path)[0]) == 4000


@pytest.mark.parametrize("ending", [".flac", ".ogg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_truncated_compressed(tmp_path, ending, share):
    path = write(tmp_path / f"a{ending}", tone(2.0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if ending == ".flac" or share < 0.3:  # Ogg pages carry no total: a shorter file is a shorter recording
        assert refused(path)
    else:
        with contextlib.suppress(BrokenRecording):
            assert 0 < len(audio.read(path)[0]) <= 32000


def test_hours_long_is_refused_before_decoding(tmp_path):
    path = tmp_path / "a.wav"
    with path.open("wb") as file:  # a sparse file: three hours of silence
        file.write(wav(b"", size=2 * 16000 * 3 * 3600))
        file.truncate(44 + 2 * 16000 * 3 * 3600)
    began = time.perf_counter()
    assert "10800 s long" in refused(path)
    assert time.perf_counter() - began < 0.5
    assert len(audio.read(path, start=9000.0, duration=1.0)[0]) == 16000
    short = write(tmp_path / "b.flac", tone(2.0))
    assert "at most 1 s" in refused(short, max_seconds=1.0)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    assert "folder" in refused(tmp_path / "folder.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    assert "leads back to itself" in refused(tmp_path / "loop.wav")
    (tmp_path / "dangling.wav").symlink_to("nothing.wav")
    assert "link to nothing" in refused(tmp_path / "dangling.wav")
    assert "does not exist" in refused(tmp_path / "none.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert "regular" in refused(tmp_path / "pipe.wav")
    assert "zero byte" in refused("a\0.wav")


def container(path: Path, kind: str) -> Path:
    """A second of tone as RIFX, AIFF, …"""
    settings = {"format": "WAV", "endian": "BIG"} if kind == "rifx" else {"format": kind.upper()}
    soundfile.write(path, tone(1.0), 16000, subtype="PCM_16", **settings)
    return path


@pytest.mark.parametrize("kind", ["wav", "rifx", "aiff", "rf64", "w64", "au", "caf", "flac"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_every_container_that_was_cut_is_noticed(tmp_path, kind, share):
    path = container(tmp_path / "a.wav", kind)
    assert len(audio.read(path)[0]) == 16000
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "truncated" in refused(path) or kind in ("caf", "flac")


@pytest.mark.parametrize("riff", [0, 8, 36, 36 + 8000])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_length_that_was_never_filled_in(tmp_path, riff, order):
    """Whole audio: also to whoever asks how long it is, or for a piece."""
    samples = (8000 * np.sin(np.arange(4000) / 5)).astype(f"{order}i2")
    form = struct.pack(f"{order}HHIIHH", 1, 1, 16000, 32000, 2, 16)
    path = tmp_path / "a.wav"
    head = b"RIFF" if order == "<" else b"RIFX"
    path.write_bytes(
        head + struct.pack(f"{order}I", riff) + b"WAVEfmt " + struct.pack(f"{order}I", 16) + form + b"data" + bytes(4)
        + samples.tobytes()
    )  # fmt: skip
    np.testing.assert_array_equal(audio.to_int16(audio.read(path)[0]), samples)
    assert audio.length(path) == 0.25
    piece, _ = audio.read(path, start=0.125, duration=0.0625)
    np.testing.assert_array_equal(audio.to_int16(piece), samples[2000:3000])


def test_a_length_that_counts_the_header(tmp_path):
    path = tmp_path / "a.wav"
    for extra, good in ((44, True), (36, True), (45, False), (400, False)):
        path.write_bytes(wav(b"\1\0" * 4000, size=8000 + extra))
        if good:
            assert len(audio.read(path)[0]) == 4000
        else:
            assert "truncated" in refused(path)
    path.write_bytes(wav(b"LIST\4\0\0\0abcd", size=0))
    assert refused(path) == "holds no samples"


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", None), ("OGG", "OPUS"), ("OGG", "VORBIS")])
def test_compressed_kinds_whatever_their_name(tmp_path, kind, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0, level=0.3), 16000, format=kind, subtype=subtype)
    read, rate = audio.read(path)
    read = audio.resample(read, rate, 16000)
    assert abs(len(read) - 16000) < 400
    middle = read[4000:12000]
    assert np.abs(np.fft.rfft(middle)).argmax() == 220
    assert 0.2 < np.abs(middle).max() < 0.4


def test_mp3_decoding_says_nothing_on_the_terminal(tmp_path, capfd):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(1.0), 16000, format="MP3")
    data = path.read_bytes()
    draw = random.Random(1)
    for _ in range(20):
        damaged = bytearray(data)
        for at in draw.sample(range(100, len(data)), 20):
            damaged[at] ^= 255
        path.write_bytes(damaged)
        with contextlib.suppress(BrokenRecording):
            audio.read(path)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100), "an MPEG-4 file (.m4a, AAC or the like), which libsndfile"),
        (b"\xff\xf1\x50\x80" + bytes(200), "an AAC file"),
        (b"#!AMR\n" + bytes(200), "an AMR file"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(200), "a Windows Media file"),
        (b"\x1a\x45\xdf\xa3" + bytes(200), "a Matroska or WebM file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"PK\3\4" + bytes(200), "a ZIP archive"),
    ],
)
def test_what_cannot_be_decoded_is_named_with_what_it_is(tmp_path, monkeypatch, content, what):
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert refused(path).startswith(what)


@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("adts", "aac"), ("mkv", "aac"), ("asf", "wmav2")])
def test_kinds_that_pyav_decodes(tmp_path, ending, codec):
    av = pytest.importorskip("av", reason="kws[formats] is not installed")
    waveform, kind = tone(1.0, 16000), {"m4a": "mp4", "mkv": "matroska"}.get(ending, ending)
    path = tmp_path / "a.wav"
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        whole = av.AudioFrame.from_ndarray((waveform[None] * 32767).astype(np.int16), format="s16", layout="mono")
        stream.bit_rate, whole.sample_rate, whole.pts = 64_000, 16000, 0
        for frame in (whole, None):
            container.mux(stream.encode(frame))
    read, rate = audio.read(path)
    assert rate == 16000
    assert abs(len(read) - 16000) < 4096, "a codec's frames"
    assert np.abs(np.fft.rfft(read[4000:12000])).argmax() == 220
    assert abs(audio.length(path) - 1.0) < 0.3
    whole = path.read_bytes()
    for damaged in (whole[:100], whole[:20] + bytes(len(whole) - 20)):
        path.write_bytes(damaged)
        assert refused(path)


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_cancel_each_other_out(tmp_path, channels):
    """Stereo in antiphase is not silence; wide stereo is still the mean."""
    mono = tone(0.5)
    signs = np.array([0.0, 1.0, -1.0, 0.02][:channels] if channels == 4 else [1.0, -1.0])
    path = write(tmp_path / "a.wav", mono[:, None] * signs, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(path)[0], mono, atol=1e-6)
    piece, _ = audio.read(path, start=0.25, duration=0.1)
    np.testing.assert_allclose(piece, mono[4000:5600], atol=1e-6)
    np.testing.assert_allclose(audio.read_at(path, 16000, 10.0), mono, atol=1e-6)
    other = tone(0.5, frequency=700.0, seed=1)
    path = write(tmp_path / "wide.wav", np.stack([mono, other], 1), subtype="FLOAT")
    np.testing.assert_allclose(audio.read(path)[0], (mono + other) / 2, atol=1e-6)


def test_the_limit_is_in_samples(tmp_path):
    """A small file of silence at an absurd rate must not take gigabytes."""
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 655_350, 1, format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros(655_350, np.int16))
    tracemalloc.start()
    assert "at most 51.2" in refused(path)
    noise = audio.read_at(path, 8000, 3600.0, share=0.5)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
    assert abs(len(noise) - 30 * 8000) <= 1


def test_long_noise_is_what_it_is_in_one_piece(tmp_path):
    waveform = tone(30.0, 22050)
    path = write(tmp_path / "a.wav", waveform, 22050, subtype="FLOAT")
    whole = audio.resample(waveform, 22050, 8000)
    read = audio.read_at(path, 8000, 60.0)
    assert abs(len(read) - len(whole)) <= 1
    np.testing.assert_allclose(read[: 29 * 8000], whole[: 29 * 8000], atol=1e-4)
    assert len(audio.read_at(path, 8000, 60.0, share=0.25)) == pytest.approx(7.5 * 8000, abs=1)
    with pytest.raises(BrokenRecording, match="at most 10 s"):
        audio.read_at(path, 8000, 10.0)


GOOD_FILES: dict[str, bytes] = {}


@pytest.fixture(scope="module", autouse=True)
def good_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    for name, subtype in (("a.wav", "PCM_16"), ("f.wav", "FLOAT"), ("a.flac", "PCM_16"), ("a.ogg", "VORBIS")):
        GOOD_FILES[name] = write(folder / name, tone(0.1), subtype=subtype).read_bytes()


@st.composite
def mutated(draw) -> tuple[str, bytes]:
    """A good file with bytes changed, cut out, repeated or cut off; headers are hit most often."""
    name = draw(st.sampled_from(["a.wav", "f.wav", "a.flac", "a.ogg"]))
    data = bytearray(GOOD_FILES[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([60, 200, len(data)])))))
        how = draw(st.sampled_from(["set", "word", "cut", "repeat", "end"]))
        if how == "set":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "word":
            value = draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
            data[at : at + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", value)
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "repeat":
            data[at:at] = data[at : at + 32] * draw(st.integers(1, 20))
        else:
            del data[at:]
    return name, bytes(data)


def read_or_named(folder: Path, name: str, data: bytes) -> None:
    """The recording is read and sound, or refused by name with a reason, and soon."""
    path = folder / f"mutated-{name}"
    path.write_bytes(data)
    began = time.perf_counter()
    try:
        waveform, rate = audio.read(path, max_seconds=60)
    except BrokenRecording as error:
        assert error.reason
        assert error.path == str(path)
    else:
        assert waveform.dtype == np.float32
        assert waveform.ndim == 1
        assert len(waveform)
        assert np.isfinite(waveform).all()
        assert audio.RATES[0] <= rate <= audio.RATES[1]
    assert time.perf_counter() - began < 5


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(mutated())
def test_mutated_files_are_read_or_named(tmp_path_factory, mutation):
    read_or_named(tmp_path_factory.getbasetemp(), *mutation)


def test_thousands_of_files_with_flipped_bytes_are_read_or_named(tmp_path):
    rng = random.Random(3)
    for _ in range(1500):
        name = rng.choice(sorted(GOOD_FILES))
        data = bytearray(GOOD_FILES[name])
        for _ in range(rng.randint(1, 8)):
            data[int(len(data) * rng.random() ** 4)] = rng.randrange(256)  # mostly in the header
        read_or_named(tmp_path, name, bytes(data[: len(data) if rng.random() < 0.7 else rng.randrange(len(data))]))


@pytest.mark.parametrize(("source", "target"), [(44100, 8000), (48000, 16000), (8000, 16000), (16000, 8000)])
def test_resampling_keeps_a_tone_and_removes_what_folds(source, target):
    time_ = np.arange(source) / source
    low = (0.5 * np.sin(2 * np.pi * 1000 * time_)).astype(np.float32)
    result = audio.resample(low, source, target)
    assert result.dtype == np.float32
    assert abs(len(result) - target) <= 1
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(len(result)) / target)
    edge = target // 10
    np.testing.assert_allclose(result[edge:-edge], expected[edge:-edge], atol=1e-4)
    if target < source:
        high = (0.5 * np.sin(2 * np.pi * (target / 2 + 700) * time_)).astype(np.float32)
        assert np.abs(audio.resample(high, source, target)[edge:-edge]).max() < 1e-4


def test_resampling_one_second_is_one_second():
    assert len(audio.resample(np.zeros(16000, np.float32), 16000, 8000)) == 8000
    assert len(audio.resample(np.zeros(0, np.float32), 16000, 8000)) == 0


def test_fit():
    waveform = tone(0.5)
    assert audio.fit(waveform, 8000) is waveform
    padded = audio.fit(waveform, 10000)
    np.testing.assert_array_equal(padded[:8000], waveform)
    assert not padded[8000:].any()
    # Half a second of speech, 3.2 s into ten seconds of noise on an offset: it lands in the middle of the second.
    long = (0.01 * np.random.default_rng(0).standard_normal(160000)).astype(np.float32) + np.float32(0.2)
    begin = round(3.2 * 16000)
    long[begin : begin + 8000] += tone(0.5, level=0.5)
    first = audio.loudest_stretch(long, 16000)
    assert abs(first - (begin - 4000)) < 400
    np.testing.assert_array_equal(audio.fit(long, 16000), long[first : first + 16000])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=200))
def test_fit_always_gives_the_length(samples, values):
    waveform = np.array(values, np.float32)
    assert len(audio.fit(waveform, samples)) == samples


def test_libsndfile_can_read_what_we_promise():
    assert {"WAV", "FLAC", "OGG"} <= set(soundfile.available_formats())
