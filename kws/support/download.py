"""Large files over HTTP: checked, resumed, and there whole or not at all."""

import errno
import hashlib
import http.client
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from kws.support.errors import KwsError

BLOCK = 1 << 20
ATTEMPTS = 3


def download(
    url: str, path: Path, sha256: str | None = None, timeout: float = 30.0, progress: bool = True, room: float = 1.0
) -> None:
    """Download `url` to `path`.

    What has arrived is kept beside it as `<name>.partial`. A broken connection is taken up where it broke, up to
    three times here, and by the next call; without `sha256` nothing could prove the two halves to be one file, so it
    starts over. `room` is how many times its size the file needs on the disk, for what is to be unpacked from it.

    Raises KwsError: no network, an answer other than the file, a connection that keeps breaking, a wrong checksum
    (the file is then removed), no room on the disk.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise KwsError(f"{url!r} is no address that can be downloaded; give one that starts with http:// or https://")
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            if sha256 is None:
                partial.unlink(missing_ok=True)
            try:
                whole = _fetch(url, partial, timeout, progress, room)
            except urllib.error.HTTPError as error:
                raise KwsError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                reason, whole = getattr(error, "reason", None) or error or type(error).__name__, False
            else:
                reason = "the connection broke"
            if whole:
                break
            if attempt == ATTEMPTS:
                arrived = partial.stat().st_size if partial.exists() else 0
                raise KwsError(
                    f"{url}: cannot be downloaded ({reason}, {arrived / 1e6:.1f} MB are here); check the network and "
                    f"run again to go on, or put the file at {path} yourself"
                )
        if sha256 is not None and (found := sha256_of(partial)) != sha256.lower():
            partial.unlink()
            raise KwsError(
                f"{url}: wrong checksum ({found[:16]}… instead of {sha256[:16]}…); what came was removed, run again to "
                "download it anew, or correct sha256"
            )
        partial.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise KwsError(f"{path.parent}: not enough room on the disk ({error.strerror}); make some") from error
        raise KwsError(f"{path}: cannot be written ({error.strerror or error}); choose another folder") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _fetch(url: str, partial: Path, timeout: float, progress: bool, room: float) -> bool:
    """Append what is missing of `url` to `partial`; True when all of it is there."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "kws"} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing after what is here: it is whole, or another file's
            return True
        raise
    with response:
        if response.status != 206:  # a server that cannot resume sends everything again
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        free = shutil.disk_usage(partial.parent).free
        if total is not None and room * total - have > free:
            raise OSError(errno.ENOSPC, f"{room * total / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        shown = progress and sys.stderr.isatty()
        with (
            partial.open("ab" if have else "wb") as file,
            Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown) as bar,
        ):
            line = bar.add_task(f"downloading {partial.stem}", total=total, completed=have)
            while block := response.read1(BLOCK):
                file.write(block)
                have += len(block)
                bar.advance(line, len(block))
    return total is None or have == total
