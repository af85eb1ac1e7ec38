"""Multilingual Spoken Words as it is unpacked, a small one made here, in Opus."""

import csv
from collections import Counter

import pytest
import soundfile

from kws.corpus import MswcCorpus, audio
from kws.corpus.base import SPLITS, by_reason
from kws.support.errors import KwsError
from tests.recordings import tone, write

HEADER = ["SET", "LINK", "WORD", "VALID", "SPEAKER", "GENDER"]
SETS = ["TRAIN"] * 6 + ["DEV", "TEST"]
WORDS = {"en": ("yes", "die", "radio"), "de": ("ja", "die")}


def make(root, languages=("en", "de"), clips=8, parts=False):
    """Eight clips a word, the last training one invalid, by speakers that are in all splits."""
    for language in languages:
        rows = []
        for word in WORDS[language]:
            for number in range(clips):
                link = f"{word}/common_voice_{language}_{len(rows)}.opus"
                path = root / language / "clips" / link
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    soundfile.write(file, tone(0.3, 48000), 48000, format="OGG", subtype="OPUS")
                invalid = number == 5
                rows.append(
                    [
                        SETS[number],
                        link,
                        word,
                        "FALSE" if invalid else "TRUE",
                        "NA" if invalid else f"{number % 4:08x}",
                        "OTHER",
                    ]
                )
        folder = root / language
        if parts:
            for name, split in (("train", "TRAIN"), ("dev", "DEV"), ("test", "TEST")):
                save(folder / f"{language}_{name}.csv", HEADER[1:], [row[1:] for row in rows if row[0] == split])
        else:
            save(folder / f"{language}_splits.csv", HEADER, rows)
    return root


