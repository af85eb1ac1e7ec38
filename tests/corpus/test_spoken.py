"""The spoken corpus with the voices that need nothing: lengths, pronunciations, languages, and a German run."""

import re
from collections import Counter

import numpy as np
import pytest
import soundfile

from kws.corpus import embedded
from kws.corpus.running_speech import RunningSpeech
from kws.corpus.spoken import SpokenCorpus
from kws.support.errors import KwsError
from tests.scripts import call

SMALL = {"words": ["gif", "computer"], "speakers": 6, "seed": 3}


@pytest.fixture(autouse=True)
def _short_noise(monkeypatch):
    monkeypatch.setattr(embedded, "_NOISE_SECONDS", 10)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_bytes_again_and_other_folders_for_other_settings(tmp_path, capsys):
    first = SpokenCorpus(tmp_path / "a", **SMALL)
    first.prepare()
    assert capsys.readouterr().out.splitlines()[0].startswith("gif: ɡˈɪf (en en-US")
    first.prepare()
    assert not capsys.readouterr().out
    second = SpokenCorpus(tmp_path / "b", **SMALL)
    second.prepare()
    assert first.folder.name == second.folder.name and first.folder.name.startswith("spoken-")
    assert contents(first.folder) == contents(second.folder)
    others = [{"seconds": 1.5}, {"language": "en-US"}, {"pronunciations": {"gif": "dʒˈɪf"}}, {"seed": 4}]
    folders = {SpokenCorpus(tmp_path, **{**SMALL, **other}).folder for other in others}
    assert len(folders | {tmp_path / first.folder.name}) == len(others) + 1
    corpus = first.scan()
    assert corpus.name == "spoken"
    assert corpus.notes[0].startswith("gif: ")


@pytest.fixture
def asked(monkeypatch):
    """The texts that voices of this process are given to say, as they come."""
    texts, sayer = [], SpokenCorpus._sayer

    def listening(self, espeak, speaker):
        say = sayer(self, espeak, speaker)

        def heard(text, generator):
            texts.append(text)
            return say(text, generator)

        return heard

    monkeypatch.setattr(SpokenCorpus, "_sayer", listening)
    return texts


def test_several_pronunciations_are_one_class_and_take_turns(tmp_path, asked):
    source = SpokenCorpus(tmp_path, **SMALL, takes=2, pronunciations={"gif": ["dʒˈɪf", "ɡˈɪf"]})
    source.prepare()
    assert Counter(asked) == {"[[dZ|'I|f]]": 6, "[[g|'I|f]]": 6, "computer": 12}
    assert asked[0] != asked[1]
    assert source.scan().labels == ("gif", "computer")


def test_other_words_are_near_what_is_said(tmp_path):
    source = SpokenCorpus(tmp_path, **SMALL, other_words=8, pronunciations={"gif": "dʒˈɪf"})
    source.prepare()
    assert {path.name for path in source.folder.glob("near *")} <= {"near gif", "near computer"}
    assert Counter(clip.label for clip in source.scan().clips)["_unknown_"] == 4 * 8 + 2 * 24


def test_voices_that_train_say_parts_of_phrases(tmp_path, asked):
    settings = {
        **SMALL,
        "words": ["hey", "look out", "smart mirror"],
        "other_words": 1,
        "phrase_parts": 1.0,
        "workers": 1,
    }
    source = SpokenCorpus(tmp_path, **settings, pronunciations={"look out": "lˈʊk ˈaʊt"})
    source.prepare()
    for phrase in ("look out", "smart mirror"):
        assert len(list((source.folder / f"part of {phrase}").iterdir())) == 4  # of six voices four train
    parts = {clip.path.parent.name for clip in source.scan().clips if clip.label == "_unknown_"}
    assert {"part of look out", "part of smart mirror"} < parts
    # As its pronunciation is given, so are its parts; made-up neighbours are one word.
    part = re.compile(r"\[\[(l\|'U\|k( \S+)?|(\S+ )?'aU\|t)]]")
    given = [text for text in asked if part.fullmatch(text) and text != "[[l|'U|k 'aU|t]]"]
    assert len(given) == 4, asked
    assert not any("smart mirror" in text for text in asked if text != "smart mirror")
    # Without phrases, without other words, and of no voice, the corpus is what it was.
    for changed in {"words": ["hey"]}, {"other_words": 0}, {"phrase_parts": 0.0}:
        assert "parts" not in SpokenCorpus(tmp_path, **{**settings, **changed}).settings


