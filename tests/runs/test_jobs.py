"""Names of jobs, and sweeps that go on where an earlier one stopped."""

import csv
import json
from pathlib import Path

import pytest

from kws.runs.jobs import job_directory
from tests.scripts import call, tone_corpus


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    corpus = tone_corpus(tmp_path / "corpus", clips=12)
    return [
        "train", "-m", "data=folder", f"data.root={corpus}", "trainer.max_epochs=2", "data.batch_size=16", "export=[]",
        "callbacks.samples.clips=0", "hydra.sweep.dir=sweep",
    ]  # fmt: skip


def jobs(folder="sweep"):
    return sorted(path.parent for path in Path(folder).glob("*/config.yaml"))


def test_names_say_what_was_set_and_differ_where_settings_do():
    name = job_directory(["seed=1", "model.cell=gru", "data.root=/far/away", "callbacks.samples.clips=0"])
    assert name.startswith("cell=gru,seed=1_")
    assert job_directory(["a=1", "b=2"]) == job_directory(["b=2", "a=1"])
    assert name != job_directory(["seed=1", "model.cell=gru", "data.root=/elsewhere", "callbacks.samples.clips=0"])
    assert job_directory(["a.x=1"]) != job_directory(["b.x=1"])
    assert job_directory(["optimizer.lr=1.5e-3"]).startswith("lr=1.5e-3_")
    assert job_directory(["a=1", "launcher=joblib"]) == job_directory(["a=1"])
    assert job_directory(["a=b/c"]) != job_directory(["a=b-c"])
    long = [job_directory([f"key{i}=value" for i in range(99)] + [f"last={last}"]) for last in "ab"]
    assert long[0] != long[1]
    assert max(map(len, long)) < 120
    for odd in ([], ["~callbacks.samples"], ["a='../../x y|z'"], ["..=.."]):
        assert Path("x", job_directory(odd)).resolve().parent == Path("x").resolve()
        assert not job_directory(odd).startswith((".", "-"))


def test_a_second_sweep_leaves_finished_jobs_and_runs_the_others(base):
    assert call(*base, "model.hidden_size=4,6").status == 0
    first = {path: (path / "results.json").read_bytes() for path in jobs()}
    assert len(first) == 2
    again = call(*base, "model.hidden_size=8,6,4", "launcher=joblib", "hydra.launcher.n_jobs=1")  # and another order
    assert again.status == 0, again.err
    assert again.out.count("was finished by an earlier sweep") == 2
    assert len(jobs()) == 3
    assert all((path / "results.json").read_bytes() == content for path, content in first.items())
    rows = list(csv.DictReader(Path("sweep/sweep.csv").read_text().splitlines()))
    assert len(rows) == 3


def test_an_unfinished_job_is_resumed_and_a_failed_one_tried_again(base):
    assert call(*base, "seed=1,2", "model.hidden_size=4").status == 0
    whole = [json.loads((path / "results.json").read_text()) for path in jobs()]
    first, second = jobs()
    (first / "results.json").unlink()  # as if it had been killed after its last epoch
    for path in (second / "results.json", second / ".composition.yaml", second / "config.yaml"):
        path.unlink()  # as if it had failed before it began
    (second / "error.txt").write_text("no space left")
    again = call(*base, "seed=1,2", "model.hidden_size=4")
    assert again.status == 0, again.err
    assert again.out.count("was begun by an earlier sweep and is continued") == 1
    for path, before in zip((first, second), whole, strict=True):
        after = json.loads((path / "results.json").read_text())
        assert after["test"] == before["test"]
        assert not (path / "error.txt").exists()


def test_another_job_in_its_place_is_refused(base):
    assert call(*base, "model.hidden_size=4").status == 0
    (job,) = jobs()
    (job / "overrides.yaml").write_text("- model.hidden_size=5\n")
    content = (job / "results.json").read_bytes()
    again = call(*base, "model.hidden_size=4")
    assert "holds a job with other settings" in again.err
    assert (job / "results.json").read_bytes() == content
