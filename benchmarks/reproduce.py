"""The README's figures, made again: every variant of a study with every seed, then one table.

    python benchmarks/reproduce.py accuracy augment --root ../shared/speech_commands

trains each variant of benchmarks/studies/NAME.yaml with each seed into outputs/reproduce/NAME/VARIANT/seed_S, evaluates
it where the study asks for that, and writes docs/results/NAME.json (every run, means, corpus, machine) and NAME.md (the
table). Runs that are finished are left as they are, and one that was interrupted goes on, so the command can be given
again, also for some of the variants or seeds: the table holds what there is. Without names it takes every study. What
stands after ``--`` goes to train.py. Seconds hold for the machine that is named in the JSON, or for the GPU that stands
beside them.

With ``--add`` the figures that docs/results/NAME.json holds already count as finished runs where their settings are
still those of the study, so that a study can be done in several sittings or on several machines.

A study:

    about: one sentence for the table
    seeds: [1, 2, 3]
    common: [overrides of train.py for every variant]
    evaluate: [overrides of evaluate.py]      # null: clip accuracy, which train.py measures, is enough
    variants: {name: [overrides of train.py], …}
    one_corpus: false                         # the variants choose other clips; without it, they must not

A run keeps a fingerprint of its settings beside it (VARIANT/seed_S.settings), and one that was made before the study's
settings changed is refused rather than counted.

``{runs}/VARIANT/seed_S`` in an override is where another run of the study lies, a teacher, say; it is trained first.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from kws.evaluation.intervals import mean_interval
from kws.evaluation.stream.modes import MODES
from kws.gallery.table import markdown
from kws.runs import configuration
from kws.runs.names import COMPOSITION, EVALUATION, RESULTS
from kws.runs.record import fingerprint
from kws.support import files
from kws.support.errors import KwsError

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "benchmarks" / "studies"
DEFINITIONS = ("best", "last")
MISSED, TAKEN, ALARMS = DETECTED = "missed ", "taken for another ", "false alarms an hour in "  # a detector's measures


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the tables; 1 when a run came to no result."""
    options = parse(arguments)
    known = {path.stem: path for path in sorted(STUDIES.glob("*.yaml"))}
    studies = {}
    for name in options.names or known:
        if name not in known:
            raise KwsError(f"there is no study {name!r}; choose from {', '.join(known) or 'none yet'}.")
        studies[name] = yaml.safe_load(known[name].read_text(encoding="utf-8"))
    failed = []
    for name, study in studies.items():
        variants = options.variants or study["variants"]
        for variant in variants:
            if variant not in study["variants"]:
                raise KwsError(f"study {name} has no variant {variant!r}; it has {', '.join(study['variants'])}.")
        study["settings"] = {variant: settings(study, variant, options) for variant in study["variants"]}
        known = earlier(name, study, options)
        for seed in options.seeds or study["seeds"]:
            for variant in () if options.table else variants:
                if seed in known["variants"].get(variant, {}):
                    continue
                if not reproduce(name, study, variant, seed, options):
                    failed.append(f"{name}, {variant}, seed {seed}")
        write(name, study, known, options)
    for text in failed:
        print(f"no result: {text}", file=sys.stderr)
    return 1 if failed else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; what stands after -- is kept for train.py."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of benchmarks/studies; all of them by default")
    parser.add_argument("--root", default="../shared/speech_commands", help="recordings, as data=folder takes them")
    parser.add_argument("--variants", nargs="+", help="of the study; all of them by default")
    parser.add_argument("--seeds", type=int, nargs="+", help="the study's own by default")
    parser.add_argument("--table", action="store_true", help="run nothing, only write the tables of what there is")
    parser.add_argument("--add", action="store_true", help="keep what the results hold already, as long as it fits")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs" / "reproduce")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    options = parser.parse_args(arguments[:at])
    options.overrides = arguments[at + 1 :]
    return options


