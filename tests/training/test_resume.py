"""Killed with SIGKILL at any point, a run goes on to the figures of one that nobody disturbed, to the last digit."""

import json
import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from kws.spotter import Spotter
from kws.support import files
from kws.training.module import SpotterModule
from tests.scripts import call, tone_corpus

# Everything that draws: noise, dropout, state carried in some lanes, a learning rate that moves with every step.
SETTINGS = [
    "data=folder", "trainer.max_epochs=3", "data.batch_size=8", "model.hidden_size=6", "model.dropout=0.2",
    "augment=noisy", "training.state=mixed", "export=[onnx]", "callbacks.samples.clips=0", "optimizer.lr=0.02",
    "callbacks.checkpoint.monitor=validation/loss", "callbacks.checkpoint.mode=min",  # better with each epoch
]  # fmt: skip
STEPS = 3  # an epoch: 18 clips in batches of 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"), clips=12)


@pytest.fixture(scope="module")
def undisturbed(corpus):
    run = train(corpus, "undisturbed")
    # The second epoch is better than the first, so that its checkpoint takes the other's place.
    assert [path.name for path in (run / "checkpoints").glob("epoch*")] != ["epoch000.ckpt"]
    return outcome(run)


def train(corpus, name, *overrides):
    os.environ["KWS_CACHE"] = str(corpus.parent / "cache")
    done = call("train", f"data.root={corpus}", *SETTINGS, f"hydra.run.dir={corpus.parent / name}", *overrides)
    assert done.status == 0, done.err
    return Path(done.last_line)


def outcome(run: Path) -> tuple[dict, dict]:
    """What must be the same: figures and weights."""
    results = json.loads((run / "results.json").read_text())
    figures = {key: results[key] for key in ("test", "validation", "parameters", "exports")}
    figures |= {key: results["training"][key] for key in ("loss", "accuracy", "epochs", "steps")}
    return figures, Spotter.load(run / "spotter.ckpt").state_dict()


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_file(checkpoint, path):
    """Write the beginning of a checkpoint, then die."""
    Path(path).write_bytes(b"PK" + bytes(1000))
    die()


def at_call(target, name, number, last=die):
    """Die when a function is called for the `number`-th time, before it has done anything."""
    original, calls = getattr(target, name), []

    def counting(*arguments, **settings):
        calls.append(None)
        return last(*arguments, **settings) if len(calls) == number else original(*arguments, **settings)

    setattr(target, name, counting)


# Each is called in the process that is to die.
MOMENTS = {
    "before the first checkpoint": lambda: at_call(SpotterModule, "training_step", 2),
    "in the second epoch": lambda: at_call(SpotterModule, "training_step", STEPS + 2),
    "before the checkpoint of the second epoch": lambda: at_call(pl.Trainer, "save_checkpoint", 3),
    "between the best and the last checkpoint": lambda: at_call(pl.Trainer, "save_checkpoint", 2),
    "between a better and the last checkpoint": lambda: at_call(pl.Trainer, "save_checkpoint", 4),
    "while a checkpoint is written": lambda: at_call(torch, "save", 2, half_a_file),
    "after the last epoch": lambda: at_call(pl.Trainer, "test", 1),
    "while the results are written": lambda: at_call(files, "write_json", 1),
}


def killed(corpus, name, prepare, *overrides) -> Path:
    """A run that dies where what `prepare` has changed makes it."""
    run = corpus.parent / name
    child = os.fork()
    if child == 0:
        try:
            prepare()
            train(corpus, name, *overrides)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it came to its end before it could be killed"
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not (run / "results.json").exists()
    return run


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_without_a_best_checkpoint_the_last_epoch_counts(corpus):
    """`callbacks.checkpoint=null`, also where a run was killed: its weights are those at the end of the schedule."""
    last_alone = "callbacks.checkpoint=null"
    whole = train(corpus, "last_alone", last_alone)
    assert [path.name for path in (whole / "checkpoints").iterdir()] == ["last.ckpt"]
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=False)
    assert checkpoint["global_step"] == 3 * STEPS
    figures, weights = outcome(whole)
    for name, tensor in weights.items():
        assert torch.equal(tensor, checkpoint["state_dict"][f"spotter.{name}"]), name
    run = killed(corpus, "last_alone_killed", MOMENTS["in the second epoch"], last_alone)
    assert call("train", f"resume={run}").status == 0
    again = outcome(run)
    assert again[0] == figures and all(torch.equal(again[1][name], weights[name]) for name in weights)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(corpus, undisturbed, moment):
    run = killed(corpus, moment.replace(" ", "_"), MOMENTS[moment])
    done = call("train", f"resume={run}")
    assert done.status == 0, done.err
    figures, weights = outcome(run)
    assert figures == undisturbed[0]
    assert sorted(path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")) == []
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)["global_step"] == 3 * STEPS
    for name, tensor in weights.items():
        assert torch.equal(tensor, undisturbed[1][name]), name


def test_the_seconds_before_an_interruption_count(corpus, undisturbed):
    run = train(corpus, "seconds")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)
    assert 0 < checkpoint["seconds"] < json.loads((run / "results.json").read_text())["training"]["seconds"]
    torch.save({**checkpoint, "seconds": 1000.0}, run / "checkpoints" / "last.ckpt")
    (run / "results.json").unlink()
    assert call("train", f"resume={run}").status == 0
    seconds = json.loads((run / "results.json").read_text())["training"]["seconds"]
    assert 1000 < seconds < 1060
