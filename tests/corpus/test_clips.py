"""The table of clips: what a tuple of them was, as columns."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from kws.corpus import FolderCorpus
from kws.corpus.base import Corpus, digest
from kws.corpus.clips import SPLITS, Clip, ClipTable, stem
from tests.recordings import make_corpus, odd_name, tone, write


@pytest.fixture
def clips():
    """Files with names that are hard to sort, in folders that lie beside each other, in each other, and nowhere."""
    draw = random.Random(1)
    folders = ("a", "a-b", "a/b", ".", "/", os.fsdecode(b"\xff"))
    names = ["x", "x.wav", "x-1.wav", "é.wav", os.fsdecode(b"\xfe"), "y" * 40, "y" * 40 + ".wav"]
    return [
        Clip(
            Path(draw.choice(folders)) / draw.choice(names), draw.choice("pq_"), draw.choice(("", "s", "é")),
            draw.choice(SPLITS), draw.choice((None, 0.0, 1.25)), draw.choice((None, 0.5)),
        )
        for _ in range(400)
    ]  # fmt: skip


def order(clip: Clip) -> tuple:
    return SPLITS.index(clip.split), clip.label, os.fsencode(clip.path), clip.start or 0.0


def test_the_same_clips(clips):
    table = ClipTable.of(clips)
    assert list(table) == clips
    assert table == clips and table == tuple(clips) and tuple(clips) == table
    assert (table[3], table[-1], table[3:9], table[9:3]) == (clips[3], clips[-1], clips[3:9], [])
    assert list(table[::-7]) == clips[::-7]
    assert [*table[1:]] == clips[1:]
    assert table == clips[:100] + table[100:] == table[:100] + clips[100:] == ClipTable.joined([table[:9], table[9:]])
    assert table != clips[:-1] and table != [*clips[:-1], clips[0]] and table != ClipTable.of([*clips[:-1], clips[0]])
    assert [str(clip.path) for clip in clips] == list(table.paths())
    assert ClipTable.of(table) is table
    assert not ClipTable.of(()) and ClipTable.of(()) == ()


@pytest.mark.parametrize("folders", [("a", "a-b"), ("a", "a-b", "a/b"), (".",)])
def test_sorted_as_the_file_system_spells_them(clips, folders):
    chosen = [clip for clip in clips if str(clip.path.parent) in folders]
    assert len(chosen) > 30
    assert ClipTable.of(chosen).sorted() == sorted(chosen, key=order)


def test_columns_say_what_the_clips_do(clips):
    table = ClipTable.of(clips)
    for split in SPLITS:
        assert table.in_split(split) == [clip for clip in clips if clip.split == split]
        for label in "pq_":
            expected = sum((clip.split, clip.label) == (split, label) for clip in clips)
            assert table.counts().get((split, label), 0) == expected
    assert table.take(table.labelled(["p", "other"])) == [clip for clip in clips if clip.label == "p"]
    assert {clip.label for clip in table.relabelled(lambda label: "z")} == {"z"}
    for clip in clips:
        assert stem(os.fsencode(clip.path.name)) == os.fsencode(clip.path.stem)


def test_the_fingerprint_is_that_of_rows_of_strings(tmp_path):
    root = make_corpus(tmp_path / "data", words=("yes", "no", "left"), noise_seconds=8.0)
    write(odd_name(root / "yes"), tone(0.1))
    write(tmp_path / "elsewhere" / "long.wav", tone(3.0))
    options = {
        "words": ["yes", "no"],
        "unknown_share": 0.5,
        "silence_share": 1.0,
        "negatives": [tmp_path / "elsewhere"],
    }
    corpus = FolderCorpus(root, **options).scan()
    rows = [("labels", *corpus.labels)]
    rows += [
        (corpus.relative(clip.path), clip.label, clip.speaker, clip.split, repr(clip.start), repr(clip.duration))
        for clip in corpus.clips
    ]
    rows += [("noise", corpus.relative(path), repr(corpus.noise_share)) for path in corpus.noise]
    assert corpus.fingerprint() == digest(rows)
    assert {clip.start is None for clip in corpus.clips} == {True, False}
    assert Corpus(corpus.name, root, corpus.labels, tuple(corpus.clips)).clips == corpus.clips


def test_forty_bytes_a_clip_beside_its_names():
    names = [f"{number:08x}_nohash_0.wav" for number in range(1000)]
    table = ClipTable.of(Clip(Path("yes") / name, "yes", name[:8], "training") for name in names)
    assert table.nbytes == 1000 * (21 + 8 + 41) + 16
    assert np.shares_memory(table.in_split("training").names.data, table.names.data)
