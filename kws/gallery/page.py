"""The gallery as one HTML file that needs nothing beside it: a picture to play with, and the tables."""

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from kws.gallery import table
from kws.runs.names import MODES
from kws.runs.record import Run

AXES = ("multiply_adds_per_second", "parameters", "model_bytes", "microseconds_per_hop", "seconds_trained")
HEIGHTS = ("test_accuracy", *(f"stream_{mode}" for mode in MODES))
TEMPLATE = Path(__file__).parent / "page.html"


def html_page(runs: Sequence[Run], folder: Path) -> str:
    """The page, for a file that will lie in `folder`: links to runs are relative to it."""
    points = [point(run, folder) for run in runs if run.done]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        done=len(points),
        all=len(runs),
        points=script_json(points),
        axes=options(AXES),
        heights=options(HEIGHTS),
        runs=run_table(runs, folder),
        seeds=seed_table(runs),
    )


def point(run: Run, folder: Path) -> dict[str, Any]:
    """What the picture needs to know of a run."""
    line = table.row(run)
    return {
        "name": run.name,
        "what": table.short(run),
        "link": link(run, run.report, folder) if run.report else None,
        **{name: line[name] for name in (*AXES, *HEIGHTS)},
    }


def link(run: Run, name: str, folder: Path) -> str:
    """A relative address of one of a run's files."""
    return quote(Path(os.path.relpath(run.directory / name, folder)).as_posix())


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever the strings hold."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def options(names: Sequence[str]) -> str:
    """The choices of a select element."""
    return "".join(f'<option value="{name}">{html.escape(table.COLUMNS[name])}</option>' for name in names)


def cells(kind: str, values: Sequence[str]) -> str:
    """A row of a table; the values are HTML already."""
    return "<tr>" + "".join(f"<{kind}>{value}</{kind}>" for value in values) + "</tr>\n"


def run_table(runs: Sequence[Run], folder: Path) -> str:
    """Every run with links to its report and its exports; those without a result say why."""
    names = table.with_kinds(table.SHORT_COLUMNS, runs)
    head = ["run", "what", "test accuracy (95 %)", *map(table.heading, names), "files"]
    rows = [cells("th", map(html.escape, head))]
    for run in runs:
        line = table.row(run)
        name = html.escape(run.name)
        if run.report:
            name = f'<a href="{link(run, run.report, folder)}">{name}</a>'
        accuracy = table.with_interval(line) if run.done else run.status
        if run.done and run.status != "done":
            accuracy += f" ({run.status})"
        figures = (html.escape(table.shown(c, line.get(c))) for c in names)
        files = " ".join(f'<a href="{link(run, n, folder)}">{html.escape(Path(n).name)}</a>' for n in run.files)
        files = f"<details><summary>{len(run.files)}</summary>{files}</details>"
        rows.append(cells("td", [name, html.escape(table.short(run)), html.escape(accuracy), *figures, files]))
    return "".join(rows)


def seed_table(runs: Sequence[Run]) -> str:
    """Configurations with several seeds, with mean and interval."""
    groups = table.seeds(runs)
    if not groups:
        return ""
    names = [*(f"stream_{mode}" for mode in MODES), "missed", "parameters", "multiply_adds_per_second", "corpus"]
    names = table.with_kinds(names, runs)
    head = ["what", "seeds", "mean test accuracy (95 %)", *map(table.heading, names)]
    rows = [cells("th", map(html.escape, head)), *(seed_row(group, names) for group in groups)]
    return "<h2>Several seeds</h2>\n<table>" + "".join(rows) + "</table>"


def seed_row(group: Mapping[str, Any], names: Sequence[str]) -> str:
    """A configuration's line."""
    values = [group["name"], ", ".join(map(str, group["seeds"])), table.with_interval(group)]
    values += [table.shown(name, group.get(name)) for name in names]
    return cells("td", map(html.escape, values))
