"""benchmarks/time_to_accuracy.py runs to the end, and finds the epoch it says it looks for."""

import itertools
import json
import runpy

import pytest
import torch

from tests.scripts import ROOT, tone_corpus


def test_both_ways_are_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "time_to_accuracy.py"))
    benchmark["main"].__globals__["EPOCHS"] = 2
    corpus = tone_corpus(tmp_path / "corpus", clips=12)
    output = tmp_path / "result.json"
    overrides = ["trainer.max_epochs=3", "data.batch_size=8", "callbacks.samples.clips=0"]
    results = benchmark["main"](["--root", str(corpus), "--output", str(output), *overrides])
    torch.set_num_threads(threads)
    assert json.loads(output.read_text()) == results
    assert len(results["ells_manner"]["epochs"]) == 2
    assert len(results["ours"]) == 3
    for run in (results["ells_manner"]["epochs"], results["ours"]):
        assert all(a["processor"] <= b["processor"] for a, b in itertools.pairwise(run))
    reached, epochs = (
        benchmark["reached"],
        [{"wall": 2.0 * i, "processor": 1.0 * i, "validation": i / 10} for i in (1, 2, 3)],
    )
    found = reached(epochs, 0.15, {"wall": 40.0, "processor": 40.0})
    assert (found["epoch"], found["validation"]) == (2, 0.2)
    assert found["share"] == pytest.approx({"wall": 0.1, "processor": 0.05})
    assert reached(epochs, 0.31, {"wall": 40.0, "processor": 40.0}) is None
    assert "ELL's manner" in capsys.readouterr().out
