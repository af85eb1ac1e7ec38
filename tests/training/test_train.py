"""python train.py, evaluate.py and export.py on a small corpus, as a user runs them."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kws.spotter import Spotter
from tests.scripts import call, tone_corpus

CLIPS_ONLY = ("streaming.modes=[]", "detection.hours=0", "runtimes=[]")
SMALL = ("model.hidden_size=12", "trainer.max_epochs=4", "data.batch_size=8", "optimizer.lr=0.02")
SMALL += ("augment=none", "training=default")  # the defaults, those of a detector, are tested in test_detector.py


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def trained(corpus):
    """One finished run with the default exports, which tests read but do not change; and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KWS_CACHE", str(corpus.parent / "cache"))
        return train(corpus, f"hydra.run.dir={corpus.parent / 'run'}")


@pytest.fixture
def run_copy(trained, here):
    """A copy of it that a test may change."""
    return Path(shutil.copytree(trained[1], here / "copy"))


@pytest.fixture
def here(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(corpus.parent / "cache"))
    return tmp_path


def train(corpus, *overrides):
    done = call("train", "data=folder", f"data.root={corpus}", *SMALL, *overrides)
    assert done.status == 0, done.err
    return done, Path(done.last_line)


def results(run):
    return json.loads((run / "results.json").read_text())


def test_a_run_writes_everything_it_promises(trained):
    done, run = trained
    for name in ("config.yaml", "spotter.ckpt", "results.json", "confusion.png", "checkpoints/last.ckpt"):
        assert (run / name).is_file(), name
    for name in ("clip.onnx", "step.onnx", "featurizer.ell", "classifier.ell", "classifier_vad.ell", "vad.ell"):
        assert (run / "exports" / name).is_file(), name
        assert str(run / "exports" / name) in done.out
    result = results(run)
    assert result["test"]["accuracy"] >= 0.9  # tones are easy
    assert result["validation"]["clips"] == 18
    assert result["seed"] == 1
    assert result["corpus"]["clips"] == {"training": 36, "validation": 18, "testing": 18}
    assert result["training"]["epochs"] == 4
    assert result["training"]["seconds"] > 0
    assert result["parameters"] == sum(p.numel() for p in Spotter.load(run / "spotter.ckpt").classifier.parameters())
    for name in ("onnx", "onnx_step", "classifier_ell", "classifier_vad_ell", "featurizer_ell"):
        assert result["parity"][name]["label_agreement"] == 1.0
        assert result["parity"][name]["max_abs_difference"] <= 1e-4
    confusion = np.array(result["test"]["confusion"])
    assert confusion.sum() == result["test"]["clips"] == 18
    assert np.trace(confusion) / confusion.sum() == result["test"]["accuracy"]
    assert result["test"]["per_word"] == {
        word: confusion[i, i] / confusion[i].sum() for i, word in enumerate(result["test"]["labels"])
    }
    assert result["environment"]["packages"]["torch"] == torch.__version__.split("+")[0]
    assert f"{100 * result['test']['accuracy']:.2f} %" in done.out


def test_the_best_epoch_is_kept(trained):
    _, run = trained
    best = next((run / "checkpoints").glob("epoch*.ckpt"))
    weights = torch.load(best, weights_only=False)["state_dict"]
    spotter = Spotter.load(run / "spotter.ckpt")
    for name, tensor in spotter.state_dict().items():
        assert torch.equal(tensor, weights[f"spotter.{name}"]), name


def test_curves_and_pictures_are_in_tensorboard(here, corpus):
    done, run = train(corpus, "augment=noisy", "trainer.log_every_n_steps=2")
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "audio": 0})
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {"training/accuracy", "validation/accuracy", "validation/loss", "training/loss_epoch", "lr-AdamW"} <= scalars
    assert len(events.Scalars("validation/accuracy")) == 4
    # The lines printed are of the epoch they name, and the epoch's loss is the mean over its clips.
    losses = [event.value for event in events.Scalars("training/loss_epoch")]
    printed = [float(loss) for loss in re.findall(r"epoch +\d+/4 · loss (\d+\.\d+)", done.out)]
    assert printed == [pytest.approx(loss, abs=6e-4) for loss in losses]
    assert losses[-1] == pytest.approx(results(run)["training"]["loss"], rel=1e-5)
    steps = [event.step for event in events.Scalars("training/loss_step")]
    assert steps == list(range(1, results(run)["training"]["steps"], 2))
    images, audio = events.Tags()["images"], events.Tags()["audio"]
    assert "test/confusion" in images
    assert sum(name.endswith("clean") for name in audio) == 4
    assert sum(name.endswith("augmented") for name in images) == 4


