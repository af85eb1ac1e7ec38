"""Spotters that come with the project: small, whole, described, and able to hear; a run is bundled by one command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kws.runs.names import SPOTTER
from kws.spotter import Spotter
from kws.spotters import CARD, DEFAULT, FOLDER, bundle, named, names
from kws.spotters.bundle import LARGEST
from kws.spotters.card import quoted
from kws.support.errors import KwsError
from tests.spotter.test_streaming import make_spotter


@pytest.mark.parametrize("name", names())
def test_every_one_is_small_described_and_listens(name):
    folder = FOLDER / name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST
    spotter = Spotter.load(named(name))
    assert all(weight.dtype == torch.float32 for weight in spotter.parameters())
    samples = torch.zeros(1, 4 * spotter.featurizer.hop_size)
    with torch.no_grad():
        frames, _ = spotter.stream(samples, spotter.initial_state())
    assert torch.isfinite(frames.log_probabilities).all()
    card = (folder / CARD).read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    for needed in ("python train.py ", "python evaluate.py ", "accuracy over clips", "fingerprint"):
        assert needed in card
    for label in spotter.labels:
        assert label in card or label in spotter.decoder.ignored


def test_the_default_hears_eight_commands():
    spotter = Spotter.load(named())
    assert named() == named(DEFAULT)
    assert {"yes", "no", "up", "down", "left", "right", "stop", "go"} <= set(spotter.labels)
    with pytest.raises(KwsError, match="commands_small"):
        named("nothing")


def test_small_weights_come_back_rounded_and_nothing_else_changes(tmp_path):
    spotter = make_spotter()
    spotter.save(tmp_path / "small.ckpt", small=True)
    again = Spotter.load(tmp_path / "small.ckpt")
    assert again.settings == spotter.settings
    for name, weight in spotter.state_dict().items():
        expected = weight.half().to(weight.dtype) if weight.is_floating_point() else weight
        assert torch.equal(again.state_dict()[name], expected), name
    again.save(tmp_path / "again.ckpt", small=True)
    third = Spotter.load(tmp_path / "again.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(third.parameters(), again.parameters(), strict=True))


def run_of(folder, spotter):
    """A run's files, as bundling reads them."""
    spotter.save(folder / SPOTTER)
    environment = {"git_commit": "abc123"}
    corpus = {"name": "tones", "fingerprint": "f00d", "clips": {"training": 1000}}
    results = {"corpus": corpus, "environment": environment, "seed": 7, "training": {"epochs": 3}}
    clips = {"accuracy": 0.9, "interval": [0.8, 0.95], "clips": 20, "per_word": dict.fromkeys(spotter.labels, 0.9)}
    point = {"miss_rate": 0.25, "substitution_rate": 0.0125, "kinds": {"between": {"false_alarms_per_hour": 2.5}}}
    chosen = {"target": 1, "between": {"overall": point | {"miss_rate": 0.5}}}
    found = {"stream": {"hours": 10.0}, "as_stored": point, "chosen_on_validation": [chosen]}
    evaluation = {"clips": clips, "split": "testing", "corpus": {"name": "tones"}, "detection": found}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "overrides.yaml").write_text("- experiment=commands\n- export=[]\n")


@pytest.fixture
def measured(monkeypatch):
    """Test clips without a corpus."""
    features = np.random.default_rng(0).normal(size=(6, 20, 6)).astype(np.float32)
    monkeypatch.setattr(bundle, "clips", lambda *_: (features, np.zeros(6, int)))


def test_a_run_is_bundled_with_its_figures(tmp_path, measured):
    (tmp_path / "run").mkdir()
    spotter = make_spotter()
    run_of(tmp_path / "run", spotter)
    folder = bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters", data="Of tones, CC0.")
    assert sorted(path.name for path in folder.iterdir()) == [CARD, SPOTTER]
    card = (folder / CARD).read_text()
    assert "Of tones, CC0." in card
    assert "python train.py experiment=commands 'export=[]'" in card
    rest = "takes 1.2 % for another keyword, 2.5 other false alarms an hour |"
    assert f"| as stored, 10 h of the test stream | misses 25.0 %, {rest}" in card
    assert f"gave for 1 an hour, 10 h of the test stream | misses 50.0 %, {rest}" in card
    assert "abc123, seed 7; 3 epochs" in card
    assert Spotter.load(folder / SPOTTER).settings == spotter.settings


def test_figures_of_before_are_not_put_on_a_card(tmp_path, measured):
    (tmp_path / "run").mkdir()
    run_of(tmp_path / "run", make_spotter())
    path = tmp_path / "run" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    evaluation["detection"]["as_stored"]["kinds"] = {"words": {}}
    path.write_text(json.dumps(evaluation))
    with pytest.raises(KwsError, match=r"run evaluate\.py again"):
        bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters")


def test_what_is_not_whole_or_too_large_is_not_bundled(tmp_path, measured, monkeypatch):
    (tmp_path / "run").mkdir()
    run_of(tmp_path / "run", make_spotter())
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    with pytest.raises(KwsError, match="more than 1,000"):
        bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters")
    assert not list((tmp_path / "spotters" / "mine").iterdir())
    (tmp_path / "run" / "evaluation.json").unlink()
    with pytest.raises(KwsError, match=r"evaluate\.py"):
        bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(KwsError, match="no such directory"):
        bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters")


def test_a_spotter_that_rounding_hurts_is_refused(tmp_path, measured, monkeypatch):
    (tmp_path / "run").mkdir()
    run_of(tmp_path / "run", make_spotter())
    monkeypatch.setattr(bundle, "WORST", 0.0)
    with pytest.raises(KwsError, match="keep float32"):
        bundle.bundle(tmp_path / "run", "mine", tmp_path / "spotters")


def test_overrides_are_quoted_for_a_shell():
    assert [quoted(text) for text in ("a=1", "b=[1,2]", "c=a b")] == ["a=1", "'b=[1,2]'", "'c=a b'"]


def test_the_example_hears_what_listen_hears(tmp_path, real_recordings):
    """Commands that people said, one after the other with a pause."""
    clips = []
    for word in ("yes", "stop", "left"):
        path = sorted((real_recordings / word).glob("*.flac"))[0]
        clip, rate = soundfile.read(path, dtype="float32")
        clips += [np.pad(clip, (8000, 16000 - len(clip) + 8000))]
    soundfile.write(tmp_path / "said.wav", np.concatenate(clips), rate)
    example = Path(__file__).parents[2] / "examples" / "listen_bundled.py"
    environment = {**os.environ, "PYTHONPATH": str(example.parents[1]), "OMP_NUM_THREADS": "1"}
    commands = [[str(example), "said.wav"], ["-m", "kws.listen", str(named()), "said.wav", "--json"]]
    said, heard = (
        subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
        ).stdout.splitlines()
        for command in commands
    )
    found = [json.loads(line) for line in heard]
    assert [line.split()[2] for line in said] == [detection["word"] for detection in found]
    times = [float(line.split()[0]) for line in said]
    assert times == pytest.approx([detection["time"] for detection in found], abs=0.006)
    assert len(said) >= 2
