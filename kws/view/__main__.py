"""python -m kws.view [RUN]: a page on this machine that listens, shows what the network sees, and lets one tune it."""

import argparse
import asyncio
import contextlib
import errno
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path

from kws.page import FACTS, facts, heard_by_the_page, write_engine
from kws.runs.latest import find
from kws.runs.stored import load_spotter
from kws.spotter import Spotter
from kws.spotters import DEFAULT, named
from kws.support import files
from kws.support.command import run
from kws.support.errors import KwsError

PORT = 8642
TRIED = 20
"""Ports that are tried, one after the other. The first is always the same, since a browser remembers by the port."""


def main() -> int:
    """The command."""
    return main_with(sys.argv[1:])


def main_with(arguments: list[str]) -> int:
    """`main` with arguments."""
    options = parse(arguments)
    try:
        from aiohttp import web  # noqa: F401
    except ImportError as error:
        raise KwsError("the page needs the package aiohttp; pip install 'kws[view]'.") from error
    with tempfile.TemporaryDirectory(prefix="kws_view_") as folder:
        served = prepare(options, Path(folder))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(served, options.port, options.browser))
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m kws.view", description=__doc__)
    parser.add_argument("run", nargs="?", help="a run directory or spotter.ckpt; the bundled spotter if left out")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="recordings to step through with + and -")
    parser.add_argument(
        "--recordings", type=Path, default=Path("recordings"), metavar="FOLDER", help="where recorded words go"
    )
    parser.add_argument("--port", type=int, help=f"{PORT} or the next free one if left out")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="print the address, open nothing")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace, folder: Path):
    """What the server serves; engine and facts are written into `folder`."""
    from kws.view.clips import sources
    from kws.view.guard import new_token
    from kws.view.recordings import Recordings
    from kws.view.server import Served

    if options.run is None:
        stored = named(DEFAULT)
        spotter, directory, name = Spotter.load(stored), stored.parent, DEFAULT
    else:
        spotter, directory = load_spotter(options.run)
        stored = find(options.run)
        stored, name = (stored / "spotter.ckpt", stored.resolve().name) if stored.is_dir() else (stored, stored.name)
    if not spotter.classifier.streams:
        kind = type(spotter.classifier).__name__
        raise KwsError(f"{str(options.run)!r}: a {kind} judges whole clips and cannot listen.")
    write_engine(heard_by_the_page(spotter), folder)
    files.write_json(folder / FACTS, facts(spotter, name))
    return Served(
        page=folder,
        spotter=spotter,
        name=name,
        stored=None if options.run is None else stored,
        recordings=Recordings(options.recordings),
        sources=sources(directory, spotter, options.clips),
        token=new_token(),
    )


async def serve(served, port: int | None, browser: bool) -> None:
    """Listen on the loopback until the task is cancelled."""
    from aiohttp import web

    from kws.view.server import application

    listening = listen(port)
    served.port = listening.getsockname()[1]
    runner = web.AppRunner(application(served), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    address = f"http://127.0.0.1:{served.port}/?token={served.token}"
    print(f"{address}\nCtrl-C ends it.", flush=True)
    if browser:
        await asyncio.to_thread(webbrowser.open, address)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def listen(port: int | None) -> socket.socket:
    """A socket on the loopback.

    Raises:
        KwsError: the port is taken, or all that were tried are.
    """
    for candidate in [port] if port is not None else range(PORT, PORT + TRIED):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", candidate))
            return listening
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        except OverflowError:
            listening.close()
            raise KwsError(f"--port {port}: ports go from 0 to 65535.") from None
    taken = f"port {port} is" if port is not None else f"ports {PORT} to {PORT + TRIED - 1} are"
    raise KwsError(f"{taken} taken; choose another with --port.")


if __name__ == "__main__":
    run(main)
