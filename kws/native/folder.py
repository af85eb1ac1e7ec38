"""The folder that export=c writes."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kws.native.files import C, filled
from kws.native.sources import facts, kws_version, sources
from kws.program import Program
from kws.spotter import Spotter

PACKAGE = Path(__file__).parent / "package"
README = "README.md"


def write_sources(spotter: Spotter, folder: Path, program: Program | None = None) -> None:
    """Write src/kws_model.h, src/kws_model.c, library.c and main.c.

    Args:
        spotter: what is written.
        folder: where.
        program: what is computed of a hop; the spotter's own when None.

    Raises:
        KwsError: see `kws.native.sources.sources`.
    """
    for name, text in sources(spotter, program).items():
        _write(folder / "src" / name, text)
    for name in ("library.c", "main.c"):
        _write(folder / name, (C / name).read_text(encoding="utf-8"))


def write_package(spotter: Spotter, folder: Path) -> None:
    """Write what makes the folder a library of CMake, Arduino, PlatformIO, Zephyr and ESP-IDF."""
    words = f"It tells apart: {', '.join(spotter.labels)}."
    said = {"version": kws_version(), "words": json.dumps(words, ensure_ascii=False)[1:-1]}
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.name != README:
            _write(folder / path.relative_to(PACKAGE), filled(path, said))


def write_readme(spotter: Spotter, folder: Path, program: Program, rows: Sequence[Sequence[str]], checked: str) -> None:
    """Write README.md.

    Args:
        spotter, program: what was written.
        folder: where.
        rows: of the table: what it was measured on, flash, memory, time.
        checked: a sentence on what was compared.
    """
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    _write(folder / README, filled(PACKAGE / README, {**facts(spotter, program), "table": table, "checked": checked}))


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary folder; put it in the place of `path` when the block ends without an error.

    An earlier folder at `path` is moved aside first and deleted last, so that at no time a half-written one is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    old = temporary / "old"
    new = temporary / "new"
    new.mkdir()
    try:
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
