"""The page as a folder of files."""

import shutil
from pathlib import Path

from kws.page.engine import heard_by_the_page, write_engine
from kws.page.facts import facts
from kws.program import Program
from kws.spotter import Spotter
from kws.support import files

STATIC = Path(__file__).parent / "static"
FACTS = "spotter.json"


def static_files() -> list[Path]:
    """The files of the page itself: HTML, CSS, ES modules."""
    return sorted(path for path in STATIC.iterdir() if path.suffix in (".html", ".css", ".js", ".svg"))


def write_page(spotter: Spotter, folder: Path, name: str, program: Program | None = None) -> None:
    """Write page, engine and facts of a spotter into a folder that any static host can serve.

    Args:
        spotter: as it is stored.
        folder: where; it exists.
        name: what the page calls the spotter.
        program: what the engine computes, made from `heard_by_the_page` of the spotter; its own when None.

    Raises:
        KwsError: see `kws.page.engine.write_engine`.
    """
    write_engine(heard_by_the_page(spotter), folder, program)
    files.write_json(folder / FACTS, facts(spotter, name, program))
    for path in static_files():
        shutil.copyfile(path, folder / path.name)
