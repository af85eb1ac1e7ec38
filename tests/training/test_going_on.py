"""A run is itself wherever it lies: moved, copied, interrupted, resumed; and what contradicts it is refused."""

import json
import os
import pickle
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kws.runs.names import COMPOSITION, CONFIG, OVERRIDES
from kws.spotter import Spotter
from kws.training.module import SpotterModule
from tests.scripts import call, tone_corpus
from tests.training.test_resume import at_call, outcome

SETTINGS = [
    "data=folder", "data.batch_size=8", "model.hidden_size=6", "export=[onnx]", "callbacks.samples.clips=0",
    "optimizer.lr=0.02", "trainer.precision=32-true",
]  # fmt: skip
STEPS = 3  # an epoch: 18 clips in batches of 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"), clips=12)


@pytest.fixture(autouse=True)
def cache(corpus, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(corpus.parent / "cache"))


def start(corpus, directory, *overrides):
    return call("train", f"data.root={corpus}", *SETTINGS, f"hydra.run.dir={directory}", *overrides)


@pytest.fixture(scope="module")
def begun(corpus, tmp_path_factory):
    """A run of two epochs whose best one was the first: nothing that follows can be better."""
    run = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KWS_CACHE", str(corpus.parent / "cache"))
        done = start(corpus, run, "trainer.max_epochs=2", "scheduler=constant")
    assert done.status == 0, done.err
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    best, state = next((n, s) for n, s in content["callbacks"].items() if "validation/accuracy" in n)
    only = "epoch000.ckpt"
    for path in (run / "checkpoints").glob("epoch*.ckpt"):
        path.rename(path.with_name(only))
    one = torch.tensor(2.0)
    content["callbacks"][best] = {
        **state, "best_model_path": only, "best_k_models": {only: one}, "kth_best_model_path": only, "kth_value": one,
        "best_model_score": one,
    }  # fmt: skip
    torch.save(content, last)
    return run


@pytest.fixture
def run(begun, tmp_path):
    return Path(shutil.copytree(begun, tmp_path / "run"))


def weights(path):
    content = torch.load(path, weights_only=True)
    if "weights" in content:
        return content["weights"]
    return {k.removeprefix("spotter."): v for k, v in content["state_dict"].items() if k.startswith("spotter.")}


def refused(done, *named):
    assert done.status == 1, done.out
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.err
    for text in named:
        assert text in lines[0]


def learning_rates(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in (run / "tensorboard").glob("events*"):
        events = EventAccumulator(str(path)).Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith("lr-"):
                found |= {event.step: event.value for event in events.Scalars(tag)}
    return found


def test_a_copy_keeps_its_own_best_weights_and_leaves_the_original_alone(run, tmp_path):
    """As the paths of earlier versions were: absolute, and still leading somewhere."""
    original = tmp_path / "run"
    elsewhere = Path(shutil.copytree(original, tmp_path / "deep" / "copy"))
    last = elsewhere / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    for name, state in content["callbacks"].items():
        if name.startswith("ModelCheckpoint"):
            place = f"{original / 'checkpoints'}/"
            state["dirpath"] = place.rstrip("/")
            for key in ("best_model_path", "kth_best_model_path"):
                state[key] = place + state[key] if state[key] else ""
            state["best_k_models"] = {place + k: v for k, v in state["best_k_models"].items()}
    torch.save(content, last)
    best = original / "checkpoints" / "epoch000.ckpt"
    other = torch.load(best, weights_only=True)
    other["state_dict"] = {k: v + 1 for k, v in other["state_dict"].items()}
    torch.save(other, best)
    before = {path: path.read_bytes() for path in original.rglob("*") if path.is_file()}
    done = call("train", f"resume={elsewhere}", "trainer.max_epochs=3")
    assert done.status == 0, done.err
    assert {path: path.read_bytes() for path in original.rglob("*") if path.is_file()} == before
    ours = weights(elsewhere / "spotter.ckpt")
    for name, tensor in weights(elsewhere / "checkpoints" / "epoch000.ckpt").items():
        assert torch.equal(ours[name], tensor), name
    assert json.loads((elsewhere / "results.json").read_text())["training"]["epochs"] == 3


def test_nothing_that_a_run_goes_on_from_names_its_place(run):
    text = str(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"])
    assert "/" not in text.replace("validation/accuracy", "")


def test_a_best_checkpoint_that_is_gone_is_named(run):
    (run / "checkpoints" / "epoch000.ckpt").unlink()
    refused(call("train", f"resume={run}", "trainer.max_epochs=3"), "epoch000.ckpt", "missing")


def test_a_run_that_goes_on_remembers_how(run):
    call("train", f"resume={run}", "trainer.max_epochs=3", "threads=1")
    assert "max_epochs: 3" in (run / CONFIG).read_text()
    assert "max_epochs: 3" in (run / COMPOSITION).read_text()
    overrides = (run / OVERRIDES).read_text()
    assert "trainer.max_epochs=3" in overrides
    assert "trainer.max_epochs=2" not in overrides
    assert "resume" not in overrides
    assert f"data.root={run.parent}" not in overrides
    assert "model.hidden_size=6" in overrides


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model.hidden_size=7"], ["model.hidden_size 6", "now it is 7"]),
        (["featurizer.num_filters=30"], ["featurizer.num_filters 40", "30"]),
        (["featurizer.hamming=true"], ["featurizer.hamming False"]),
        (["data.sample_rate=16000"], ["featurizer.", "256", "512"]),
        (["vad.tau_up=2"], ["vad.tau_up 1.5", "2"]),
        (["decoder.smoothing=0.3"], ["decoder.smoothing"]),
        (["data.seconds=0.5"], ["data.seconds + data.tail 1.0", "0.5"]),
        (["data.tail=0.25"], ["data.seconds + data.tail 1.0", "1.25"]),
        (["data.words=[mid,low,high]"], ["labels in another order: high, low, mid", "mid, low, high"]),
        (["data.words=[low,high]"], ["other labels: mid"]),
        (["seed=2"], ["seed 1", "2"]),
        (["optimizer.lr=0.1"], ["optimizer.lr=0.1", "new_cycle=true"]),
        (["model=lstm"], ["model cannot be chosen anew"]),
    ],
)
def test_settings_that_contradict_the_checkpoint_are_refused(run, overrides, named):
    before = (run / "spotter.ckpt").read_bytes()
    refused(call("train", f"resume={run}", "trainer.max_epochs=3", *overrides), *named)
    assert (run / "spotter.ckpt").read_bytes() == before
    assert "max_epochs: 2" in (run / CONFIG).read_text()


