"""Seconds until this project's training is as good as a whole run in the manner of ELL's trainer.

    python benchmarks/time_to_accuracy.py --root ../shared/speech_commands

trains the tutorial's 2×GRU-128 on the tutorial's features twice, one after the other on the same machine with the same
threads:

* as ELL's ``train_classifier.py`` does: 30 epochs of RMSprop at 1e-3 with weight decay 1e-5 over features computed
  beforehand, collated clip by clip by a `DataLoader`, in float32; only its steps are timed, not its validation;
* as ``python train.py experiment=quick`` does, with its augmentation, callbacks, checkpoints and validation all timed.

Told are the second's seconds until its validation accuracy first reaches what ELL's own trainer ended with on these
lists (BASELINE.md beside the recordings), and until it reaches what the first ended with here. What comes before the
first step (starting Python, decoding, measuring the normalization) counts for neither. Seconds are the wall's and the
processor's. Writes benchmarks/results/time_to_accuracy.json.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kws.runs import configuration
from kws.runs.configuration import CONFIGS
from kws.spotter.runtime import log_probabilities
from kws.support.environment import environment
from kws.support.files import write_json
from kws.training.module import SpotterModule
from kws.training.run import build_data, build_spotter, quieten

HERE = Path(__file__).parent
EPOCHS, BATCH = 30, 128  # ELL's
ELLS_OWN = 0.838  # validation accuracy after its last epoch at 8 kHz, ../shared/speech_commands/BASELINE.md


class Clock:
    """The wall's and the processor's seconds from each start to the next stop, or to now, added up."""

    def __init__(self):
        self.earlier = {"wall": 0.0, "processor": 0.0}
        self.started: dict[str, float] | None = None

    def start(self) -> None:
        self.started = {"wall": time.perf_counter(), "processor": time.process_time()}

    def stop(self) -> None:
        self.earlier, self.started = self.seconds, None

    @property
    def seconds(self) -> dict[str, float]:
        """Of both kinds, so far."""
        if self.started is None:
            return dict(self.earlier)
        now = {"wall": time.perf_counter(), "processor": time.process_time()}
        return {kind: self.earlier[kind] + now[kind] - self.started[kind] for kind in now}


def validation_accuracy(spotter, data) -> float:
    """Share of the validation clips that are given their label."""
    given = log_probabilities(spotter, data.split_features("validation")).argmax(-1)
    return float((given == torch.from_numpy(data.clip_labels("validation"))).float().mean())


def ells_manner(config: DictConfig) -> dict:
    """A whole run as ELL's trainer does it."""
    pl.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    spotter = build_spotter(config, data)
    features = torch.from_numpy(data.split_features("training")[:])
    labels = torch.from_numpy(data.clip_labels("training"))
    loader = DataLoader(TensorDataset(features, labels), BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.RMSprop(spotter.classifier.parameters(), lr=1e-3, weight_decay=1e-5)
    clock, epochs = Clock(), []
    for epoch in range(1, EPOCHS + 1):
        spotter.train()
        clock.start()
        for batch, wanted in loader:
            loss = nn.functional.nll_loss(spotter.classify(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock.stop()
        spotter.eval()
        accuracy = validation_accuracy(spotter, data)
        epochs.append({**clock.seconds, "validation": accuracy})
        print(f"ELL's manner, epoch {epoch}: {accuracy:.1%} after {clock.seconds['wall']:.0f} s")
    return {"epochs": epochs, "validation": accuracy, **clock.seconds}


class Watch(pl.Callback):
    """Seconds and validation accuracy at the end of each epoch."""

    def __init__(self):
        self.epochs: list[dict[str, float]] = []
        self.clock = Clock()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.clock.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["validation/accuracy"])
        self.epochs.append({**self.clock.seconds, "validation": accuracy})


def ours(config: DictConfig, directory: str) -> list[dict[str, float]]:
    """A run of train.py, up to its last epoch."""
    pl.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    spotter = build_spotter(config, data)
    module = SpotterModule(spotter, instantiate(config.optimizer), instantiate(config.scheduler), **config.training)
    watch = Watch()
    trainer = instantiate(
        config.trainer,
        callbacks=[*instantiate(config.callbacks).values(), watch],
        logger=instantiate(config.logger),
        default_root_dir=directory,
    )
    trainer.fit(module, datamodule=data)
    return watch.epochs


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print, write JSON; hands back what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("../shared/speech_commands"))
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "time_to_accuracy.json")
    parser.add_argument("overrides", nargs="*", help="settings of this project's training")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    configuration.register_resolvers()
    quieten()
    with tempfile.TemporaryDirectory() as directory, initialize_config_dir(str(CONFIGS), version_base="1.3"):
        common = [f"directory={directory}", "data=folder", f"data.root={options.root}", "export=[]"]
        theirs = ["featurizer=tutorial", "augment=none", "model=gru", "training=default"]
        baseline = ells_manner(compose("train", [*common, *theirs]))
        epochs = ours(compose("train", [*common, "experiment=quick", *options.overrides]), directory)
    results = {
        "threads": options.threads,
        "ells_manner": baseline,
        "overrides": options.overrides,
        "ours": epochs,
        "reached": {
            "ELL's own trainer": reached(epochs, ELLS_OWN, baseline),
            "ELL's manner here": reached(epochs, baseline["validation"], baseline),
        },
        "environment": environment(),
    }
    write_json(options.output, results)
    show(results)
    print(options.output)
    return results


def reached(epochs: list[dict[str, float]], target: float, baseline: dict) -> dict | None:
    """The first epoch as good as `target`, and its share of the baseline's seconds; None if there is none."""
    for number, epoch in enumerate(epochs, start=1):
        if epoch["validation"] >= target:
            share = {clock: epoch[clock] / baseline[clock] for clock in ("wall", "processor")}
            return {"target": target, "epoch": number, **epoch, "share": share}
    return None


def show(results: dict) -> None:
    """A line for each."""
    baseline, last = results["ells_manner"], results["ours"][-1]
    print(
        f"ELL's manner: {baseline['validation']:.1%} after {baseline['wall']:.0f} s ({len(baseline['epochs'])} epochs)"
    )
    for name, found in results["reached"].items():
        if found is None:
            print(f"as good as {name}: never; {last['validation']:.1%} after {last['wall']:.0f} s")
        else:
            print(
                f"as good as {name}, {found['target']:.1%}: after {found['wall']:.0f} s, {found['share']['wall']:.1%} "
                f"of that time ({found['share']['processor']:.1%} of the processor's)"
            )


if __name__ == "__main__":
    main()
