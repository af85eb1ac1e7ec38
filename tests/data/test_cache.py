"""The cache of waveforms: right, noticed when it is not, and there whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kws.corpus import FolderCorpus, audio
from kws.data import cache, decoding
from kws.data.cache import ArrayFile, waveforms
from kws.support.errors import KwsError
from tests.recordings import REAL, make_corpus, odd_name, tone, write

BUILD = """
import sys
from kws.data.cache import waveforms
from kws.corpus import FolderCorpus
found = waveforms(FolderCorpus(sys.argv[1]).scan(), 8000, directory=sys.argv[2], progress=False)
print(found.folder.name, sum(int(split.samples.astype("int64").sum()) for split in found.splits.values()))
"""


def build(root, directory, **options):
    return waveforms(FolderCorpus(root).scan(), 8000, directory=directory, progress=False, **options)


def leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.endswith(".tmp"))


def test_arrays_hold_the_clips(tmp_path):
    root = make_corpus(tmp_path / "data", noise_seconds=2.0)
    write(root / "yes" / "long_nohash_0.wav", tone(3.0))
    write(odd_name(root / "no"), tone(1.0, 44100), 44100)
    corpus = FolderCorpus(root).scan()
    found = waveforms(corpus, 8000, directory=tmp_path / "cache", progress=False)
    assert found.labels == corpus.labels == ("no", "yes")
    assert found.refused == ()
    assert sum(len(split) for split in found.splits.values()) == len(corpus.clips)
    for name, split in found.splits.items():
        clips = corpus.split(name)
        assert split.samples.dtype == np.int16
        assert split.samples.shape == (len(clips), 8000)
        assert split.labels.dtype == np.int64
        assert split.paths == [str(clip.path) for clip in clips]
        assert split.speakers == [clip.speaker for clip in clips]
        assert [corpus.labels[label] for label in split.labels] == [clip.label for clip in clips]
        for row, clip in zip(split.samples, clips, strict=True):
            waveform, rate = audio.read(clip.path)
            expected = audio.to_int16(audio.fit(audio.resample(waveform, rate, 8000), 8000))
            np.testing.assert_array_equal(row, expected)
    assert isinstance(found.splits["training"].samples, np.memmap)
    assert [noise.shape for noise in found.noise] == [(16000,), (16000,)]
    hiss = audio.resample(audio.read(corpus.noise[0])[0], 16000, 8000)
    np.testing.assert_array_equal(found.noise[0], audio.to_int16(hiss))


def test_pieces_of_a_recording(tmp_path):
    root = make_corpus(tmp_path / "data", noise_seconds=3.0)
    corpus = FolderCorpus(root).scan()

    piece = replace(corpus.clips[0], path=corpus.noise[0], start=1.5, duration=1.0)
    corpus = replace(corpus, clips=(piece, *corpus.clips[1:]))
    found = waveforms(corpus, 16000, directory=tmp_path / "cache", progress=False)
    whole = audio.to_int16(audio.read(corpus.noise[0])[0])
    np.testing.assert_array_equal(found.splits["training"].samples[0], whole[24000:40000])


def test_found_again_and_shared_between_places(tmp_path):
    root = make_corpus(tmp_path / "data")
    first = build(root, tmp_path / "cache")
    stamp = (first.folder / "training.npy").stat().st_mtime_ns
    again = build(root, tmp_path / "cache")
    assert again.folder == first.folder
    assert (again.folder / "training.npy").stat().st_mtime_ns == stamp
    root.rename(tmp_path / "moved")
    moved = waveforms(FolderCorpus(tmp_path / "moved", name="data").scan(), 8000, directory=tmp_path / "cache")
    assert moved.folder == first.folder
    assert moved.splits["training"].paths[0].startswith(str(tmp_path / "moved"))


def test_every_setting_has_its_own(tmp_path):
    corpus = FolderCorpus(make_corpus(tmp_path / "data")).scan()
    made = [
        waveforms(corpus, rate, seconds, tmp_path / "cache", progress=False)
        for rate, seconds in ((8000, 1.0), (16000, 1.0), (8000, 0.5))
    ]
    assert len({found.folder for found in made}) == 3
    assert [found.splits["testing"].samples.shape[1] for found in made] == [8000, 16000, 4000]


@pytest.mark.parametrize("settled", [False, True])
def test_a_changed_clip_is_noticed(tmp_path, settled, monkeypatch):
    """Of the same size and with its old time stamp: only the content, or the kernel's own stamp, tells."""
    if settled:
        monkeypatch.setattr("kws.support.content.SETTLED", 0.0)
    root = make_corpus(tmp_path / "data")
    clip = next((root / "yes").iterdir())
    before = build(root, tmp_path / "cache")
    status = clip.stat()
    time.sleep(0.02)
    write(clip, tone(0.2, frequency=900))
    os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert clip.stat().st_size == status.st_size
    after = build(root, tmp_path / "cache")
    assert after.folder != before.folder
    # One more file, a removed file, another split: other choices of clips.
    clip.unlink()
    assert build(root, tmp_path / "cache").folder not in (before.folder, after.folder)


