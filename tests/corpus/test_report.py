"""The report on a corpus: it finds what was put there to be found."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from kws.corpus import FolderCorpus
from kws.corpus.audio import to_int16
from kws.corpus.report import findings, picture, print_report, write_report
from kws.corpus.survey import measure, survey
from tests.recordings import make_corpus, odd_name, tone, write


@pytest.fixture
def troubled(tmp_path):
    """A corpus with one of each trouble."""
    root = make_corpus(tmp_path / "[data] $5", noise_seconds=1.0)
    yes, no = root / "yes", root / "no"
    write(yes / "0000000a_nohash_7.wav", np.zeros(3200, np.float32))
    write(yes / "0000000a_nohash_8.wav", np.clip(8 * tone(0.2), -1, 1))
    write(yes / "0000000a_nohash_9.wav", tone(0.2, 44100, seed=9), 44100)
    (no / "0000000b_nohash_9.wav").write_bytes(b"RIFF")
    shutil.copy(yes / "00000002_nohash_0.wav", no / "00000009_nohash_5.wav")  # testing and training, yes and no
    shutil.copy(no / "00000008_nohash_0.wav", no / "00000008_nohash_4.wav")
    with (root / "testing_list.txt").open("a") as file:  # a speaker of the training split
        file.write("yes/00000006_nohash_1.wav\n")
    write(odd_name(yes), tone(0.2, seed=77))
    return root


def test_measure():
    rate = 8000
    waveform = (0.5 * np.sin(2 * np.pi * 100 * np.arange(rate) / rate)).astype(np.float32)
    measured = measure(waveform, rate)
    assert (measured.rate, measured.seconds) == (rate, 1.0)
    assert measured.level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert not measured.clipped and not measured.silent
    # A short word in silence is not silent; digital silence and a hiss are.
    waveform[800:] = 0
    assert measure(waveform, rate).loudest == pytest.approx(measured.level, abs=0.01)
    assert measure(np.zeros(10, np.float32), rate).silent
    assert measure(np.full(8000, 0.001, np.float32), rate).silent
    # One sample at full scale is a peak, three in a row are clipped.
    for run, clipped in ((1, False), (2, False), (3, True), (7, True)):
        waveform[:] = 0
        waveform[40 : 40 + run] = -1.0
        assert measure(waveform, rate).clipped is clipped
    assert measure(np.ones(2, np.float32), rate).clipped is False


def test_survey_finds_the_troubles(troubled):
    found = survey(FolderCorpus(troubled).scan())
    facts = found.as_dict()
    assert facts["total"]["clips"] == len(found.corpus.clips) - 1 == 48 + 3 + 2 + 1
    assert facts["words"]["yes"]["validation"] == {"clips": 4, "speakers": 2, "seconds": 0.8}
    assert facts["splits"]["validation"] == {"clips": 8, "speakers": 2, "seconds": 1.6}
    assert facts["rates"] == {"16000": 53, "44100": 1}
    assert facts["silent"] == ["yes/0000000a_nohash_7.wav"]
    assert facts["clipped"] == ["yes/0000000a_nohash_8.wav"]
    assert [entry["path"] for entry in facts["unreadable"]] == ["no/0000000b_nohash_9.wav"]
    assert facts["straddling_speakers"] == {"00000006": ["training", "testing"]}
    assert {frozenset(group) for group in facts["misplaced_duplicates"]} == {
        frozenset({"yes/00000002_nohash_0.wav", "no/00000009_nohash_5.wav"})
    }
    assert len(facts["duplicates"]) == 2
    sentences = "\n".join(findings(found))
    for part in ("cannot be read", "speaker is in more than one split", "under several words", "silent", "2 sampling"):
        assert part in sentences


def test_copies_in_another_format_are_found(tmp_path):
    root = make_corpus(tmp_path / "data")
    waveform = to_int16(tone(0.2, seed=5))  # written as it is, in both formats
    write(root / "yes" / "0000000a_nohash_5.wav", waveform)
    write(root / "yes" / "0000000a_nohash_6.flac", waveform)
    assert len(survey(FolderCorpus(root).scan()).duplicates) == 1


def test_table_picture_and_file(troubled, tmp_path):
    found = survey(FolderCorpus(troubled).scan())
    console = Console(file=io.StringIO(), width=100)
    print_report(found, console)
    text = console.file.getvalue()
    assert "[data] $5: clips · speakers · seconds" in text
    assert "1 clip is clipped: yes/0000000a_nohash_8.wav" in text
    paths = write_report(found, tmp_path / "report")
    assert [path.name for path in paths] == ["corpus.json", "corpus.png"]
    assert json.loads(paths[0].read_text())["findings"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_all_is_well(tmp_path):
    assert findings(survey(FolderCorpus(make_corpus(tmp_path / "data")).scan())) == []


def test_command(troubled, tmp_path):
    command = [sys.executable, "-m", "kws.corpus"]
    done = subprocess.run([*command, troubled, "--output", tmp_path / "r"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "r" / "corpus.json") in done.stdout
    failed = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "does not exist" in failed.stderr


def test_of_many_words_those_with_few_clips_are_shown(tmp_path):
    for number in range(130):
        for take in range(2 if number < 20 else 3):
            write(tmp_path / f"word{number:03}" / f"{take}_nohash_0.wav", tone(0.02))
    found = survey(FolderCorpus(tmp_path, required_splits=(), validation_percentage=0).scan())
    console = Console(file=io.StringIO(), width=100)
    print_report(found, console)
    text = console.file.getvalue()
    assert "word000" in text and "word099" in text and "word100" not in text and "… 30 more" in text
    assert "and 122 more words have no clips for validation" in text
    assert max(picture(found).get_size_inches()) < 20
    assert len(found.as_dict()["words"]) == 130


def test_command_on_manifests(tmp_path):
    root = make_corpus(tmp_path / "data")
    for name, word in (("a.csv", "yes"), ("b.csv", "no")):
        lines = ["path,label", *(f"{word}/{path.name},{word}" for path in sorted((root / word).iterdir()))]
        (root / name).write_text("\n".join(lines))
    command = [sys.executable, "-m", "kws.corpus", "--output", tmp_path / "r"]
    done = subprocess.run([*command, root / "a.csv", root / "b.csv"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r" / "corpus.json").read_text())
    assert (report["labels"], report["total"]["clips"]) == (["no", "yes"], 48)
    for arguments, named in (
        ([root, root], "2 folders are named"),
        ([root, "--languages", "en"], "no en/en_splits.csv"),
    ):
        failed = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
        assert failed.returncode == 1
        assert named in failed.stderr and failed.stderr.count("\n") == 1
