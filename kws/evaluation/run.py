"""python evaluate.py: a stored spotter measured again."""

from pathlib import Path

import torch
from omegaconf import DictConfig

from kws import files, summary
from kws.corpus import SPLITS
from kws.environment import environment
from kws.errors import KwsError
from kws.evaluation.clips import ClipMeter, log_probabilities
from kws.stored import load_spotter, match_labels, open_data


def evaluate(config: DictConfig) -> float:
    """Measure, print, and write evaluation.json; clip accuracy is returned."""
    if config.split not in SPLITS:
        raise KwsError(f"split={config.split!r} is unknown; choose one of {', '.join(SPLITS)}.")
    spotter, run_directory = load_spotter(config.run)
    output = Path(config.output) if config.output else run_directory
    data = open_data(config, spotter, run_directory)
    kept, labels, left_out = match_labels(data, spotter, config.split)
    meter = ClipMeter(spotter.labels)
    meter.update(log_probabilities(spotter, data.split_features(config.split)[kept]), torch.from_numpy(labels))
    results = {
        "split": config.split,
        "clips": meter.results(),
        "left_out": left_out,
        "corpus": {"name": data.corpus.name, "fingerprint": data.corpus.fingerprint()},
        "spotter": spotter.about,
        "seed": config.seed,
        "environment": environment(),
    }
    files.write_json(output / "evaluation.json", results)
    summary.show_evaluation(results, output)
    return results["clips"]["accuracy"]
