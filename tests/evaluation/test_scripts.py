"""python evaluate.py and python -m kws.tune_vad on a small corpus, as a user runs them."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.vad import VoiceActivityDetector
from tests.scripts import TONES, call, tone_corpus


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a corpus and an untrained spotter that fits it."""
    folder = tmp_path_factory.mktemp("home")
    tone_corpus(folder / "tones", clips=12)
    torch.manual_seed(0)
    featurizer = Featurizer()
    network = RecurrentClassifier(featurizer.num_features, len(TONES), hidden_size=8)
    vad = VoiceActivityDetector(featurizer.num_features, featurizer.hop_seconds)
    spotter = Spotter(featurizer, network, sorted(TONES), vad=vad).eval()
    (folder / "run").mkdir()
    spotter.save(folder / "run" / "spotter.ckpt")
    return folder


@pytest.fixture
def arguments(home, tmp_path, monkeypatch):
    """The stored spotter on the corpus, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    given = (f"run={home / 'run'}", "data=folder", f"data.root={home / 'tones'}", f"cache_dir={home / 'cache'}")
    return (*given, "output=out", f"hydra.run.dir={tmp_path / 'hydra'}")


def test_evaluate(arguments, home):
    done = call("evaluate", *arguments, "detection.hours=0.02", "detection.lanes=2", "vad=tutorial", "seed=3")
    assert done.status == 0, done.err
    found = json.loads(Path("out/evaluation.json").read_text())
    for figures in (found["clips"], *(found["streaming"][mode] for mode in ("reset", "never", "vad"))):
        assert 0 <= figures["interval"][0] <= figures["accuracy"] <= figures["interval"][1] <= 1
    assert found["streaming"]["vad"]["parameters"]["tau_up"] == 1.5, "the detector that was chosen"
    assert [p["false_alarms_per_hour"] for p in found["detection"]["operating_points"]] == [0.1, 0.5, 1, 10]
    assert found["agreement"] == {}
    assert found["runtimes_missing"] == ["onnx", "ell", "c"]
    for path in ("evaluation.html", "pictures/det.png", "pictures/timeline.png", "pictures/confusion.png"):
        assert Path("out", path).stat().st_size > 1000
    assert list(Path("out/tensorboard/evaluation").iterdir())
    assert done.last_line.endswith("evaluation.json")
    assert Spotter.load(home / "run" / "spotter.ckpt").vad.settings["tau_up"] == 1.54, "the stored one is left alone"


def test_false_alarms_in_folders_by_name(arguments, home):
    """Next to those of every evaluation; a folder or a list of them is as good."""
    short = ("detection.hours=0.02", "detection.lanes=2", "streaming.modes=[]", "runtimes=[]")
    tones = home / "tones"
    for given, names in (
        (f"negatives={{tones: {tones}, more: [{tones}]}}", ["tones", "more"]),
        (f"negatives={tones}", ["negatives"]),
        (f"negatives=[{tones}]", ["negatives"]),
    ):
        done = call("evaluate", *arguments, *short, given, "detection.protocol=mlperf_tiny")
        assert done.status == 0, done.err
        found = json.loads(Path("out/evaluation.json").read_text())["detection"]
        assert list(found["kinds"]) == ["words", "between", "noise", "silence", *names]
        assert found["kinds"][names[0]]["recordings"] >= 12 * len(TONES)
        assert ("negatives" in found) == (names == ["negatives"])
        assert "12 false alarms an hour" in done.out
    assert found["negatives"] == found["kinds"]["negatives"]


def test_exported_files_are_played_the_same_stream(arguments, home):
    assert call("export", *arguments[:-2], "output=null", "export=[onnx_stream,ell]", arguments[-1]).status == 0
    done = call("evaluate", *arguments, "detection.hours=0", "streaming.modes=[]")
    assert done.status == 0, done.err
    found = json.loads(Path("out/evaluation.json").read_text())
    assert found["agreement"] == {"onnx": 1.0, "ell": 1.0}
    assert "streaming" not in found
    assert "detection" not in found


def test_calibrate(arguments, home):
    stored = home / "run" / "spotter.ckpt"
    before = stored.read_bytes()
    try:
        short = ("detection.hours=0.02", "streaming.modes=[]", "runtimes=[]")
        chosen = ("calibrate=true", "calibration.false_alarms_per_hour=1e4", "vad=off", "decoder.smoothing=0.3")
        done = call("evaluate", *arguments, *short, *chosen)
        assert done.status == 0, done.err
        spotter = Spotter.load(stored)
        threshold = json.loads(Path("out/evaluation.json").read_text())["calibration"]["threshold"]
        assert spotter.decoder.settings["threshold"] == threshold
        assert spotter.decoder.settings["smoothing"] == 0.3
        assert spotter.vad is None, "the detector that the threshold was chosen with"
        done = call("evaluate", *arguments, *short, *chosen[:2], "calibration.search=true")
        assert done.status == 0, done.err
        found = json.loads(Path("out/evaluation.json").read_text())
        settings = Spotter.load(stored).decoder.settings
        assert {name: settings[name] for name in found["search"]["settings"]} == found["search"]["settings"]
        assert found["calibration"]["threshold"] == settings["threshold"]
        point = found["detection"]["chosen_on_validation"][0]["validation"]["overall"]
        assert found["search"]["hours"] == pytest.approx(point["hours"])
    finally:
        stored.write_bytes(before)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("decoder.threshold=2", "decoder.threshold=2"),
        ("decoder.treshold=0.2", "Did you mean decoder.threshold"),
        ("streaming.modes=[often]", "often"),
        ("streaming.definition=worst", "worst"),
        ("runtimes=[tflite]", "tflite"),
        ("negatives=nowhere", "'nowhere' is no folder"),
        ("negatives={noise: nowhere}", "negatives.noise"),
        ("detection.protocol=mlperf", "choose from kws, mlperf_tiny"),
        ("detection.keyword_share=0", "keyword_share"),
    ],
)
def test_mistakes_are_one_sentence(arguments, override, named):
    short = ("detection.hours=0.01", "detection.lanes=1")
    modes = () if "streaming" in override else ("streaming.modes=[]",)
    done = call("evaluate", *arguments, *short, *modes, override)
    assert done.status == 1
    assert named in done.err
    assert "Traceback" not in done.err


def test_tune_vad(arguments, home, tmp_path):
    pytest.importorskip("optuna")
    done = call("kws/tune_vad", *arguments, "trials=3", "references=false", f"config={tmp_path / 'tuned.yaml'}")
    assert done.status == 0, done.err
    found = json.loads(Path("out/tuning.json").read_text())
    assert set(found["validation"]) >= {"never reset", "ELL's parameters", "the tutorial's", "tuned"}
    assert OmegaConf.load("tuned.yaml").tau_up == found["parameters"]["tau_up"]
    assert Path("out/vad.png").stat().st_size > 1000
    assert "trials=0" in call("kws/tune_vad", *arguments, "trials=0").err


def test_evaluations_of_other_corpora_and_splits_stand_beside_the_runs_own(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "tones", tmp_path / "tones")
    next((tmp_path / "tones" / "mid").glob("*.wav")).unlink()
    short = ("debug=fast", "data.batch_size=8", "model.hidden_size=4", "export=[]", "summary=false")
    common = (f"cache_dir={home / 'cache'}", "data=folder", f"data.root={home / 'tones'}")
    assert call("train", *common, *short, f"hydra.run.dir={tmp_path / 'run'}").status == 0
    judge = (f"run={tmp_path / 'run'}", "detection.hours=0", "streaming.modes=[]", "runtimes=[]", common[0])
    assert call("evaluate", *judge).status == 0
    own = {name: (tmp_path / "run" / name).read_bytes() for name in ("evaluation.json", "evaluation.html")}
    other = call("evaluate", *judge, "data=folder", f"data.root={tmp_path / 'tones'}")
    assert other.status == 0, other.err
    assert re.fullmatch(r"run/evaluations/tones_\w{8}_testing/evaluation\.json", other.last_line)
    split = call("evaluate", *judge, "split=validation")
    assert split.last_line == "run/evaluations/validation/evaluation.json"
    for name, content in own.items():
        assert (tmp_path / "run" / name).read_bytes() == content
    again = call("evaluate", *judge, *common[1:])
    assert again.last_line == "run/evaluation.json", "its own corpus, however it is named"
