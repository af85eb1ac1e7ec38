"""Clips that a table names: splits, speakers, pieces, what is left out, and the same choices as with a folder."""

import json
import os
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from kws.corpus import FinetuningCorpus, FolderCorpus, ManifestCorpus, audio, which_set, write_lists
from kws.corpus.base import SPLITS, by_reason
from kws.corpus.manifest import tables_of
from kws.corpus.table_corpus import MOST_NAMED
from kws.data.cache import waveforms
from kws.support.errors import BrokenRecording, KwsError
from tests.recordings import REAL, make_corpus, odd_name, tone, write

ANY = {"required_splits": ()}


@pytest.fixture
def root(tmp_path):
    return make_corpus(tmp_path / "data", words=("yes", "no", "left"), speakers=12, noise_seconds=6.0)


def table(path, rows, header="path,label,split,speaker"):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


def as_rows(corpus, base):
    return [(clip.path.relative_to(base), clip.label, clip.split, clip.speaker) for clip in corpus.clips]


def reasons(corpus):
    return {row["reason"]: row["count"] for row in by_reason(corpus.refused)}


def by_split(corpus):
    return {split: {clip.path.name for clip in corpus.split(split)} for split in SPLITS}


def test_a_manifest_of_a_folder_is_that_folder(root):
    folder = FolderCorpus(root)
    path = table(root / "clips.csv", as_rows(folder.scan(), root))
    manifest = ManifestCorpus(path).scan()
    assert manifest.clips == folder.scan().clips
    assert manifest.fingerprint() == folder.scan().fingerprint()
    assert (manifest.name, manifest.root, manifest.refused, manifest.notes) == ("clips", root, (), ())
    assert [path.name for path in manifest.noise] == ["hiss.wav", "hum.wav"]
    for options in (
        {"words": ["no", "yes"], "unknown_share": 1.0, "silence_share": 1.0, "max_files_per_word": 5, "seed": 3},
        {"words": ["left"], "unknown_share": float("inf"), "unknown_labels": True},
        {"silence_share": 2.0, "noise": root / "_background_noise_", "null_label": "_null_"},
    ):
        same = FolderCorpus(root, **options).scan()
        assert ManifestCorpus(path, **options).scan().fingerprint() == same.fingerprint()
        assert same.noise_share == ManifestCorpus(path, **options).scan().noise_share


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings beside the repository are not here")
def test_real_recordings_without_splits_fall_as_the_folder_does(tmp_path):
    folder = FolderCorpus(REAL).scan()
    path = table(tmp_path / "clips.csv", [(clip.path, clip.label) for clip in folder.clips], "path,label")
    assert ManifestCorpus(path).scan().clips == folder.clips
    named = table(tmp_path / "a.csv", [(clip.path.relative_to(REAL), clip.label) for clip in folder.clips], "file,word")
    assert ManifestCorpus(named, root=REAL).scan().fingerprint() == FolderCorpus(REAL, noise=None).scan().fingerprint()