def test_a_share_of_the_voices_says_parts_of_phrases(tmp_path):
    settings = {**SMALL, "words": ["look out"], "speakers": 30, "other_words": 1, "workers": 1}
    source = SpokenCorpus(tmp_path, **settings, phrase_parts=0.5)
    source.prepare()
    assert 6 <= len(list((source.folder / "part of look out").iterdir())) <= 18  # of 24 that train
    with pytest.raises(KwsError, match=r"data\.phrase_parts=1\.5"):
        SpokenCorpus(tmp_path, **settings, phrase_parts=1.5)


def test_length_follows_from_the_longest_phrase(tmp_path):
    assert SpokenCorpus(tmp_path, words=["yes"]).seconds == 1.0
    long = SpokenCorpus(tmp_path, words=["yes", "turn on all the lights in the kitchen"], speakers=3)
    assert 1.8 <= long.seconds <= 2.8
    long.prepare()
    frames = {soundfile.info(path).frames for path in long.folder.glob("*/*_nohash_*.wav")}
    assert frames == {round(long.seconds * 16000)}
    endless = SpokenCorpus(tmp_path, words=[" ".join(["turn on all the lights"] * 4)])
    assert endless.seconds == 3.0
    assert SpokenCorpus(tmp_path, words=["yes"], seconds=0.8).seconds == 0.8
    with pytest.raises(KwsError, match=r"data\.seconds=9"):
        SpokenCorpus(tmp_path, words=["yes"], seconds=9)


def test_a_language_of_one_accent_has_as_many_speakers_as_english(tmp_path):
    source = SpokenCorpus(tmp_path, words=["Schönheit"], language="de", speakers=300)
    voices = source._voices()
    assert len({voice.identity for voice in voices}) == 300
    assert {voice.accent for voice in voices} == {"gmw/de"}
    timbres = [{v.variant for v in voices if v.split == split} for split in ("training", "validation", "testing")]
    assert sum(map(len, timbres)) == len(set.union(*timbres))
    assert source.shown == ["Schönheit: ʃˈœnhaɪt (de)"]


def test_running_speech_of_a_language(tmp_path):
    german, english = (RunningSpeech(tmp_path, 1, language=language) for language in ("de", "en"))
    one, other = german.prepare(["ja"]), english.prepare(["ja"])
    assert one != other
    samples = [soundfile.read(next(folder.glob("*.flac")))[0] for folder in (one, other)]
    assert not np.array_equal(*samples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"voices": ["expeak"]}, r"data\.voices has 'expeak'; choose from espeak, kokoro"),
        ({"voices": []}, r"data\.voices is empty"),
        ({"language": "de", "words": None}, "no choice of words for data.language=de"),
        ({"neural_speakers": 2}, r"data\.neural_speakers=2"),
        ({"pronunciations": {"png": "pɪŋ"}}, "'png'"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, message):
    with pytest.raises(KwsError, match=message):
        SpokenCorpus(tmp_path, **{**SMALL, **settings})


def test_a_german_word_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    done = call(
        "train", "data=spoken", "data.language=de", 'data.words=["Schönheit","Licht im Zimmer an"]', "data.speakers=12",
        'data.pronunciations={Licht im Zimmer an: "lˈɪçt ɪm tsˈɪmɐ ˈan"}',
        "data.other_words=2", "data.running_speech=1", "data.batch_size=8", "model.hidden_size=8", "debug=fast",
        "export=[]", "summary=false", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "Schönheit: ʃˈœnhaɪt (de)" in done.out
    assert "Licht im Zimmer an: lˈɪçt ɪm tsˈɪmɐ ˈan (data.pronunciations)" in done.out