def test_another_corpus_in_the_same_place_is_refused(run, corpus, tmp_path):
    """A clip less; a word renamed; the same names with other sounds in them."""
    less = Path(shutil.copytree(corpus, tmp_path / "less"))
    next(path for path in (less / "mid").iterdir() if path.name.startswith("00000002")).unlink()
    arguments = (f"resume={run}", "trainer.max_epochs=3", "data=folder")
    refused(call("train", *arguments, f"data.root={less}"), "clips {'training': 18", "'training': 17")
    (less / "mid").rename(less / "middle")
    refused(call("train", *arguments, f"data.root={less}"), "other labels: mid, now it is middle")
    other = Path(shutil.copytree(corpus, tmp_path / "other"))
    for path in (other / "mid").iterdir():
        samples, rate = soundfile.read(path)
        soundfile.write(path, 2 * np.roll(samples, 2000), rate)
    refused(call("train", *arguments, f"data.root={other}"), "other recordings")
    moved = Path(shutil.copytree(corpus, tmp_path / "moved"))
    assert call("train", *arguments, f"data.root={moved}").status == 0


@pytest.mark.parametrize("scheduler", ["one_cycle", "cosine", "constant"])
def test_more_epochs_go_on_at_the_last_rate(corpus, tmp_path, scheduler):
    run = tmp_path / "run"
    log = "trainer.log_every_n_steps=1"
    assert start(corpus, run, "trainer.max_epochs=2", f"scheduler={scheduler}", log).status == 0
    done = call("train", f"resume={run}", "trainer.max_epochs=3")
    assert done.status == 0, done.err
    rates = learning_rates(run)
    planned = 2 * STEPS
    assert {rates[step] for step in range(planned, 3 * STEPS)} == {rates[planned - 1]}
    assert rates[3 * STEPS - 1] == pytest.approx(0.02 if scheduler == "constant" else 0, abs=2e-3)
    assert ("cycle ends before the training does" in done.out) == (scheduler != "constant")
    done = call("train", f"resume={run}", "trainer.max_epochs=6", "new_cycle=true", "optimizer.lr=0.04")
    assert done.status == 0, done.err
    rates = learning_rates(run)
    assert max(rates[step] for step in range(3 * STEPS, 6 * STEPS)) == pytest.approx(0.04, rel=0.05)
    if scheduler != "constant":
        assert rates[6 * STEPS - 1] < 0.005
    assert "cycle ends" not in done.out
    assert call("train", f"resume={run}", "trainer.max_epochs=7").status == 0, "the new cycle is over, and remembered"


def test_a_new_cycle_needs_a_run(corpus, tmp_path):
    refused(start(corpus, tmp_path / "run", "new_cycle=true"), "new_cycle=true", "resume=")


