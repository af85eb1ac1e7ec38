"""The gallery: made-up runs, hostile ones, and what the page makes of them."""

import csv
import json
import math
import re
import shutil
import statistics
from pathlib import Path

import onnx
import pytest

from kws.export.onnx import step_model
from kws.gallery import table
from kws.gallery.__main__ import main as gallery
from kws.gallery.find import find_runs
from kws.networks import RecurrentClassifier
from kws.program import Program
from kws.runs import cost
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError

CONFIG = "seed: {seed}\ndirectory: {directory}\nmodel:\n  hidden_size: {size}\nmodule:\n  seed: ${{seed}}\n"


def spotter(size=4, **settings):
    featurizer = Featurizer(8000, window_size=256, hop_size=256, num_filters=40)
    return Spotter(featurizer, RecurrentClassifier(40, 2, hidden_size=size, **settings), ["no", "yes"])


def make_run(folder: Path, accuracy=0.9, seed=1, size=4, evaluated=False, **more) -> Path:
    folder.mkdir(parents=True)
    own = spotter(size)
    own.save(folder / "spotter.ckpt")
    (folder / "exports").mkdir()
    onnx.save(step_model(own), folder / "exports" / "step.onnx")
    (folder / "config.yaml").write_text(CONFIG.format(seed=seed, directory=folder, size=size))
    results = {
        "test": {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], "clips": 100},
        "validation": {"accuracy": accuracy},
        "parameters": own.num_parameters,
        "training": {"seconds": 12.5, "epochs": 3, "resumed": False},
        "corpus": {"name": "tones", "fingerprint": "f0", "sample_rate": 8000},
        "seed": seed,
        "choices": {"model": "gru", "data": "folder"},
        "environment": {"git_commit": "abc"},
    }
    (folder / "results.json").write_text(json.dumps(results | more))
    if evaluated:
        streaming = {mode: {"accuracy": value} for mode, value in {"reset": 0.8, "never": 0.3, "vad": 0.6}.items()}
        kinds = {"words": {"false_alarms_per_hour": 1.5}, "running": {"false_alarms_per_hour": 8.25}, "<b>": {}}
        points = [{"target": 0.1, "miss_rate": 0.9}, {"target": 1.0, "miss_rate": 0.25, "kinds": kinds}]
        evaluation = {"split": "testing", "streaming": streaming, "corpus": results["corpus"]}
        (folder / "evaluation.json").write_text(json.dumps(evaluation | {"detection": {"operating_points": points}}))
        (folder / "evaluation.html").write_text("<p>report</p>")
    return folder


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    make_run(folder / "a", 0.9, seed=1, evaluated=True)
    make_run(folder / "multirun" / "0", 0.94, seed=2)
    make_run(folder / "multirun" / "1", 0.8, seed=1, size=6)
    (folder / "started").mkdir()
    (folder / "started" / "config.yaml").write_text("seed: 1\n")
    (folder / "failed").mkdir()
    (folder / "failed" / "error.txt").write_text("data.root is not set;\n give it\n")
    return folder


def by_name(runs):
    return {run.name: run for run in runs}


def test_all_runs_are_found_best_first(outputs):
    runs = find_runs([outputs])
    assert [run.name for run in runs] == ["multirun/0", "a", "multirun/1", "failed", "started"]
    best, evaluated, _, failed, started = runs
    assert (best.test, best.seed, best.seconds, best.corpus) == (0.94, 2, 12.5, "tones, 8000 Hz")
    assert best.interval == pytest.approx((0.93, 0.95))
    assert best.model_bytes == (outputs / "multirun/0/exports/step.onnx").stat().st_size
    assert best.status == "done"
    assert best.streaming == {}
    assert evaluated.streaming == {"reset": 0.8, "never": 0.3, "vad": 0.6}
    assert evaluated.missed == 0.25
    assert evaluated.false_alarms == {"words": 1.5, "running": 8.25}
    assert (best.missed, best.false_alarms) == (None, {})
    assert failed.status == "failed: data.root is not set; give it"
    assert started.status == "unfinished"
    assert not started.done


def test_runs_of_one_configuration_are_put_together(outputs, tmp_path):
    shutil.copytree(outputs, tmp_path / "runs")
    make_run(tmp_path / "runs" / "b", 0.92, seed=3)
    make_run(tmp_path / "runs" / "a_again", 0.9, seed=1)  # the same seed: the same run
    (group,) = table.seeds(find_runs([tmp_path / "runs"]))
    assert group["seeds"] == [1, 2, 3]
    assert group["test_accuracy"] == pytest.approx(0.92)
    half = 4.30265 * statistics.stdev([0.9, 0.92, 0.94]) / math.sqrt(3)
    assert group["test_high"] - group["test_accuracy"] == pytest.approx(half, rel=1e-4)


