"""benchmarks/augmentation.py: mean and Student's interval over the seeds of a sweep."""

import json
import runpy

import pytest
import scipy.stats

from kws import files
from kws.errors import KwsError
from tests.scripts import ROOT


def test_mean_and_interval(tmp_path):
    accuracies = [0.84, 0.86, 0.88]
    for seed, accuracy in enumerate(accuracies, start=1):
        content = {
            "choices": {"augment": "light"},
            "seed": seed,
            "test": {"accuracy": accuracy},
            "validation": {"accuracy": 0.9},
            "corpus": {"name": "made up"},
            "parameters": 7,
            "environment": {"git_commit": "abc"},
        }
        files.write_json(tmp_path / "sweep" / f"job{seed}" / "results.json", content)
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "augmentation.py"))
    assert benchmark["main"]([str(tmp_path / "sweep"), "--results", str(tmp_path)]) == 0
    light = json.loads((tmp_path / "augment.json").read_text())["augment"]["light"]
    low, high = scipy.stats.t.interval(0.95, 2, loc=0.86, scale=scipy.stats.sem(accuracies))
    assert light["mean"] == pytest.approx(0.86)
    assert light["half_width"] == pytest.approx((high - low) / 2, rel=1e-3)
    assert "| light | 1, 2, 3 | 86.00 ± 4.97 % | 90.00 % |" in (tmp_path / "augment.md").read_text()


def test_an_empty_sweep_is_named(tmp_path):
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "augmentation.py"))
    with pytest.raises(KwsError, match="no finished run"):
        benchmark["main"]([str(tmp_path)])
