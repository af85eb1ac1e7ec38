"""export=c: exports/c is there whole, compared with PyTorch, or not at all."""

import json
import re

import numpy as np
import pytest
import torch
import yaml

from kws.export import c
from kws.export.base import Probe
from kws.export.c import CExport, check
from kws.export.parity import ParityError
from kws.export.stream_parity import compare_detections, compare_streams
from kws.native import CModel, compiler
from kws.spotter.vad import VoiceActivityDetector
from tests.native.spotters import DECODER, audio, make_spotter, model, need_compiler, spotter


def probe(seconds=10) -> Probe:
    waveforms = (audio(seconds).numpy().reshape(seconds, -1) * 32767).astype(np.int16)
    return Probe(waveforms, spotter().features(torch.from_numpy(waveforms.astype(np.float32) / 32768)).numpy())


def clips(seconds=10) -> np.ndarray:
    return audio(seconds).numpy().reshape(seconds, -1)


FILES = {
    *("README.md", "CMakeLists.txt", "library.properties", "library.json", "idf_component.yml"),
    *("main.c", "library.c", "src/kws_model.c", "src/kws_model.h"),
    *("zephyr/module.yml", "zephyr/CMakeLists.txt", "zephyr/Kconfig"),
}


def written(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_for_everybody(tmp_path):
    need_compiler()
    (exported,) = CExport().export(spotter(), probe(), tmp_path)
    assert exported.format == "c"
    assert exported.path == tmp_path / "c"
    assert exported.parity.max_abs_difference < 1e-5
    assert exported.parity.label_agreement == 1
    assert exported.parity.clips == 10
    assert set(exported.native) == {"flash_bytes", "state_bytes", "microseconds_per_hop"}
    assert exported.native["state_bytes"] == model().state_bytes
    assert written(exported.path) == FILES | {"host/build.json", f"host/{compiler.file_name('host')}"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    for name in FILES:
        assert not re.search(r"@\w+@", (exported.path / name).read_text()), name
    assert json.loads((exported.path / "library.json").read_text())["name"] == "kws_model"
    assert yaml.safe_load((exported.path / "zephyr/module.yml").read_text())["build"]["cmake"] == "zephyr"
    assert "version" in yaml.safe_load((exported.path / "idf_component.yml").read_text())
    readme = (exported.path / "README.md").read_text()
    assert f"{model().state_bytes:,} bytes" in readme
    assert "Compared with PyTorch on 10 recordings" in readme


def test_an_earlier_folder_is_replaced(tmp_path):
    need_compiler()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "old.c").write_text("")
    CExport().export(spotter(), probe(), tmp_path)
    assert "old.c" not in written(tmp_path / "c")


def test_what_differs_is_not_kept(tmp_path, monkeypatch):
    need_compiler()
    other = make_spotter(decoder=DECODER, seed=4)
    write = c.folder.write_sources
    monkeypatch.setattr(c.folder, "write_sources", lambda _, folder, program: write(other, folder))
    with pytest.raises(ParityError, match=r"c/src/kws_model\.c differs from PyTorch by"):
        CExport().export(spotter(), probe(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_sources_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compiler, "find_compiler", lambda crosses=False: None)
    (exported,) = CExport(targets=["host", "wasm"]).export(spotter(), probe(), tmp_path)
    assert exported.parity is None
    assert exported.native["state_bytes"] is None
    assert written(exported.path) == FILES
    assert "It has not been compared with PyTorch: there is no C compiler" in (exported.path / "README.md").read_text()
    said = capsys.readouterr().out
    assert "is written and not checked: there is no C compiler" in said
    assert "wasm is left out; it takes the package ziglang" in said


def test_a_detector_that_hears_otherwise_is_found():
    need_compiler()
    other = make_spotter(decoder=DECODER, seed=3)
    other.vad = VoiceActivityDetector(
        12, other.featurizer.hop_seconds, tau_up=0.5, threshold_up=1.5, threshold_down=1.3
    )
    with pytest.raises(ParityError, match="hears voice otherwise"):
        check(spotter(), CModel.of(other), clips(), 1e-4)


def test_where_detectors_are_in_a_tie_the_comparison_goes_on(monkeypatch):
    """The same detector, one of whose thresholds lies as near as rounding to a level that it meets."""
    need_compiler()
    own, frames = make_spotter(decoder=DECODER, seed=3), clips()
    with torch.no_grad():
        features = own.featurizer(torch.from_numpy(frames.reshape(1, -1)))
    levels = own.vad.level(features)[0]
    signal = own.vad(features)[0]
    begins = int(np.flatnonzero(np.diff(signal.numpy()) == 1)[2]) + 1
    level = float(levels[begins])
    own.vad.settings["level_threshold"] = level * (1 - 1e-7)
    theirs = make_spotter(decoder=DECODER, seed=3)
    theirs.vad.settings["level_threshold"] = level * (1 + 1e-6)
    different = (own.vad(features) != theirs.vad(features)).sum()
    assert different > 0
    parity = check(own, CModel.of(theirs), frames, 1e-4)
    assert parity.max_abs_difference < 1e-5


def test_detections_are_compared():
    need_compiler()
    samples = clips().reshape(-1)
    outputs, _ = model().hear(samples[None], model().start())
    heard, voice = outputs.log_probabilities[0], outputs.signal[0]
    found, _ = model().decode(heard, samples, voice, model().start())
    assert compare_detections(spotter(), heard, samples, voice, found, "c") == len(found) > 3
    for wrong in (found[1:], found[:-1], [found[0]._replace(word="_silence_"), *found[1:]], found[::2]):
        with pytest.raises(ParityError, match=r"c finds .* where PyTorch's decoder finds"):
            compare_detections(spotter(), heard, samples, voice, wrong, "c")
    # Without a resume, for it is not asked for where nothing is in a tie.
    parity, same, said = compare_streams(spotter(), model(), None, clips(), 1e-4, "c")
    assert np.array_equal(same, heard)
    assert np.array_equal(said, voice)
    assert parity.label_agreement == 1
