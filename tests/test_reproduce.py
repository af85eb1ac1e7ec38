"""benchmarks/reproduce.py: runs what is missing, leaves what is there, and writes tables."""

import importlib.util
import json
from pathlib import Path

import pytest

from kws.errors import KwsError
from tests.gallery.test_gallery import make_run

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "reproduce.py"


@pytest.fixture
def reproduce(tmp_path, monkeypatch):
    specification = importlib.util.spec_from_file_location("reproduce_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "small.yaml").write_text("# small\n")
    monkeypatch.setattr(module, "EXPERIMENTS", tmp_path / "experiment")
    return module


def test_trains_what_is_missing_and_writes_the_table(reproduce, tmp_path, monkeypatch):
    calls = []

    def script(name, *arguments):
        calls.append((name, *arguments))
        facts = dict(argument.split("=", 1) for argument in arguments)
        if name == "train.py":
            if "resume" in facts:
                return False  # fails again
            make_run(Path(facts["hydra.run.dir"]), 0.9 + int(facts["seed"]) / 100, int(facts["seed"]))
        else:
            (Path(facts["run"]) / "evaluation.json").write_text("{}")
        return True

    monkeypatch.setattr(reproduce, "script", script)
    interrupted = tmp_path / "outputs" / "small" / "seed_3"
    interrupted.mkdir(parents=True)
    (interrupted / ".composition.yaml").write_text("seed: 3\n")
    options = ["small", "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "results")]
    assert reproduce.main([*options, "--", "data.root=x"]) == 1  # seed 3 has no result
    assert [call[0] for call in calls] == ["train.py", "evaluate.py"] * 2 + ["train.py"]
    assert calls[0][1:3] == ("experiment=small", "seed=1")
    assert "data.root=x" in calls[0]
    assert calls[-1][1] == f"resume={interrupted}"
    results = json.loads((tmp_path / "results" / "small.json").read_text())
    assert results["seeds"][0]["seeds"] == [1, 2]
    assert results["seeds"][0]["test_accuracy"] == pytest.approx(0.915)
    assert "91.50 %" in (tmp_path / "results" / "small.md").read_text()
    assert results["command"] == "python benchmarks/reproduce.py small --seeds 1 2 3 -- data.root=x"
    calls.clear()
    assert reproduce.main([*options, "--seeds", "1", "2"]) == 0
    assert calls == []


def test_an_unknown_experiment_is_named(reproduce):
    with pytest.raises(KwsError, match="there is no experiment 'large'; choose from small"):
        reproduce.main(["large"])
