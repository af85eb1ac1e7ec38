"""Typed words beside recorded ones: who trains, who validates, who is tested, and what is refused."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest

from kws.corpus import FolderCorpus, SpokenCorpus, TypedCorpus, embedded
from kws.corpus.selection import SILENCE, UNKNOWN
from kws.data import SpeechDataModule
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotters import bundle
from kws.support.errors import KwsError
from kws.training import finetune
from tests.recordings import make_corpus, tone, write
from tests.scripts import call

WORDS = ("bed", "yes", "zero")


@pytest.fixture(autouse=True)
def _short_noise(monkeypatch):
    monkeypatch.setattr(embedded, "_NOISE_SECONDS", 2)


@pytest.fixture
def recordings(tmp_path):
    return make_corpus(tmp_path / "people", WORDS)  # of each word 16 clips train, 4 validate, 4 test


def voices(tmp_path, **settings):
    return partial(SpokenCorpus, tmp_path / "voices", **{"speakers": 6, "seconds": 1.0, **settings})


def made(source):
    source.prepare()
    return source.scan()


def counts(corpus, word, by):
    """Clips of a word in each split, by people or by voices."""
    of = [clip for clip in corpus.clips if clip.label == word and ("people" in clip.path.parts) == (by == "people")]
    found = Counter(clip.split for clip in of)
    return [found[split] for split in ("training", "validation", "testing")]


def test_recordings_of_a_typed_word_are_for_the_test_alone(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path), ["yes"]))
    assert corpus.labels == ("bed", "zero", "yes")
    assert counts(corpus, "yes", "people") == [0, 0, 4]
    assert counts(corpus, "yes", "voices") == [4, 1, 0]
    assert counts(corpus, "bed", "people") == [16, 4, 4]
    assert counts(corpus, "bed", "voices") == [4, 0, 0]  # they train, and judge nothing
    assert "typed: yes; tested on recordings: yes; on voices: none" in corpus.notes


def test_voices_beside_people_where_no_word_is_typed_alone(tmp_path, recordings):
    folder = FolderCorpus(recordings, words=["bed", "yes"], unknown_share=1.0)
    corpus = made(TypedCorpus(folder, voices(tmp_path, other_words=1), []))
    assert corpus.labels == ("_unknown_", "bed", "yes") and not corpus.unrecorded
    for word in ("bed", "yes"):
        assert counts(corpus, word, "people") == [16, 4, 4] and counts(corpus, word, "voices") == [4, 0, 0]
    assert counts(corpus, "_unknown_", "people") == [16, 4, 4] and counts(corpus, "_unknown_", "voices") == [4, 0, 0]


def test_a_word_that_nobody_recorded_is_tested_on_voices(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings, words=["bed"]), voices(tmp_path), ["alexa"]))
    assert corpus.labels == ("bed", "alexa")
    assert counts(corpus, "alexa", "voices") == [4, 1, 1]
    assert not any(clip.path.parent.name in ("yes", "zero") for clip in corpus.clips)


def test_a_few_recordings_train_as_well_each_by_another_speaker(tmp_path, recordings):
    source = TypedCorpus(FolderCorpus(recordings), voices(tmp_path), ["yes"], recordings=5)
    corpus = made(source)
    assert counts(corpus, "yes", "people") == [5, 0, 4]
    few = [clip for clip in corpus.split("training") if clip.label == "yes" and "people" in clip.path.parts]
    assert len({clip.speaker for clip in few}) == 5
    others = TypedCorpus(FolderCorpus(recordings), voices(tmp_path), ["yes"], recordings=5, seed=2).scan()
    assert set(few) != {
        clip for clip in others.split("training") if clip.label == "yes" and "people" in clip.path.parts
    }


def test_which_clips_say_nothing_of_typed_words(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path), ["yes"], recordings=5))
    assert corpus.unrecorded == ("yes",)
    training = corpus.split("training")
    by_people = np.array(["people" in clip.path.parts for clip in training])
    assert corpus.recorded(training).tolist() == (by_people & ~training.labelled(["yes"])).tolist()
    assert corpus.recorded(training).sum() == 32
    # Voices that lie within the folder are none of its recordings, and noise says nothing of whose word it is.
    write(recordings / "_background_noise_" / "hum.wav", tone(30.0))
    inside = partial(SpokenCorpus, recordings / ".cache" / "corpora", speakers=6, seconds=1.0)
    corpus = made(TypedCorpus(FolderCorpus(recordings, silence_share=1.0), inside, ["yes"]))
    training = corpus.split("training")
    assert corpus.recorded(training).sum() == 32 and training.labelled([SILENCE]).any()
    assert made(FolderCorpus(recordings)).unrecorded == ()


def test_few_recordings_are_a_quarter_of_what_is_drawn_of_a_typed_word(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path, speakers=40), ["yes"], recordings=2))
    training = corpus.split("training")
    shares, typed = corpus.shares(training), training.labelled(["yes"])
    few = typed & np.array(["people" in clip.path.parts for clip in training])
    assert few.sum() == 2 and (shares[~few] == 1).all()
    assert shares[few].sum() / shares[typed].sum() == pytest.approx(0.25) and (shares[few] > 1).all()
    assert corpus.shares(training, few=0.01).max() == 1  # never more seldom than the others
    none = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path, speakers=40), ["yes"]))
    assert (none.shares(none.split("training")) == 1).all()


def test_few_recordings_are_drawn_as_often_as_that(tmp_path, recordings):
    source = TypedCorpus(FolderCorpus(recordings), voices(tmp_path, speakers=40), ["yes"], recordings=2)
    data = SpeechDataModule(source, Featurizer(), seconds=1.0, batch_size=16, cache_dir=tmp_path / "cache")
    data.prepare_data()
    data.setup()
    sampler = data.train_dataloader().sampler
    clips = data.waveforms.splits["training"].clips
    drawn = np.zeros(len(clips))
    for epoch in range(20):
        sampler.set_epoch(epoch)
        for _, indices in sampler:
            np.add.at(drawn, indices, 1)
    shares = data.corpus.shares(clips)
    assert drawn.sum() == 20 * len(clips)
    few = shares > 1
    assert drawn[few].sum() / drawn.sum() == pytest.approx(shares[few].sum() / shares.sum(), abs=0.005)
    assert drawn[~few].min() >= 14  # of 18.5


def test_voices_need_not_say_the_recorded_words(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path), ["yes"], speak_recorded=False))
    assert counts(corpus, "bed", "voices") == [0, 0, 0]
    assert counts(corpus, "yes", "voices") == [4, 1, 0]


def test_a_typed_word_is_no_other_word(tmp_path, recordings):
    folder = FolderCorpus(recordings, words=["bed"], unknown_share=float("inf"))
    corpus = made(TypedCorpus(folder, voices(tmp_path, other_words=2), ["yes"]))
    assert corpus.labels == (UNKNOWN, "bed", "yes")
    others = [clip.path for clip in corpus.clips if clip.label == UNKNOWN]
    assert {path.parent.name for path in others if "people" in path.parts} == {"zero"}
    assert any("voices" in path.parts for path in others)


def test_all_words_may_be_typed(tmp_path, recordings):
    corpus = made(TypedCorpus(FolderCorpus(recordings), voices(tmp_path), WORDS))
    assert corpus.labels == WORDS
    assert counts(corpus, "bed", "people") == [0, 0, 4] and counts(corpus, "bed", "voices") == [4, 1, 0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(KwsError, match="no folder of a recorded word"):
        TypedCorpus(FolderCorpus(tmp_path / "empty"), voices(tmp_path), ["bed"])


def test_what_is_refused(tmp_path, recordings):
    for typed, words, settings, message in (
        ([], None, {"speak_recorded": False}, "nothing is left for voices"),
        (["yes"], ["yes", "bed"], {}, "both name yes"),
        (["yes"], None, {"recordings": -1}, "data.recordings=-1"),
    ):
        with pytest.raises(KwsError, match=message):
            TypedCorpus(FolderCorpus(recordings, words=words), voices(tmp_path), typed, **settings)


def test_a_run_on_typed_words_is_read_again(tmp_path, recordings):
    run, cache = tmp_path / "run", tmp_path / "cache"
    arguments = ["data=typed", f"data.root={recordings}", "data.typed=[yes]", "data.speakers=6", f"cache_dir={cache}"]
    trained = call("train", *arguments, "trainer.max_epochs=1", "export=[]", "model=gru1", f"hydra.run.dir={run}")
    assert "yes: jˈɛs" in trained.out and "of typed words" in trained.out
    test = json.loads((run / "results.json").read_text())["test"]
    assert [test[part]["clips"] for part in ("typed", "recorded", "keywords")] == [4, 8, 12]
    assert test["typed"]["accuracy"] == test["per_word"]["yes"]
    assert test["recorded"]["accuracy"] == pytest.approx((test["per_word"]["bed"] + test["per_word"]["zero"]) / 2)
    heard = call("evaluate", f"run={run}", "streaming.modes=[]", "runtimes=[]", "detection.hours=0")
    assert "12 clips" in heard.out
    moved = recordings.rename(tmp_path / "elsewhere")
    features, labels = bundle.clips(Spotter.load(run / "spotter.ckpt"), run, str(moved))
    assert len(features) == len(labels) == 12
    origin = finetune.find(str(run))
    assert finetune.earlier_source(None, origin) is None
    assert finetune.earlier_source(str(moved), origin).recorded.root == str(moved)
