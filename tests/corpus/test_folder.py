"""Corpora as folders: words, splits, lists, and what is wrong with them."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kws.corpus import SPLITS, FolderCorpus, which_set
from kws.corpus.base import Clip, Corpus, speaker_of
from kws.corpus.folder import label_of
from kws.corpus.lists import read_list, write_lists
from kws.support.errors import KwsError
from tests.recordings import REAL, make_corpus, odd_name, tone, write


def names(corpus: Corpus, split: str) -> set[str]:
    return {corpus.relative(clip.path) for clip in corpus.split(split)}


def no_lists(root):
    for split in SPLITS:
        (root / f"{split}_list.txt").unlink(missing_ok=True)
    return root


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings beside the repository are not here")
def test_the_hash_rule_gives_the_official_lists():
    corpus = FolderCorpus(REAL).scan()
    assert Counter(clip.split for clip in corpus.clips) == {"training": 9200, "validation": 1380, "testing": 2377}
    assert {clip.path: clip.split for clip in corpus.clips} == {
        clip.path: which_set(clip.path) for clip in corpus.clips
    }
    assert len(corpus.labels) == 23
    assert len(corpus.noise) == 6
    assert corpus.refused == corpus.notes == ()


def test_which_set_of_known_names():
    """Clips named on the dataset's published lists."""
    assert which_set("backward/03401e93_nohash_0.wav") == which_set("03401e93_nohash_7.flac") == "testing"
    assert which_set("backward/0d82fd99_nohash_3.wav") == "validation"
    assert which_set("bed/00176480_nohash_0.wav") == "training"
    assert which_set(b"a\xff".decode("utf-8", "surrogateescape")) in SPLITS
    counts = Counter(which_set(f"{number:08x}_nohash_0.wav") for number in range(20000))
    assert abs(counts["validation"] - 2000) < 150
    assert abs(counts["testing"] - 2000) < 150
    assert which_set("x", 0, 0) == "training"
    assert which_set("x", 100, 0) == "validation"


def test_scan(tmp_path):
    root = make_corpus(tmp_path / "my words", words=("yes", "no", "left"), noise_seconds=1.0)
    for hidden in (".DS_Store", "yes/._0.wav", "yes/.nomedia"):
        (root / hidden).write_bytes(b"x")
    (root / "README.md").write_text("about")
    corpus = FolderCorpus(root).scan()
    assert corpus.name == "my words"
    assert corpus.labels == corpus.keywords == ("left", "no", "yes")
    assert Counter(clip.split for clip in corpus.clips) == {"training": 48, "validation": 12, "testing": 12}
    assert {clip.speaker for clip in corpus.split("validation")} == {"00000000", "00000001"}
    assert [path.name for path in corpus.noise] == ["hiss.wav", "hum.wav"]
    assert corpus.refused == corpus.notes == ()
    assert corpus == FolderCorpus(root).scan()
    chosen = FolderCorpus(root, words=["yes", "left"], name="two").scan()
    assert (chosen.name, chosen.labels, len(chosen.clips)) == ("two", ("yes", "left"), 48)
    with pytest.raises(ValueError, match="test"):
        corpus.split("test")


def test_fingerprint(tmp_path):
    root = make_corpus(tmp_path / "data")
    first = FolderCorpus(root).scan()
    root.rename(tmp_path / "moved")
    assert FolderCorpus(tmp_path / "moved").scan().fingerprint() == first.fingerprint()
    assert FolderCorpus(tmp_path / "moved", words=["yes", "no"]).scan().fingerprint() != first.fingerprint()
    one = Corpus("x", root, ("a", "b"), (Clip(root / "c", "a", "s", "training"),))
    assert one.fingerprint() != Corpus("x", root, ("ab",), one.clips).fingerprint()


def test_endings_and_odd_names(tmp_path):
    root = make_corpus(tmp_path / "data")
    for word, ending in (("yes", ".FLAC"), ("no", ".ogg")):
        write(root / word / f"extra{ending}", tone(0.1))
        write(odd_name(root / word), tone(0.1))
    (root / "yes" / "song.mid").write_bytes(b"x")
    corpus = FolderCorpus(root).scan()
    assert len(corpus.clips) == 48 + 4
    assert [refusal.reason for refusal in corpus.refused] == ["no recording by its name (.mid)"]


def test_labels_can_be_printed(tmp_path):
    root = make_corpus(tmp_path / "data")
    folder = os.fsdecode(b"caf\xe9 au\nlait")
    (root / "yes").rename(root / folder)
    corpus = FolderCorpus(root).scan()
    assert corpus.labels == (r"caf\udce9 au\nlait", "no")
    assert FolderCorpus(root, words=[folder, "no"]).scan().labels == corpus.labels
    assert label_of("cafe\u0301") == label_of("café") == "café"


