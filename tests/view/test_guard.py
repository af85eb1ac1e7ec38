"""The server of the page, attacked: other hosts' names, other origins, no token, paths, sizes, wrong values."""

import asyncio
import json
import socket

import aiohttp
import numpy as np
import pytest
from yarl import URL

from kws.page import facts
from kws.page.folder import FACTS
from kws.runs.stored import load_spotter
from kws.spotter import Spotter
from kws.support import files
from kws.view.__main__ import listen
from kws.view.clips import FolderClips, wav
from kws.view.guard import HEADER, LARGEST
from kws.view.recordings import Recordings
from kws.view.server import Served
from tests.native.spotters import DECODER, make_spotter
from tests.recordings import tone, write
from tests.view.serving import running

TOKEN = "a-token-that-nobody-guesses"


def prepared(tmp_path, **more) -> Served:
    """What is served: a spotter in a file, a folder of recordings, a page whose engine is no engine."""
    run, page = tmp_path / "run", tmp_path / "page"
    run.mkdir(), page.mkdir()
    make_spotter(decoder={**DECODER, "threshold": 0.4}).save(run / "spotter.ckpt")
    spotter, _ = load_spotter(run)
    (page / "kws_model.wasm").write_bytes(b"\0asm")
    files.write_json(page / FACTS, facts(spotter, "run"))
    write(tmp_path / "clips" / "yes" / "a.wav", tone(0.5, rate=1000, frequency=100), 1000)
    (tmp_path / "choices").mkdir()
    return Served(
        page=page,
        spotter=spotter,
        name="run",
        stored=run / "spotter.ckpt",
        recordings=Recordings(tmp_path / "recordings"),
        sources={"folder": FolderClips(tmp_path / "clips", spotter)},
        token=TOKEN,
        choices=tmp_path / "choices",
        **more,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running(prepared(tmp_path_factory.mktemp("view"))) as served:
        yield served


def ask(served, method, path, headers=None, token=TOKEN, data=None):
    """(status, body, headers) of a request, whose path is sent as it is."""

    async def go():
        sent = {**({HEADER: token} if token else {}), **(headers or {})}
        url = f"http://127.0.0.1:{served.port}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, URL(url + path, encoded=True), headers=sent, data=data) as answer,
        ):
            return answer.status, await answer.read(), answer.headers

    return asyncio.run(go())


def recording(seconds=1.0, rate=16_000):
    return wav(tone(seconds, rate=rate), rate)


RECORD = "/api/recordings?word=yes&speaker=me"


def test_the_page_carries_the_token_and_says_what_it_may_do(served):
    status, body, headers = ask(served, "GET", f"/?token={TOKEN}", token=None)
    assert status == 200
    assert f'<meta name="kws-token" content="{TOKEN}">'.encode() in body
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    for name in ("main.js", "style.css", "spotter.json", "kws_model.wasm"):
        assert ask(served, "GET", f"/{name}", token=None)[0] == 200


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/api/sources", "/api/clips/folder/0"])
def test_without_the_token_nothing_is_told(served, path):
    assert ask(served, "GET", path, token=None)[0] == 403
    assert ask(served, "GET", path.replace("?token=", "?x="), token="wrong")[0] == 403


def test_bytes_that_are_no_text_are_no_token(served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        host = f"Host: 127.0.0.1:{served.port}\r\nConnection: close\r\n".encode()
        connection.sendall(b"GET /api/sources HTTP/1.1\r\n" + host + HEADER.encode() + b": \xff\xfe\r\n\r\n")
        assert b" 403 " in connection.recv(1000).split(b"\r\n")[0]
    assert ask(served, "GET", "/?token=%ff%fe", token=None)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""]
)
@pytest.mark.parametrize("path", [f"/?token={TOKEN}", "/main.js", "/api/sources", "/spotter.json"])
def test_names_of_other_hosts_are_refused(served, host, path):
    """DNS rebinding: a page elsewhere makes its own name point here."""
    status, body, _ = ask(served, "GET", path, {"Host": host.format(port=served.port)})
    assert status in (400, 403)
    assert TOKEN.encode() not in body


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "http://localhost.evil:{port}"],
)
def test_other_origins_are_refused(served, origin):
    headers = {"Origin": origin.format(port=served.port)}
    assert ask(served, "GET", "/api/sources", headers)[0] == 403
    assert ask(served, "POST", RECORD, headers, data=recording())[0] == 403
    assert ask(served, "OPTIONS", "/api/save", headers)[0] == 403
    assert ask(served, "GET", "/api/sources", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert not served.recordings.root.exists() or not list(served.recordings.root.glob("*/me_*"))


def test_its_own_origin_is_let_in(served):
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(served, "GET", "/api/sources", own)[0] == 200
    own = {"Origin": f"http://localhost:{served.port}", "Host": f"localhost:{served.port}"}
    assert ask(served, "GET", "/api/sources", own)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../run/spotter.ckpt",
        "/%2e%2e/run/spotter.ckpt",
        "/..%2frun%2fspotter.ckpt",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/static/../../etc/passwd",
        "/spotter.ckpt",
        "/__init__.py",
        "/.git",
        "/main.js%00.css",
        "/api/clips/..%2f..%2frun",
        "/api/clips/folder/..%2f0",
        "/api/clips/folder/-1",
        "/api/clips/folder/1",
        "/api/clips/folder/9999999999",
    ],
)
def test_no_path_leads_out(served, path):
    status, body, _ = ask(served, "GET", path)
    assert status in (400, 403, 404)
    assert b"root:" not in body and b"PK" not in body[:4]