def save(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def counts(corpus):
    return [Counter(clip.label for clip in corpus.split(split)) for split in SPLITS]


def test_one_language_with_its_own_splits(tmp_path):
    root = make(tmp_path / "mswc", ["en"])
    for source in (MswcCorpus(root, ["en"]), MswcCorpus(root / "en", "en"), MswcCorpus(root)):
        corpus = source.scan()
        assert corpus.labels == ("die", "radio", "yes")
        assert counts(corpus) == [dict.fromkeys(corpus.labels, number) for number in (5, 1, 1)]
        assert corpus.refused == ()
        assert corpus.notes == ("3 clips that the corpus calls invalid are left out; data.valid_only=false takes them",)
    assert MswcCorpus(root, ["en"]).scan().name == "mswc-en"
    clip = corpus.split("validation")[0]
    assert (clip.path.name, clip.speaker) == ("common_voice_en_14.opus", "00000002")
    waveform, rate = audio.read(clip.path)
    assert rate == 48000 and abs(len(waveform) - 0.3 * rate) < 10 and 0.2 < waveform.max() < 0.5


def test_the_tables_as_three_files_say_the_same(tmp_path):
    whole = MswcCorpus(make(tmp_path / "a", ["en"]), ["en"]).scan()
    parts = MswcCorpus(make(tmp_path / "b", ["en"], parts=True), ["en"]).scan()
    assert parts.fingerprint() == whole.fingerprint()


@pytest.mark.parametrize("place", ["splits", ".."])
def test_tables_that_were_unpacked_elsewhere(tmp_path, place):
    root = make(tmp_path / "mswc", ["en"])
    (root / "en" / place).mkdir(exist_ok=True)
    (root / "en" / "en_splits.csv").rename(root / "en" / place / "en_splits.csv")
    assert len(MswcCorpus(root, ["en"]).scan().clips) == 21


def test_several_languages(tmp_path):
    root = make(tmp_path / "mswc")
    corpus = MswcCorpus(root).scan()
    assert corpus.labels == ("die", "ja", "radio", "yes")
    assert counts(corpus)[0] == {"die": 10, "ja": 5, "radio": 5, "yes": 5}
    assert "spelt the same in several languages, and one class each: 'die'" in corpus.notes
    assert MswcCorpus(root, ["de"]).scan().labels == ("die", "ja")
    chosen = MswcCorpus(root, ["de", "en"], words=["ja", "yes"], unknown_share=1.0).scan()
    assert chosen.labels == ("_unknown_", "ja", "yes")
    assert Counter(clip.label for clip in chosen.clips)["_unknown_"] == 7
    assert chosen.name == "mswc-de-en"


def test_invalid_clips_by_nobody(tmp_path):
    root = make(tmp_path / "mswc", ["de"])
    corpus = MswcCorpus(root, valid_only=False, max_files_per_word=20).scan()
    assert counts(corpus)[0] == {"die": 6, "ja": 6}
    assert corpus.notes == ()
    assert {clip.speaker for clip in corpus.clips} == {
        *(f"{number:08x}" for number in range(4)), "de/clips/ja/common_voice_de_5", "de/clips/die/common_voice_de_13",
    }  # fmt: skip


def test_converted_and_missing_clips(tmp_path):
    root = make(tmp_path / "mswc", ["de"])
    folder = root / "de" / "clips" / "ja"
    write(folder / "common_voice_de_0.wav", tone(0.3))
    (folder / "common_voice_de_0.opus").unlink()
    (folder / "common_voice_de_1.opus").unlink()
    corpus = MswcCorpus(root).scan()
    assert "common_voice_de_0.wav" in {clip.path.name for clip in corpus.clips}
    (row,) = by_reason(corpus.refused)
    assert (row["reason"], row["examples"]) == (
        "it names a file that is not there",
        ["de_splits.csv:3 ja/common_voice_de_1.opus"],
    )


def test_what_is_no_such_corpus(tmp_path):
    root = make(tmp_path / "mswc", ["de"])
    with pytest.raises(KwsError, match=r"no en/en_splits\.csv .* unpack .*choose other data\.languages \('de'\)"):
        MswcCorpus(root, ["en"]).scan()
    with pytest.raises(KwsError, match="no folder; unpack Multilingual Spoken Words"):
        MswcCorpus(tmp_path / "absent", ["en"]).scan()
    (tmp_path / "empty").mkdir()
    with pytest.raises(KwsError, match="no folder <language> with <language>_splits"):
        MswcCorpus(tmp_path / "empty").scan()
    for languages in ([], [False], [7]):  # a bare no is false in YAML
        with pytest.raises(KwsError, match=r"data\.languages is"):
            MswcCorpus(root, languages)
    (root / "de" / "de_splits.csv").write_text("SET,WORD\nTRAIN,ja\n")
    with pytest.raises(KwsError, match=r"de_splits\.csv:1: no column is called 'LINK', which would be the path"):
        MswcCorpus(root).scan()
    (root / "de" / "de_splits.csv").write_text('{"LINK": "ja/x.opus", "WORD": "ja", "SPEAKER": [1], "VALID": 3}\n')
    with pytest.raises(KwsError, match=r"no row with a word can be used .*its speaker is '\[1\]'"):
        MswcCorpus(root).scan()


def test_a_scan_is_remembered_until_a_language_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("kws.corpus.memory.SETTLED", -60.0)
    make(tmp_path / "mswc", ("en",))
    found = [MswcCorpus(tmp_path / "mswc", memory=tmp_path / "scans").scan() for _ in range(2)]
    assert found[0] == found[1] == MswcCorpus(tmp_path / "mswc").scan()
    make(tmp_path / "mswc", ("de",))
    both = MswcCorpus(tmp_path / "mswc", memory=tmp_path / "scans").scan()
    assert both == MswcCorpus(tmp_path / "mswc").scan() and "ja" in both.labels
    other = MswcCorpus(tmp_path / "mswc", memory=tmp_path / "scans", valid_only=False).scan()
    assert len(other.clips) == len(both.clips) + 5