def test_splits_by_hash(tmp_path):
    root = no_lists(make_corpus(tmp_path / "data", speakers=40))
    corpus = FolderCorpus(root).scan()
    assert all(clip.split == which_set(clip.path) for clip in corpus.clips)
    speakers = [{clip.speaker for clip in corpus.split(split)} for split in SPLITS]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]
    more = FolderCorpus(root, validation_percentage=30, testing_percentage=20).scan()
    assert len(more.split("validation")) > len(corpus.split("validation"))
    # Names without a speaker: by file name, the same when the clips are re-encoded.
    own = tmp_path / "own"
    for index in range(60):
        write(own / "yes" / f"take {index}.wav", tone(0.05))
    before = {clip.path.stem: clip.split for clip in FolderCorpus(own).scan().clips}
    for path in list((own / "yes").iterdir()):
        path.unlink()
        write(path.with_suffix(".flac"), tone(0.05))
    assert {clip.path.stem: clip.split for clip in FolderCorpus(own).scan().clips} == before
    assert speaker_of("take 3.wav") == "take 3"


def test_one_list_only(tmp_path):
    """The other evaluation split is drawn by hash; nothing that the list leaves out gets into its split."""
    root = make_corpus(tmp_path / "data", speakers=40)
    expected = names(FolderCorpus(root).scan(), "testing")
    (root / "validation_list.txt").unlink()
    corpus = FolderCorpus(root).scan()
    assert names(corpus, "testing") == expected
    drawn = {clip.speaker for clip in corpus.split("validation")}
    assert drawn == {clip.speaker for clip in corpus.clips if which_set(clip.path) == "validation"} - {
        clip.speaker for clip in corpus.split("testing")
    }


@pytest.mark.parametrize("style", ["crlf", "bom", "utf16", "backslash", "dot", "blank", "wav for flac", "repeated"])
def test_lists_as_they_come(tmp_path, style):
    root = make_corpus(tmp_path / "data", ending=".flac" if style == "wav for flac" else ".wav")
    expected = names(FolderCorpus(root).scan(), "testing")
    path = root / "testing_list.txt"
    text = path.read_text()
    path.write_bytes(
        {
            "crlf": text.replace("\n", "\r\n").encode(),
            "bom": b"\xef\xbb\xbf" + text.encode(),
            "utf16": text.replace("\n", "\r\n").encode("utf-16"),
            "backslash": text.replace("/", "\\").encode(),
            "dot": "".join(f"./{line}\n" for line in text.split()).encode(),
            "blank": text.replace("\n", " \t\n\n").rstrip().encode(),
            "wav for flac": text.replace(".flac", ".wav").encode(),
            "repeated": text.encode() * 2,
        }[style]
    )
    corpus = FolderCorpus(root).scan()
    assert names(corpus, "testing") == expected
    assert corpus.refused == ()
    assert corpus.notes == (("testing_list.txt names 8 clips more than once",) if style == "repeated" else ())


def test_lists_with_wrong_lines(tmp_path):
    root = make_corpus(tmp_path / "data")
    both = (root / "validation_list.txt").read_text().split()[0]
    with (root / "testing_list.txt").open("ab") as file:
        file.write(f"yes/missing.wav\n../yes/up.wav\n/etc/passwd\nlonely.wav\na/b/c.wav\n{both}\n".encode())
        file.write(b'other/word.wav\n"no json\nyes/\0.wav\nyes/\xff\xfe.wav\n')
    corpus = FolderCorpus(root).scan()
    reasons = {refusal.path: refusal.reason for refusal in corpus.refused}
    assert reasons["yes/missing.wav"] == "named in testing_list.txt, but not there"
    assert reasons[both] == "on both evaluation lists; kept for testing only"
    assert sum("not of the form" in reason for reason in reasons.values()) == 5
    assert sum("JSON" in reason for reason in reasons.values()) == 1
    assert r"yes/\udcff\udcfe.wav" in reasons
    assert "other/word.wav" not in reasons  # of a word that this folder does not have
    assert both in names(corpus, "testing") and both not in names(corpus, "validation")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.binary(max_size=300))
