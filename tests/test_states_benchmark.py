"""benchmarks/states.py: what it runs, and the table it makes of the results."""

import json
import runpy

import pytest

from kws import files
from tests.scripts import ROOT


def fake_run(folder, last):
    """A finished and judged run whose accuracy on the last frame is known."""
    both = {"definitions": {"last": {"accuracy": last}, "best": {"accuracy": last / 2}}}
    stream = dict.fromkeys(("reset", "never", "vad"), both)
    files.write_json(folder / "evaluation.json", {"clips": {"accuracy": last}, "streaming": stream})
    files.write_json(folder / "results.json", {"corpus": {"name": "made up"}, "parameters": 7, "environment": {}})


def test_the_table_holds_mean_and_range(tmp_path, capsys):
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "states.py"))
    for seed, last in ((1, 0.8), (2, 0.9)):
        fake_run(tmp_path / "runs" / "mixed" / f"seed_{seed}", last)
    arguments = ["--root", "absent", "--states", "mixed", "--seeds", "1", "2"]
    arguments += ["--outputs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert benchmark["main"](arguments) == 0
    row = (tmp_path / "results" / "states.md").read_text().splitlines()[-1]
    assert row == "| mixed | " + " | ".join(["85.0 (80.0 to 90.0)", "42.5 (40.0 to 45.0)"] * 3) + " |"
    stored = json.loads((tmp_path / "results" / "states.json").read_text())
    assert stored["states"]["mixed"]["mean"]["never.last"] == pytest.approx(0.85)
    assert stored["corpus"]["name"] == "made up"
    assert "$ python" not in capsys.readouterr().out  # nothing had to run


def test_a_failing_run_ends_it(tmp_path, capfd):
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "states.py"))
    arguments = ["--root", str(tmp_path / "absent"), "--states", "reset", "--seeds", "1"]
    assert benchmark["main"]([*arguments, "--outputs", str(tmp_path), "--results", str(tmp_path)]) == 1
    assert not (tmp_path / "states.json").exists()
