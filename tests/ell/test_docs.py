"""Every command of docs/ell.md that needs no ELL is run as it is written, one after the other, on a small model."""

import re
import shlex

import numpy as np
import pytest

from kws.ell import archive, metadata
from kws.ell.__main__ import main, parser
from kws.export.ell import EllExport
from tests.conftest import ROOT
from tests.export.test_ell import LABELS, make

TEXT = (ROOT / "docs" / "ell.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
START = "python -m kws.ell "
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith(START)]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """The files of a small GRU, and samples that begin and end."""
    folder = tmp_path_factory.mktemp("exports")
    spotter, probe = make()
    EllExport().export(spotter, probe, folder)
    hop = spotter.featurizer.hop_size
    whole = probe.waveforms[:, : probe.waveforms.shape[1] // hop * hop]
    np.save(folder / "hops.npy", (whole.reshape(-1, hop) / 32768).astype(np.float32))
    return folder


def test_every_command_runs(exports, monkeypatch, capsys):
    monkeypatch.chdir(exports)
    for command in COMMANDS:
        main(shlex.split(command.removeprefix(START)))
        assert capsys.readouterr().out, command
    for name in ("classifier_vad.svg", "classifier_vad.dot", "with_vad.ell", "imported.ell"):
        assert (exports / name).stat().st_size
    vad = archive.read(exports / "with_vad.ell").vad.vad
    assert (vad.tau_up, vad.tau_down, vad.frame_duration) == (2, 0.09, 0.032)
    main(["print", "classifier_vad.ell"])
    assert ", ".join(LABELS) in capsys.readouterr().out


def test_the_two_run_modes_differ_where_the_page_says(exports, monkeypatch):
    monkeypatch.chdir(exports)
    for command in COMMANDS:
        if " run " in command:
            main(shlex.split(command.removeprefix(START)))
    main(["run", "vad.ell", "features.npy", "--output", "signal.npy"])
    signal = np.load("signal.npy").ravel()
    falls = np.flatnonzero((signal[:-1] == 1) & (signal[1:] == 0)) + 1
    differs = np.flatnonzero(np.abs(np.load("compiled.npy") - np.load("computed.npy")).max(axis=1) > 1e-6)
    assert len(falls) >= 5
    assert differs.tolist() == falls.tolist()


def test_every_command_of_the_program_is_shown():
    shown = {shlex.split(command.removeprefix(START))[0] for command in COMMANDS}
    (subparsers,) = (action for action in parser()._actions if action.choices)
    assert shown == set(subparsers.choices)


def test_every_file_is_explained(exports):
    made = {"hops.npy", "features.npy", "compiled.npy", "computed.npy", "signal.npy", "with_vad.ell", "imported.ell"}
    for path in exports.iterdir():
        if path.name not in made and path.suffix not in (".svg", ".dot"):
            assert f"`{path.name}`" in TEXT, path.name


def test_the_encoding_shown_is_the_encoding():
    assert metadata.encode("ü") == "%C3%BC" and "`%C3%BC`" in TEXT
    assert metadata.encode_labels(["a,b"]) == {"kws_labels": "a%2Cb"}
