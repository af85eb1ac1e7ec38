import os
import subprocess
import sys

import numpy as np
import pytest

from kws.ell import archive, build
from kws.ell.__main__ import main
from kws.ell.interpreter import run
from kws.support.errors import KwsError
from tests.ell.facts import VAD, Network, frames
from tests.ell.vectors import CLASSIFIERS, ROOT

ADD = ["--sample-rate", "8000", "--window-size", "256", "--tau-up", "1.5", "--tau-down", "0.09", "--large-input", "4"]
ADD += ["--gain-att", "0.01", "--threshold-up", "3.5", "--threshold-down", "0.9", "--level-threshold", "0.02"]


@pytest.fixture
def classifier(tmp_path):
    path = tmp_path / "classifier.ell"
    archive.write(build.classifier(**Network("gru", (6, 4)).facts()), path)
    return path


def test_add_vad_writes_what_building_with_one_computes(classifier, tmp_path, capsys):
    output = tmp_path / "with_vad.ell"
    before = classifier.read_bytes()
    main(["add-vad", str(classifier), *ADD, "--output", str(output)])
    assert classifier.read_bytes() == before
    assert "VAD added; it resets 2 recurrent layer(s)" in capsys.readouterr().out
    expected = build.classifier(**Network("gru", (6, 4)).facts(), vad=VAD)
    np.testing.assert_array_equal(run(archive.read(output), frames(200)), run(expected, frames(200)))


def test_add_vad_takes_ells_defaults_and_changes_one_later(classifier):
    main(["add-vad", str(classifier), "--sample-rate", "8000", "--window-size", "256"])
    main(["add-vad", str(classifier), "--tau-up", "2"])
    vad = archive.read(classifier).vad.vad
    assert (vad.tau_up, vad.tau_down, vad.frame_duration) == (2, 0.074326, 0.032)
    main(["add-vad", str(classifier), "--window-size", "160"])
    assert archive.read(classifier).vad.vad.frame_duration == 0.02


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--sample-rate and --window-size"),
        (["--window-size", "256"], "--sample-rate as well"),
        (["--sample-rate", "8000"], "--sample-rate and --window-size"),
    ],
)
def test_a_new_vad_needs_its_times(classifier, arguments, reason):
    with pytest.raises(KwsError, match=reason):
        main(["add-vad", str(classifier), *arguments])


def test_print_lists_sizes_wiring_and_labels(classifier, capsys):
    main(["add-vad", str(classifier), *ADD])
    main(["print", str(classifier)])
    out = capsys.readouterr().out
    model = archive.read(classifier)
    line = next(line for line in out.split("\n") if "gru 1" in line and "GRUNode" in line)
    assert f"resetTrigger={model.vad.id}" in line
    assert "tauUp=1.5" in out and "input: 7 values; output: 5 values" in out and "über" in out


def test_import_graph_and_run(tmp_path, capsys):
    source = CLASSIFIERS[0]
    output = tmp_path / "imported.ell"
    main(["import", str(source.with_suffix(".onnx")), "--output", str(output)])
    main(["graph", str(output)])
    main(["run", str(output), str(source.with_suffix(".input.npy")), "--output", str(tmp_path / "out.npy")])
    assert capsys.readouterr().out.split() == [str(tmp_path / n) for n in ("imported.ell", "imported.svg", "out.npy")]
    expected = np.load(source.with_suffix(".compute.npy"))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6, rtol=0)


def test_run_names_frames_that_cannot_be_read(classifier, tmp_path):
    with pytest.raises(KwsError, match=r"frames\.npy"):
        main(["run", str(classifier), str(tmp_path / "frames.npy"), "--output", str(tmp_path / "out.npy")])


@pytest.mark.parametrize("traceback", ["0", "1"])
def test_a_mistake_is_one_sentence_and_status_1(tmp_path, traceback):
    (tmp_path / "bad.ell").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "kws.ell", "print", str(tmp_path / "bad.ell")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"KWS_TRACEBACK": traceback},
    )
    assert done.returncode == 1 and not done.stdout
    assert "bad.ell', line 1, column 2" in done.stderr
    assert ("Traceback" in done.stderr) == (traceback == "1")


def test_nothing_of_torch_is_imported():
    modules = "archive, build, edit, graph, importer, interpreter, metadata, onnx_form, __main__"
    code = f"import sys; from kws.ell import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