def test_json_lines_of_nemo_with_pieces(tmp_path):
    rate = 8000
    samples = np.arange(10 * rate) / (10 * rate) * 0.9
    (tmp_path / "wavs").mkdir()
    soundfile.write(tmp_path / "wavs" / "long.wav", samples, rate)
    rows = [
        {"audio_filepath": "wavs/long.wav", "offset": 1.5, "duration": 0.5, "command": "yes", "text": "x"},
        {"audio_filepath": "wavs/long.wav", "offset": 0.0, "duration": 1, "command": "yes"},
        {"audio_filepath": "wavs/long.wav", "offset": 9.25, "command": "no"},
        {"audio_filepath": str(tmp_path / "wavs/long.wav"), "duration": 2.5, "command": "no"},
        {"audio_filepath": "wavs/long.wav", "offset": 9.02, "duration": 1.0, "command": "no"},  # 20 ms too long
        {"audio_filepath": "wavs/long.wav", "offset": 9.5, "duration": 1.0, "command": "no"},
    ]
    (tmp_path / "train.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = ManifestCorpus(tmp_path / "train.json", **ANY).scan()
    found = {(clip.start, clip.duration): clip for clip in corpus.clips}
    assert found.keys() == {(1.5, 0.5), (0.0, 1.0), (9.25, None), (None, 2.5), (9.02, 1.0), (9.5, 1.0)}
    assert {clip.speaker for clip in corpus.clips} == {"wavs/long"}
    assert len({clip.split for clip in corpus.clips}) == 1  # a recording is in one split
    for (start, duration), length in zip([(1.5, 0.5), (9.25, None), (9.02, 1.0)], [0.5, 0.75, 0.98], strict=True):
        waveform, _ = audio.read(found[start, duration].path, start, duration)
        assert len(waveform) == round(length * rate)
        assert abs(waveform[0] - 0.9 * start / 10) < 1e-3
    with pytest.raises(BrokenRecording, match=r"ends at 10\.00 s, before the piece"):
        audio.read(found[9.5, 1.0].path, 9.5, 1.0)


def test_pieces_reach_the_cache_and_those_outside_are_counted(tmp_path):
    levels = np.repeat([0.1, 0.2, 0.3, 0.4], 8000)
    soundfile.write(tmp_path / "a.wav", levels, 8000)
    rows = [("a.wav", "yes", "train", 0, 1), ("a.wav", "no", "train", 1, 2), ("a.wav", "yes", "dev", 2, 3)]
    rows += [("a.wav", "no", "test", 3, 4), ("a.wav", "no", "test", 3.5, 4.5)]
    corpus = ManifestCorpus(table(tmp_path / "x.csv", rows, "path,label,split,start,end")).scan()
    made = waveforms(corpus, 8000, directory=tmp_path / "cache", workers=1, max_broken_share=0.5, progress=False)
    training = made.splits["training"]
    levels = [round(float(row.mean()) / 32768, 3) for row in training.samples]
    assert dict(zip([made.labels[label] for label in training.labels], levels, strict=True)) == {"yes": 0.1, "no": 0.2}
    assert [len(made.splits[split]) for split in SPLITS] == [2, 1, 1]
    assert [refusal.reason for refusal in made.refused] == ["ends at 4.00 s, before the piece that was asked for"]


def test_speakers_never_straddle_splits(tmp_path):
    write(tmp_path / "a.wav", tone(0.1))
    rows = [("a.wav", "yes" if i % 2 else "no", "", f"s{i % 50}", i, i + 1) for i in range(500)]
    corpus = ManifestCorpus(table(tmp_path / "x.csv", rows, "path,label,split,speaker,start,end")).scan()
    splits = defaultdict(set)
    for clip in corpus.clips:
        splits[clip.speaker].add(clip.split)
    assert {speaker: {which_set(speaker)} for speaker in splits} == splits and len(splits) == 50
    assert Counter(clip.split for clip in corpus.clips) == {"training": 400, "validation": 40, "testing": 60}
    more = ManifestCorpus(tmp_path / "x.csv", validation_percentage=30, testing_percentage=30).scan()
    assert len(more.split("training")) < 300
    # A speaker whose other rows name a split is in that one.
    place = next(speaker for speaker in splits if which_set(speaker) == "training")
    rows += [("a.wav", "yes", "test", place, 1000, 1001)]
    again = ManifestCorpus(table(tmp_path / "x.csv", rows, "path,label,split,speaker,start,end")).scan()
    assert {clip.split for clip in again.clips if clip.speaker == place} == {"testing"}
    assert len(again.split("testing")) == 60 + 10 + 1


def test_splits_of_several_files(root, tmp_path):
    clips = [row[:2] for row in as_rows(FolderCorpus(root).scan(), root)]
    parts = [
        table(root / name, clips[i::3], "path,label") for i, name in enumerate(("a_train.csv", "dev-b.csv", "test.csv"))
    ]
    wanted = dict(zip(SPLITS, ({path.name for path, _ in clips[i::3]} for i in range(3)), strict=True))
    several = ManifestCorpus(parts).scan()
    assert by_split(several) == wanted
    assert several.name == "data"
    assert "dev-b.csv is validation, by its name, where its rows name no split" in several.notes
    mapping = ManifestCorpus(dict(zip(("train", "validation", "TEST"), parts, strict=True))).scan()
    assert (by_split(mapping), mapping.notes) == (wanted, ())
    assert mapping.fingerprint() == several.fingerprint()
    config = OmegaConf.create(
        {"path": {"training": [str(parts[0])], "testing": str(parts[2])}, "columns": {"label": "label"}}
    )
    some = ManifestCorpus(config.path, columns=config.columns, required_splits=("training",)).scan()
    assert by_split(some) == wanted | {"validation": set()}
    # Names that do not tell splits apart say nothing: the hash rule draws.
    drawn = ManifestCorpus([parts[0], table(root / "more_train.csv", clips[1::3], "path,label")]).scan()
    assert all(clip.split == which_set(clip.path) for clip in drawn.clips)
    # Manifests in several folders: each with paths of its own, the corpus from where both are.
    (root / "no" / "b.csv").write_text(f"path,label\n{next((root / 'no').iterdir()).name},no\n")
    assert ManifestCorpus([parts[0], root / "no" / "b.csv"]).scan().root == root


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ({"train": "a", "fold": "b"}, "names 'fold'"),
        ([], "no manifest"),
        (7, "holds 7"),
        ({"train": [1]}, "name a manifest"),
    ],
)
def test_paths_that_are_none(path, what):
    with pytest.raises(KwsError, match=f"data.path .*{what}|data.path.*{what}"):
        tables_of(path)