def test_broken_clips_are_listed_and_limited(tmp_path):
    root = make_corpus(tmp_path / "data", takes=4)  # 96 clips
    for index, name in enumerate(("0000000a_nohash_0.wav", "0000000a_nohash_1.wav")):
        (root / "yes" / name).write_bytes(b"RIFF" if index else b"")
    (root / "no" / "x.wav").mkdir()
    (root / "no" / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(KwsError, match=r"4 of 98 clips cannot be read.*max_broken_share"):
        build(root, tmp_path / "cache")
    found = build(root, tmp_path / "cache", max_broken_share=0.05)
    assert [clip.label for clip in found.splits["training"].clips] == [
        found.labels[label] for label in found.splits["training"].labels
    ]
    reasons = {Path(refusal.path).name: refusal.reason for refusal in found.refused}
    assert set(reasons) == {"0000000a_nohash_0.wav", "0000000a_nohash_1.wav", "x.wav", "loop.wav"}
    assert reasons["0000000a_nohash_0.wav"] == "an empty file"
    assert sum(len(split) for split in found.splits.values()) == 94
    assert np.load(found.folder / "training.npy").shape == (len(found.splits["training"]), 8000)
    with pytest.raises(KwsError, match="max_broken_share"):  # the limit also holds for a cache that is there
        build(root, tmp_path / "cache", max_broken_share=0.0)


def test_a_split_without_readable_clips(tmp_path):
    root = make_corpus(tmp_path / "data")
    for line in (root / "testing_list.txt").read_text().split():
        (root / line).write_bytes(b"")
    with pytest.raises(KwsError, match="none of the clips for testing"):
        build(root, tmp_path / "cache", max_broken_share=1.0)


@pytest.mark.parametrize("damage", ["cut", "missing", "json", "swap", "pickle"])
def test_a_damaged_cache_is_made_again(tmp_path, damage, caplog):
    root = make_corpus(tmp_path / "data")
    folder = build(root, tmp_path / "cache").folder
    expected = np.load(folder / "training.npy")
    file = folder / "training.npy"
    if damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "missing":
        file.unlink()
    elif damage == "json":
        (folder / "waveforms.json").write_text("{")
    elif damage == "swap":
        np.save(file, expected[:1])
    else:
        np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    found = build(root, tmp_path / "cache")
    np.testing.assert_array_equal(found.splits["training"].samples, expected)
    assert leftovers(tmp_path / "cache") == []


def test_kill_at_any_moment(tmp_path):
    """Killed while it builds: the old state is there, the next build succeeds and tidies up."""
    root, directory = make_corpus(tmp_path / "data", speakers=60, takes=8, seconds=1.0), tmp_path / "cache"
    killed = 0
    for delay in (0.0, 0.02, 0.08, 0.2):
        process = subprocess.Popen([sys.executable, "-c", BUILD, root, directory], stdout=subprocess.DEVNULL)
        while process.poll() is None and not (directory.is_dir() and leftovers(directory)):
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        for folder in directory.glob("waveforms-*"):  # if one is there, it is a complete one
            table = json.loads((folder / "waveforms.json").read_text())
            clips = table["splits"]["training"]["clips"]
            assert np.load(folder / "training.npy", mmap_mode="r").shape == (clips, 8000)
    assert killed >= 2
    found = build(root, directory)
    assert sum(len(split) for split in found.splits.values()) == 960
    assert leftovers(directory) == []


def test_two_processes_at_once(tmp_path):
    root, directory = make_corpus(tmp_path / "data", speakers=40, takes=6), tmp_path / "cache"
    command = [sys.executable, "-c", BUILD, str(root), str(directory)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(outputs) == 1
    assert len(list(directory.glob("waveforms-*"))) == 1
    assert leftovers(directory) == []


def test_an_error_leaves_nothing(tmp_path, monkeypatch):
    root = make_corpus(tmp_path / "data")
    corpus = FolderCorpus(root).scan()

    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrayFile, "append", full)
    with pytest.raises(KwsError, match="disk is full"):
        waveforms(corpus, 8000, directory=tmp_path / "cache", progress=False)
    monkeypatch.undo()
    assert leftovers(tmp_path / "cache") == []
    assert not list((tmp_path / "cache").glob("waveforms-*"))
    usage = cache.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(KwsError, match="0 MB are free"):
        waveforms(corpus, 8000, directory=tmp_path / "cache", progress=False)
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(KwsError, match="cannot be written"):
        waveforms(corpus, 8000, directory=tmp_path / "file" / "cache", progress=False)


def test_a_corpus_that_changes_meanwhile(tmp_path, monkeypatch):
    root = make_corpus(tmp_path / "data")
    corpus = FolderCorpus(root).scan()
    victim, decode = corpus.clips[-1].path, decoding.decode

    def meanwhile(*arguments):
        victim.write_bytes(victim.read_bytes() + b"\0\0")
        return decode(*arguments)

    monkeypatch.setattr(decoding, "decode", meanwhile)
    with pytest.raises(KwsError, match="changed while"):
        waveforms(corpus, 8000, directory=tmp_path / "cache", progress=False)
    assert not list((tmp_path / "cache").glob("waveforms-*"))


def test_array_file_matches_numpy(tmp_path):
    rows = np.arange(60, dtype=np.int16).reshape(10, 6)
    with ArrayFile(tmp_path / "a.npy", (6,)) as file:
        file.append(rows[:3])
        file.append(rows[3:])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)
    with ArrayFile(tmp_path / "b.npy", ()) as file:
        pass
    assert np.load(tmp_path / "b.npy").shape == (0,)


def test_wrong_rate(tmp_path):
    with pytest.raises(KwsError, match="sample_rate=0"):
        waveforms(FolderCorpus(make_corpus(tmp_path / "data")).scan(), 0, directory=tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings beside the repository are not here")
def test_real_recordings(tmp_path):
    corpus = FolderCorpus(REAL, words=["yes", "no"]).scan()
    found = waveforms(corpus, 8000, directory=tmp_path, progress=False)
    assert found.refused == ()
    assert len(found.splits["training"]) == 800
    assert len(found.noise) == 6