def test_command_writes_three_files(outputs, tmp_path, capsys):
    gallery([str(outputs), "--output", str(tmp_path / "out")])
    assert capsys.readouterr().out.splitlines()[-1].endswith("gallery.html")
    with (tmp_path / "out" / "gallery.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert float(rows["a"]["test_accuracy"]) == 0.9
    assert float(rows["a"]["stream_vad"]) == 0.6
    assert float(rows["a"]["microseconds_per_hop"]) > 0
    assert [float(rows["a"][name]) for name in ("missed", "false_alarms_words", "false_alarms_running")] == [
        0.25,
        1.5,
        8.25,
    ]
    assert rows["multirun/0"]["false_alarms_running"] == ""
    assert rows["failed"]["test_accuracy"] == ""
    text = (tmp_path / "out" / "gallery.md").read_text()
    assert "94.00 % (93.00 to 95.00)" in text
    assert "| missed at 1 false alarm an hour | false alarms an hour, words | false alarms an hour, running |" in text
    assert "| 25.00 % | 1.50 | 8.25 |" in text
    assert "| started | unfinished |" in text
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)  # needs no network
    assert "<th>false alarms an hour, running</th>" in page
    for target in re.findall(r'href="([^"]+)"', page):
        assert (tmp_path / "out" / target).exists(), target
    points = json.loads(re.search(r"const points = (.*);", page).group(1))
    assert [p["name"] for p in points] == ["multirun/0", "a", "multirun/1"]
    assert points[1]["link"].endswith("a/evaluation.html")


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("results.json", b"{", "results.json cannot be read"),
        ("results.json", b"\xff\xfe\x00", "results.json cannot be read"),
        ("results.json", b"[1, 2]", "results.json holds no results"),
        ("results.json", b"{}", "results.json holds no test accuracy"),
        ("results.json", b'{"test": {"accuracy": "high", "interval": 3}, "seed": {}}', "no test accuracy"),
        ("results.json", b'{"test": {"accuracy": NaN}}', "no test accuracy"),
        ("results.json", b"[" * 100_000, "results.json cannot be read"),
        ("evaluation.json", b"{'a'", "evaluation.json cannot be read"),
        ("evaluation.json", b'{"split": "testing", "streaming": [0.9], "corpus": {"fingerprint": "f0"}}', "done"),
        ("evaluation.json", b'{"split": "testing", "streaming": {}, "corpus": {"fingerprint": {}}}', "done"),
        ("evaluation.json", b'{"split": "testing", "detection": 3, "corpus": {"fingerprint": "f0"}}', "done"),
        (
            "evaluation.json",
            b'{"split": "testing", "detection": {"operating_points": [3, {"target": 1, "kinds": {"a": 3},'
            b'"miss_rate": "low"}]}, "corpus": {"fingerprint": "f0"}}',
            "done",
        ),
        ("config.yaml", b"a: [", "done"),
        ("config.yaml", b"- 1\n", "done"),
        ("overrides.yaml", b"\x00", "done"),
        ("spotter.ckpt", b"", "cannot be read"),
        ("exports/step.onnx", b"\x08", "step.onnx cannot be run"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_stay(outputs, tmp_path, name, content, status):
    folder = Path(shutil.copytree(outputs, tmp_path / "runs"))
    (folder / "a" / name).write_bytes(content)
    gallery([str(folder)])
    runs = by_name(find_runs([folder], measure=True))
    assert status in runs["a"].status
    assert runs["multirun/0"].status == "done"


@pytest.mark.parametrize("other", [{"split": "validation"}, {"corpus": {"fingerprint": "f1"}}, {"corpus": None}])
def test_a_stream_of_other_recordings_is_not_the_run_s(outputs, tmp_path, other):
    folder = Path(shutil.copytree(outputs, tmp_path / "runs"))
    path = folder / "a" / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    assert by_name(find_runs([folder]))["a"].streaming == {}


def test_names_cannot_break_the_page(outputs, tmp_path):
    folder = tmp_path / "runs"
    make_run(folder / "<script>alert(1)<" / "|&\"'", 0.9, choices={"model": "</script><b>", 3: None})
    gallery([str(folder)])
    page = (folder / "gallery.html").read_text()
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<b>" not in page
    assert "\\|" in (folder / "gallery.md").read_text()


def test_no_run_is_said_in_a_sentence(tmp_path):
    with pytest.raises(KwsError, match="there is no run in"):
        find_runs([tmp_path])
    with pytest.raises(KwsError, match="there is no folder"):
        find_runs([tmp_path / "none"])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_multiply_adds_are_the_weights_of_every_frame(cell):
    own = spotter(6, cell=cell)
    weights = sum(p.numel() for p in own.classifier.parameters() if p.dim() == 2)
    program = own.program()
    assert program.multiply_adds(program.network) == weights
    filters = int((own.featurizer.filters != 0).sum())
    assert program.multiply_adds(program.front) == 256 * 8 + 2 * 129 + filters
    assert cost.multiply_adds_per_second(own) == pytest.approx(program.multiply_adds() * 8000 / 256)


def test_every_stage_of_a_featurizer_is_counted():
    plain = {"window_size": 256, "hop_size": 128, "num_filters": 40}
    full, less = (
        Program(Featurizer(8000, **plain, **more).steps(), 128).multiply_adds()
        for more in ({"hamming": True, "pre_emphasis": True, "dct": 13}, {})
    )
    assert full - less == 256 + 128 + 40 * 13