def test_what_is_left_out_is_counted(root):
    good = [("yes/00000000_nohash_0.wav", "yes", "dev", "a"), ("no/00000001_nohash_0.wav", "no", "TEST", "b")]
    bad = [
        ("yes/absent.wav", "yes", "train", "a"), ("", "yes", "train", "a"), ("yes", "yes", "train", "a"),
        ("yes/00000002_nohash_0.wav", "", "train", "a"), ("yes/00000002_nohash_0.wav", "yes", "fold1", "a"),
        ("yes/00000002_nohash_0.wav", "yes", "fold2", "a"), good[0],
        ("./yes/../yes/00000000_nohash_0.wav", "no", "dev", "a"),
        ("no/00000001_nohash_0.wav", "no", "train", "b"), ("yes/00000002_nohash_0.wav", "x" * 201, "train", "a"),
    ]  # fmt: skip
    path = table(root / "x.csv", [*good, *bad])
    corpus = ManifestCorpus(path, **ANY).scan()
    assert len(corpus.clips) == 2
    assert reasons(corpus) == {
        "it names a file that is not there": 2, "it names no file": 1, "it has no label": 1,
        "its split is 'fold1', which is neither train, validation nor test": 2, "the same clip again": 1,
        "the same clip again, with another label; the first one counts": 1,
        "the same clip again, in another split": 1, "its label is longer than 200 characters": 1,
    }  # fmt: skip
    assert corpus.refused[0].path == "x.csv:4 yes/absent.wav"


