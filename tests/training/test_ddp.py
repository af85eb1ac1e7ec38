"""Two processes that share a training come to what one process comes to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import ROOT, tone_corpus

SETTINGS = [
    "data=folder", "trainer.max_epochs=4", "export=[onnx]", "callbacks.samples.clips=0", "optimizer.lr=0.02",
    "model.hidden_size=12", "trainer.accelerator=cpu", "trainer.precision=32-true", "training=default", "augment=none",
    "calibrate=false",
]  # fmt: skip


def test_two_processes_as_one(tmp_path):
    corpus = tone_corpus(tmp_path / "corpus", clips=12)
    results = []
    for name, overrides in (
        ("one", ["trainer=cpu", "data.batch_size=8"]),
        ("two", ["trainer=ddp", "trainer.devices=2", "data.batch_size=4"]),  # 8 clips a step together
    ):
        # A command of its own: Lightning starts the second process by the command line.
        command = [sys.executable, str(ROOT / "train.py"), f"data.root={corpus}", f"hydra.run.dir={name}", *SETTINGS]
        environment = {**os.environ, "KWS_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(
            [*command, *overrides], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.strip().splitlines()[-1] == name
        results.append(json.loads(Path(tmp_path, name, "results.json").read_text()))
    one, two = results
    assert two["training"]["steps"] == one["training"]["steps"] == 4 * 3
    # Sums in another order; and the last batch's two clips weigh as much as they should only where halves are equal.
    assert two["training"]["loss"] == pytest.approx(one["training"]["loss"], rel=1e-3)
    assert two["training"]["accuracy"] == pytest.approx(one["training"]["accuracy"], abs=0.06)
    for split in ("test", "validation"):
        assert two[split]["clips"] == one[split]["clips"]
        assert two[split]["accuracy"] == pytest.approx(one[split]["accuracy"], abs=0.12)
    assert two["exports"] == one["exports"]
