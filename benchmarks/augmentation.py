"""What augmentation is worth: the runs of a sweep over ``augment`` and ``seed`` in one table.

    python train.py -m data=folder data.root=../shared/speech_commands augment=none,light,noisy seed=1,2,3 \\
        'export=[]' hydra.sweep.dir=outputs/augment
    python benchmarks/augmentation.py outputs/augment

writes docs/results/augment.json (every run, its mean over the seeds with Student's 95 % interval, corpus, machine) and
augment.md.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from kws import files
from kws.errors import KwsError

ROOT = Path(__file__).parents[1]
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile of t by number of seeds


def main(arguments: list[str] | None = None) -> int:
    """Read the runs, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args(arguments)
    runs: dict[str, dict[int, dict]] = {}
    for path in sorted(options.sweep.glob("*/results.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        runs.setdefault(stored["choices"]["augment"], {})[stored["seed"]] = stored
    if not runs:
        raise KwsError(f"{str(options.sweep)!r} holds no finished run; the commands are in this file's first lines.")
    results, lines = {}, ["| augment | seeds | test accuracy | validation accuracy |", "|---|---|---|---|"]
    for name, seeds in sorted(runs.items(), key=lambda item: mean(item[1], "test")):
        results[name] = {
            "test": {seed: run["test"]["accuracy"] for seed, run in sorted(seeds.items())},
            "mean": mean(seeds, "test"),
            "half_width": half_width(seeds, "test"),
            "validation_mean": mean(seeds, "validation"),
            "git_commits": sorted({run["environment"]["git_commit"] or "" for run in seeds.values()}),
        }
        centre, half = 100 * results[name]["mean"], 100 * results[name]["half_width"]
        validation = f"{100 * results[name]['validation_mean']:.2f} %"
        lines.append(f"| {name} | {', '.join(map(str, sorted(seeds)))} | {centre:.2f} ± {half:.2f} % | {validation} |")
    one = next(iter(next(iter(runs.values())).values()))
    facts = {key: one[key] for key in ("corpus", "parameters", "environment")}
    files.write_json(options.results / "augment.json", {"augment": results, **facts})
    files.write_text(options.results / "augment.md", "\n".join(lines) + "\n")
    print(options.results / "augment.md")
    return 0


def accuracies(seeds: dict[int, dict], split: str) -> list[float]:
    """One accuracy a seed."""
    return [run[split]["accuracy"] for run in seeds.values()]


def mean(seeds: dict[int, dict], split: str) -> float:
    """Over the seeds."""
    return statistics.fmean(accuracies(seeds, split))


def half_width(seeds: dict[int, dict], split: str) -> float:
    """Of Student's 95 % interval of the mean; 0 for one seed, which has none."""
    values = accuracies(seeds, split)
    if len(values) < 2:
        return 0.0
    return STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KwsError as error:
        sys.exit(str(error))
