"""export=web: exports/web is a folder of static files whose engine says what PyTorch says, or it is not there."""

import json

import pytest

from kws.export import web
from kws.export.parity import ParityError
from kws.export.web import WebExport
from kws.native import compiler
from kws.page import static_files
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
