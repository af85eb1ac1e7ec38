"""Stored runs: their spotter, and clips to measure or compare it on."""

from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from kws.data import SpeechDataModule
from kws.runs.configuration import stored
from kws.runs.latest import find
from kws.runs.names import CONFIG, SPOTTER
from kws.runs.trusted import refuse_strange_targets
from kws.spotter import Spotter
from kws.support.errors import KwsError


def load_spotter(run: str | Path) -> tuple[Spotter, Path]:
    """The spotter of a run directory (of a spotter file itself, or of the ``last`` run), and where it lies."""
    path = find(run)
    if not path.exists():
        raise KwsError(f"run={run}: there is no such directory; name the one that train.py printed last.")
    if path.is_dir():
        if not (path / SPOTTER).is_file() and (path / CONFIG).is_file():
            raise KwsError(f"run={run}: the training there has not finished; continue it with train.py resume={run}")
        path = path / SPOTTER
    return Spotter.load(path), path.parent


def with_root(source: DictConfig) -> DictConfig | None:
    """The part of a corpus's configuration whose `root` is the folder of recordings; None where it has none.

    Of a fine-tuned run it is that of what it learned last.
    """
    if "root" in source:
        return source
    inner = source.get("new") or source.get("recorded")
    return None if inner is None else with_root(inner)


def open_data(config: DictConfig, spotter: Spotter, directory: Path) -> SpeechDataModule:
    """The corpus that `config` names, else that of the run, at the spotter's rate and with its featurizer."""
    data = config.get("data")
    if data is None:
        path = directory / CONFIG
        if not path.is_file():
            raise KwsError(f"{str(directory)!r} has no {CONFIG} that says which corpus to use; choose one with data=…")
        data = stored(path).get("data")
        if not isinstance(data, DictConfig):
            raise KwsError(f"{str(path)!r} does not say which corpus to use; choose one with data=…")
        refuse_strange_targets(data, path)
    else:
        data.sample_rate = spotter.sample_rate
    module = instantiate(
        data.module, source=instantiate(data.source), featurizer=spotter.featurizer, sample_rate=spotter.sample_rate
    )
    module.prepare_data()
    module.setup()
    return module


def match_labels(data: SpeechDataModule, spotter: Spotter, split: str) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Clips of a split that the spotter has a label for.

    A word that the spotter was not trained on counts as ``_unknown_`` where it has that label.

    Returns:
        indices of the clips, their class indices in the spotter's order, and how many clips of each word were left out.
    """
    classes = {label: index for index, label in enumerate(spotter.labels)}
    unknown = classes.get("_unknown_", -1)
    mapping = np.array([classes.get(label, unknown) for label in data.labels])
    given = data.clip_labels(split)
    labels = mapping[given]
    kept = np.flatnonzero(labels >= 0)
    counts = np.bincount(given, minlength=len(mapping)).tolist()
    left_out = {data.labels[i]: counts[i] for i in np.flatnonzero(mapping < 0)}
    if not len(kept):
        raise KwsError(
            f"no clip of the {split} split of {data.corpus.name!r} has a label of this spotter "
            f"({', '.join(spotter.labels)}); choose another corpus with data=…"
        )
    return kept, labels[kept], {word: n for word, n in left_out.items() if n}