def folder(options: argparse.Namespace, study: str, variant: str, seed: int) -> Path:
    """Where a run lies."""
    return options.outputs / study / variant / f"seed_{seed}"


def settings(study: dict, variant: str, options: argparse.Namespace) -> str:
    """A fingerprint of everything that is composed for a variant."""
    configuration.register_resolvers()
    with initialize_config_dir(str(configuration.CONFIGS), version_base="1.3"):
        overrides = [o.replace("{runs}", "runs") for o in [*study["common"], *study["variants"][variant]]]
        overrides = [*corpus(overrides, "."), *overrides, *options.overrides]
        composed = OmegaConf.to_container(compose("train", overrides))
    return fingerprint({**composed, "evaluate": study["evaluate"]})


def corpus(overrides: list[str], root: str) -> list[str]:
    """The recordings at `root`, as a folder unless the overrides choose another kind of source."""
    chosen = any(override.startswith("data=") for override in overrides)
    return [*([] if chosen else ["data=folder"]), f"data.root={root}"]


def earlier(name: str, study: dict, options: argparse.Namespace) -> dict[str, Any]:
    """What the results hold already, as far as it was made with the study's settings."""
    path = options.results / f"{name}.json"
    if not options.add or not path.is_file():
        return {"variants": {}}
    stored, variants = json.loads(path.read_text(encoding="utf-8")), {}
    for variant, content in stored["variants"].items():
        if variant in study["settings"] and content.get("settings") == study["settings"][variant]:
            variants[variant] = {int(seed): run for seed, run in content["seeds"].items()}
        else:
            print(f"{path}: {variant} was made with other settings and is left out", flush=True)
    return {**stored, "variants": variants}


def reproduce(name: str, study: dict, variant: str, seed: int, options: argparse.Namespace) -> bool:
    """Train and evaluate one run, first those it learns from, as far as that is not done; whether it has a result."""
    run = folder(options, name, variant, seed)
    check(run, study["settings"][variant])
    if not (run / RESULTS).is_file():
        if (run / COMPOSITION).is_file():
            arguments = [f"resume={run}"]
        else:
            overrides = [*study["common"], *study["variants"][variant]]
            for other, number in re.findall(r"\{runs\}/(\w+)/seed_(\d+)", " ".join(overrides)):
                if not reproduce(name, study, other, int(number), options):
                    return False
            overrides = [override.replace("{runs}", str(options.outputs / name)) for override in overrides]
            arguments = [*corpus(overrides, options.root), *overrides]
            arguments += [*options.overrides, f"seed={seed}", f"hydra.run.dir={run}"]
            files.write_text(run.with_suffix(".settings"), study["settings"][variant])
        if not script("train.py", *arguments):
            return False
    if study["evaluate"] is not None and not (run / EVALUATION).is_file():
        return script("evaluate.py", f"run={run}", *study["evaluate"])
    return True


def check(run: Path, wanted: str) -> None:
    """Refuse a run that was made with other settings than the study has now."""
    stored = run.with_suffix(".settings")
    if run.is_dir() and stored.is_file() and stored.read_text(encoding="utf-8") != wanted:
        raise KwsError(f"{run} was trained with other settings than the study has now; move it away.")