def test_same_seed_same_numbers_and_another_seed_others(here, corpus):
    runs = [train(corpus, "augment=noisy", "model.dropout=0.2", f"seed={s}")[1] for s in (1, 1, 2)]
    weights = [Spotter.load(run / "spotter.ckpt").classifier.linear.weight for run in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    first, second = results(runs[0]), results(runs[1])
    assert first["test"] == second["test"]
    assert first["training"]["loss"] == second["training"]["loss"]
    assert len({str(run) for run in runs}) == 3  # no run wrote over another


def test_evaluate_gives_the_same_numbers_again(run_copy):
    run = run_copy
    for split, name in (("testing", "test"), ("validation", "validation")):
        done = call("evaluate", f"run={run}", f"split={split}", *CLIPS_ONLY)
        assert done.status == 0, done.err
        evaluation = json.loads((run / "evaluation.json").read_text())
        for key in ("accuracy", "per_word", "confusion"):
            assert evaluation["clips"][key] == results(run)[name][key]
    assert [path.name for path in Path.cwd().iterdir()] == [run.name]  # nothing is left beside the run


def test_an_evaluation_s_figures_are_put_into_tensorboard(run_copy):
    def figures():
        events = EventAccumulator(str(run_copy / "tensorboard" / "figures"))
        events.Reload()
        return {name: events.Scalars(name)[0].value for name in events.Tags()["scalars"]}

    before = figures()
    assert before["figures/test_accuracy"] == pytest.approx(results(run_copy)["test"]["accuracy"])
    assert before["figures/microseconds_per_hop"] > 0
    done = call("evaluate", f"run={run_copy}", "streaming.modes=[never]", "detection.hours=0", "runtimes=[]")
    assert done.status == 0, done.err
    never = json.loads((run_copy / "evaluation.json").read_text())["streaming"]["never"]["accuracy"]
    assert set(figures()) - set(before) == {"figures/stream_never"}
    assert figures()["figures/stream_never"] == pytest.approx(never)


def test_evaluate_on_another_corpus_matches_labels_by_name(run_copy, tmp_path):
    run = run_copy
    other = tone_corpus(tmp_path / "other", clips=8, rate=16000)
    (other / "low").rename(other / "unheard")
    for split in ("validation", "testing"):
        path = other / f"{split}_list.txt"
        path.write_text(path.read_text().replace("low/", "unheard/"))
    done = call("evaluate", f"run={run}", "data=folder", f"data.root={other}", "output=elsewhere", *CLIPS_ONLY)
    assert done.status == 0, done.err
    evaluation = json.loads(Path("elsewhere/evaluation.json").read_text())
    assert evaluation["left_out"] == {"unheard": 2}
    assert evaluation["clips"]["clips"] == 4
    assert evaluation["clips"]["accuracy"] == 1.0


def test_export_writes_the_same_files_again(run_copy):
    exports = run_copy / "exports"
    run = run_copy

    def written():
        found = {path.relative_to(exports).as_posix(): path for path in exports.rglob("*") if path.is_file()}
        # What was compiled holds its folder's name, and the README a time that was measured.
        return {name: path.read_bytes() for name, path in found.items() if name[:6] not in ("c/host", "c/READ")}

    before = written()
    assert {"stream.onnx", "classifier.ell", "c/src/kws_model.c"} <= set(before)
    shutil.rmtree(exports)
    done = call("export", f"run={run}")
    assert done.status == 0, done.err
    assert written() == before
    done = call("export", f"run={run}", "export=[ell,graph]", "output=ell")
    assert done.status == 0, done.err
    assert not Path("outputs").exists()
    assert {"classifier_vad.ell", "classifier_vad.svg"} <= {path.name for path in Path("ell").iterdir()}
    assert not Path("ell/clip.onnx").exists()


def test_multirun_keeps_jobs_apart_and_tabulates_them(here, corpus):
    done = call(
        "train", "-m", "data=folder", f"data.root={corpus}", *SMALL[1:], "trainer.max_epochs=1",
        "model=gru1,lstm", "model.hidden_size=4,8", "export=[onnx]",
    )  # fmt: skip
    assert done.status == 0, done.err
    table = Path(done.last_line)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len({row["job"] for row in rows}) == 4
    assert all("model=" in row["job"] and "hidden_size=" in row["job"] for row in rows)
    for row in rows:
        run = table.parent / row["job"]
        assert (run / "spotter.ckpt").is_file()
        assert float(row["test"]) == results(run)["test"]["accuracy"]
        assert int(row["parameters"]) == results(run)["parameters"]
        assert row["error"] == ""
    combinations = {tuple(o for o in row["overrides"].split() if o.startswith("model")) for row in rows}
    assert ("model=lstm", "model.hidden_size=8") in combinations
    again = call(
        "train", "-m", "data=folder", f"data.root={corpus}", "trainer.max_epochs=1", "model.hidden_size=4",
        "export=[]",
    )  # fmt: skip
    assert Path(again.last_line).parent != table.parent


def test_a_failed_job_does_not_stop_the_others(here, corpus):
    done = call(
        "train", "-m", "data=folder", f"data.root={corpus}", *SMALL, "trainer.max_epochs=1",
        "model.cell=nothing,gru", "export=[]",
    )  # fmt: skip
    rows = list(csv.DictReader(Path(done.last_line).read_text().splitlines()))
    fine, failed = sorted(rows, key=lambda row: row["error"])
    assert "model.cell='nothing' is unknown" in failed["error"]
    assert float(fine["test"]) > 0


def test_resume_goes_on_where_the_run_stopped(here, corpus):
    _, whole = train(corpus, "augment=noisy", "model.dropout=0.1", "scheduler=constant")
    _, part = train(
        corpus, "augment=noisy", "model.dropout=0.1", "scheduler=constant", "trainer.max_epochs=2"
    )  # SMALL's max_epochs comes first, so the later one counts
    done = call("train", f"resume={part}", "trainer.max_epochs=4")
    assert done.status == 0, done.err
    assert Path(done.last_line) == part
    assert results(part)["test"] == results(whole)["test"]
    assert results(part)["training"]["epochs"] == 4
    assert results(part)["training"]["resumed"] is True
    ours, theirs = (torch.load(r / "checkpoints" / "last.ckpt", weights_only=False) for r in (part, whole))
    for name, tensor in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], tensor), name


