"""A detector from the command line: other speech, its loss, hard negatives, a decoder chosen, and files that agree."""

import json
from pathlib import Path

import pytest
import torch

from kws.networks import DilatedClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.training.module import SpotterModule
from tests.scripts import call, tone_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize(("model", "per_word"), [("ds_tcn", "false"), ("mdtc", "true")])
def test_trained_calibrated_and_exported(corpus, tmp_path, monkeypatch, model, per_word):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    data = ["data=folder", f"data.root={corpus}", "data.words=[high,low]", "data.unknown_share=1"]
    data += ["data.running_speech=1", "data.frequent_words=1000", "data.negatives_per_epoch=16", "data.batch_size=8"]
    network = [f"model={model}", "model.width=12", "callbacks=hard_negatives"]
    network += ["callbacks.hard_negatives.every=2", "trainer.max_epochs=5", "optimizer.lr=0.02"]
    calibration = ["calibrate=true", "calibration.hours=0.05", "calibration.false_alarms_per_hour=200"]
    calibration += ["calibration.running_speech=1", "calibration.smoothing=[0.13]", f"calibration.per_word={per_word}"]
    run = tmp_path / "run"
    export = ["export=[onnx,onnx_stream]", f"hydra.run.dir={run}"]
    done = call("train", *data, *network, *calibration, *export)
    assert done.status == 0, done.err
    results = json.loads((run / "results.json").read_text())
    found, decoder = results["calibration"], Spotter.load(run / "spotter.ckpt").decoder.settings
    assert {name: decoder[name] for name in found["settings"]} == found["settings"]
    assert found["settings"]["smoothing"] == 0.13
    assert found["false_alarms_per_hour"] <= 200
    if per_word == "true":
        assert set(found["settings"]["threshold"]) == {"high", "low"}
    assert len(found["negatives_per_hour"]) == 1
    assert "false alarms an hour of the validation stream" in done.out
    assert results["corpus"]["labels"] == ["_unknown_", "high", "low"]
    assert {"step", "stream"} <= {Path(path).stem for path in results["exports"].values()}
    assert len(results["parity"]) == len(results["exports"])


def test_a_network_of_whole_clips_trains_as_such_and_is_not_calibrated(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    whole = ["model=bcresnet", "export=[]", "trainer.max_epochs=1", "calibrate=true", f"hydra.run.dir={tmp_path / 'r'}"]
    done = call("train", "data=folder", f"data.root={corpus}", *whole)
    assert done.status == 0, done.err
    assert "training.joined and training.detection are left out" in done.out
    assert "not calibrated: a BCResNet judges whole clips" in done.out
    assert "left_out" in json.loads((tmp_path / "r" / "results.json").read_text())["calibration"]


@pytest.mark.parametrize(
    ("voices", "reader"), [("[espeak]", ("espeak",)), ("[espeak,kokoro]", ("kokoro",)), ("kokoro", ("kokoro",))]
)
def test_a_decoder_is_chosen_on_the_most_natural_speech(corpus, tmp_path, monkeypatch, voices, reader):
    asked = []

    class Speech:
        def __init__(self, root, minutes, **settings):
            asked.append((minutes, settings["voices"], settings["split"]))

        def prepare(self, keywords):
            asked.append(tuple(keywords))

    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kws.training.run.RunningSpeech", Speech)
    settings = ["calibrate=true", "calibration.hours=0.05", "calibration.running_speech=20", "trainer.max_epochs=1"]
    data = ["data=typed", f"data.root={corpus}", "data.typed=[]", "data.speakers=30", f"data.running_voices={voices}"]
    done = call("train", *data, *settings, "model=gru1", "export=[]", f"hydra.run.dir={tmp_path / 'r'}")
    assert done.status == 0, done.err
    assert asked == [(20, reader, "validation"), ("high", "low", "mid")]


def test_a_target_that_no_decoder_reaches_leaves_the_decoder(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kws.evaluation.as_used.search", lambda *_, **__: [])
    settings = ["model=gru1", "calibration.hours=0.05", "export=[]", "trainer.max_epochs=1", "decoder.threshold=0.7"]
    done = call("train", "data=folder", f"data.root={corpus}", *settings, f"hydra.run.dir={tmp_path / 'r'}")
    assert done.status == 0, done.err
    assert "not calibrated: no decoder brings the false alarms" in done.out
    assert "down to 1 an hour" in json.loads((tmp_path / "r" / "results.json").read_text())["calibration"]["left_out"]
    assert Spotter.load(tmp_path / "r" / "spotter.ckpt").decoder.settings["threshold"] == 0.7


@pytest.mark.parametrize(
    ("labels", "detection", "said"),
    [
        (["_unknown_", "yes", "no"], 1.0, True),
        (["_unknown_", "_silence_", "yes", "no"], 1.0, False),
        (["yes", "no"], 1.0, False),
        (["_unknown_", "yes", "no"], 0.0, False),
    ],
)
def test_other_speech_without_a_label_for_pauses_is_said(labels, detection, said, capsys):
    spotter = Spotter(Featurizer(), DilatedClassifier(40, len(labels), width=8, stacks=1), labels)
    SpotterModule(spotter, torch.optim.SGD, detection=detection)
    assert ("data.silence_share=1" in capsys.readouterr().out) == said
