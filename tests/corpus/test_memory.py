"""A scan that is remembered: the same corpus, and whatever changes is noticed."""

import time

import pytest

from kws.corpus import FolderCorpus, memory
from kws.corpus.memory import Memory, Seen
from tests.recordings import make_corpus, odd_name, tone, write

WORDS = ["yes", "no"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "SETTLED", -60.0)  # so that the tests need not wait until files are old enough
    root = make_corpus(tmp_path / "data", words=(*WORDS, "left", "_other_"), takes=2, noise_seconds=6.0)
    write(odd_name(root / "yes"), tone(0.1))
    write(tmp_path / "long" / "deep" / "a.wav", tone(3.0))
    for name in ("yes/inner/c.wav", "yes/what.docx", "no/notes.txt", "README.md", ".hidden/a.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "_background_noise_" / "broken.wav").write_bytes(b"RIFF")
    return root


@pytest.fixture
def scans(root, tmp_path, monkeypatch):
    """Scan; whether it was remembered, and what was found, which must be what a scan without a memory finds."""
    looked, find = [], FolderCorpus._find
    monkeypatch.setattr(FolderCorpus, "_find", lambda self, found: looked.append(self) or find(self, found))

    def scan(**options):
        options = {
            "words": WORDS,
            "unknown_share": 1.0,
            "silence_share": 0.5,
            "negatives": [tmp_path / "long"],
        } | options
        expected = FolderCorpus(root, **options).scan()
        looked.clear()
        found = FolderCorpus(root, memory=tmp_path / "scans", **options).scan()
        assert found == expected
        assert found.fingerprint() == expected.fingerprint()
        assert found.clips.nbytes <= expected.clips.nbytes + 8
        return not looked, found

    return scan


def test_the_second_scan_only_looks(scans):
    assert not scans()[0]
    assert scans()[0] and scans()[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write(root / "no" / "new.wav", tone(0.1)),
        lambda root: next((root / "left").iterdir()).unlink(),
        lambda root: next((root / "no").glob("*.wav")).rename(root / "no" / "other.wav"),
        lambda root: (root / "right").mkdir(),
        lambda root: (root / "validation_list.txt").write_text("yes/00000005_nohash_0.wav\nno/00000005_nohash_0.wav\n"),
        lambda root: (root / "training_list.txt").write_text((root / "testing_list.txt").read_text()),
        lambda root: write(root / "_background_noise_" / "hum.wav", tone(9.0)),
        lambda root: write(root / "_background_noise_" / "broken.wav", tone(9.0)),
        lambda root: write(root.parent / "long" / "deep" / "deeper" / "b.wav", tone(2.0)),
        lambda root: (root / "yes" / "inner" / "d.wav").write_bytes(b"x"),
        lambda root: ((root / "no" / "notes.txt").unlink(), write(root / "no" / "notes.txt" / "e.wav", tone(0.1))),
        lambda root: ((root / "README.md").unlink(), write(root / "README.md" / "f.wav", tone(0.1))),
        lambda root: (root / ".hidden").rename(root / "found"),
    ],
)
def test_a_change_is_noticed(scans, root, change):
    scans()
    time.sleep(0.02)  # a tick of the file system's clock
    change(root)
    assert not scans()[0]
    assert scans()[0]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 2},
        {"words": ["yes", "left"]},
        {"validation_percentage": 20},
        {"silence_seconds": 0.5},
        {"negatives": []},
    ],
)
def test_other_settings_are_another_scan(scans, options):
    scans()
    assert not scans(**options)[0]
    assert scans(**options)[0] and scans()[0]


def test_what_is_too_young_is_not_remembered(scans, monkeypatch):
    monkeypatch.setattr(memory, "SETTLED", 2.0)
    assert [scans()[0] for _ in range(2)] == [False, False]


def test_names_alone_need_no_time_to_settle(root, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "SETTLED", 2.0)
    (root / "README.md").unlink()
    chosen = FolderCorpus(root, words=["left"], memory=tmp_path / "scans", required_splits=())
    assert chosen.scan() == chosen.scan()
    assert len(list((tmp_path / "scans").iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_memory_is_made_again(scans, tmp_path, damage):
    scans()
    (path,) = (tmp_path / "scans").iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "flipped": flipped, "text": b"{}"}[damage])
    assert not scans()[0]
    assert scans()[0]


def test_a_memory_that_cannot_be_written(root, tmp_path):
    (tmp_path / "file").write_text("")
    source = FolderCorpus(root, memory=tmp_path / "file" / "scans")
    assert source.scan() == source.scan() == FolderCorpus(root).scan()


def test_a_link_that_leads_up_is_never_relied_on(scans, root):
    (root / "up").symlink_to("..")
    assert [scans()[0] for _ in range(2)] == [False, False]


def test_running_speech_is_asked_for_each_time(root, tmp_path):
    class Speech:
        folder = tmp_path / "long"

        def prepare(self, keywords):
            assert tuple(keywords) == tuple(WORDS)
            return self.folder

    source = FolderCorpus(root, words=WORDS, running_speech=Speech(), memory=tmp_path / "scans")
    first = source.scan()
    assert Memory(source.memory, source.name, source._settings()).recall() == first == source.scan()
    write(tmp_path / "other" / "b.wav", tone(2.0))
    Speech.folder = tmp_path / "other"
    assert {clip.path.parent.name for clip in source.scan().clips if clip.label == "_unknown_"} == {"other"}


def test_relative_roots_are_told_apart(root, tmp_path, monkeypatch):
    make_corpus(tmp_path / "elsewhere" / "data")
    found = []
    for place in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(place)
        found.append(FolderCorpus("data", memory=tmp_path / "scans", required_splits=()).scan())
    assert found[0] != found[1]
    assert len(list((tmp_path / "scans").iterdir())) == 2


def test_seen_says_nothing_while_something_is_young(tmp_path):
    seen = Seen()
    seen.times(tmp_path)
    assert seen.facts() is None
    seen.begun += 10
    status = tmp_path.stat()
    assert seen.facts()["mixed"] == {str(tmp_path): [status.st_ino, status.st_mtime_ns, status.st_ctime_ns]}
