"""What a spotter is fine-tuned on: splits of few recordings, and what rehearses."""

from pathlib import Path

import pytest

from kws.corpus import FinetuningCorpus, FolderCorpus
from kws.corpus.finetuning import MOST_MINUTES, is_there
from kws.support.errors import KwsError
from tests.recordings import make_corpus, tone, write


def recorded(root, words, clips):
    for word in words:
        for speaker in range(clips):
            write(root / word / f"person{speaker}_nohash_0.wav", tone(0.1))
    return FolderCorpus(root)


def counts(corpus, word):
    return [sum(clip.label == word for clip in corpus.split(split)) for split in ("training", "validation", "testing")]


def test_few_clips_all_train_and_stand_in(tmp_path):
    source = recorded(tmp_path, ("bed", "cat"), 4)
    corpus = FinetuningCorpus(source).scan()
    assert counts(corpus, "bed") == [4, 4, 4]
    assert sum("8 that train stand in" in note for note in corpus.notes) == 2
    assert source.percentages == {"validation": 10.0, "testing": 10.0}  # as they were


def test_many_clips_are_split_by_the_hash_rule(tmp_path):
    source = recorded(tmp_path, ("bed", "cat"), 40)
    corpus = FinetuningCorpus(source).scan()
    assert corpus.clips == source.scan().clips
    assert not corpus.notes


def test_lists_are_kept_to_however_few_clips_there_are(tmp_path):
    source = recorded(tmp_path, ("bed", "cat"), 4)
    (tmp_path / "testing_list.txt").write_text("bed/person0_nohash_0.wav\ncat/person0_nohash_0.wav\n")
    corpus = FinetuningCorpus(source).scan()
    assert counts(corpus, "bed") == [3, 3, 1]
    (tmp_path / "testing_list.txt").write_text("".join(f"bed/person{i}_nohash_0.wav\n" for i in range(4)))
    with pytest.raises(KwsError, match="'bed' has no clip to train on"):
        FinetuningCorpus(source).scan()


def test_rehearsal_takes_some_of_what_is_kept(tmp_path):
    make_corpus(tmp_path / "old", ("yes", "no", "bed", "up"), speakers=20)
    old = FolderCorpus(tmp_path / "old", words=["yes", "no"], unknown_share=float("inf"))
    new = recorded(tmp_path / "new", ("bed",), 3)
    corpus = FinetuningCorpus(new, old, ["_unknown_", "yes"], rehearsal=5).scan()
    assert corpus.labels == ("_unknown_", "yes", "bed")
    assert counts(corpus, "yes") == [5, 4, 4]  # what is judged on stays whole
    assert counts(corpus, "bed") == [3, 3, 3]
    # Of the other words "up" alone: "bed" is a word now.
    assert {clip.path.parent.name for clip in corpus.clips if clip.label == "_unknown_"} == {"up"}
    assert any("40 clips of old that were other words are left out" in note for note in corpus.notes)


def test_a_clip_that_is_new_is_not_rehearsed_as_well(tmp_path):
    make_corpus(tmp_path, ("yes", "no"))
    corpus = FinetuningCorpus(FolderCorpus(tmp_path, words=["no"]), FolderCorpus(tmp_path), ["yes", "no"]).scan()
    assert len({(clip.path, clip.split) for clip in corpus.clips}) == len(corpus.clips) == 48


def test_running_speech_leaves_out_the_new_words_too(tmp_path):
    class Speech:
        minutes = 100

        def prepare(self, keywords):
            self.asked, self.spoken = keywords, self.minutes

    make_corpus(tmp_path / "old", ("yes", "no"))
    speech = Speech()
    old = FolderCorpus(tmp_path / "old", running_speech=speech)
    new = recorded(tmp_path / "new", ("bed",), 3)
    FinetuningCorpus(new, old, ["_unknown_", "yes"]).scan()
    assert (set(speech.asked), speech.spoken) == ({"yes", "no", "bed"}, MOST_MINUTES)
    assert (speech.minutes, old.running_speech) == (100, speech)


def test_what_was_removed_is_not_there(tmp_path):
    make_corpus(tmp_path / "old")
    assert is_there(FinetuningCorpus(FolderCorpus(tmp_path / "old")))
    assert not is_there(FinetuningCorpus(FolderCorpus(tmp_path / "old"), FolderCorpus(Path("absent"))))
