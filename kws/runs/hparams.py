"""A run's line of the gallery in TensorBoard's HParams tab, beside the settings it was made with."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from kws.runs.names import CONFIG
from kws.runs.record import read, read_run, row
from kws.support import plain_yaml

FOLDER = Path("tensorboard", "figures")
"""Below a run. A folder of its own: all scalars beside the settings become columns of the tab, and no others.

No list of columns is written: TensorBoard takes the first run's list for all runs, and another network has other
settings. Without one it shows what any run has.
"""
GROUPS = ("data", "featurizer", "model", "training", "optimizer", "scheduler", "trainer")
"""What a sweep may vary."""


def write(directory: Path) -> None:
    """Put the figures of a finished run where ``tensorboard --logdir`` finds them, in the place of earlier ones."""
    run = read_run(directory, directory.name, measure=True)
    line = row(run)
    figures = {k: v for k, v in line.items() if isinstance(v, int | float) and k != "seed"}
    settings = {"seed": run.seed, "corpus": run.corpus, **run.choices, **stored_settings(directory)}
    settings = {k: v for k, v in settings.items() if v is not None}
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    with SummaryWriter(str(directory / FOLDER)) as writer:
        _, *session = hparams(settings, {})
        for summary in session:
            writer.file_writer.add_summary(summary)
        for name, value in figures.items():
            writer.add_scalar(f"figures/{name}", value)


def stored_settings(directory: Path) -> dict[str, Any]:
    """The run's settings, flat; nothing where they cannot be read."""
    settings, _ = read(directory / CONFIG, plain_yaml.parse)
    return flat(settings) if isinstance(settings, Mapping) else {}


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Single values of the groups, named as on the command line; lists as text."""
    result = {}
    for group in GROUPS:
        values = settings.get(group)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, bool | int | float | str) and not name.startswith("_"):
                result[f"{group}.{name}"] = value
            elif isinstance(value, list):
                result[f"{group}.{name}"] = str(value)
    return result