def script(name: str, *arguments: str) -> bool:
    """Run a script of the project; whether it came to its end."""
    print(f"$ python {name} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, str(ROOT / name), *arguments]).returncode == 0


def figures(stored: dict[str, Any]) -> dict[str, Any]:
    """What a run's results.json, `stored`, says of it."""
    test = stored["test"]
    parts = {f"test, {part} words": test[part]["accuracy"] for part in ("recorded", "typed") if part in test}
    return {
        "test": test["accuracy"],
        **{name: accuracy for name, accuracy in parts.items() if accuracy is not None},
        "validation": stored["validation"]["accuracy"],
        "parameters": stored["parameters"],
        "seconds": stored["training"]["seconds"],
        "epochs": stored["training"]["epochs"],
        "resumed": stored["training"]["resumed"],
        "git_commit": stored["environment"]["git_commit"],
        **({"gpu": stored["environment"]["gpu"]} if stored["environment"].get("gpu") else {}),
    }


def streamed(run: Path) -> dict[str, float]:
    """What a run's evaluation.json, where it has one, says of it as a stream and as a detector."""
    result, path = {}, run / EVALUATION
    if not path.is_file():
        return result
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    streaming = evaluation.get("streaming") or {}
    for mode in (mode for mode in MODES if mode in streaming):
        for definition in DEFINITIONS:
            accuracy = streaming[mode]["definitions"][definition]["accuracy"]
            result[f"stream, {mode}, {definition} frame"] = accuracy
    return result | detected(evaluation.get("detection") or {})


def detected(detection: dict[str, Any]) -> dict[str, float]:
    """Misses and false alarms of a detector: with thresholds of the validation stream, and bounds beside them."""
    result = {}
    points = {"as stored": detection.get("as_stored")}
    rules = (("overall", "one threshold"), ("per_word", "a threshold a word"))
    for where, target in (("between", "between keywords"), (None, "in all")):
        for choice in detection.get("chosen_on_validation", ()):
            for rule, said in rules:
                chosen = choice if where is None else choice.get(where, {})
                points[f"chosen on validation for {choice['target']:g} an hour {target}, {said}"] = chosen.get(rule)
    for said, point in points.items():
        if point is not None:
            result[MISSED + said] = point["miss_rate"]
            if "substitution_rate" in point:
                result[TAKEN + said] = point["substitution_rate"]
            for kind, heard in point["kinds"].items():
                result[f"{ALARMS}{kind} {said}"] = heard["false_alarms_per_hour"]
    for point in detection.get("kinds", {}).get("between", {}).get("operating_points", ()):
        result[f"{MISSED}at {point['target']:g} an hour between keywords (bound)"] = point["miss_rate"]
    for point in detection.get("bounds", ()):
        result[f"{MISSED}at {point['target']:g} an hour in all (bound)"] = point["miss_rate"]
    for name, kind in detection.get("kinds", {}).items():
        if "recordings" in kind:  # a folder of negatives; its thresholds are chosen on it, for there is no other
            for point in kind["operating_points"]:
                result[f"{MISSED}at {point['target']:g} an hour in {name} (bound)"] = point["miss_rate"]
    highest = max((choice["target"] for choice in detection.get("chosen_on_validation", ())), default=0)
    for point in detection.get("misses_by_snr", ()):
        where = "in quiet" if point["snr"] is None else f"at {point['snr']:g} dB"
        result[f"{MISSED}{where}, chosen on validation for {highest:g} an hour in all, one threshold"] = point[
            "miss_rate"
        ]
    return result


def summarise(runs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds: means, and Student's 95 % intervals of the means."""
    measures = ("test", "valid", "stream", *DETECTED)
    names = [name for name in next(iter(runs.values())) if name.startswith(measures)]
    found = {name: [run[name] for run in runs.values()] for name in names if all(name in r for r in runs.values())}
    result: dict[str, Any] = {"seeds": runs, "mean": {name: fmean(values) for name, values in found.items()}}
    if len(runs) > 1:
        result["intervals"] = {name: list(mean_interval(values)) for name, values in found.items()}
        result["interval"] = result["intervals"]["test"]
    return result


def write(name: str, study: dict, known: dict[str, Any], options: argparse.Namespace) -> None:
    """docs/results/NAME.json and NAME.md from all runs of the study that are finished, here or as `known`."""
    variants, facts = {}, {key: known[key] for key in ("corpus", "environment") if key in known}
    for variant, overrides in study["variants"].items():
        paths = {seed: folder(options, name, variant, seed) for seed in options.seeds or study["seeds"]}
        here = {}
        for seed, path in paths.items():
            if not (path / RESULTS).is_file():
                continue
            check(path, study["settings"][variant])
            stored = json.loads((path / RESULTS).read_text(encoding="utf-8"))
            one = study.get("one_corpus", True)
            if one and stored["corpus"]["fingerprint"] != facts.get("corpus", stored["corpus"])["fingerprint"]:
                raise KwsError(f"{path} was trained on other recordings than the rest of the table.")
            facts = {key: stored[key] for key in ("corpus", "environment")}
            here[seed] = figures(stored)
            if study["evaluate"] is not None:  # else a run that somebody evaluated by hand would differ from the rest
                here[seed] |= streamed(path)
        runs = dict(sorted({**known["variants"].get(variant, {}), **here}.items()))
        if not runs:
            continue
        variants[variant] = {"overrides": overrides, "settings": study["settings"][variant], **summarise(runs)}
    if not variants:
        return
    command = f"python benchmarks/reproduce.py {name} --root {options.root}"
    command += f" -- {' '.join(options.overrides)}" if options.overrides else ""
    results = {"about": study["about"], "command": command, "common": study["common"], "variants": variants, **facts}
    files.write_json(options.results / f"{name}.json", results)
    files.write_text(options.results / f"{name}.md", f"{study['about']}\n\n`{command}`\n\n{table(variants)}")
    print(options.results / f"{name}.md")


def table(variants: dict[str, dict[str, Any]]) -> str:
    """A line for each variant; then, for each detector, a line for each threshold: misses, and false alarms apart."""
    names = list(dict.fromkeys(name for v in variants.values() for name in v["mean"]))
    shares = [name for name in names if name != "test" and not name.startswith(DETECTED)]
    lines = []
    for name, variant in variants.items():
        runs = list(variant["seeds"].values())
        cells = [name, ", ".join(map(str, variant["seeds"])), share(variant, "test", 2)]
        cells += [f"{100 * variant['mean'][s]:.2f} %" if s in variant["mean"] else "–" for s in shares]
        # An interruption's length says nothing about the training's.
        seconds = [run["seconds"] for run in runs if not run["resumed"]]
        where = ", ".join(dict.fromkeys(run["gpu"] for run in runs if run.get("gpu")))
        spent = f"{median(seconds):.0f}" + (f" ({where})" if where else "") if seconds else "–"
        cells += [f"{runs[0]['parameters']:,}", spent]
        lines.append([*cells, " ".join(variant["overrides"])])
    text = markdown(["variant", "seeds", "test", *shares, "parameters", "seconds", "overrides"], lines)
    for name, variant in variants.items():
        judged = [measure.removeprefix(MISSED) for measure in variant["mean"] if measure.startswith(MISSED)]
        if not judged:
            continue
        alarms = [
            measure.removeprefix(ALARMS).split(" ", 1) for measure in variant["mean"] if measure.startswith(ALARMS)
        ]
        kinds = list(dict.fromkeys(kind for kind, _ in alarms))
        lines = [
            [said, *(share(variant, m + said, 1) for m in (MISSED, TAKEN, *(f"{ALARMS}{kind} " for kind in kinds)))]
            for said in judged
        ]
        text += f"\n{name}, false alarms an hour in each kind of sound:\n\n"
        text += markdown(["threshold", "missed", "taken for another", *kinds], lines)
    return text


def share(variant: dict[str, Any], name: str, digits: int) -> str:
    """A mean over the seeds with half the width of its interval; false alarms are a count, the others shares."""
    if name not in variant["mean"]:
        return "–"
    scale, unit = (1, "") if name.startswith(ALARMS) else (100, " %")
    text = f"{scale * variant['mean'][name]:.{digits}f}"
    if name in variant.get("intervals", {}):
        low, high = variant["intervals"][name]
        text += f" ± {scale * (high - low) / 2:.{digits}f}"
    return text + unit


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KwsError as error:
        sys.exit(str(error))
