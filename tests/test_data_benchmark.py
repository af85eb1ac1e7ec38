"""The benchmark of the data path runs, and its loop over hops computes what it is compared with."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kws.corpus import EmbeddedCorpus, embedded
from kws.spotter.featurizer import INT16_SCALE, Featurizer
from kws.support.errors import KwsError

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "data.py"


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("data_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_NOISE_SECONDS", 2)
    root = EmbeddedCorpus(tmp_path / "corpora", words=["yes", "no"], speakers=8).prepare()
    threads = torch.get_num_threads()
    yield ["--root", str(root), "--clips", "5", "--steps", "1", "--output", str(tmp_path / "results" / "data.json")]
    torch.set_num_threads(threads)


def test_runs_to_the_end(benchmark, arguments, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "BATCH", 4)
    results = benchmark.main(arguments)
    assert json.loads(Path(arguments[-1]).read_text()) == results
    assert all(row["clips_per_second"] > 0 for row in results["throughput"].values())
    assert set(results["training_step"]) == {"none", "light", "noisy"}
    assert all(0 < row["share"] < 1 for row in results["training_step"].values())
    assert results["largest difference of (b)"] < 1e-4
    assert "clips per second" in capsys.readouterr().out


def test_too_few_clips(benchmark, arguments):
    with pytest.raises(KwsError, match="fewer than 128 clips"):
        benchmark.main(arguments)


@pytest.mark.parametrize("settings", [{}, {"window_size": 400, "hop_size": 160, "pre_emphasis": True}])
def test_a_hop_at_a_time_computes_the_same(benchmark, settings):
    featurizer = Featurizer(8000, **settings)
    clip = np.random.default_rng(0).integers(-9000, 9000, 8000).astype(np.int16)
    whole = featurizer(torch.tensor(clip)[None] / INT16_SCALE)[0]
    assert benchmark.hop_by_hop(clip, featurizer) == pytest.approx(whole.numpy(), abs=1e-4)
