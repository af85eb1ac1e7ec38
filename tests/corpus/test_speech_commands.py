"""Speech Commands from a server on this machine: whole, resumed, broken, hostile."""

import hashlib
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from kws.corpus.speech_commands import TEN_WORDS, VERSIONS, SpeechCommandsCorpus
from kws.support import download as downloading
from kws.support.errors import KwsError
from tests.recordings import make_corpus

FOLDER = Path("SpeechCommands") / "speech_commands_v0.01"


class Server(http.server.ThreadingHTTPServer):
    """Serves one archive and counts. `cut`: bytes after which the next answers break off; `delay` between blocks."""

    daemon_threads = True

    def __init__(self, data: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.requests, self.cut, self.delay, self.resumable = data, [], [], 0.0, True
        self.url = f"http://127.0.0.1:{self.server_port}/speech_commands.tar.gz"
        threading.Thread(target=partial(self.serve_forever, 0.01), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, data = self.server, self.server.data
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked and server.resumable else 0
        server.requests.append(first)
        if not self.path.endswith("speech_commands.tar.gz"):
            return self.send_error(404)
        if first and first >= len(data):
            return self.send_error(416)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        end = first + server.cut.pop(0) if server.cut else len(data)
        for start in range(first, min(end, len(data)), 4096):
            self.wfile.write(data[start : min(start + 4096, end)])
            time.sleep(server.delay)

    def log_message(self, *_):
        pass


def pack(files: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.add(files, arcname=".")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    words = ("yes", "no", "bed", "cat")
    return pack(make_corpus(tmp_path_factory.mktemp("published"), words, speakers=8, takes=1, noise_seconds=6.0))


@pytest.fixture
def server(archive):
    server = Server(archive)
    yield server
    server.shutdown()
    server.server_close()


def corpus(root: Path, server: Server, sha256: str | None = None, **options) -> SpeechCommandsCorpus:
    sha256 = sha256 or hashlib.sha256(server.data).hexdigest()
    return SpeechCommandsCorpus(root, url=server.url, sha256=sha256, timeout=5.0, progress=False, **options)


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_downloaded_once_and_whole(tmp_path, server):
    source = corpus(tmp_path, server, words=["yes", "no"], unknown_share=1.0, silence_share=1.0)
    with pytest.raises(KwsError, match="not downloaded yet"):
        source.scan()
    source.prepare()
    source.prepare()
    found = source.scan()
    assert server.requests == [0]
    assert found.name == "speech_commands_v0.01"
    assert found.labels == ("_silence_", "_unknown_", "yes", "no")
    assert len(found.split("testing")) == 8
    assert {path.split("/")[0] for path in files_in(tmp_path)} == {"SpeechCommands"}  # no archive, nothing temporary


def test_torchaudio_reads_what_we_unpack_and_publishes_the_same_archives(tmp_path, server):
    torchaudio = pytest.importorskip("torchaudio")
    corpus(tmp_path, server).prepare()
    theirs = torchaudio.datasets.SPEECHCOMMANDS(tmp_path, url="speech_commands_v0.01", subset="testing")
    assert len(theirs) == 8
    assert dict(VERSIONS.values()) == torchaudio.datasets.speechcommands._CHECKSUMS


def test_a_folder_that_somebody_else_left_half_unpacked(tmp_path, server):
    (tmp_path / FOLDER / "yes").mkdir(parents=True)
    with pytest.raises(KwsError, match=r"incomplete, without validation_list.txt; remove"):
        corpus(tmp_path, server).prepare()


@pytest.mark.parametrize("resumable", [True, False])
def test_a_broken_connection_is_taken_up_again(tmp_path, server, resumable):
    server.cut, server.resumable = [10_000, 20_000], resumable
    corpus(tmp_path, server).prepare()
    assert server.requests == ([0, 10_000, 30_000] if resumable else [0, 0, 0])
    assert (tmp_path / FOLDER / "testing_list.txt").is_file()


def test_a_connection_that_keeps_breaking(tmp_path, server):
    server.cut = [5000] * 3
    with pytest.raises(KwsError, match=r"cannot be downloaded \(the connection broke, 0.0 MB are here\).*run again"):
        corpus(tmp_path, server).prepare()
    assert not (tmp_path / FOLDER).exists()
    corpus(tmp_path, server).prepare()
    assert server.requests == [0, 5000, 10_000, 15_000]
    assert (tmp_path / FOLDER / "testing_list.txt").is_file()


def test_a_truncated_archive(tmp_path, server):
    whole = server.data
    for share in (0.0, 0.3, 0.9, 0.999):
        server.data = whole[: int(len(whole) * share)]
        with pytest.raises(KwsError, match=r"truncated or damaged|damaged|empty"):
            corpus(tmp_path / str(share), server).prepare()
        assert not (tmp_path / str(share) / FOLDER).exists()
        assert not list((tmp_path / str(share) / "SpeechCommands").iterdir())


def test_a_wrong_checksum(tmp_path, server):
    source = corpus(tmp_path, server, sha256="0" * 64)
    with pytest.raises(KwsError, match="wrong checksum"):
        source.prepare()
    assert files_in(tmp_path) == set()
    # By default the checksum is the published one, wherever the archive comes from.
    with pytest.raises(KwsError, match="instead of 743935421bb51ccc"):
        SpeechCommandsCorpus(tmp_path, url=server.url, progress=False).prepare()


def test_an_archive_brought_along(tmp_path, server):
    archive = tmp_path / "speech_commands_v0.01.tar.gz"
    archive.write_bytes(server.data[:-1])
    with pytest.raises(KwsError, match="not the published archive"):
        corpus(tmp_path, server).prepare()
    archive.write_bytes(server.data)
    corpus(tmp_path, server).prepare()
    assert server.requests == []
    assert archive.is_file()
    assert (tmp_path / FOLDER / "testing_list.txt").is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1/x.tar.gz", "cannot be downloaded.*check the network"),
        ("http://host.invalid/x.tar.gz", "cannot be downloaded.*check the network"),
        ("ftp://127.0.0.1/x.tar.gz", "http://"),
        ("no address", "http://"),
    ],
)
def test_no_network(tmp_path, url, message):
    with pytest.raises(KwsError, match=message):
        SpeechCommandsCorpus(tmp_path, url=url, timeout=2.0, progress=False).prepare()
    assert not (tmp_path / FOLDER).exists()


def test_other_answers(tmp_path, server):
    server.url = server.url.replace("speech_commands.tar.gz", "nothing")
    with pytest.raises(KwsError, match="answers 404"):
        corpus(tmp_path, server).prepare()


def test_a_server_that_falls_silent(tmp_path, server, monkeypatch):
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    server.delay = 3.0
    source = corpus(tmp_path, server)
    source.timeout = 0.2
    with pytest.raises(KwsError, match="timed out"):
        source.prepare()


def test_no_room(tmp_path, server, monkeypatch):
    usage = downloading.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(KwsError, match="not enough room"):
        corpus(tmp_path, server).prepare()
    monkeypatch.undo()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(KwsError, match="the disk is full"):
        corpus(tmp_path, server).prepare()
    monkeypatch.undo()
    corpus(tmp_path, server).prepare()
    assert len(server.requests) == 2  # the archive had come; only the unpacking was done again
    (tmp_path / "file").write_text("")
    with pytest.raises(KwsError, match="cannot be made"):
        corpus(tmp_path / "file", server).prepare()


def hostile(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        good = tarfile.TarInfo("yes/a_nohash_0.wav")
        tar.addfile(good)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../evil.wav"),
        member("yes/../../evil.wav"),
        member("/tmp/evil.wav"),
        member("C:\\evil.wav"),
        member("yes/link.wav", tarfile.SYMTYPE, "/etc/passwd"),
        member("yes/link.wav", tarfile.SYMTYPE, "a_nohash_0.wav"),
        member("yes/link.wav", tarfile.LNKTYPE, "../../x"),
        member("yes/pipe.wav", tarfile.FIFOTYPE),
        member("yes/device.wav", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_hostile_archives(tmp_path, server, bad):
    server.data = hostile(bad)
    with pytest.raises(KwsError, match=r"is a link|leads out of|no plain file|must not be unpacked"):
        corpus(tmp_path / "store", server).prepare()
    assert not (tmp_path / "store" / FOLDER).exists()
    assert not list((tmp_path / "store" / "SpeechCommands").iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_no_archive_at_all(tmp_path, server):
    for data in (b"<html>sign in to the network</html>", b"\x1f\x8b", os.urandom(5000)):
        server.data = data
        with pytest.raises(KwsError, match="damaged"):
            corpus(tmp_path, server).prepare()
        (tmp_path / "speech_commands_v0.01.tar.gz.downloaded").unlink()


def test_killed_while_downloading_and_unpacking(tmp_path, server):
    code = (
        "import sys; from kws.corpus.speech_commands import SpeechCommandsCorpus as C; "
        "C(sys.argv[1], url=sys.argv[2], sha256=sys.argv[3], progress=False).prepare()"
    )
    server.delay = 0.01
    command = [sys.executable, "-c", code, tmp_path, server.url, hashlib.sha256(server.data).hexdigest()]
    process = subprocess.Popen(command)
    part = tmp_path / "speech_commands_v0.01.tar.gz.downloaded.partial"
    while process.poll() is None and not (part.exists() and part.stat().st_size > 8192):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / FOLDER).exists()
    leftover = tmp_path / "SpeechCommands" / ".speech_commands_v0.01.abc.tmp"  # as a kill while unpacking leaves it
    leftover.mkdir(parents=True)
    server.delay = 0.0
    corpus(tmp_path, server).prepare()
    assert server.requests[1] > 0  # it went on from where it was
    assert not leftover.exists()
    assert (tmp_path / FOLDER / "testing_list.txt").is_file()


def test_versions():
    assert len(TEN_WORDS) == 10
    with pytest.raises(KwsError, match=r"v0\.03.*v0\.01 and v0\.02"):
        SpeechCommandsCorpus("x", version="v0.03")
