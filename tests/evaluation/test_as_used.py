"""Everything evaluate.py reports of streams, on a tiny spotter: figures, agreement of runtimes, pictures, report."""

import json
import re

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console

from kws.ell import archive
from kws.evaluation import as_used, console, pictures
from kws.evaluation.agreement import compare_runtimes, find_runtime
from kws.evaluation.clips import ClipMeter
from kws.evaluation.report import write_report
from kws.evaluation.stream.timeline import timeline, vad_track
from kws.export.ell import models
from kws.export.onnx_stream import stream_model
from kws.spotter import Spotter
from kws.support import files
from kws.support.errors import KwsError
from tests.spotter.test_streaming import audio, make_spotter

DETECTION = {"hours": 0.03, "snr": [None, 10.0], "gap": [0.5, 1.0], "lanes": 2, "section": 5.0}


@pytest.fixture(scope="module")
def spotter():
    return make_spotter(window=40, cell="gru")


@pytest.fixture(scope="module")
def clips():
    samples = (audio(1.0, streams=18, seed=2).numpy() * 32767).astype(np.int16)
    return samples, np.arange(18) % 3


@pytest.fixture(scope="module")
def detection(spotter, clips):
    return as_used.judge_detection(spotter, clips, clips, [], DETECTION)


@pytest.fixture(scope="module")
def exports(spotter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    onnx.save(stream_model(spotter), folder / "stream.onnx")
    for name, model in models(spotter).items():
        archive.write(model, folder / name)
    return folder


@pytest.fixture(scope="module")
def results(spotter, clips, detection, exports):
    samples, labels = clips
    meter = ClipMeter(spotter.labels)
    with torch.no_grad():
        meter.update(spotter(torch.from_numpy(samples.astype(np.float32) / 32768)), torch.from_numpy(labels))
    return {
        "run": "outputs/<b>test</b>",
        "clips": meter.results(),
        "streaming": as_used.judge_stream(spotter, samples, labels, 1, "best", ["reset", "never", "vad"]),
        "detection": detection.results(),
        **as_used.judge_runtimes(spotter, ["onnx"], exports, samples, labels, 1, "best", limit=10),
    }


def test_evaluation_json_holds_what_it_promises(results, tmp_path):
    files.write_json(tmp_path / "evaluation.json", results)  # refuses NaN
    read = json.loads((tmp_path / "evaluation.json").read_text())
    for figures in (read["clips"], *(read["streaming"][mode] for mode in ("reset", "never", "vad"))):
        assert 0 <= figures["accuracy"] <= 1
        assert len(figures["interval"]) == 2
    for point in read["detection"]["operating_points"]:
        assert {"false_alarms_per_hour", "miss_rate", "threshold", "miss_interval", "kinds"} <= set(point)
        for figures in point["kinds"].values():
            assert figures["false_alarm_interval"][0] <= figures["false_alarms_per_hour"]
    assert list(read["detection"]["kinds"]) == ["words", "between", "noise", "silence"]
    assert read["agreement"] == {"onnx": 1.0}
    assert read["runtimes"]["onnx"]["clips"] == 10
    assert read["runtimes"]["onnx"]["largest_difference"] < 1e-4


def test_the_ell_files_agree(spotter, clips, exports):
    figures = compare_runtimes(spotter, [find_runtime("ell", spotter, exports)], clips[0][:6], clips[1][:6])["ell"]
    assert figures["agreement"] == figures["reset_agreement"] == 1
    assert figures["largest_difference"] < 1e-3


def test_a_file_of_another_spotter_shows(clips, exports):
    figures = compare_runtimes(make_spotter(seed=3), [find_runtime("onnx", make_spotter(), exports)], *clips)["onnx"]
    assert figures["largest_difference"] > 0.01


def test_runtimes_that_are_not_there(spotter, clips, tmp_path):
    found = as_used.judge_runtimes(spotter, ["onnx", "ell"], tmp_path, *clips, 1, "best", limit=5)
    assert found == {"agreement": {}, "runtimes": {}, "runtimes_missing": ["onnx", "ell"]}
    with pytest.raises(KwsError, match="runtimes=tflite"):
        find_runtime("tflite", spotter, tmp_path)


def test_files_that_hear_other_words_are_refused(exports):
    other = make_spotter()
    other.labels = ("_silence_", "up", "down")
    with pytest.raises(KwsError, match="hear other words"):
        find_runtime("onnx", other, exports)


def test_unknown_choices_are_named(spotter, clips):
    with pytest.raises(KwsError, match=r"streaming\.modes=sometimes"):
        as_used.judge_stream(spotter, *clips, 1, "best", ["sometimes"])
    with pytest.raises(KwsError, match=r"streaming\.definition=first"):
        as_used.judge_stream(spotter, *clips, 1, "first", ["reset"])


def test_decoder_settings_are_replaced_one_by_one():
    spotter = make_spotter(threshold=0.7)
    as_used.with_decoder(spotter, {"smoothing": 0.4, "threshold": None})
    assert spotter.decoder.settings["threshold"] == 0.7
    assert spotter.decoder.settings["smoothing"] == 0.4
    with pytest.raises(KwsError, match="threshold=7"):
        as_used.with_decoder(spotter, {"threshold": 7})


def test_calibration_is_stored_with_the_spotter(clips, tmp_path):
    spotter = make_spotter(window=40)
    detection = as_used.judge_detection(spotter, clips, None, [], DETECTION)
    for per_word in (False, True):
        found = as_used.calibrate(spotter, detection, 1e5, per_word)
        spotter.save(tmp_path / "spotter.ckpt")
        loaded = Spotter.load(tmp_path / "spotter.ckpt")
        assert loaded.decoder.settings["threshold"] == found["threshold"]
        assert loaded.about["calibration"]["target_false_alarms_per_hour"] == 1e5
    assert set(found["threshold"]) == {"yes", "no"}


def test_pictures_and_the_report(spotter, results, detection, tmp_path):
    figures = as_used.draw(spotter, results, detection)
    assert set(figures) == {"modes", "det", "misses", "timeline", "confusion"}
    rendered = {name: as_used.render(figure()) for name, figure in figures.items()}
    write_report(tmp_path / "evaluation.html", results, rendered)
    text = (tmp_path / "evaluation.html").read_text()
    assert text.count("data:image/png;base64,") == 5
    assert "<b>test</b>" not in text, "names are escaped"
    assert not re.search(r'(src|href)="(?!data:)', text), "nothing outside the file"
    for heading in ("As a stream", "Misses against false alarms per hour", "Word by word", "false alarms: silence"):
        assert heading in text
    as_used.log(tmp_path / "tensorboard", results, rendered)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_what_was_chosen_on_the_test_stream_is_said_to_be_a_bound(results, tmp_path):
    """In the report as on the console, and behind what the validation stream chose."""
    detection = {**results["detection"], "reference": {"who": "theirs", "miss_rate": 0.2, "false_alarms_per_hour": 12}}
    write_report(tmp_path / "evaluation.html", {**results, "detection": detection}, {})
    out = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.show_detection(detection, out)
    for text in ((tmp_path / "evaluation.html").read_text(), out.export_text()):
        assert text.index("chosen on the validation stream") < text.index("A bound, not a result")
        assert "theirs: 20.0 % missed at 12 false alarms an hour" in text
    figure = pictures.det_curve({"words": detection["curve"]}, [], "", detection["reference"])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["words", "theirs"]


def test_a_report_of_little(tmp_path, results):
    write_report(tmp_path / "small.html", {"clips": results["clips"]}, {})
    assert "clip by clip" in (tmp_path / "small.html").read_text()


def test_the_console(results):
    out = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.show({**results, "runtimes_missing": ["ell"]}, out)
    text = out.export_text()
    for part in (
        "never reset",
        "chosen on the validation stream",
        "A bound",
        "silence: 0.00 hours",
        "same label as PyTorch",
        "ell: not exported",
    ):
        assert part in text


def test_the_timeline_with_and_without_a_detector():
    for vad in (True, False):
        figure = timeline(make_spotter(vad=vad), audio(3.0)[0].numpy())
        assert len(figure.axes) == (4 if vad else 3)


def test_the_track_is_the_detector(spotter):
    features = spotter.features(audio(3.0))
    track = vad_track(spotter.vad, features[0])
    assert np.array_equal(track.signal, spotter.vad(features)[0].numpy())
    assert track.level.shape == track.noise_floor.shape == (75,)
