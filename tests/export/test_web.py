"""export=web: exports/web is a folder of static files whose engine says what PyTorch says, or it is not there."""

import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.export import web
from kws.export.parity import ParityError
from kws.export.web import WebExport
from kws.native import compiler
from kws.page import heard_by_the_page, static_files, write_page
from kws.program.quantize import quantize
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.spotter import Spotter
from kws.support.errors import KwsError
from tests.export.test_c import written
from tests.export.test_c_int8 import probe
from tests.native.spotters import DECODER, make_spotter, need_tool, spotter, zig

FILES = {path.name for path in static_files()} | {"spotter.json", "kws_model.wasm"}


@pytest.fixture(scope="module", autouse=True)
def _wasm():
    need_tool("node")
    if zig() is None:
        pytest.skip("needs ziglang")


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_page_of_a_run(tmp_path, weights):
    (exported,) = WebExport(weights).write(spotter(), probe(), tmp_path / "my_run" / "exports")
    assert exported.path == tmp_path / "my_run" / "exports" / "web"
    assert written(exported.path) == FILES
    facts = json.loads((exported.path / "spotter.json").read_text())
    assert (facts["name"], facts["integers"]) == ("my_run", weights == "int8")
    assert facts["settings"]["reset"]
    assert exported.parity.max_abs_difference < (1e-4 if weights == "float32" else 0.5)
    assert 'content=""' in (exported.path / "index.html").read_text()  # no token, so no server's part


def test_a_spotter_without_a_detector(tmp_path):
    own = make_spotter(vad=False, decoder={**DECODER, "ignored": ["_silence_", "no"]})
    (exported,) = WebExport().write(own, probe(), tmp_path / "exports")
    assert not json.loads((exported.path / "spotter.json").read_text())["settings"]["reset"]


def test_an_engine_that_says_otherwise_is_not_kept(tmp_path, monkeypatch):
    hear = web.hear_in_node

    def otherwise(*arguments):
        heard = hear(*arguments)
        return heard._replace(posteriors=heard.posteriors * 0.99)

    monkeypatch.setattr(web, "hear_in_node", otherwise)
    with pytest.raises(ParityError, match="page's engine differs"):
        WebExport().write(spotter(), probe(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_node_the_c_is_compared_and_without_zig_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(web, "hear_in_node", lambda *_: None)
    assert WebExport().write(spotter(), probe(), tmp_path)
    assert "there is no node here" in capsys.readouterr().out
    monkeypatch.setattr(compiler, "find_compiler", lambda crosses=False: None)
    assert WebExport().write(spotter(), probe(), tmp_path / "other") == []
    assert "ziglang" in capsys.readouterr().out


def test_unknown_weights_are_named():
    with pytest.raises(KwsError, match=r"export\.web\.weights=int4"):
        WebExport("int4")


SIZES = [("recipe", 8000, "float32", 1_500_000), ("best_small", 16_000, "int8", 400_000)]


@pytest.mark.parametrize(("experiment", "rate", "weights", "most"), SIZES)
def test_the_page_is_small(experiment, rate, weights, most, tmp_path):
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", f"data.sample_rate={rate}", "directory=."])
    featurizer, labels = instantiate(config.featurizer), [f"word {i}" for i in range(23)]
    own = Spotter(featurizer, instantiate(config.model)(featurizer.num_features, len(labels)), labels).eval()
    program = None
    if weights == "int8":
        features = np.random.default_rng(0).normal(size=(8, 50, featurizer.num_features)).astype(np.float32)
        program = quantize(heard_by_the_page(own).program(), features)
    write_page(own, tmp_path, experiment, program)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < most
