"""python -m kws.gallery outputs/…: gallery.csv, gallery.md and gallery.html from the runs there."""

import argparse
from pathlib import Path

from rich.table import Table

from kws.gallery import page, table
from kws.gallery.find import find_runs
from kws.runs import summary
from kws.support import command, files


def main(arguments: list[str] | None = None) -> None:
    """Read, print and write."""
    parser = argparse.ArgumentParser(prog="python -m kws.gallery", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("outputs")], help="where runs are looked for")
    parser.add_argument("--output", type=Path, help="folder for the three files; the first of the others by default")
    parser.add_argument(
        "--measure",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="time step.onnx of every run, here and in one thread",
    )
    options = parser.parse_args(arguments)
    runs = find_runs(options.folders, options.measure)
    rows = [table.row(run) for run in runs]
    show(runs)
    output = options.output or options.folders[0]
    files.write_text(output / "gallery.csv", table.to_csv(rows))
    files.write_text(output / "gallery.md", table.to_markdown(runs))
    files.write_text(output / "gallery.html", page.html_page(runs, output))
    for name in ("gallery.csv", "gallery.md", "gallery.html"):
        print(summary.nearby(output / name), flush=True)


def show(runs) -> None:
    """The most telling columns."""
    columns = ("parameters", "multiply_adds_per_second", "microseconds_per_hop", "seconds_trained", "seed")
    picture = Table(title=f"{sum(run.done for run in runs)} of {len(runs)} runs with a result")
    for name in ("run", "what", "test accuracy", *(table.COLUMNS[c] for c in columns)):
        picture.add_column(name, overflow="fold")
    for run in runs:
        line = table.row(run)
        cells = [table.with_interval(line), *(table.shown(c, line[c]) for c in columns)] if run.done else [run.status]
        picture.add_row(run.name, table.short(run), *cells)
    summary.make_console().print(picture)


if __name__ == "__main__":
    command.run(main)
