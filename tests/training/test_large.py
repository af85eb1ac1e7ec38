"""A cache that is filled before the run, and a run of more words than are shown."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kws.evaluation import confusion
from tests.scripts import call, tone_corpus

SHORT = ("data.batch_size=64", "model.hidden_size=4", "summary=false", "augment=none", "callbacks.samples.clips=0")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))


def test_prepare_fills_the_cache_and_leaves_no_run():
    settings = ("data=folder", f"data.root={tone_corpus(Path('corpus'), clips=12)}", *SHORT)
    done = call("train", *settings, "prepare=true")
    assert done.status == 0, done.err
    first, folder = done.out.splitlines()[-2:]
    assert first == "corpus: 18 for training, 9 for validation, 9 for testing, 3 labels"
    assert Path(folder).is_dir() and not list(Path("outputs").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in Path("cache").rglob("*.npy")}
    done = call("train", *settings, "debug=fast", "export=[]", "hydra.run.dir=run")
    assert done.status == 0, done.err
    assert {path: path.stat().st_mtime_ns for path in Path("cache").rglob("*.npy")} == kept


def test_a_run_of_many_words():
    """More than a matrix is written for; what is drawn and printed are those that matter."""
    count = confusion.MOST_ROWS + 20
    random = np.random.default_rng(0)
    for word in range(count):
        folder = Path("corpus", f"word{word:03}")
        folder.mkdir(parents=True)
        for speaker in range(3):
            samples = 0.1 * random.standard_normal(800)
            soundfile.write(folder / f"{speaker:08x}_nohash_0.wav", samples, 8000, subtype="PCM_16")
    for split, speaker in (("validation", 0), ("testing", 1)):
        lines = (f"word{word:03}/{speaker:08x}_nohash_0.wav\n" for word in range(count))
        Path("corpus", f"{split}_list.txt").write_text("".join(lines))
    settings = ("data=folder", "data.root=corpus", "data.seconds=0.1", "trainer.max_epochs=1", "export=[]")
    done = call("train", *settings, *SHORT, "hydra.run.dir=run")
    assert done.status == 0, done.err
    results = json.loads(Path("run/results.json").read_text())
    pairs = confusion.read(results["test"]["confusion"], count)
    assert pairs.count.sum() == results["test"]["clips"] == count
    assert pairs.diagonal.sum() == round(results["test"]["accuracy"] * count)
    assert len(results["test"]["most_confused"]) == confusion.SHOWN
    with Path("run/confusion.png").open("rb") as file:
        width, height = np.frombuffer(file.read(24)[16:], ">u4")
    assert max(width, height) < 4000
    done = call("evaluate", "run=run", "detection.hours=0", "runtimes=[]", "streaming.modes=[reset]")
    assert done.status == 0, done.err
    assert "160 more words" in done.out
    assert "The 200 worst of 220 words" in Path("run/evaluation.html").read_text()
