"""Three words that a spotter does not answer to, learned from a few recordings: `finetune=` beside training anew.

    python benchmarks/finetuning.py --root ../shared/speech_commands

takes 1, 5 and 20 training clips of each word, every one by another speaker, and counts the test split's clips of these
words that are heard right. Three seeds, which draw the clips too; the first alone where old words are kept. Training
anew has the same network, features, augmentation, batches and clips; only it has its usual learning rate, twice the
epochs, and the whole validation split of the words to choose its best epoch by, where fine-tuning takes its last. A row
with kept words counts the eight earlier ones as well. Writes docs/results/finetuning.json and .md.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
WORDS = ("happy", "seven", "three")
EARLIER = ("yes", "no", "up", "down", "left", "right", "stop", "go")
COUNTS, SEEDS = (1, 5, 20), (1, 2, 3)
COMMON = ["data=folder", "export=[]", "calibrate=false", "callbacks.samples.clips=0", "summary=false"]
TUNED = ["finetune=commands_small"]
KEPT = [*TUNED, "finetuning.keep=true"]
ANEW = [
    "experiment=commands_small", "callbacks=default", "data.unknown_share=0", "data.silence_share=0",
    "data.running_speech=0", "data.clips_per_word=100", "data.batch_size=32", "trainer.max_epochs=40",
]  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the subset of Speech Commands")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--add", action="store_true", help="go on from the runs that stand in docs/results")
    options = parser.parse_args()
    root = options.root.resolve()
    ways = {
        "finetune=commands_small": TUNED,
        "trained anew": ANEW,
        "finetune=commands_small finetuning.keep=true, nothing rehearsed": KEPT,
        "finetune=commands_small finetuning.keep=true finetuning.root=…": [*KEPT, f"finetuning.root={root}"],
    }
    runs = json.loads((RESULTS / "finetuning.json").read_text(encoding="utf-8"))["runs"] if options.add else []
    done = {(run["way"], run["clips"], run["seed"]) for run in runs}
    for seed in options.seeds:
        for count in options.counts:
            for way, overrides in ways.items():
                # What is kept is looked at once: it takes the time of all the others.
                if (way, count, seed) in done:
                    continue
                if overrides in (ANEW, TUNED) or (count == 5 and seed == SEEDS[0]):
                    figures = run(root, overrides, count, seed)
                    runs.append({"way": way, "clips": count, "seed": seed, **figures})
                    print(runs[-1], flush=True)
                    write(runs)
    write(runs)


def write(runs: Sequence[dict]) -> None:
    """What there is so far."""
    facts = {"words": list(WORDS), "common": COMMON, "anew": ANEW, "runs": runs}
    (RESULTS / "finetuning.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "finetuning.md").write_text(table(runs), encoding="utf-8")


def run(root: Path, overrides: Sequence[str], count: int, seed: int) -> dict[str, float | None]:
    """Train on `count` clips of each word; shares of the test clips heard right."""
    with tempfile.TemporaryDirectory() as folder:
        lists, directory = Path(folder, "lists"), Path(folder, "run")
        write_lists(root, lists, count, seed, validation=overrides is ANEW)
        arguments = [*overrides, *COMMON, f"data.root={root}", f"data.lists={lists}", f"seed={seed}"]
        arguments += [f"data.words=[{','.join(WORDS)}]", f"hydra.run.dir={directory}"]
        call([sys.executable, str(ROOT / "train.py"), *arguments])
        results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
        heard = results["test"]["per_word"]
        return {
            "new": share(results["test"], WORDS),
            "earlier": share(results["test"], EARLIER) if heard.get("yes") is not None else earlier(root, directory),
            "seconds": results["training"]["seconds"],
        }


def earlier(root: Path, directory: Path) -> float | None:
    """What a run that has no clips of the earlier words still hears of them."""
    labels = json.loads((directory / "results.json").read_text(encoding="utf-8"))["corpus"]["labels"]
    if "yes" not in labels:
        return None
    words = ",".join(f'"{word}"' for word in EARLIER)
    output = directory / "earlier"
    arguments = [f"run={directory}", "data=folder", f"data.root={root}", f"data.words=[{words}]", f"output={output}"]
    call(
        [
            sys.executable,
            str(ROOT / "evaluate.py"),
            *arguments,
            "streaming.modes=[]",
            "detection.hours=0",
            "runtimes=[]",
        ]
    )
    clips = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))["clips"]
    return share(clips, EARLIER)


def share(clips: dict, words: Sequence[str]) -> float:
    """Of the clips of some words, those heard right."""
    rows = {label: row for label, row in zip(clips["labels"], clips["confusion"], strict=True) if label in words}
    right = sum(row[clips["labels"].index(label)] for label, row in rows.items())
    return right / sum(map(sum, rows.values()))


def call(command: list[str]) -> None:
    """Run a script of this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)


def write_lists(root: Path, folder: Path, count: int, seed: int, validation: bool) -> None:
    """Training clips of each word, one a speaker, and the official lists' clips of these words."""
    official = {
        split: [line for line in (root / f"{split}_list.txt").read_text().split("\n") if line.split("/")[0] in WORDS]
        for split in ("validation", "testing")
    }
    held = set(official["validation"]) | set(official["testing"])
    chosen = []
    for word in WORDS:
        speakers = {}
        for path in sorted((root / word).iterdir()):
            if f"{word}/{path.name}" not in held:
                speakers.setdefault(path.name.split("_nohash_")[0], f"{word}/{path.name}")
        order = sorted(speakers, key=lambda speaker: hashlib.sha256(f"{seed} {word} {speaker}".encode()).digest())
        chosen += [speakers[speaker] for speaker in order[:count]]
    folder.mkdir()
    (folder / "training_list.txt").write_text("\n".join(chosen))
    (folder / "testing_list.txt").write_text("\n".join(official["testing"]))
    if validation:
        (folder / "validation_list.txt").write_text("\n".join(official["validation"]))


def table(runs: Sequence[dict]) -> str:
    """Means over the seeds, and the range that they span."""
    lines = [
        "# A few recordings of three new words",
        "",
        f"{', '.join(WORDS)}: test clips of the subset of Speech Commands heard right, mean (least to most) of the "
        "seeds, each with other clips. Written by `python benchmarks/finetuning.py --root "
        "../shared/speech_commands`, whose first lines say what is compared.",
        "",
        "`commands_small` has never answered to these words, but it heard training clips of them among its other words "
        "(`_unknown_`), also those of many of these speakers.",
        "",
        "| clips a word | way | seeds | new words | the eight earlier words | seconds of training |",
        "|---|---|---|---|---|---|",
    ]
    for count, way in sorted({(run["clips"], run["way"]): None for run in runs}, key=lambda row: row[0]):
        of = [run for run in runs if (run["clips"], run["way"]) == (count, way)]
        seconds = f"{mean(run['seconds'] for run in of):.0f}"
        cells = [spread([run[key] for run in of if run[key] is not None]) for key in ("new", "earlier")]
        seeds = ", ".join(str(run["seed"]) for run in of)
        lines.append(f"| {count} | {way} | {seeds} | {cells[0]} | {cells[1]} | {seconds} |")
    return "\n".join([*lines, ""])


def spread(values: Sequence[float]) -> str:
    """Mean and range as percentages."""
    if not values:
        return ""
    return f"{100 * mean(values):.1f} % ({100 * min(values):.1f} to {100 * max(values):.1f})"


if __name__ == "__main__":
    main()
