"""The benchmark of large corpora runs, small, and its line leads where it should."""

import importlib.util
import json
from pathlib import Path

import pytest

from kws.corpus import audio

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("scale_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_runs_to_the_end(benchmark, tmp_path, capsys):
    output = tmp_path / "results" / "scale.json"
    output.parent.mkdir()
    part = {"seconds": 1.0, "megabytes": 9.0}
    earlier = {"words": 3, "clips": 9, "threads": 1, "train": part, "evaluate": part}
    output.write_text(json.dumps({"words": earlier}))
    small = ["--clips", "700", "--many-words", "100", "--directory", str(tmp_path), "--output", str(output)]
    results = benchmark.main(small)
    assert json.loads(output.read_text()) == results
    assert [(row["clips"], row["words"]) for row in results["growth"]["rows"]] == [(700, 35), (700, 100)]
    for row in results["growth"]["rows"]:
        assert 60 < row["scan"]["bytes_per_clip"] < 100
        assert all(row[part]["seconds"] > 0 for part in benchmark.PARTS)
    printed = capsys.readouterr().out
    assert "threads: 2" in printed and "3 words, 9 clips" in printed
    assert not [path for path in tmp_path.iterdir() if path != output.parent]


def test_its_clips_are_recordings(benchmark, tmp_path):
    word, clip, data = next(benchmark.tiny_clips(10, 2))
    (tmp_path / clip).write_bytes(data)
    samples, rate = audio.read(tmp_path / clip)
    assert (word, rate, len(samples)) == ("word00000", 8000, 800)
    assert 0.1 < abs(samples).max() < 1


def test_the_line_through_two_sizes(benchmark):
    def row(clips):
        part = {"seconds": 1 + clips / 1e5, "processor_seconds": clips / 1e5, "megabytes": 5 + clips / 1e4}
        return {"clips": clips} | dict.fromkeys(benchmark.PARTS, part)

    found = benchmark.extrapolated([row(10), row(100_000), row(1_000_000)])
    assert found["scan"] == pytest.approx({"seconds": 201, "processor_seconds": 200, "megabytes": 2005})
    assert benchmark.extrapolated([row(10)]) == {}


def test_the_figures_of_the_docs_are_those_of_the_file(benchmark):
    results = json.loads((SCRIPT.parent / "results" / "scale.json").read_text())
    text = (SCRIPT.parents[1] / "docs" / "corpora.md").read_text()
    for row in results["growth"]["rows"]:
        assert f"| {row['clips']:,} of {row['words']:,} |" in text
        assert all(benchmark.cell(row[part]) in text for part in benchmark.PARTS)
    for name in ("train", "evaluate"):
        assert f"{results['words'][name]['megabytes'] / 1000:.1f} GB" in text
