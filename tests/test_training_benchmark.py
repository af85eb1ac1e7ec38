"""The benchmark of training runs, and counts what it says it counts."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from kws.networks import RecurrentClassifier

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training.py"


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("training_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_runs_to_the_end(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "PEAK_SIZE", 64)
    threads = torch.get_num_threads()
    output = tmp_path / "training.json"
    small = ["data.batch_size=8", "model.hidden_size=8"]
    results = benchmark.main(["--blocks", "2", "--steps", "2", "--output", str(output), *small])
    torch.set_num_threads(threads)
    assert json.loads(output.read_text()) == results
    assert (results["batch_size"], results["frames"], results["features"]) == (8, 31, 40)
    assert all(row["steps_per_second"] > 0 for row in results["ways"].values())
    assert results["ways"][benchmark.PLAIN]["of_plain_loop"] == 1
    assert "GFLOP/s" in capsys.readouterr().out


def test_operations_of_a_step(benchmark):
    # One unit, one input, one label: 3 + 3 + 1 weights. Forward 2·7, backward 2·(7 + 7 - 3), for each of 5 · 2 frames.
    assert benchmark.operations(RecurrentClassifier(1, 1, hidden_size=1, num_layers=1), 5, 2) == 10 * (14 + 22)
