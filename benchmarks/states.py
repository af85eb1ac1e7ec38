"""Training that survives a stream: every way of starting a clip in training against every way of running a stream.

    python benchmarks/states.py --root ../shared/speech_commands --seeds 1 2 3

trains ``training=default`` (reset before each clip), ``mixed`` (also longer) and ``carry`` with every seed into
outputs/states/NAME/seed_S, judges the test split as one continuous stream (reset before each clip; never reset; reset
by the detector) and writes docs/results/states.json and states.md. Finished runs and evaluations are left as they are,
so the command can be given again. What stands after ``--`` goes to train.py.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from kws import files

ROOT = Path(__file__).parents[1]
# The longer one gives as many clips a fresh start as 30 epochs do where no state is carried.
STATES = {
    "reset": ["training=default"],
    "mixed": ["training=mixed"],
    "mixed, 36 epochs": ["training=mixed", "trainer.max_epochs=36"],
    "carry": ["training=carry"],
}
MODES = ("reset", "never", "vad")
DEFINITIONS = ("last", "best")


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, and write the tables; 1 when a run came to no result."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="recordings as data=folder takes them")
    parser.add_argument("--states", nargs="+", choices=list(STATES), default=list(STATES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs" / "states")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args(arguments[:at])
    common = ["data=folder", f"data.root={options.root}", "augment=noisy", "export=[]", *arguments[at + 1 :]]
    for state in options.states:
        for seed in options.seeds:
            run = folder(options, state, seed)
            training = [*STATES[state], f"seed={seed}", f"hydra.run.dir={run}"]
            if not (run / "results.json").is_file() and not script("train.py", *common, *training):
                return 1
            judging = [f"run={run}", "detection.hours=0", "runtimes=[]"]
            if not (run / "evaluation.json").is_file() and not script("evaluate.py", *judging):
                return 1
    write(options, common)
    return 0


def folder(options: argparse.Namespace, state: str, seed: int) -> Path:
    """Where a run lies."""
    return options.outputs / state.replace(", ", "_").replace(" ", "_") / f"seed_{seed}"


def script(name: str, *arguments: str) -> bool:
    """Run a script of the project; whether it came to its end."""
    print(f"$ python {name} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, str(ROOT / name), *arguments]).returncode == 0


def accuracies(run: Path) -> dict[str, float]:
    """A run's accuracy by clips, and by mode and definition on the stream."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    result = {"clips": evaluation["clips"]["accuracy"]}
    for mode in MODES:
        for definition in DEFINITIONS:
            result[f"{mode}.{definition}"] = evaluation["streaming"][mode]["definitions"][definition]["accuracy"]
    return result


def write(options: argparse.Namespace, common: list[str]) -> None:
    """docs/results/states.json, and the table in states.md: mean of the seeds, lowest to highest."""
    results: dict[str, Any] = {"command": f"python train.py {' '.join(common)} training=… seed=…", "states": {}}
    for state in options.states:
        runs = {seed: accuracies(folder(options, state, seed)) for seed in options.seeds}
        mean = {key: statistics.fmean(run[key] for run in runs.values()) for key in next(iter(runs.values()))}
        results["states"][state] = {"seeds": runs, "mean": mean}
    first = folder(options, options.states[0], options.seeds[0])
    stored = json.loads((first / "results.json").read_text(encoding="utf-8"))
    results |= {key: stored[key] for key in ("corpus", "parameters", "environment")}
    files.write_json(options.results / "states.json", results)
    heads = [f"{mode}, {definition} frame" for mode in MODES for definition in DEFINITIONS]
    lines = ["| training.state | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for state, content in results["states"].items():
        cells = []
        for key in (f"{mode}.{definition}" for mode in MODES for definition in DEFINITIONS):
            values = [100 * run[key] for run in content["seeds"].values()]
            cells.append(f"{100 * content['mean'][key]:.1f} ({min(values):.1f} to {max(values):.1f})")
        lines.append(f"| {state} | " + " | ".join(cells) + " |")
    files.write_text(options.results / "states.md", "\n".join(lines) + "\n")
    print(options.results / "states.md")


if __name__ == "__main__":
    sys.exit(main())
