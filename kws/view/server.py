"""The server of the page: its files, clips to hear, recordings and settings to keep."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from kws.page import FACTS, facts, static_files
from kws.page.engine import ENGINE
from kws.spotter import Spotter
from kws.support import files
from kws.support.errors import KwsError
from kws.view.clips import FolderClips, TestClips, wav
from kws.view.guard import LARGEST, guard
from kws.view.recordings import Recordings
from kws.view.saving import save_as_choice, save_into_spotter

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
TOKEN_PLACE = '<meta name="kws-token" content="">'


@dataclass
class Served:
    """What a server serves.

    Attributes:
        page: the folder with engine and facts, see `kws.page`.
        spotter: what listens.
        name: what the page calls the spotter.
        stored: the file that may be changed, or None.
        recordings: where words go.
        sources: see `kws.view.clips.sources`.
        token: what the page carries.
        choices: where detectors are kept as choices; conf/vad when None.
        port: what is listened on.
    """

    page: Path
    spotter: Spotter
    name: str
    stored: Path | None
    recordings: Recordings
    sources: dict[str, FolderClips | TestClips]
    token: str
    choices: Path | None = None
    port: int = 0


def application(served: Served) -> web.Application:
    """The server, as aiohttp runs it."""
    app = web.Application(middlewares=[guard(served.token, lambda: served.port)], client_max_size=LARGEST)
    handlers = Handlers(served)
    app.add_routes(
        [
            web.get("/", handlers.index),
            web.get("/api/sources", handlers.list_sources),
            web.get("/api/clips/{source}", handlers.list_clips),
            web.get(r"/api/clips/{source}/{index:\d{1,6}}", handlers.clip),
            web.get("/api/recordings", handlers.count_recordings),
            web.post("/api/recordings", handlers.record),
            web.post("/api/save", handlers.save),
            web.get("/{name}", handlers.file),
        ]
    )
    return app


class Handlers:
    """A function for each address. What takes time is done beside the loop, one thing at a time."""

    def __init__(self, served: Served):
        self.served = served
        self.one_at_a_time = asyncio.Lock()
        self.files = {path.name: path for path in static_files()}
        self.files |= {name: served.page / name for name in (ENGINE, FACTS)}

    async def index(self, _: web.Request) -> web.Response:
        """The page, with its token."""
        text = self.files["index.html"].read_text(encoding="utf-8")
        page = text.replace(TOKEN_PLACE, TOKEN_PLACE.replace('""', f'"{self.served.token}"'))
        return web.Response(text=page, content_type="text/html")

    async def file(self, request: web.Request) -> web.Response:
        """One of the page's files, by a list of their names: no path is ever made of what was asked for."""
        path = self.files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound(text="There is no such file.")
        charset = None if path.suffix == ".wasm" else "utf-8"
        return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], charset=charset)

    async def list_sources(self, _: web.Request) -> web.Response:
        """What can be stepped through."""
        return web.json_response([{"name": name, "title": s.title} for name, s in self.served.sources.items()])

    async def list_clips(self, request: web.Request) -> web.Response:
        """The recordings of a source."""
        clips = await self.beside(self.source(request).clips)
        return web.json_response([{"name": clip.name, "truth": clip.truth} for clip in clips])

    async def clip(self, request: web.Request) -> web.Response:
        """A recording as a WAV at the spotter's rate."""
        source = self.source(request)
        try:
            samples = await self.beside(source.samples, int(request.match_info["index"]))
        except IndexError:
            raise web.HTTPNotFound(text="There is no such recording.") from None
        return web.Response(body=wav(samples, self.served.spotter.sample_rate), content_type="audio/wav")

    def source(self, request: web.Request) -> FolderClips | TestClips:
        """The source that an address names."""
        source = self.served.sources.get(request.match_info["source"])
        if source is None:
            raise web.HTTPNotFound(text="There are no such recordings.")
        return source

    async def count_recordings(self, _: web.Request) -> web.Response:
        """Where recordings go, and how many of each word there are."""
        counts = await self.beside(self.served.recordings.counts)
        return web.json_response({"root": str(self.served.recordings.root), "counts": counts})

    async def record(self, request: web.Request) -> web.Response:
        """Keep a recording of a word."""
        word, speaker = request.query.get("word", ""), request.query.get("speaker", "")
        path = await self.beside(self.served.recordings.add, word, speaker, await request.read())
        return web.json_response({"path": str(path.relative_to(self.served.recordings.root))})

    async def save(self, request: web.Request) -> web.Response:
        """Keep settings, in the spotter or as a choice."""
        wanted = parsed(await request.text())
        settings, name = wanted.get("settings"), wanted.get("name")
        if not isinstance(settings, dict) or not isinstance(name, str | None):
            raise KwsError("what is to be saved must hold settings, and perhaps a name.")
        if name is not None:
            path = await self.beside(save_as_choice, name, settings, self.served.spotter, self.served.choices)
            return web.json_response({"said": f"Written: train.py and kws.listen take it as vad={path.stem}."})
        if self.served.stored is None:
            raise KwsError("the bundled spotter stays as it is; python -m kws.view RUN saves into a run's own.")
        kept = await self.beside(self.save_into_spotter, settings)
        said = "Saved. python export.py run=… writes the exports of the run anew, which hold the earlier settings."
        return web.json_response({"said": said, "settings": kept})

    def save_into_spotter(self, settings: dict) -> dict:
        """Save, and let a page that is opened from now on begin with what is stored."""
        kept = save_into_spotter(self.served.stored, settings)
        self.served.spotter = Spotter.load(self.served.stored)
        files.write_json(self.served.page / FACTS, facts(self.served.spotter, self.served.name))
        return kept

    async def beside(self, function, *arguments):
        """Call a function in a thread, one at a time."""
        async with self.one_at_a_time:
            return await asyncio.to_thread(function, *arguments)


def parsed(text: str) -> dict:
    """JSON of an object, without NaN and infinities."""

    def refuse(name: str):
        raise ValueError(name)

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise KwsError("what is to be saved must be JSON.")
    return value
