"""Pronunciations: IPA into espeak-ng's own notation, compared with what it says by itself; what is refused."""

import re

import numpy as np
import pytest

from kws.corpus.embedded import WORDS
from kws.corpus.espeak import ACCENTS, Espeak, accents
from kws.corpus.pronunciations import check_pronunciations, notation, readings, shown
from kws.corpus.synthetic_clips import trim
from kws.support.errors import KwsError


@pytest.fixture(scope="module")
def english():
    with Espeak() as espeak:
        return notation(espeak, ACCENTS[:2])


@pytest.mark.parametrize(
    ("ipa", "text"),
    [
        ("dʒˈɪf", "[[dZ|'I|f]]"),
        ("ˈdʒɪf", "[[dZ|'I|f]]"),  # a dictionary marks the syllable
        ("/'ʤɪf/", "[[dZ|'I|f]]"),
        ("gɪf", "[[g|I|f]]"),
        ("kəmˈpjuːtə", "[[k|@|m|p|j|'u:|t|@]]"),
        ("hˈeɪ mˈɪɹɚ", "[[h|'eI m|'I|r|3]]"),
        ("ˌɪntəˈnɛt", "[[,I|n|t|@|n|'E|t]]"),
        ("stɑːp", "[[s|t|A:|p]]"),
    ],
)
def test_ipa_becomes_what_espeak_reads(english, ipa, text):
    assert english.text(ipa) == text


def test_and_back(english):
    assert english.read("[[dZ|'I|f]]") == "dʒˈɪf"
    assert english.read("[[h|'eI k|@|m|p|j|'u:|t|@]]") == "hˈeɪ kəmpjˈuːtə"


def spectrum(samples, rate):
    sound = trim(samples.astype(float), rate)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::220] * np.hanning(512)
    return np.log(np.abs(np.fft.rfft(frames)) + 100)


@pytest.mark.parametrize(("voice", "least"), [("gmw/en+m1", 0.97), ("gmw/en-US+f3", 0.85)])
def test_a_word_in_ipa_sounds_as_the_word(english, voice, least):
    for word in WORDS[::3]:
        with Espeak() as espeak:
            plain = espeak.speak(word, voice, seed=1)
            ipa = espeak.ipa(word, voice.split("+")[0])
        with Espeak() as espeak:
            said = espeak.speak(english.text(ipa), voice, seed=1)
            one, other = (spectrum(samples, espeak.sample_rate) for samples in (plain, said))
        assert len(other) == pytest.approx(len(one), rel=0.15), word
        length = min(len(one), len(other))
        assert np.corrcoef(one[:length].ravel(), other[:length].ravel())[0, 1] > least, word


def test_german_with_its_own_sounds():
    with Espeak() as espeak:
        german = notation(espeak, accents("de"))
        ipa = espeak.ipa("Schönheit", "gmw/de")
        assert ipa == "ʃˈœnhaɪt"
        assert re.split(r"\|", german.text(ipa).strip("[]")) == list(espeak.phonemes("Schönheit", "gmw/de"))
        assert german.text("lˈɪçt") == "[[l|'I|C|t]]"


def test_languages():
    assert accents("en") == ACCENTS
    assert accents("en-US") == ("gmw/en-US", "gmw/en-US-nyc")
    assert accents("de") == ("gmw/de",)
    assert accents("fr") == ("roa/fr", "roa/fr-BE", "roa/fr-CH")
    with pytest.raises(KwsError, match=r"data\.language='xx'.*de, "):
        accents("xx")


def test_what_is_said_is_shown():
    with Espeak() as espeak:
        table = notation(espeak, ACCENTS[:2])
        overridden = check_pronunciations({"gif": ["dʒˈɪf", "ɡˈɪf"]}, ["gif", "computer"])
        given = readings(overridden, ["gif", "computer"], table)
        lines = shown(espeak, given, ACCENTS[:3], overridden)
    assert given == {"gif": ("[[dZ|'I|f]]", "[[g|'I|f]]"), "computer": ("computer",)}
    assert lines == [
        "gif: dʒˈɪf, ɡˈɪf (data.pronunciations)",
        "computer: kəmpjˈuːtə (en), kəmpjˈuːɾɚ (en-US), kəmpjˈʉːtɜ (en-GB-scotland)",
    ]


@pytest.mark.parametrize(
    ("pronunciations", "message"),
    [
        ({"jif": "dʒˈɪf"}, "'jif', which is none of data.words"),
        ({"gif": ""}, "write IPA in quotes"),
        ({"gif": [1]}, "write IPA in quotes"),
        ({"gif": "d7ɪf"}, r"data\.pronunciations\.gif: '7' is no sound.*dʒ"),
    ],
)
def test_what_is_refused(english, pronunciations, message):
    with pytest.raises(KwsError, match=message):
        readings(check_pronunciations(pronunciations, ["gif"]), ["gif"], english)
