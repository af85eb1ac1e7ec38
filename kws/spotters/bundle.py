"""A run into a folder of the package: the spotter with small weights, and its card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from kws.runs.configuration import stored
from kws.runs.names import CONFIG, EVALUATION, OVERRIDES, RESULTS, SPOTTER
from kws.runs.stored import load_spotter, match_labels, open_data, with_root
from kws.spotter import Spotter
from kws.spotter.runtime import log_probabilities
from kws.spotters import CARD, FOLDER
from kws.spotters.card import SPEECH_COMMANDS, card
from kws.support import files
from kws.support.errors import KwsError

LARGEST = 200_000
"""Bytes of a folder."""
WORST = 0.02
"""Largest change of a posterior that rounding the weights may bring."""


def bundle(run: Path, name: str, folder: Path = FOLDER, root: str | None = None, data: str = SPEECH_COMMANDS) -> Path:
    """Write ``<folder>/<name>/spotter.ckpt`` and ``card.md``.

    Weights become float16: half the room, they train on after they were read, and what rounding changes is measured
    here on the run's test clips. Integers would take a quarter, but they need a second kind of file, and cannot be
    trained on.

    Args:
        run: a finished run with results.json and evaluation.json.
        name: of the new folder.
        folder: where it goes.
        root: where the recordings are now; where the run found them when None.
        data: a sentence on the recordings and their licence.

    Raises:
        KwsError: the run is not whole, the folder would be too large, or rounding changes too much.
    """
    spotter, directory = load_spotter(run)
    facts = {file: read(directory / file) for file in (RESULTS, EVALUATION)}
    overrides = OmegaConf.to_container(OmegaConf.load(directory / OVERRIDES))
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    with files.atomic(target / SPOTTER) as temporary:
        spotter.save(temporary, small=True)
        rounded = Spotter.load(temporary)
        size = temporary.stat().st_size
        found = rounding(spotter, rounded, *clips(spotter, directory, root))
        if found["difference"] > WORST:
            raise KwsError(f"{run}: float16 weights change a posterior by {found['difference']:.2g}; keep float32.")
        text = card(name, spotter, facts[RESULTS], facts[EVALUATION], overrides, found, data)
        if size + len(text.encode()) > LARGEST:
            raise KwsError(f"{run}: {size:,} bytes and a card are more than {LARGEST:,}; bundle a smaller network.")
    files.write_text(target / CARD, text)
    return target


def read(path: Path) -> dict[str, Any]:
    """A run's JSON file."""
    if not path.is_file():
        raise KwsError(f"{str(path)!r} is missing; a spotter is bundled with its figures: train, then evaluate.py.")
    return json.loads(path.read_text(encoding="utf-8"))


def clips(spotter: Spotter, directory: Path, root: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, T, F) and labels (N,) of the run's test clips."""
    data = stored(directory / CONFIG).data
    if root is not None:
        source = with_root(data.source)
        if source is None:
            raise KwsError(f"--root {root}: the run's corpus is in no folder; leave it out.")
        data.root = source.root = root
    module = open_data(OmegaConf.create({"data": data}), spotter, directory)
    kept, labels, _ = match_labels(module, spotter, "testing")
    return module.split_features("testing")[kept], labels


@torch.no_grad()
def rounding(spotter: Spotter, rounded: Spotter, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What rounding the weights changes: largest ``difference`` of a clip's posterior, accuracy ``before`` and
    ``after``, share of ``clips`` with the ``same`` label."""
    before, after = (log_probabilities(s, features).exp() for s in (spotter, rounded))
    truth = torch.from_numpy(np.asarray(labels))
    return {
        "clips": len(truth),
        "difference": float((before - after).abs().max()),
        "before": float((before.argmax(1) == truth).double().mean()),
        "after": float((after.argmax(1) == truth).double().mean()),
        "same": float((before.argmax(1) == after.argmax(1)).double().mean()),
    }
