"""Libraries that lie beside their sources: used where they fit the machine, built anew where they do not."""

import json
import shutil

import numpy as np
import pytest

from kws.native import CModel, builds, compiler, measure
from kws.support.errors import KwsError
from tests.native.spotters import audio, model, need_compiler, sources


@pytest.fixture
def folder(tmp_path):
    need_compiler()
    shutil.copytree(sources(), tmp_path / "c")
    return tmp_path / "c"


def test_a_library_that_fits_is_used(folder, monkeypatch):
    built = builds.build_library(folder)
    monkeypatch.setattr(builds, "build_library", None)  # it is not called
    assert builds.host_library(folder)[0] == built
    facts = json.loads((folder / "host" / builds.FACTS).read_text())
    assert facts["target"] == "host"
    assert facts["compiler"]


@pytest.mark.parametrize("key", ["processor_features", "sources", "machine"])
def test_a_library_from_elsewhere_is_built_anew(folder, key):
    built = builds.build_library(folder)
    facts = json.loads((folder / "host" / builds.FACTS).read_text())
    (folder / "host" / builds.FACTS).write_text(json.dumps(facts | {key: "another"}))
    built.write_bytes(b"instructions that this processor does not know")
    moved = CModel.in_folder(folder)
    samples = audio(1.0).numpy()[:, :960]
    ours, _ = moved.hear(samples, moved.start())
    theirs, _ = model().hear(samples, model().start())
    assert np.array_equal(ours.log_probabilities, theirs.log_probabilities)
    assert built.read_bytes().startswith(b"instructions")  # a stored folder is not written to


def test_without_a_compiler_a_sentence_says_so(folder, monkeypatch):
    monkeypatch.setattr(compiler, "find_compiler", lambda crosses=False: None)
    with pytest.raises(KwsError, match=r"built for another machine or from other sources, and there is no C compiler"):
        CModel.in_folder(folder)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(KwsError, match="holds no model in C"):
        CModel.in_folder(tmp_path)
    (tmp_path / "lib.so").write_bytes(b"nothing")
    with pytest.raises(KwsError, match=r"lib.so' cannot be loaded as a model in C"):
        CModel(tmp_path / "lib.so")


def test_a_build_that_fails_leaves_nothing(folder):
    (folder / "src" / "kws_model.c").write_text("this is no C\n")
    with pytest.raises(KwsError, match="could not compile"):
        builds.build_library(folder)
    assert not list((folder / "host").iterdir())


def test_figures(folder):
    builds.build_library(folder)
    figures = measure.native_figures(folder)
    assert figures["state_bytes"] == model().state_bytes
    assert 0.05 < figures["microseconds_per_hop"] < 1000
    assert 3_000 < figures["flash_bytes"] < 40_000


def test_figures_without_a_compiler(folder, monkeypatch):
    monkeypatch.setattr(compiler, "find_compiler", lambda crosses=False: None)
    assert set(measure.native_figures(folder).values()) == {None}


def test_what_is_no_object_file_has_no_size():
    assert measure.flash_bytes(b"MZ and so on") is None
