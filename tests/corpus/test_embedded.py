"""The embedded corpus: what is on disk, that it repeats, and what it refuses."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile

from kws.corpus import embedded
from kws.corpus.base import SPLITS, speaker_of, which_set
from kws.corpus.coloured_noise import coloured_noise, hum
from kws.corpus.embedded import WORDS, EmbeddedCorpus, check_words, choose_voices
from kws.corpus.espeak import ACCENTS, Espeak, family, variants
from kws.corpus.synthetic_clips import trim
from kws.support.errors import KwsError

SMALL = {"words": ["yes", "no", "hey you"], "speakers": 6, "takes": 2, "seed": 3}


@pytest.fixture(autouse=True)
def _short_noise(monkeypatch):
    monkeypatch.setattr(embedded, "_NOISE_SECONDS", 2)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_NOISE_SECONDS", 2)
        source = EmbeddedCorpus(tmp_path_factory.mktemp("corpus"), **SMALL)
        source.prepare()
    return source


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_laid_out_as_speech_commands(small):
    assert {path.name for path in small.folder.iterdir()} == {
        *SMALL["words"],
        "_background_noise_",
        "validation_list.txt",
        "testing_list.txt",
        "settings.json",
    }
    for word in SMALL["words"]:
        names = [path.name for path in (small.folder / word).iterdir()]
        assert len(names) == 12
        assert Counter(Counter(map(speaker_of, names)).values()) == {2: 6}
        assert all(len(speaker_of(name)) == 8 and int(speaker_of(name), 16) >= 0 for name in names)
    for path in small.folder.glob("*/*_nohash_*.wav"):
        information = soundfile.info(path)
        assert (information.samplerate, information.channels, information.frames) == (16000, 1, 16000)
        assert (information.format, information.subtype) == ("WAV", "PCM_16")
    listed = (small.folder / "testing_list.txt").read_text().splitlines()
    assert len(listed) == 3 * 2
    assert all((small.folder / name).is_file() for name in listed)


def test_scanned_with_disjoint_speakers(small):
    corpus = small.scan()
    assert corpus.labels == tuple(SMALL["words"])
    assert not corpus.refused
    assert [len(corpus.split(split)) for split in SPLITS] == [24, 6, 6]
    assert {path.stem for path in corpus.noise} == {"white_noise", "pink_noise", "brown_noise", "hum", "babble"}
    speakers = [{clip.speaker for clip in corpus.split(split)} for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 6
    # The lists on disk say what the dataset's own rule says.
    assert all(which_set(clip.path.name) == clip.split for clip in corpus.clips)


def test_same_seed_same_bytes_and_another_seed_others(small, tmp_path):
    again = EmbeddedCorpus(tmp_path, **SMALL)
    again.prepare()
    assert again.folder.name == small.folder.name
    assert contents(again.folder) == contents(small.folder)
    other = EmbeddedCorpus(tmp_path, **{**SMALL, "seed": 4})
    other.prepare()
    assert other.folder.name != again.folder.name
    assert not set(contents(other.folder).values()) & set(contents(again.folder).values())


def test_clips_do_not_depend_on_other_speakers_or_words(small, tmp_path):
    fewer = EmbeddedCorpus(tmp_path, **{**SMALL, "speakers": 5})
    fewer.prepare()
    shared = set(contents(fewer.folder)) & {name for name in contents(small.folder) if "_nohash_" in name}
    assert len(shared) == 5 * 6
    assert all(contents(fewer.folder)[name] == contents(small.folder)[name] for name in shared)


def test_kept_and_used_again(small):
    before = {path: path.stat().st_mtime_ns for path in small.folder.rglob("*")}
    EmbeddedCorpus(small.root, **SMALL).prepare()
    assert {path: path.stat().st_mtime_ns for path in small.folder.rglob("*")} == before


def test_speech_is_heard_over_the_noise(small):
    for path in small.folder.glob("*/*_nohash_*.wav"):
        clip = soundfile.read(path)[0]
        levels = np.sqrt((clip.reshape(100, 160) ** 2).mean(axis=1))
        assert np.abs(clip).max() < 1
        assert 10 ** (-40 / 20) < np.sqrt((clip**2).mean()) < 10 ** (-12 / 20)
        assert np.percentile(levels, 95) > 4 * np.percentile(levels, 5)  # 12 dB


def test_words_differ_more_than_takes():
    """The mean spectrum of a word is nearer to the same word of another speaker than to other words."""
    words, voices = ["yes", "zero", "up"], ["gmw/en-US+f3", "gmw/en+m1"]

    def spectrum(espeak, word, voice):
        said = trim(espeak.speak(word, voice).astype(float), espeak.sample_rate)
        thirds = [np.abs(np.fft.rfft(third * np.hanning(len(third)), 4096)) ** 2 for third in np.array_split(said, 3)]
        bands = np.log([[band.sum() for band in np.array_split(third[:1500], 12)] for third in thirds])
        return (bands - bands.mean()).ravel()

    with Espeak() as espeak:
        first, second = ([spectrum(espeak, word, voice) for word in words] for voice in voices)
    distances = np.array([[np.linalg.norm(a - b) for b in second] for a in first])
    assert (distances.argmin(axis=1) == np.arange(len(words))).all()


def test_the_library_forgets_when_closed():
    """What espeak-ng says depends on what it has said before, unless it is loaded afresh."""

    def said(*before):
        with Espeak() as espeak:
            for word in before:
                espeak.speak(word, "gmw/en+f2")
            return espeak.speak("left", "gmw/en-US+m3")

    assert np.array_equal(said(), said())
    assert not np.array_equal(said(), said("marvin"))


def test_voices_speak_and_are_many():
    assert len(variants()) >= 60
    with Espeak() as espeak:
        assert espeak.sample_rate == 22050
        said = [espeak.speak("yes", f"{accent}+f3") for accent in ACCENTS]
        assert all(np.abs(samples).max() > 1000 for samples in said)
        assert len({samples.tobytes() for samples in said}) == len(ACCENTS)
        with pytest.raises(KwsError, match="no voice 'gmw/xx'"):
            espeak.speak("yes", "gmw/xx")


def test_no_variant_is_in_two_splits():
    voices = choose_voices(150, np.random.default_rng(0))
    assert len({voice.identity for voice in voices}) == 150
    assert Counter(voice.split for voice in voices) == {"training": 120, "validation": 15, "testing": 15}
    assert all(which_set(voice.identity) == voice.split for voice in voices)
    families = [{family(voice.variant) for voice in voices if voice.split == split} for split in SPLITS]
    assert sum(map(len, families)) == len(set.union(*families))


def test_families_of_variants():
    assert [family(name) for name in ("steph", "steph2", "m3", "f1", "Mr serious")] == [
        "steph",
        "steph",
        "m3",
        "f1",
        "Mr serious",
    ]
    assert not {"Reed", "klatt2", "RicishayMax", "Storm", "robosoft4"} & set(variants())


def test_defaults_are_the_words_of_speech_commands(tmp_path):
    source = EmbeddedCorpus(tmp_path)
    assert source.words == WORDS
    assert len(WORDS) == 30
    assert source.speakers >= 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "empty"),
        (["yes", True], "quotes around words"),
        (["yes", " "], "empty words and spaces"),
        (["yes", "no "], "empty words and spaces"),
        (["_unknown_"], "hold no keyword"),
        ([".."], "hold no keyword"),
        (["on/off"], "cannot be a folder's name"),
        (["nul\0"], "cannot be a folder's name"),
        (["a\nb"], "cannot be a folder's name"),
        (["a" * 101], "cannot be a folder's name"),
        (["yes", "Yes"], "the same word twice"),
    ],
)
def test_words_that_are_refused(words, message):
    with pytest.raises(KwsError, match=message):
        check_words(words)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": ["--"]}, "silence"),
        ({"words": ["a very long sentence that nobody could ever say within a single second of time"]}, "one second"),
        ({"speakers": 2}, "3 or more"),
        ({"speakers": 9000}, "data.speakers=9000 is more"),
        ({"takes": 0}, "one clip or more"),
    ],
)
def test_settings_that_are_refused(tmp_path, settings, message):
    with pytest.raises(KwsError, match=message):
        EmbeddedCorpus(tmp_path, **{**SMALL, **settings}).prepare()
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


def test_scan_before_prepare(tmp_path):
    with pytest.raises(KwsError, match="prepare"):
        EmbeddedCorpus(tmp_path, **SMALL).scan()


def test_a_long_phrase_is_spoken_faster(tmp_path):
    source = EmbeddedCorpus(tmp_path, words=["turn on all the lights"], speakers=3)
    source.prepare()
    assert len(list(source.folder.glob("turn*/*.wav"))) == 3


def test_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedCorpus, "_write_noise", interrupt)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedCorpus(tmp_path, **SMALL).prepare()
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


def test_killed_leaves_no_corpus_under_its_name(tmp_path):
    script = (
        "import os, sys; from kws.corpus.embedded import EmbeddedCorpus;"
        "EmbeddedCorpus._write_noise = lambda *_: os._exit(9);"
        f"EmbeddedCorpus(sys.argv[1], **{SMALL!r}).prepare()"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60).returncode == 9
    source = EmbeddedCorpus(tmp_path, **SMALL)
    assert not source.folder.exists()
    assert len(list(tmp_path.glob(".embedded-*.tmp"))) == 1
    source.prepare()
    assert len(source.scan().clips) == 36
    assert not list(tmp_path.glob(".embedded-*.tmp"))  # what the killed one left is cleared away


def test_two_processes_make_it_once(tmp_path):
    script = (
        "import sys; from kws.corpus.embedded import EmbeddedCorpus; import kws.corpus.embedded as e;"
        f"e._NOISE_SECONDS = 2; print(EmbeddedCorpus(sys.argv[1], **{SMALL!r}).prepare().stat().st_ino)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert first == second
    assert len(list(tmp_path.glob("*embedded-*"))) == 1


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_colours_fall_per_octave(colour, slope):
    noise = coloured_noise(colour, 1 << 18, 16000, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1)
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(len(noise), 1 / 16000)
    octaves = [power[(frequencies >= low) & (frequencies < 2 * low)].mean() for low in (125, 250, 500, 1000, 2000)]
    assert np.diff(10 * np.log10(octaves)) == pytest.approx(slope, abs=0.4)


def test_hum_is_at_the_mains():
    sound = hum(1 << 16, 16000, np.random.default_rng(1))
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(1)
    loudest = np.fft.rfftfreq(1 << 16, 1 / 16000)[np.abs(np.fft.rfft(sound)).argmax()]
    assert min(abs(loudest - 50), abs(loudest - 60)) < 1
