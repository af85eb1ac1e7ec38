"""A survey of a corpus as a table, a picture and a JSON file."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kws.corpus.base import SPLITS
from kws.corpus.survey import SILENT, Survey
from kws.support.files import atomic, write_json
from kws.support.pictures import plain, without_harm

MOST_WORDS = 100  # in the table and in the picture
FEW = 8  # words that are named one by one where they lack the same
EXAMPLES = 3  # names shown of each kind of trouble; the JSON file has all


def print_report(survey: Survey, console: Console) -> None:
    """Print clips, speakers and seconds per word and split, and what to look at."""
    corpus = survey.corpus
    table = Table(
        title=escape(f"{corpus.name}: clips · speakers · seconds"), title_justify="left", box=SIMPLE_HEAD, padding=0
    )
    table.add_column("word")
    for split in (*SPLITS, "all"):
        table.add_column(split, justify="right")
    for label in that_matter(survey):
        table.add_row(escape(label), *(_cell(survey.totals(label, split)) for split in (*SPLITS, None)))
    if len(corpus.labels) > MOST_WORDS:
        table.add_row(f"… {len(corpus.labels) - MOST_WORDS:,} more")
    table.add_section()
    table.add_row("all", *(_cell(survey.totals(None, split)) for split in (*SPLITS, None)))
    console.print(table)
    facts = survey.as_dict()
    for name, unit, values in (("length", "s", facts["seconds"]), ("level", "dBFS", facts["level_dbfs"])):
        console.print(f"{name}: " + ", ".join(f"{at} {value:g} {unit}" for at, value in values.items()), soft_wrap=True)
    console.print(
        "rates: " + ", ".join(f"{count} clips at {rate} Hz" for rate, count in facts["rates"].items()), soft_wrap=True
    )
    console.print(f"background recordings: {len(corpus.noise)}")
    for sentence in findings(survey):
        console.print(f"[yellow]•[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def that_matter(survey: Survey) -> list[str]:
    """The labels that are shown, in their order: of many those with the fewest clips for training."""
    labels = survey.corpus.labels
    counts = [survey.totals(label, "training")["clips"] for label in labels]
    return [labels[index] for index in np.sort(np.argsort(counts, kind="stable")[:MOST_WORDS])]


def findings(survey: Survey) -> list[str]:
    """What somebody should look at before training, a sentence each with the first few names."""
    sentences = []

    def add(names: list[str], one: str, many: str) -> None:
        if names:
            more = ", …" if len(names) > EXAMPLES else ""
            sentences.append(f"{len(names)} {one if len(names) == 1 else many}: {', '.join(names[:EXAMPLES])}{more}")

    def pairs(groups: list) -> list[str]:
        return [" = ".join(f"{survey.name(clip.path)} ({clip.split})" for clip in group[:4]) for group in groups]

    add(
        [f"{survey.name(r.path)} ({r.reason})" for r in survey.unreadable],
        "clip cannot be read",
        "clips cannot be read",
    )
    add(
        [f"{speaker} ({', '.join(splits)})" for speaker, splits in survey.straddling_speakers.items()],
        "speaker is in more than one split, which makes the test easier than it should be",
        "speakers are in more than one split, which makes the test easier than it should be",
    )
    misplaced = survey.misplaced_duplicates
    add(
        pairs(misplaced),
        "recording is there more than once, in several splits or under several words",
        "recordings are there more than once, in several splits or under several words",
    )
    plain = [group for group in survey.duplicates if group not in misplaced]
    add(pairs(plain), "recording is there more than once", "recordings are there more than once")
    add(survey.silent, f"clip is silent (below {SILENT:g} dBFS)", f"clips are silent (below {SILENT:g} dBFS)")
    add(survey.clipped, "clip is clipped", "clips are clipped")
    if len(rates := np.unique(survey.measured["rate"])) > 1:
        sentences.append(f"{len(rates)} sampling rates: {', '.join(f'{rate} Hz' for rate in rates)}")
    incomplete = defaultdict(list)
    for label in survey.corpus.labels:
        lacking = [split for split in SPLITS if not survey.totals(label, split)["clips"]]
        if lacking:
            incomplete[" and ".join(lacking)].append(label)
    for lacking, labels in incomplete.items():
        many = len(labels) > FEW
        names = [f"{', '.join(labels[:FEW])} and {len(labels) - FEW:,} more words have"] if many else None
        sentences += [f"{label} no clips for {lacking}" for label in names or [f"{label} has" for label in labels]]
    add(
        [f"{survey.name(r.path)} ({r.reason})" for r in survey.corpus.refused],
        "entry was refused",
        "entries were refused",
    )
    return sentences + list(survey.corpus.notes)


def picture(survey: Survey) -> Figure:
    """Clips per word and split, and how long and how loud they are."""
    corpus, labels = survey.corpus, that_matter(survey)
    figure = Figure(figsize=(10, 4 + 0.1 * len(labels)), layout="constrained")
    axes = figure.subplot_mosaic([["words", "seconds"], ["words", "levels"]])
    start = np.zeros(len(labels))
    for split in SPLITS:
        counts = np.array([survey.totals(label, split)["clips"] for label in labels])
        axes["words"].barh(range(len(counts)), counts, left=start, label=split)
        start += counts
    axes["words"].set_yticks(range(len(labels)), [plain(label) for label in labels], fontsize=7)
    axes["words"].invert_yaxis()
    left_out = len(corpus.labels) - len(labels)
    axes["words"].set_xlabel(f"clips; {left_out:,} words that have more are left out" if left_out else "clips")
    axes["words"].legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes["seconds"].hist(survey.measured["seconds"], bins=40)
    axes["seconds"].set(xlabel="length, s", ylabel="clips", yscale="log")
    axes["levels"].hist(survey.measured["loudest"], bins=40)
    axes["levels"].axvline(SILENT, color="C3", linewidth=1)
    axes["levels"].set(xlabel="level of the loudest tenth of a second, dBFS", ylabel="clips", yscale="log")
    figure.suptitle(plain(corpus.name))
    return figure


def write_report(survey: Survey, folder: str | os.PathLike) -> list[Path]:
    """Write `corpus.json` and `corpus.png` into `folder`; returns their paths."""
    folder = Path(folder)
    write_json(folder / "corpus.json", survey.as_dict() | {"findings": findings(survey)})
    with without_harm("corpus.png"), atomic(folder / "corpus.png") as temporary:
        picture(survey).savefig(temporary, dpi=120)
    return [folder / "corpus.json", folder / "corpus.png"]


def _cell(totals: dict) -> str:
    if not totals["clips"]:
        return "–"
    return f"{totals['clips']} · {totals['speakers']} · {totals['seconds']:.0f}"