def test_any_bytes_make_a_list(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any_list.txt"
    path.write_bytes(data)
    entries, refused, repeated = read_list(path)
    assert len(entries) + len(refused) + repeated <= data.count(b"\n") + 1 + data.count(b"\n\0") + data.count(b"\0\n")


def test_written_lists_make_the_same_choice_again(tmp_path):
    root = make_corpus(tmp_path / "data", words=("yes", "no", "left", "up"))
    write(odd_name(root / "yes"), tone(0.1))
    write(root / "no" / " 'quoted\" .wav", tone(0.1))
    options = {"words": ["yes", "no"], "unknown_share": 1.0, "max_files_per_word": 7}
    corpus = FolderCorpus(root, **options).scan()
    written = write_lists(corpus, tmp_path / "run")
    assert [path.name for path in written] == [f"{split}_list.txt" for split in SPLITS] + ["categories.txt"]
    assert written[-1].read_text() == "_unknown_\nyes\nno\n"
    again = FolderCorpus(root, lists=tmp_path / "run", words=["yes", "no"], unknown_share=1.0).scan()
    assert again.clips == corpus.clips
    whole = FolderCorpus(root).scan()
    write_lists(whole, tmp_path / "whole")
    assert FolderCorpus(root, lists=tmp_path / "whole").scan().clips == whole.clips


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda root: root, {"root": "nowhere"}, "nowhere: the folder does not exist"),
        (lambda root: root, {"root": "yes/00000000_nohash_0.wav"}, "cannot be read as a folder"),
        (lambda root: (root / "empty").mkdir(), {"root": "empty"}, "the folder is empty"),
        (lambda root: root, {"root": "yes"}, "one folder per word"),
        (lambda root: root, {"words": ["yes", "maybe"]}, r"the word 'maybe' has no clips.*\(no, yes\)"),
        (lambda root: (root / "maybe").mkdir(), {"words": ["yes", "maybe"]}, "the word 'maybe' has no clips"),
        (lambda root: root, {"words": []}, "words is empty"),
        (lambda root: root, {"words": ["yes", True]}, "True.*quotes"),
        (lambda root: root, {"words": ["yes", "_background_noise_"]}, "never keywords"),
        (lambda root: root, {"words": ["yes", "yes"]}, "more than once"),
        (lambda root: root, {"validation_percentage": 110}, "validation_percentage is 110"),
        (lambda root: root, {"validation_percentage": 50, "testing_percentage": 50}, "nothing for training"),
        (lambda root: root, {"unknown_share": -1}, "unknown_share is -1"),
        (lambda root: root, {"max_files_per_word": 0}, "max_files_per_word is 0"),
        (lambda root: root, {"silence_seconds": 0}, "data.seconds is 0"),
        (lambda root: root, {"null_label": "null"}, "underscore"),
        (lambda root: root, {"unknown_share": 1.0}, "no words are left over"),
        (lambda root: root, {"silence_share": 1.0}, "no recordings to cut"),
        (lambda root: root, {"noise": "nowhere"}, "nowhere: cannot be read"),
        (lambda root: root, {"noise": "."}, "no background recordings"),
        (lambda root: root, {"bad_list": "bad.txt"}, "bad.txt: the list cannot be read"),
        (lambda root: root, {"lists": "nowhere"}, "nowhere: the folder of the lists does not exist"),
        (lambda root: (root / "testing_list.txt").write_text(""), {}, "no clips for testing"),
        (lambda root: (root / "testing_list.txt").write_text("up/a.wav\n"), {}, "none of the 1 clips it names"),
        (lambda root: ((root / "testing_list.txt").unlink(), (root / "testing_list.txt").mkdir()), {}, "be read"),
    ],
)
def test_wrong_corpora(tmp_path, prepare, options, message):
    root = make_corpus(tmp_path / "data")
    prepare(root)
    options = {
        key: root / value if isinstance(value, str) and key != "null_label" else value for key, value in options.items()
    }
    with pytest.raises(KwsError, match=message) as caught:
        FolderCorpus(**{"root": root, **options}).scan()
    assert "\n" not in str(caught.value)


def test_symlink_loops_among_the_folders(tmp_path):
    root = make_corpus(tmp_path / "data")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    assert FolderCorpus(root).scan().labels == ("no", "yes")


def test_bad_list(tmp_path):
    root = make_corpus(tmp_path / "data")
    (tmp_path / "bad.txt").write_text("yes/00000005_nohash_0.wav\r\nno/00000006_nohash_1.flac\nno/none.wav\n")
    corpus = FolderCorpus(root, bad_list=tmp_path / "bad.txt").scan()
    assert len(corpus.clips) == 46
    assert "bad.txt leaves out 2 clips" in corpus.notes


def test_required_splits(tmp_path):
    root = no_lists(make_corpus(tmp_path / "data", speakers=2))
    (root / "validation_list.txt").write_text("")
    with pytest.raises(KwsError, match="no clips for"):
        FolderCorpus(root).scan()
    assert FolderCorpus(root, required_splits=["training"]).scan().clips
