"""What scanning leaves out is counted by reason, and a class that would be missing stops the run."""

import shutil

import pytest

from kws.corpus import FolderCorpus
from kws.corpus.base import Refusal, by_reason
from kws.support.errors import KwsError
from tests.recordings import make_corpus, tone, write


@pytest.fixture
def root(tmp_path):
    return make_corpus(tmp_path / "data", words=("yes", "no", "left"), speakers=12, noise_seconds=6.0)


def deeper(folder):
    for path in list(folder.iterdir()):
        (folder / path.name[:8]).mkdir(exist_ok=True)
        path.rename(folder / path.name[:8] / path.name)


def reasons(corpus):
    return {row["reason"]: row["count"] for row in by_reason(corpus.refused)}


def test_a_class_whose_clips_lie_deeper_stops_the_run(root):
    deeper(root / "no")
    with pytest.raises(KwsError, match=r"'no' has no clips \(24 left out: lies a level deeper.*data\.words"):
        FolderCorpus(root).scan()
    found = FolderCorpus(root, words=["yes", "left"]).scan()
    assert found.labels == ("yes", "left")


def test_a_class_of_what_is_no_recording_stops_the_run(root):
    for path in (root / "no").iterdir():
        path.rename(path.with_suffix(".docx"))
    with pytest.raises(KwsError, match=r"'no' has no clips \(24 left out: no recording by its name \(\.docx\)\)"):
        FolderCorpus(root).scan()
    shutil.rmtree(root / "no")
    (root / "no").mkdir()
    with pytest.raises(KwsError, match="'no' has no clips;"):
        FolderCorpus(root).scan()


def test_a_mixed_class_is_counted(root):
    for name in ("a.docx", "b.docx", "inner/c.wav", "inner/deep/d.wav", ".e.wav", "notes.txt", "f.mp3", "f.wav"):
        (root / "no" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "no" / name).write_bytes(b"x")
    write(root / "loose.wav", tone(0.1))
    corpus = FolderCorpus(root).scan()
    assert reasons(corpus) == {
        "no recording by its name (.docx)": 2, "lies a level deeper than <word>/<clip>": 2, "a hidden file": 1,
        "the same clip in another format": 1, "lies beside the words' folders, not in one": 1,
    }  # fmt: skip


def test_a_word_without_training_clips_stops_the_run(root, tmp_path):
    names = [f"no/{path.name}" for path in (root / "no").iterdir()]
    (root / "testing_list.txt").write_text("".join(f"{name}\n" for name in names) + "yes/00000002_nohash_0.wav\n")
    with pytest.raises(KwsError, match="no clips of no are left for training"):
        FolderCorpus(root).scan()
    bad = tmp_path / "bad.txt"
    bad.write_text("".join(f"left/{path.name}\n" for path in (root / "left").iterdir()))
    with pytest.raises(KwsError, match=r"no clips of left are left for training.*data\.bad_list"):
        FolderCorpus(root, words=["yes", "left"], bad_list=bad).scan()


def test_what_lists_and_limits_leave_out_is_noted(root):
    with (root / "testing_list.txt").open("a") as file:
        file.write("yes/absent.wav\nmaybe/a.wav\nmaybe/b.wav\n")
    (root / "validation_list.txt").write_text("yes/00000000_nohash_0.wav\nleft/00000000_nohash_0.wav\n")
    (root / "_other_").mkdir()
    write(root / "_other_" / "a.wav", tone(0.1))
    corpus = FolderCorpus(root, max_files_per_word=10).scan()
    assert reasons(corpus) == {"named in testing_list.txt, but not there": 1}
    for note in (
        "testing_list.txt names 2 clips of other words",
        "no clips of no for validation",
        "data.max_files_per_word leaves out 28 clips",
        "_other_ left out; data.null_label=_null_ takes what is in folders with a _",
    ):
        assert note in corpus.notes


def test_shares_that_cannot_be_filled_and_noise_too_short(root):
    write(root / "_background_noise_" / "short.wav", tone(2.0))
    corpus = FolderCorpus(root, words=["yes", "no"], unknown_share=9, silence_share=1).scan()
    assert any("_unknown_" in note and "were asked for" in note for note in corpus.notes)
    assert [row["count"] for row in by_reason(corpus.refused) if "too short to cut silence" in row["reason"]] == [1]


def test_negatives_beside_other_files(root, tmp_path):
    long = tmp_path / "long"
    write(long / "a.wav", tone(5.0))
    write(long / "short.wav", tone(0.3))
    (long / "b.docx").write_bytes(b"x")
    (long / "b.txt").write_bytes(b"what is said in it")
    corpus = FolderCorpus(root, negatives=[long]).scan()
    assert reasons(corpus) == {
        "no recording by its name (.docx)": 1, "0.3 s are too short for a piece of 1 s": 1,
    }  # fmt: skip


def test_reasons_that_differ_in_their_numbers_are_one():
    refused = [Refusal(f"{i}.wav", f"truncated: {i} bytes fewer than its header says") for i in range(5)]
    (row,) = by_reason([*refused])
    assert (row["count"], row["examples"]) == (5, ["0.wav", "1.wav", "2.wav"])
    assert by_reason([Refusal("a", "x"), *refused])[0]["count"] == 5