def test_paths_as_the_world_writes_them(root, tmp_path):
    odd = odd_name(root / "yes")
    write(odd, tone(0.1))
    outside = write(tmp_path / "elsewhere" / "o.wav", tone(0.1))
    names = [r"yes\00000000_nohash_0.wav", str(root / "yes" / "00000001_nohash_0.wav"), "../elsewhere/o.wav"]
    lines = ["path,label,speaker", *(f"{name},yes,s" for name in names), f'"yes/{odd.name}",yes,s']
    (root / "x.csv").write_bytes(os.fsencode("\n".join(lines)))
    corpus = ManifestCorpus(root / "x.csv", **ANY).scan()
    assert corpus.refused == ()
    assert {os.path.normpath(clip.path) for clip in corpus.clips} == {
        str(root / "yes" / "00000000_nohash_0.wav"), str(root / "yes" / "00000001_nohash_0.wav"), str(outside),
        str(odd),
    }  # fmt: skip
    # The same wherever it lies, with what lies beside it.
    (tmp_path / "moved").mkdir()
    for name in ("data", "elsewhere"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    (tmp_path / "moved" / "data" / "x.csv").write_text(
        "path,label\n../elsewhere/o.wav,yes\nyes/00000000_nohash_0.wav,yes\n"
    )
    moved = ManifestCorpus(tmp_path / "moved" / "data" / "x.csv", **ANY).scan()
    assert {moved.relative(clip.path) for clip in moved.clips} == {"../elsewhere/o.wav", "yes/00000000_nohash_0.wav"}
    assert {clip.speaker for clip in moved.clips} == {"../elsewhere/o", "00000000"}


def test_labels_that_are_no_words(root):
    rows = [(f"yes/{i:08x}_nohash_0.wav", "yes", "train") for i in range(6)]
    rows += [
        (f"no/{i:08x}_nohash_0.wav", label, "train")
        for i, label in enumerate(("_unknown_", "_silence_", "_odd_", "_null_"))
    ]
    rows += [("_background_noise_/hum.wav", "_background_noise_", "")]
    path = table(root / "x.csv", rows, "path,label,split")
    (root / "_background_noise_" / "hiss.wav").rename(root / "hiss.wav")
    corpus = ManifestCorpus(path, **ANY).scan()
    assert corpus.labels == ("_null_", "_silence_", "_unknown_", "yes")
    assert [path.name for path in corpus.noise] == ["hum.wav"]
    assert any(note.startswith("1 rows labelled '_odd_' left out; data.null_label=_null_") for note in corpus.notes)
    taken = ManifestCorpus(path, null_label="_null_", noise=root / "yes", **ANY).scan()
    assert Counter(clip.label for clip in taken.clips)["_null_"] == 2
    assert {path.parent.name for path in taken.noise} == {"yes"}


def test_noise_that_rows_name_is_cut_into_silence(root):
    rows = [*as_rows(FolderCorpus(root).scan(), root), ("_background_noise_/hum.wav", "_background_noise_", "", "")]
    corpus = ManifestCorpus(table(root / "x.csv", rows), silence_share=1.0).scan()
    assert Counter(clip.label for clip in corpus.clips)["_silence_"] == 24
    assert [path.name for path in corpus.noise] == ["hum.wav", "hiss.wav"]
    assert corpus.noise_share == 0.6


def test_words_that_nothing_is_left_of_stop_the_run(root):
    rows = [*as_rows(FolderCorpus(root).scan(), root), ("gone.wav", "up", "train", "a")]
    path = table(root / "x.csv", rows)
    with pytest.raises(
        KwsError, match=r"x\.csv: no row with the label 'up' can be used \(1 left out, x\.csv:74 gone\.wav: it"
    ):
        ManifestCorpus(path).scan()
    assert len(ManifestCorpus(path, words=["yes", "no"]).scan().clips) == 48
    assert len(ManifestCorpus(path, **ANY).scan().clips) == 72
    with pytest.raises(
        KwsError, match=r"'bird' can be used \(there is none\).*choose other data.words \('left', 'no', 'up', 'yes'"
    ):
        ManifestCorpus(path, words=["bird"]).scan()
    gone = table(root / "y.csv", [(f"gone/{i}.wav", "yes", "train", "a") for i in range(30)])
    for options in ({}, ANY):
        with pytest.raises(
            KwsError, match=r"y\.csv: no row .* \(30 left out, y\.csv:2 gone/0\.wav: it names a file that is not"
        ):
            ManifestCorpus(gone, **options).scan()
    with pytest.raises(KwsError, match=r"z\.csv: no row with a word can be used \(there is none\)"):
        ManifestCorpus(table(root / "z.csv", [])).scan()
    only = table(root / "o.csv", [row for row in as_rows(FolderCorpus(root).scan(), root) if row[2] != "testing"])
    with pytest.raises(KwsError, match=r"no clips for testing .* name some with the split testing in 'o\.csv'"):
        ManifestCorpus(only).scan()


def test_lists_take_the_place_of_its_splits(root, tmp_path):
    path = table(root / "x.csv", [(row[0], row[1]) for row in as_rows(FolderCorpus(root).scan(), root)], "path,label")
    chosen = ManifestCorpus(path, max_files_per_word=7).scan()
    write_lists(chosen, tmp_path / "lists")
    again = ManifestCorpus(path, lists=tmp_path / "lists").scan()
    assert again.clips == chosen.clips
    bad = tmp_path / "bad.txt"
    bad.write_text("yes/00000005_nohash_0.wav\n")
    assert len(ManifestCorpus(path, bad_list=bad).scan().clips) == 71
    # A piece is on no list, and keeps its split.
    with (root / "x.csv").open("a") as file:
        file.write("_background_noise_/hum.wav,no\n")
    rows = [(row[0], row[1], "", "") for row in as_rows(FolderCorpus(root).scan(), root)]
    pieces = table(root / "y.csv", [*rows, ("_background_noise_/hum.wav", "no", "dev", 1.0)], "path,label,split,offset")
    (clip,) = [clip for clip in ManifestCorpus(pieces, lists=tmp_path / "lists").scan().clips if clip.start is not None]
    assert clip.split == "validation"
    # Two recordings that a list cannot tell apart.
    write(root / "more" / "yes" / "00000000_nohash_0.wav", tone(0.1))
    twice = table(root / "z.csv", [*rows, ("more/yes/00000000_nohash_0.wav", "yes", "", "")], "path,label,split,offset")
    assert len(ManifestCorpus(twice).scan().clips) == 73
    with pytest.raises(KwsError, match=r"data\.lists=.*yes/00000000_nohash_0\.wav would be .*more"):
        ManifestCorpus(twice, lists=tmp_path / "lists").scan()


def test_other_words_come_from_many_recordings(tmp_path):
    rows = []
    for recording in range(20):
        write(tmp_path / f"{recording}.wav", tone(0.1))
        rows += [(f"{recording}.wav", f"w{word}", f"s{recording}", word, word + 1, "train") for word in range(20)]
    path = table(tmp_path / "x.csv", rows, "path,label,speaker,start,end,split")
    corpus = ManifestCorpus(path, words=["w0", "w1"], unknown_share=1.0, required_splits=("training",)).scan()
    others = [clip for clip in corpus.clips if clip.label == "_unknown_"]
    assert len(others) == 20
    assert len({clip.path for clip in others}) > 8  # as many as chance has it, not one
    assert corpus == ManifestCorpus(path, words=["w0", "w1"], unknown_share=1.0, required_splits=("training",)).scan()


def test_it_is_fine_tuned_on(root, tmp_path):
    rows = [(f"yes/{i:08x}_nohash_0.wav", "jein", 0.0, 0.2) for i in range(9)]
    new = ManifestCorpus(table(root / "new.csv", rows, "path,label,offset,duration"))
    corpus = FinetuningCorpus(new, FolderCorpus(root), keep=["yes", "no"]).scan()
    assert set(corpus.labels) == {"yes", "no", "jein"}
    assert Counter(clip.label for clip in corpus.split("training"))["jein"] == 9
    assert "validation: no recording of a new word is held back" in "".join(corpus.notes)


def test_a_word_that_is_learned_was_no_other_word(root):
    named = [(path.name, clip.label) for clip in FolderCorpus(root).scan().clips for path in [clip.path]]
    for name, word in named:  # where no folder says which word it is
        (root / "flat").mkdir(exist_ok=True)
        (root / word / name).rename(root / "flat" / f"{word} {name}")
    rows = [(f"flat/{word} {name}", word) for name, word in named]
    old = ManifestCorpus(table(root / "x.csv", rows, "path,label"), words=["yes"], unknown_share=float("inf"))
    assert Counter(clip.label for clip in old.scan().clips) == {"yes": 24, "_unknown_": 48}
    new = ManifestCorpus(table(root / "new.csv", [row for row in rows if row[1] == "no"][:9], "path,label"))
    corpus = FinetuningCorpus(new, old, keep=["_unknown_", "yes"]).scan()
    others = [clip.path.name for clip in corpus.clips if clip.label == "_unknown_"]
    assert len(others) == 24 and all(name.startswith("left") for name in others)


def test_a_flood_of_bad_rows_is_named_in_part(root):
    rows = [("gone.wav", "yes", "train", "a")] * (MOST_NAMED + 500)
    path = table(root / "x.csv", as_rows(FolderCorpus(root).scan(), root) + rows)
    corpus = ManifestCorpus(path).scan()
    assert len(corpus.refused) == MOST_NAMED
    assert "500 more rows are left out, for the like reasons" in corpus.notes


def test_strange_values_are_left_out(root):
    base = {"path": "yes/00000000_nohash_0.wav", "label": "yes"}
    for change in (
        {"path": ["a"]}, {"path": 7}, {"path": "a\0b"}, {"path": "\ud800"}, {"path": "x" * 100_000}, {"label": {}},
        {"label": 1.5}, {"split": 1}, {"start": "x"}, {"end": -1}, {"duration": {}}, {"speaker": []}, {"label": True},
        {"path": "/dev/zero"}, {"path": "http://example.org/a.wav"},
    ):  # fmt: skip
        (root / "x.json").write_text(json.dumps(base) + "\n" + json.dumps(base | change) + "\n")
        corpus = ManifestCorpus(root / "x.json", **ANY).scan()
        assert (len(corpus.clips), len(corpus.refused)) == (1, 1), change
        assert len(corpus.refused[0].path) < 250
    for change in ({"label": "\ud800"}, {"speaker": "\udcff"}):
        (root / "x.json").write_text(json.dumps(base | change) + "\n")
        with pytest.raises(KwsError, match=r"x\.json:1: its (label|speaker) .* is no UTF-8"):
            ManifestCorpus(root / "x.json", **ANY).scan()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: table(root / "clips.csv", [("yes/00000005_nohash_0.wav", "no", "training", "x")]),
        lambda root: write(root / "yes" / "absent.wav", tone(0.1)),
        lambda root: (root / "_background_noise_" / "hum.wav").unlink(),
    ],
)
def test_a_scan_of_tables_is_remembered_until_something_changes(root, tmp_path, monkeypatch, change):
    monkeypatch.setattr("kws.corpus.memory.SETTLED", -60.0)
    rows = [*as_rows(FolderCorpus(root).scan(), root), ("yes/absent.wav", "yes", "testing", "x")]
    path, read = table(root / "clips.csv", rows), []
    find = ManifestCorpus._find
    monkeypatch.setattr(ManifestCorpus, "_find", lambda self, found: read.append(path) or find(self, found))

    def scan(**options):
        expected = ManifestCorpus(path, **ANY, **options).scan()
        read.clear()
        found = ManifestCorpus(path, memory=tmp_path / "scans", **ANY, **options).scan()
        assert found == expected and found.fingerprint() == expected.fingerprint()
        return not read

    assert [scan(), scan(), scan(columns={"speaker": None}), scan(columns={"speaker": None}), scan()] == [
        False, True, False, True, True,
    ]  # fmt: skip
    change(root)
    assert [scan(), scan()] == [False, True]


def test_a_folder_of_noise_that_comes_later_is_noticed(root, tmp_path, monkeypatch):
    monkeypatch.setattr("kws.corpus.memory.SETTLED", -60.0)
    path = table(root / "clips.csv", as_rows(FolderCorpus(root).scan(), root))
    (root / "_background_noise_").rename(tmp_path / "away")
    before = [ManifestCorpus(path, memory=tmp_path / "scans", **ANY).scan() for _ in range(2)]
    assert before[0].noise == before[1].noise == ()
    (tmp_path / "away").rename(root / "_background_noise_")
    after = ManifestCorpus(path, memory=tmp_path / "scans", **ANY).scan()
    assert after.noise and after == ManifestCorpus(path, **ANY).scan()