def test_early_stopping(here, corpus):
    _, run = train(corpus, "callbacks=early_stopping", "callbacks.early_stopping.patience=1", "trainer.max_epochs=50")
    assert results(run)["training"]["epochs"] < 50


@pytest.mark.parametrize(("state", "pause"), [("carry", 0.0), ("mixed", 0.3)])
def test_training_with_carried_state(here, corpus, state, pause):
    _, run = train(corpus, f"training={state}", f"training.pause_seconds={pause}", "export=[]")
    assert results(run)["test"]["accuracy"] > 0.6


def test_debug_fast(here, corpus):
    done = call("train", "debug=fast", "data=folder", f"data.root={corpus}", "data.batch_size=4")
    assert done.status == 0, done.err
    assert results(Path(done.last_line))["training"]["steps"] == 4


def test_debug_limit(here, corpus):
    done = call(
        "train",
        "debug=limit",
        "data=folder",
        f"data.root={corpus}",
        "data.batch_size=2",
        "model.hidden_size=4",
        "export=[]",
    )
    assert done.status == 0, done.err
    result = results(Path(done.last_line))["training"]
    assert (result["epochs"], result["steps"]) == (3, 3)  # a tenth of 18 batches, each epoch


def test_debug_overfit_learns_by_heart(here, corpus):
    done = call(
        "train", "debug=overfit", "data=folder", f"data.root={corpus}", "data.limit_clips=8",
        "model.hidden_size=16", "optimizer.lr=0.02",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert results(Path(done.last_line))["training"]["accuracy"] == 1.0


def test_a_finished_run_is_not_written_over(run_copy, corpus):
    run = run_copy
    before = (run / "results.json").read_bytes()
    done = call("train", "data=folder", f"data.root={corpus}", f"hydra.run.dir={run}")
    assert done.status == 1
    assert "holds an earlier run" in done.err
    assert (run / "results.json").read_bytes() == before


def test_gradients_of_two_half_batches_are_those_of_one(here, corpus):
    """By Lightning's own switch; the schedule counts optimizer steps, so the whole training is the same."""
    common = ("trainer.precision=32-true", "trainer.max_epochs=2", "export=[]", "callbacks.samples.clips=0")
    _, whole = train(corpus, *common, "data.batch_size=12")
    _, halves = train(corpus, *common, "data.batch_size=6", "trainer.accumulate_grad_batches=2")
    assert results(halves)["training"]["steps"] == results(whole)["training"]["steps"] == 6
    weights = Spotter.load(halves / "spotter.ckpt").state_dict()
    for name, tensor in Spotter.load(whole / "spotter.ckpt").state_dict().items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-4, rtol=1e-4)