@pytest.mark.parametrize(
    "word",
    [
        "..",
        ".",
        "",
        ".hidden",
        "../out",
        "a/b",
        "a%5Cb",
        "%2e%2e%2fout",
        "a%00b",
        "_background_noise_",
        "con",
        "nul.txt",
        "a.",
        "%20a",
        "x" * 65,
        "a%0Ab",
        "C:",
        "a%E2%80%AEb",
    ],
)
def test_words_that_are_no_folder_are_refused(served, word):
    before = tree(served.recordings.root.parent)
    status, body, _ = ask(served, "POST", f"/api/recordings?word={word}&speaker=me", data=recording())
    assert status == 400, body
    assert tree(served.recordings.root.parent) == before


@pytest.mark.parametrize("speaker", ["", "..", "a_nohash_b", "a/b", "me_", "x" * 33, "a%00", "é"])
def test_speakers_that_are_no_name_are_refused(served, speaker):
    before = tree(served.recordings.root.parent)
    assert ask(served, "POST", f"/api/recordings?word=yes&speaker={speaker}", data=recording())[0] == 400
    assert tree(served.recordings.root.parent) == before


def tree(folder):
    return sorted((str(path), path.stat().st_size) for path in folder.rglob("*") if path.is_file())


def test_sizes_are_limited(served):
    assert ask(served, "POST", RECORD, data=b"\0" * (LARGEST + 1))[0] == 413
    assert ask(served, "POST", RECORD, data=recording(11.0))[0] == 400
    assert ask(served, "POST", "/api/save", data=b"[" * 100_000)[0] == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"#!/bin/sh\n" * 100,
        wav(np.zeros((100, 2), np.float32), 16_000),
        wav(np.zeros(0, np.float32), 16_000),
        wav(np.zeros(100, np.float32), 96_000),
    ],
    # soundfile writes the time into a file, which is no name for a test.
    ids=["nothing", "a beginning", "a script", "two channels", "no samples", "another rate"],
)
def test_what_is_no_recording_is_not_written(served, content):
    before = tree(served.recordings.root.parent)
    assert ask(served, "POST", RECORD, data=content)[0] == 400
    assert tree(served.recordings.root.parent) == before


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": [0.5]},
        {"threshold": [0.5, 0.5, 2]},
        {"threshold": [0.5, 0.5, "1"]},
        {"smoothing": 0},
        {"smoothing": 1.5},
        {"consecutive": True},
        {"refractory": -1},
        {"reset": 1},
        {"ignored": [True, True, True]},
        {"vad": {}},
        {"vad": None},
        {"smoothing": 10**9},
    ],
)
def test_settings_that_make_no_sense_change_nothing(served, change):
    settings = {**facts(served.spotter, "run")["settings"], **change}
    before = served.stored.read_bytes()
    status, body, _ = ask(served, "POST", "/api/save", data=json.dumps({"settings": settings}))
    assert status == 400 and body
    assert served.stored.read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", "{}", "nothing", '{"settings": NaN}', '{"settings": {}, "name": 3}'])
def test_what_is_no_setting_is_refused(served, text):
    assert ask(served, "POST", "/api/save", data=text)[0] == 400


@pytest.mark.parametrize("name", ["../evil", "ELL", "", ".x", "a-b", "x" * 41, "a.yaml", "a/b"])
def test_names_of_choices_are_checked(served, name):
    settings = facts(served.spotter, "run")["settings"]
    before = tree(served.choices.parent)
    assert ask(served, "POST", "/api/save", data=json.dumps({"settings": settings, "name": name}))[0] == 400
    assert tree(served.choices.parent) == before


def test_values_of_a_detector_that_are_not_finite_are_refused(served):
    settings = facts(served.spotter, "run")["settings"]
    text = json.dumps({"settings": {**settings, "vad": {**settings["vad"], "tau_up": 1e308}}}).replace(
        "1e+308", "1e999"
    )
    assert ask(served, "POST", "/api/save", data=text)[0] == 400
    settings["vad"]["tau_up"] = 0
    assert ask(served, "POST", "/api/save", data=json.dumps({"settings": settings}))[0] == 400


def test_only_the_loopback_is_listened_on():
    listening = listen(0)
    assert listening.getsockname()[0] == "127.0.0.1"
    listening.close()


def test_a_spotter_that_is_saved_is_the_one_that_the_next_page_begins_with(tmp_path):
    with running(prepared(tmp_path)) as served:
        settings = json.loads(ask(served, "GET", "/spotter.json")[1])["settings"]
        settings["threshold"] = [1.0, 0.7, 0.7]
        status, body, _ = ask(served, "POST", "/api/save", data=json.dumps({"settings": settings}))
        assert status == 200, body
        assert json.loads(ask(served, "GET", "/spotter.json")[1])["settings"]["threshold"][1:] == [0.7, 0.7]
        assert Spotter.load(served.stored).decoder.settings["threshold"] == 0.7
        served.stored = None
        status, body, _ = ask(served, "POST", "/api/save", data=json.dumps({"settings": settings}))
        assert status == 400 and b"bundled" in body
