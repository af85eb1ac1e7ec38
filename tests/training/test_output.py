"""Where a run writes: odd words and paths, pictures that fail, directories that cannot be written."""

import json
import shutil
from collections import namedtuple

import pytest
from matplotlib.figure import Figure

from tests.scripts import call, tone_corpus

SHORT = ("debug=fast", "data.batch_size=8", "model.hidden_size=4", "trainer.precision=32-true")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Words with the markup of the console and of pictures, in a folder that has it too."""
    root = tone_corpus(tmp_path_factory.mktemp("corpus") / "[a] $b$", clips=8)
    for before, now in (("high", "[red]"), ("low", "$x_$"), ("mid", "a[b")):
        (root / before).rename(root / now)
        for path in root.glob("*_list.txt"):
            path.write_text(path.read_text().replace(f"{before}/", f"{now}/"))
    return root


@pytest.fixture(autouse=True)
def here(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(corpus.parent / "cache"))


def train(corpus, *overrides):
    return call("train", "data=folder", f"data.root='{corpus}'", *SHORT, *overrides)


def test_odd_words_and_paths_go_through_everything(corpus, tmp_path):
    run = tmp_path / "run [1] $a$"
    done = train(corpus, f"hydra.run.dir='{run}'")
    assert done.status == 0, done.err
    assert "left out" not in done.out
    assert all(word in done.out for word in ("[red]", "$x_$", "a[b"))
    assert done.last_line == run.name
    assert (run / "confusion.png").stat().st_size > 1000
    done = call("evaluate", f"run='{run}'", "detection.hours=0.02", "detection.lanes=2")
    assert done.status == 0, done.err
    assert "left out" not in done.out
    assert all(word in done.out for word in ("[red]", "$x_$", "a[b"))
    assert {path.stem for path in (run / "pictures").iterdir()} >= {"det", "timeline", "confusion"}
    assert call("export", f"run='{run}'", "export=[onnx,ell,graph]").status == 0
    assert call("train", f"resume='{run}'", "trainer.max_epochs=2").status == 0


def test_figures_come_before_pictures_and_without_them(corpus, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no font")

    monkeypatch.setattr(Figure, "savefig", fail)
    run = tmp_path / "run"
    done = train(corpus, f"hydra.run.dir={run}", "export=[onnx]")
    assert done.status == 0, done.err
    assert "confusion.png is left out (RuntimeError: no font)." in done.out
    assert json.loads((run / "results.json").read_text())["exports"].keys() == {"onnx", "onnx_step"}
    done = call("evaluate", f"run={run}", "detection.hours=0.02", "detection.lanes=2", "runtimes=[]")
    assert done.status == 0, done.err
    assert done.out.count("is left out") >= 4
    assert (run / "evaluation.json").is_file()
    assert (run / "evaluation.html").is_file()


def refused(done, *named):
    assert done.status == 1
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.err
    for text in named:
        assert text in lines[0]


def test_what_cannot_be_written_is_said_at_once(corpus, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    refused(train(corpus, f"hydra.run.dir={tmp_path}/file/run"), "file/run", "cannot be written")
    refused(train(corpus, f"cache_dir={tmp_path}/file/cache", "hydra.run.dir=a"), "file/cache", "cannot be written")
    done = train(corpus, "hydra.run.dir=run", "export=[]")
    assert done.status == 0, done.err
    common = ("run=run", f"output={tmp_path}/file/out", f"hydra.run.dir={tmp_path}")
    for script in ("evaluate", "export"):
        refused(call(script, *common), "file/out", "cannot be written")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    refused(train(corpus, "hydra.run.dir=full"), "full'", "disk is full (1 MB are free)")