@pytest.mark.parametrize("settings", [["optimizer.lr=1e30"], ["optimizer.lr=1e18", "trainer.gradient_clip_val=null"]])
def test_a_loss_that_is_not_a_number_stops_in_its_epoch(corpus, tmp_path, settings):
    run = tmp_path / "run"
    done = start(corpus, run, "trainer.max_epochs=9", "scheduler=constant", "optimizer.weight_decay=1e30", *settings)
    refused(done, "not a number in epoch", "lower optimizer.lr")
    assert not (run / "spotter.ckpt").exists()
    for path in (run / "checkpoints").glob("*.ckpt"):
        assert all(tensor.isfinite().all() for tensor in weights(path).values())


def test_weights_that_are_not_finite_are_not_loaded(run):
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    next(iter(content["state_dict"].values()))[0] = float("nan")
    torch.save(content, last)
    refused(call("train", f"resume={run}", "trainer.max_epochs=3"), "last.ckpt", "not finite")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_it_goes_on(corpus, tmp_path, number, status):
    run, report = tmp_path / "run", tmp_path / "report.json"

    def interrupt(original):
        def step(*arguments):
            os.kill(os.getpid(), number)
            return original(*arguments)

        return step

    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell in the background has switched off
            at_call(SpotterModule, "training_step", STEPS + 2, interrupt(SpotterModule.training_step))
            done = start(corpus, run, "trainer.max_epochs=2")
            report.write_text(json.dumps([done.status, done.err]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found, said = json.loads(report.read_text())
    assert found == status
    assert said.splitlines()[-1] == f"Interrupted; it goes on with python train.py resume={run}"
    assert call("train", f"resume={run}").status == 0
    assert outcome(run)[0]["epochs"] == 2


def test_what_a_killed_run_left_is_cleared(run):
    exports = run / "exports"
    left = [exports / ".step.abcdefg1.tmp.onnx", run / ".confusion.abcd_fg2.tmp.png", exports / ".c.abcdefg3.tmp"]
    left[0].write_bytes(b"half")
    left[1].write_bytes(b"half")
    left[2].mkdir()
    orphan, mine = run / "checkpoints" / "epoch002.ckpt", run / "checkpoints" / "epoch_mine.ckpt"
    orphan.write_bytes(b"better, but last.ckpt was not written any more")
    mine.write_bytes(b"the user's")
    assert call("train", f"resume={run}").status == 0
    assert not any(path.exists() for path in left)
    assert not orphan.exists()
    assert mine.exists()


class Attack:
    def __reduce__(self):
        return os.mkdir, (str(Path("attacked").resolve()),)


@pytest.mark.parametrize("name", ["last.ckpt", "epoch000.ckpt"])
def test_a_checkpoint_runs_no_code(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = run / "checkpoints" / name
    content = torch.load(path, weights_only=True)
    torch.save({**content, "random_state": Attack()}, path)
    refused(call("train", f"resume={run}", "trainer.max_epochs=3"), name, "plain")
    path.write_bytes(pickle.dumps(Attack()))
    refused(call("train", f"resume={run}", "trainer.max_epochs=3"), name)
    assert not Path("attacked").exists()


@pytest.mark.parametrize("key", ["callbacks", "optimizer", "data.source", "export.onnx", "augment.waveform"])
def test_a_stored_configuration_runs_nothing_strange(run, tmp_path, monkeypatch, key):
    from omegaconf import OmegaConf

    monkeypatch.chdir(tmp_path)
    composition = OmegaConf.load(run / COMPOSITION)
    call_ = {"_target_": "kws.support.files.write_text", "path": str(tmp_path / "attacked"), "text": "x"}
    OmegaConf.update(composition, key, [call_] if key == "augment.waveform" else {"strange": call_}, force_add=True)
    OmegaConf.save(composition, run / COMPOSITION)
    refused(call("train", f"resume={run}", "trainer.max_epochs=3"), "kws.support.files.write_text", COMPOSITION)
    config = OmegaConf.load(run / CONFIG)
    config.data.source = call_
    OmegaConf.save(config, run / CONFIG)
    for script in ("evaluate", "export"):
        refused(call(script, f"run={run}"), "kws.support.files.write_text", CONFIG)
    assert not Path("attacked").exists()


def test_a_target_that_is_given_anew_is_trusted(corpus, tmp_path):
    run, own = tmp_path / "run", "+callbacks.own._target_=pytorch_lightning.callbacks.Timer"
    assert start(corpus, run, "trainer.max_epochs=1", own).status == 0
    refused(call("train", f"resume={run}", "trainer.max_epochs=2"), "pytorch_lightning.callbacks.Timer")
    assert call("train", f"resume={run}", "trainer.max_epochs=2", own).status == 0
    assert Spotter.load(run / "spotter.ckpt").labels == ("high", "low", "mid")
