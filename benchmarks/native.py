"""What a spotter in C takes and what integers cost: flash, memory, and accuracy beside float32.

    python benchmarks/native.py outputs/reproduce/accuracy/recipe_8k/seed_1 …

takes finished runs, writes each as C in float32 and int8 (calibrated on training clips), compiles it for a Cortex-M4
where arm-none-eabi-gcc is installed (else for this machine, for size), and judges the test split in PyTorch and by the
integers' twin, whole clips and as one stream that is never reset. Writes benchmarks/results/native.json.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from kws.evaluation.clips import ClipMeter
from kws.evaluation.stream.modes import stream_accuracy
from kws.export.base import Probe
from kws.native import CModel, folder, measure
from kws.program import Program
from kws.runs.configuration import register_resolvers
from kws.runs.stored import load_spotter, match_labels, open_data
from kws.spotter import Spotter
from kws.spotter.quantized import quantized
from kws.spotter.runtime import log_probabilities
from kws.support import files
from kws.support.environment import environment

HERE = Path(__file__).parent
WEIGHTS = ("float32", "int8")


def main() -> None:
    """Judge the runs, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories; the name of their parent is the variant")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "native.json")
    options = parser.parse_args()
    register_resolvers()
    torch.set_num_threads(1)
    rows = [judge(run) for run in options.runs]
    variants = defaultdict(list)
    for row in rows:
        variants[row["variant"]].append(row)
    means = {variant: mean(found) for variant, found in variants.items()}
    files.write_json(options.output, {"runs": rows, "variants": means, "environment": environment()})
    show(means, Console())
    print(options.output)


def judge(run: Path) -> dict[str, Any]:
    """Figures of a run."""
    spotter, directory = load_spotter(run)
    data = open_data(OmegaConf.create({}), spotter, directory)
    int8 = quantized(spotter, Probe.of(data).training())
    kept, labels, _ = match_labels(data, spotter, "testing")
    features, samples = data.split_features("testing")[kept], data.waveforms.splits["testing"].samples[kept]
    given, row = {}, {"variant": run.parent.name, "seed": spotter.about.get("seed"), "clips": len(labels)}
    for kind, judged in zip(WEIGHTS, (spotter, int8), strict=True):
        outputs = log_probabilities(judged, features)
        given[kind] = outputs.argmax(-1)
        meter = ClipMeter(spotter.labels, together=False)
        meter.update(outputs, torch.from_numpy(labels))
        stream = stream_accuracy(judged, samples, labels, seed=1, modes=("never",))["never"]
        row[kind] = {"accuracy": meter.results()["accuracy"], "never_reset": stream["accuracy"]}
        row[kind] |= taken(spotter, judged.program())
    row["same_label"] = float((given["float32"] == given["int8"]).float().mean())
    return row


def taken(spotter: Spotter, program: Program) -> dict[str, Any]:
    """Flash and memory of a program in C, and what it was compiled for."""
    with tempfile.TemporaryDirectory() as temporary:
        folder.write_sources(spotter, Path(temporary), program)
        footprint = measure.footprint(Path(temporary))
    figures = {"state_bytes": CModel.of(spotter, program).state_bytes}
    if footprint is not None:
        figures |= {"flash_bytes": footprint.flash_bytes, "compiled_for": footprint.name}
    return figures


def mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds."""
    found: dict[str, Any] = {"seeds": [row["seed"] for row in rows], "same_label": fmean(r["same_label"] for r in rows)}
    for kind in WEIGHTS:
        names = [name for name, value in rows[0][kind].items() if isinstance(value, int | float)]
        found[kind] = {name: fmean(row[kind][name] for row in rows) for name in names}
    return found


def show(means: dict[str, Any], console: Console) -> None:
    """A line a variant and kind of weights."""
    table = Table("", "weights", "test accuracy", "never reset", "flash", "state")
    for variant, found in means.items():
        for kind in WEIGHTS:
            row = found[kind]
            flash = f"{row['flash_bytes'] / 1024:.1f} KiB" if "flash_bytes" in row else "–"
            shares = [f"{100 * row[name]:.2f} %" for name in ("accuracy", "never_reset")]
            table.add_row(variant, kind, *shares, flash, f"{row['state_bytes'] / 1024:.1f} KiB")
    console.print(table)


if __name__ == "__main__":
    main()
