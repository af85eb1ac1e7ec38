"""Real words that sound like a keyword, as other words."""

import pytest

from kws.corpus.espeak import Espeak
from kws.corpus.similar_words import distances, nearest
from kws.corpus.spoken import SpokenCorpus
from kws.support.errors import KwsError

SMALL = {"words": ["computer", "hey you"], "speakers": 6, "other_words": 1, "silence_share": 0.0, "workers": 1}


def test_distances():
    keyword = ("k", "'a", "t")
    for word, wanted in (
        (("k", "'a", "t"), 0.0),
        (("k", "a", "t"), 0.0),  # stress says nothing
        (("k", "'i:", "t"), 0.5),  # another vowel
        (("k", "'a", "p"), 1.0),  # another consonant
        (("k", "'a", "0"), 1.0),  # a vowel for a consonant
        (("k", "'a"), 1.0),
        (("k", "'a", "t", "s"), 0.5),  # goes on
        (("s", "k", "'a", "t"), 0.5),  # begins before it
        (("s", "k", "'a", "t", "@", "r"), 1.5),
        (("k", "'a", "s", "t"), 1.0),  # one more within it
        (("b", "'i:", "n"), 2.5),
        (("m",), 3.0),
    ):
        assert distances(keyword, [word]) == [wanted], word
    # Words of other lengths beside it change nothing.
    words = [("k", "'a"), ("s", "k", "'a", "t", "@", "r"), ("m",)]
    assert distances(keyword, words).tolist() == [1.0, 1.5, 3.0]
    assert distances(keyword, []).tolist() == []


def test_the_nearest_are_no_accent_of_the_keyword_and_of_equals_the_first():
    keyword = ("k", "a", "t")
    words = [("m",), ("k", "i:", "t"), ("k", "a", "p"), ("p", "a", "t"), ("k", "a", "t")]
    assert nearest(keyword, words) == [2, 3, 0]
    assert nearest(keyword, words, 1) == [2]


def test_what_sounds_like_computer():
    with Espeak() as espeak:
        keyword, *words = (espeak.phonemes(word, "en-us") for word in ("computer", "commuter", "kettle", "computing"))
    assert nearest(keyword, words) == [0, 2, 1]


def test_every_voice_that_trains_says_some(tmp_path):
    source = SpokenCorpus(tmp_path, **SMALL, frequent_words=3000, similar_words=3)
    source.prepare()
    clips = [clip for clip in source.scan().clips if clip.path.parent.name.startswith("like ")]
    assert {clip.label for clip in clips} == {"_unknown_"} and {clip.split for clip in clips} == {"training"}
    assert len(clips) == 12  # of six voices four train
    alike = source._similar["computer"]
    assert len(alike) == len(set(alike)) == 40
    assert {"complete", "company"} <= set(alike) and "computer" not in alike
    # They are said beside what was said without them, which does not change.
    without = SpokenCorpus(tmp_path, **SMALL, frequent_words=3000)
    without.prepare()
    names = {path.relative_to(without.folder) for path in without.folder.glob("*/*_nohash_*.wav")}
    assert names and all((source.folder / n).read_bytes() == (without.folder / n).read_bytes() for n in names)
    assert source.folder != without.folder


def test_without_frequent_words_there_are_none(tmp_path):
    assert "similar" not in SpokenCorpus(tmp_path, **SMALL, similar_words=3).settings
    with pytest.raises(KwsError, match=r"data\.similar_words=-1 must be 0 or more clips"):
        SpokenCorpus(tmp_path, **SMALL, frequent_words=3000, similar_words=-1)
