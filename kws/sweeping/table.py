"""A multirun's jobs in one table."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from kws.runs.names import COMPOSITION, ERROR, OVERRIDES, RESULTS
from kws.runs.summary import make_console, percent
from kws.support import files

COLUMNS = ("job", "overrides", "test", "validation", "parameters", "seconds", "epochs", "error")


class SweepTable(Callback):
    """Prints a table of all jobs at the end of a multirun and writes it beside them as sweep.csv."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        directory = Path(config.hydra.sweep.dir)
        rows = [job_row(path) for path in sorted(directory.iterdir(), key=_number) if path.is_dir()]
        rows = [row for row in rows if row]
        if not rows:
            return
        write_csv(directory / "sweep.csv", rows)
        table = Table(*COLUMNS[1:-1], title=f"{len(rows)} jobs in {directory}")
        common = set.intersection(*(set(row["overrides"].split()) for row in rows)) if len(rows) > 1 else set()
        for row in rows:
            cells = [" ".join(o for o in row["overrides"].split() if o not in common) or row["job"]]
            if row["error"]:
                cells += ["–", row["error"]]
            else:
                cells += [percent(row["test"]), percent(row["validation"]), f"{row['parameters']:,}"]
                cells += [f"{row['seconds']:.0f}", str(row["epochs"])]
            table.add_row(*cells)
        make_console().print(table)
        print(directory / "sweep.csv", flush=True)


def _number(path: Path) -> tuple:
    return (0, int(path.name), "") if path.name.isdigit() else (1, 0, path.name)


def job_row(directory: Path) -> dict[str, Any] | None:
    """A job's line of the table; None where no job ran."""
    row = dict.fromkeys(COLUMNS, "") | {"job": directory.name}
    overrides = directory / OVERRIDES
    if overrides.is_file():
        row["overrides"] = " ".join(OmegaConf.to_container(OmegaConf.load(overrides)))
    if (directory / RESULTS).is_file():
        results = json.loads((directory / RESULTS).read_text())
        row |= {
            "test": results["test"]["accuracy"],
            "validation": results["validation"]["accuracy"],
            "parameters": results["parameters"],
            "seconds": results["training"]["seconds"],
            "epochs": results["training"]["epochs"],
        }
        return row
    if (directory / ERROR).is_file():
        return row | {"error": (directory / ERROR).read_text().strip()}
    return row | {"error": "unfinished"} if (directory / COMPOSITION).is_file() else None


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())
