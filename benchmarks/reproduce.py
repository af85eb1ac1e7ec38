"""The README's figures, made again: every experiment with every seed, then one table.

    python benchmarks/reproduce.py tutorial best --seeds 1 2 3 -- data.root=../shared/speech_commands

trains ``experiment=NAME seed=S`` into outputs/reproduce/NAME/seed_S, evaluates it as a stream (--no-evaluate leaves
that out) and writes docs/results/NAME.json and NAME.md for each name. What stands after ``--`` goes to train.py. Runs
that are finished are left as they are, and one that was interrupted goes on, so the command can be given again. Without
names it takes every file in conf/experiment. Seconds hold for the machine that is named in the JSON.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kws import files
from kws.errors import KwsError
from kws.gallery import table
from kws.gallery.runs import Run, find_runs

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "conf" / "experiment"


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the tables; 1 when an experiment came to no result."""
    options = parse(arguments)
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    for name in options.names:
        if name not in known:
            raise KwsError(f"there is no experiment {name!r}; choose from {', '.join(known) or 'none yet'}.")
    failed = []
    for name in options.names or known:
        folder = options.outputs / name
        for seed in options.seeds:
            if not reproduce(name, seed, folder / f"seed_{seed}", options):
                failed.append(f"{name}, seed {seed}")
        if any(folder.glob("*/results.json")):
            write(name, find_runs([folder], measure=True), options)
    for text in failed:
        print(f"no result: {text}", file=sys.stderr)
    return 1 if failed else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; what stands after -- is kept for train.py."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of conf/experiment; all of them by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--no-evaluate", dest="evaluate", action="store_false", help="clip accuracy is enough")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs" / "reproduce")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args(arguments[:at])
    options.overrides = arguments[at + 1 :]
    return options


def reproduce(name: str, seed: int, run: Path, options: argparse.Namespace) -> bool:
    """Train and evaluate one run as far as that has not been done; whether there is a result."""
    if not (run / "results.json").is_file():
        if (run / ".composition.yaml").is_file():
            arguments = [f"resume={run}"]
        else:
            arguments = [f"experiment={name}", f"seed={seed}", f"hydra.run.dir={run}", *options.overrides]
        if not script("train.py", *arguments):
            return False
    if options.evaluate and not (run / "evaluation.json").is_file():
        return script("evaluate.py", f"run={run}")
    return True


def script(name: str, *arguments: str) -> bool:
    """Run a script of the project; whether it came to its end."""
    print(f"$ python {name} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, str(ROOT / name), *arguments]).returncode == 0


def write(name: str, runs: list[Run], options: argparse.Namespace) -> None:
    """docs/results/NAME.json: every run, its mean over the seeds, what it was made with; NAME.md: the tables."""
    folder, results = options.outputs / name, {}
    results["experiment"] = name
    given = ["--", *options.overrides] if options.overrides else []
    results["command"] = " ".join(["python benchmarks/reproduce.py", name, "--seeds", *map(str, options.seeds), *given])
    results["runs"] = [table.row(run) for run in runs]
    results["seeds"] = table.seeds(runs)
    results["environment"] = environment(folder, runs)
    files.write_json(options.results / f"{name}.json", results)
    text = f"`{results['command']}`\n\n{table.to_markdown(runs)}"
    files.write_text(options.results / f"{name}.md", text)
    print(options.results / f"{name}.md")


def environment(folder: Path, runs: list[Run]) -> dict[str, Any] | None:
    """Versions and machine of the first run that has a result."""
    for run in runs:
        if run.done:
            return json.loads((folder / run.name / "results.json").read_text(encoding="utf-8")).get("environment")
    return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KwsError as error:
        sys.exit(str(error))
