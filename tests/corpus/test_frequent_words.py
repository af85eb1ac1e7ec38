"""Words by how often people say them: what is left out, how often a word is drawn, and who reads them."""

import numpy as np
import pytest
import soundfile
from spellchecker import SpellChecker

from kws.corpus import SpokenCorpus
from kws.corpus.base import speaker_of
from kws.corpus.espeak import Espeak, accents
from kws.corpus.frequent_words import EVENNESS, FrequentWords, frequent_words, has_list
from kws.corpus.running_speech import RunningSpeech, Texts, unsaid
from kws.support.errors import KwsError

KEYWORDS = ["no", "right", "hey you", "stop", "four"]


@pytest.fixture(scope="module")
def english():
    return frequent_words("en", 3000, unsaid(KEYWORDS))


def test_nothing_that_sounds_like_a_keyword_or_its_plural(english):
    assert not {"no", "know", "right", "write", "rights", "hey", "you", "stop", "stops", "four", "for"} & {
        *english.words
    }
    assert {"the", "not", "now", "story", "tonight", "forget"} <= set(english.words)
    with Espeak() as espeak:
        for accent in accents("en")[:2]:
            sounds = {word: espeak.phonemes(word, accent) for word in english.words}
            for keyword in KEYWORDS:
                said = espeak.phonemes(keyword, accent)
                assert not [word for word, phonemes in sounds.items() if phonemes == said]


def test_a_word_is_drawn_by_the_root_of_its_frequency(english):
    assert english.words[0] == "the" and len(english.words) > 2900
    assert english.shares.sum() == pytest.approx(1)
    assert (np.diff(english.shares) <= 0).all()
    twice = frequent_words("en", 2)
    assert twice.words == ("the", "you")
    counts = SpellChecker(language="en").word_frequency.dictionary
    assert twice.shares[1] / twice.shares[0] == pytest.approx((counts["you"] / counts["the"]) ** EVENNESS)
    drawn = english.some(np.random.default_rng(0), 50)
    assert drawn == sorted(set(drawn)) and len(drawn) == 50 and set(drawn) <= set(english.words)
    assert len(twice.some(np.random.default_rng(0))) == 2


def test_sentences_hold_every_word_and_nothing_else():
    words = FrequentWords(("one", "two", "three"), np.array([0.5, 0.3, 0.2]))
    generator = np.random.default_rng(0)
    said = [words.sentence(generator) for _ in range(300)]
    assert {text[-1] for text in said} == {".", "?"} and any("," in text for text in said)
    apart = [text.strip(".?").replace(",", "").split() for text in said]
    assert {len(text) for text in apart} == set(range(4, 10))
    every = [word for text in apart for word in text]
    for word, share in zip(words.words, words.shares, strict=True):
        assert every.count(word) / len(every) == pytest.approx(share, abs=0.04)


def test_half_of_what_is_read_is_of_the_grammar():
    words = FrequentWords(("zebra",), np.ones(1))
    generator = np.random.default_rng(1)
    said = [Texts((), words).draw(generator) for _ in range(400)]
    assert 160 < sum(text.startswith("zebra") for text in said) < 240
    assert not [text for text in [Texts(()).draw(generator) for _ in range(50)] if "zebra" in text]


def test_running_speech_of_other_words_is_another_folder(tmp_path):
    few, many = (RunningSpeech(tmp_path, 1, frequent_words=count) for count in (0, 1000))
    one, other = few.prepare(["yes"]), many.prepare(["yes"])
    assert one != other
    samples = [soundfile.read(next(folder.glob("*.flac")))[0] for folder in (one, other)]
    assert not np.array_equal(*samples)
    again = RunningSpeech(tmp_path / "again", 1, frequent_words=1000).prepare(["yes"])
    assert [path.read_bytes() for path in again.glob("*.flac")] == [path.read_bytes() for path in other.glob("*.flac")]
    # A language with a list of its own; Norwegian has none, and is as it was.
    assert RunningSpeech(tmp_path, 1, language="de", frequent_words=1000)._texts(["ja"]).share == 1
    assert not has_list("nb") and RunningSpeech(tmp_path, 1, language="nb", frequent_words=1000).frequent_words == 0
    with pytest.raises(KwsError, match=r"data\.frequent_words=5"):
        RunningSpeech(tmp_path, 1, frequent_words=5)


def test_other_words_of_a_spoken_corpus(tmp_path):
    settings = {"words": ["computer"], "speakers": 12, "other_words": 4, "frequent_words": 2000}
    source = SpokenCorpus(tmp_path, **settings)
    source.prepare()
    listed = set(frequent_words("en", 2000, ["computer"]).words)
    said = {path.parent.name for path in source.folder.glob("*/*_nohash_*.wav")} - {"computer", "near computer"}
    assert said <= listed and len(said) > 30
    assert source.settings["frequent_words"] == 2000
    # Each speaker draws words of its own, and the same again.
    again = SpokenCorpus(tmp_path / "again", **settings, workers=1)
    again.prepare()
    assert {p.name: speaker_of(p) for p in source.folder.glob("*/*.wav")} == {
        p.name: speaker_of(p) for p in again.folder.glob("*/*.wav")
    }
    # It costs nothing where no other words are said: the same clips as without.
    assert "frequent_words" not in SpokenCorpus(tmp_path, words=["computer"], frequent_words=2000).settings
