"""Other words of the embedded corpus: everyday ones, and made-up neighbours of the keywords."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from kws.corpus import embedded
from kws.corpus.base import speaker_of
from kws.corpus.embedded import WORDS, EmbeddedCorpus
from kws.corpus.espeak import ACCENTS, Espeak
from kws.corpus.other_words import Neighbours, everyday, part_of
from kws.corpus.running_speech import RunningSpeech
from kws.support.errors import KwsError

SMALL = {"words": ["yes", "no"], "speakers": 6, "other_words": 8, "silence_share": 1.0, "seed": 3}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    source = EmbeddedCorpus(root, running_speech=RunningSpeech(root, 1), **SMALL)
    source.prepare()
    return source


def test_everyday_words_leave_out_keywords_their_parts_and_what_sounds_like_them():
    words = everyday(["no", "hey you", "right"], WORDS)
    assert words == sorted(set(words))
    assert {"kettle", "marvin", "stop"} <= set(words)
    assert not {"no", "know", "right", "write", "you", "hey"} & set(words)


def test_phonemes_of_words_and_what_they_sound_like():
    with Espeak() as espeak:
        assert espeak.phonemes("no", "gmw/en-US") == ("n", "'oU")
        assert espeak.phonemes("hey you", "gmw/en-US")[0] == "h"
        assert len(espeak.phonemes("good morning", "gmw/en-US")) == 8
        spoken = espeak.speak("yes", "gmw/en-US").astype(float)
    with Espeak() as espeak:
        again = espeak.speak("[[j|'E|s]]", "gmw/en-US").astype(float)
    # The same sounds; espeak-ng ends a sentence a little differently than a string of phonemes.
    assert abs(len(spoken) - len(again)) < 0.01 * len(spoken)


def edits(one, other):
    """Levenshtein's distance of two sequences."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row, before = [i], row
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def test_neighbours_are_one_phoneme_away_and_no_keyword():
    with Espeak() as espeak:
        keywords = [espeak.phonemes(word, ACCENTS[0]) for word in ("no", "go", "marvin", "three", "tree")]
        neighbours = Neighbours(keywords, [espeak.phonemes(word, ACCENTS[0]) for word in everyday([])])
    plain = [tuple(sound.strip("',") for sound in word) for word in keywords]
    generator = np.random.default_rng(0)
    for keyword, sounds in zip(keywords, plain, strict=True):
        made = [neighbours.of(keyword, generator) for _ in range(50)]
        bare = [tuple(sound.strip("',") for sound in word) for word in made]
        assert len(set(bare)) > 15
        assert all(edits(word, sounds) == 1 for word in bare)
        assert not set(bare) & set(plain)


def drawn(phrase, keywords, others=("kettle",)):
    """All that is made of a phrase, as texts."""
    generator, words = np.random.default_rng(0), phrase.split()
    made = [part_of(words, [keyword.split() for keyword in keywords], others, generator) for _ in range(300)]
    return {" ".join(words[w] if isinstance(w, int) else w for w in part) for part in made if part is not None}


def test_parts_of_a_phrase():
    assert drawn("smart mirror", ["smart mirror"]) == {"smart", "mirror", "smart kettle", "kettle mirror"}
    assert drawn("turn it on", ["turn it on"]) == {
        "turn", "turn it", "it on", "on", "kettle it on", "turn kettle on", "turn it kettle",
    }  # fmt: skip


def test_no_part_of_a_phrase_holds_a_keyword():
    assert drawn("smart mirror", ["smart mirror", "Mirror"]) == {"smart", "smart kettle"}
    assert drawn("smart mirror", ["smart mirror", "smart kettle"]) == {"smart", "mirror", "kettle mirror"}
    assert drawn("turn it on", ["turn it on", "turn it"]) == {
        "turn", "it on", "on", "kettle it on", "turn kettle on",
    }  # fmt: skip
    assert drawn("hey you", ["hey", "you", "hey you"]) == set()


def test_what_the_corpus_holds(small):
    corpus = small.scan()
    assert corpus.labels == ("_silence_", "_unknown_", "yes", "no")
    count = Counter((clip.split, clip.label) for clip in corpus.clips)
    # Four voices train and say eight each, two seconds of which are of a minute of running speech; of the voices
    # that evaluate there is one each, who says three times as many.
    assert count["training", "_unknown_"] == 4 * 8 + 60
    assert count["validation", "_unknown_"] == count["testing", "_unknown_"] == 24
    assert count["training", "_silence_"] == 4
    assert count["testing", "yes"] == 1
    near = list(small.folder.glob("near */*.wav"))
    speakers = {split: {clip.speaker for clip in corpus.split(split)} for split in ("validation", "testing")}
    assert len(near) == 4 * 2
    assert not {speaker_of(path.name) for path in near} & set.union(*speakers.values())
    for path in near:
        assert soundfile.info(path).frames == 16000
    assert not any("were asked for" in note for note in corpus.notes)


def test_speaking_side_by_side_gives_the_same_bytes(small, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_MANY", 2)
    other = EmbeddedCorpus(tmp_path, workers=2, **SMALL)
    other.prepare()
    assert other.folder.name == small.folder.name
    files = sorted(path.relative_to(small.folder) for path in small.folder.rglob("*.*"))
    assert files == sorted(path.relative_to(other.folder) for path in other.folder.rglob("*.*"))
    assert all((small.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in files)


def test_too_many_other_words():
    with pytest.raises(KwsError, match=r"data\.other_words=-1"):
        EmbeddedCorpus(".", other_words=-1)
