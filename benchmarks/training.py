"""Steps per second of a 2×GRU-128 at batch 128: Lightning as train.py runs it, against plain PyTorch loops.

    python benchmarks/training.py --threads 1

compares, on random clips of the tutorial's features at 8 kHz (31 frames of 40 filters, 23 labels),

* Lightning: conf/train.yaml with its metrics, logging, callbacks, gradient clipping, checkpoints and schedule;
* the plain loop: the same arithmetic (normalization, network, loss, clipping, AdamW, one cycle) over the same tensors,
  under the same autocast (bfloat16 where the processor has it);
* the per-item loop: a plain loop in float32 fed by a `DataLoader` that collates clip by clip, ELL's way;
* the plain loop in float32; with PyTorch's own GRU in place of ours (kws/networks/gru.py); with a batch twice as large.

A busy machine changes its speed from second to second, so all ways take turns, block by block of a few steps, inside
one Lightning training; ratios are taken within a block, and medians over the blocks are reported. The first block
warms up and is left out. With one thread the clock counts the processor's seconds spent on this process, all of its
threads together, so that what neighbours take does not count; with more it is the clock on the wall. Validation and
checkpoints at the end of an epoch lie outside the steps. The peak is the best float32 product of two 1024×1024 matrices
seen in the same run. Writes benchmarks/results/training.json.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kws.data import SpeechDataModule
from kws.networks import RecurrentClassifier
from kws.runs import configuration
from kws.runs.configuration import CONFIGS
from kws.support.environment import environment
from kws.support.files import write_json
from kws.training.module import SpotterModule
from kws.training.run import build_spotter, quieten

HERE = Path(__file__).parent
LABELS = 23
PEAK_SIZE = 1024
CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}
LIGHTNING, PLAIN, PER_ITEM = "Lightning, as train.py", "plain loop", "per-item loader, float32"


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print a table, write JSON; hands back what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--blocks", type=int, default=12, help="turns that every way takes")
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn; 10 holds each logging interval once")
    parser.add_argument("--clock", choices=CLOCKS, help="processor with one thread, else wall")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "training.json")
    parser.add_argument("overrides", nargs="*", help="settings of conf/train.yaml, such as data.batch_size=64")
    options = parser.parse_args(arguments)
    options.clock = options.clock or ("processor" if options.threads == 1 else "wall")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as directory:
        results = measure(options, directory)
    write_json(options.output, results)
    show(results, Console())
    print(options.output)
    return results


class RandomClips(SpeechDataModule):
    """The data module with random features in place of a corpus."""

    content = None  # no clips that a checkpoint could be told by

    def __init__(self, training_clips: int, **settings):
        super().__init__(source=None, **settings)
        self.clips = {"training": training_clips, "validation": 128, "testing": 128}

    def prepare_data(self) -> None:
        self.setup()

    def _open(self) -> None:
        if self.waveforms is not None:
            return
        random = np.random.default_rng(self.seed)
        labels = tuple(f"word{i}" for i in range(LABELS))
        self.corpus = SimpleNamespace(name="random", labels=labels, fingerprint=lambda: "random", unrecorded=())
        splits = {}
        for name, clips in self.clips.items():
            frames = self.sample_rate // self.featurizer.hop_size
            shape = (clips, frames, self.featurizer.num_features)
            self.features[name] = random.standard_normal(shape, dtype=np.float32)
            splits[name] = SimpleNamespace(labels=random.integers(LABELS, size=clips), samples=None)
        self.waveforms = SimpleNamespace(splits=splits, noise=[])


class TakingTurns(pl.Callback):
    """Times Lightning's steps from one batch to the next, and lets the other ways take theirs in between."""

    def __init__(self, others: dict[str, Iterator[None]], steps: int, clock: Callable[[], float]):
        self.others = others
        self.clock = clock
        self.steps = steps
        self.seconds = {name: [] for name in (LIGHTNING, *others)}  # of a step, one figure a block
        self.peak = 0.0
        self.started: float | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch, batch_idx: int) -> None:
        if trainer.global_step % self.steps:
            return
        if self.started is not None:
            self.seconds[LIGHTNING].append((self.clock() - self.started) / self.steps)
            for name, way in self.others.items():
                started = self.clock()
                for _ in range(self.steps):
                    next(way)
                self.seconds[name].append((self.clock() - started) / self.steps)
            self.peak = max(self.peak, matrix_peak(self.clock))
        self.started = self.clock()


def matrix_peak(clock: Callable[[], float]) -> float:
    """Floating-point operations per second of a large float32 product, the best of a few."""
    a, b = torch.randn(2, PEAK_SIZE, PEAK_SIZE)
    best = float("inf")
    for _ in range(3):
        started = clock()
        torch.mm(a, b)
        best = min(best, clock() - started)
    return 2 * PEAK_SIZE**3 / best


def operations(network: RecurrentClassifier, clips: int, frames: int) -> float:
    """Floating-point operations of the matrix products in one training step.

    A product with an (m, n) matrix takes 2mn for each row. Backward it is done twice more, once for the gradient of
    the weights and once for that of the input, which the first layer's input does not need.
    """
    products = [weight.numel() for name, weight in network.named_parameters() if weight.dim() == 2]
    first = network.layers[0].weight_ih_l0.numel()
    return 2.0 * clips * frames * (3 * sum(products) - first)


def autocast(precision: str):
    """The context in which Lightning computes with `precision` on a processor."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext()


def loop(
    config: DictConfig, data: SpeechDataModule, batches: Iterator, precision: str, pytorchs_own: bool = False
) -> Iterator[None]:
    """A plain training loop; each `next` is one step."""
    spotter = build_spotter(config, data)
    if pytorchs_own:
        for layer in spotter.classifier.layers:
            layer.forward = partial(nn.GRU.forward, layer)
    parameters = list(spotter.classifier.parameters())
    optimizer = instantiate(config.optimizer)(parameters)
    scheduler = instantiate(config.scheduler)(optimizer, total_steps=1_000_000)
    for features, labels in batches:
        with autocast(precision):
            network = spotter.classifier
            scores = network.readout(network(spotter.normalization(features)))  # (B, C)
            loss = nn.functional.nll_loss(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.trainer.gradient_clip_val)
        optimizer.step()
        scheduler.step()
        yield


def shuffled(features: torch.Tensor, labels: torch.Tensor, batch_size: int) -> Iterator[tuple]:
    """Endless batches gathered from whole tensors."""
    while True:
        for indices in torch.randperm(len(labels)).split(batch_size):
            if len(indices) == batch_size:
                yield features[indices], labels[indices]


def collated(features: torch.Tensor, labels: torch.Tensor, batch_size: int) -> Iterator[tuple]:
    """Endless batches put together clip by clip."""
    loader = DataLoader(TensorDataset(features, labels), batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def measure(options: argparse.Namespace, directory: str) -> dict:
    """All ways in turns."""
    configuration.register_resolvers()
    quieten()
    # There are no recordings for the callback that shows some.
    settings = [f"directory={directory}", "export=[]", "~callbacks.samples", "training=default", "augment=none"]
    settings += options.overrides
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", settings)
    pl.seed_everything(config.seed, verbose=False)
    size = config.data.batch_size
    steps = (options.blocks + 1) * options.steps + 1  # the first block warms up, the last step ends the last block
    settings = {name: value for name, value in config.data.module.items() if name != "_target_"}
    data = RandomClips(steps * size, featurizer=instantiate(config.featurizer), **settings)
    data.setup()
    spotter = build_spotter(config, data)
    features = torch.from_numpy(data.split_features("training"))
    labels = torch.from_numpy(data.clip_labels("training"))
    precision = config.trainer.precision
    others = {
        PLAIN: loop(config, data, shuffled(features, labels, size), precision),
        PER_ITEM: loop(config, data, collated(features, labels, size), "32-true"),
        "plain loop, float32": loop(config, data, shuffled(features, labels, size), "32-true"),
        "plain loop, PyTorch's GRU": loop(config, data, shuffled(features, labels, size), precision, pytorchs_own=True),
        "plain loop, batch twice as large": loop(config, data, shuffled(features, labels, 2 * size), precision),
    }
    turns = TakingTurns(others, options.steps, CLOCKS[options.clock])
    trainer = instantiate(
        config.trainer,
        callbacks=[*instantiate(config.callbacks).values(), turns],
        logger=instantiate(config.logger),
        default_root_dir=directory,
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
    )
    training = SpotterModule(
        spotter,
        optimizer=instantiate(config.optimizer),
        scheduler=instantiate(config.scheduler),
        **config.training,
    )
    trainer.fit(training, datamodule=data)

    work = operations(spotter.classifier, size, features.shape[1])
    rows = {}
    for name, seconds in turns.seconds.items():
        factor = 2 if "twice" in name else 1
        seconds = [value / factor for value in seconds[1:]]
        plain = [a / b for a, b in zip(turns.seconds[PLAIN][1:], seconds, strict=True)]
        per_item = [a / b for a, b in zip(turns.seconds[PER_ITEM][1:], seconds, strict=True)]
        median = statistics.median(seconds)
        rows[name] = {
            "milliseconds": 1e3 * median,
            "steps_per_second": 1 / median,
            "of_plain_loop": statistics.median(plain),
            "of_per_item_loop": statistics.median(per_item),
            "share_of_peak": work / min(seconds) / turns.peak,
        }
    return {
        "network": f"{len(spotter.classifier.layers)}×{config.model.cell}-{config.model.hidden_size}",
        "batch_size": size,
        "frames": features.shape[1],
        "features": features.shape[2],
        "precision": precision,
        "threads": options.threads,
        "clock": options.clock,
        "blocks": options.blocks,
        "steps_per_block": options.steps,
        "gigaflop_per_step": work / 1e9,
        "peak_gigaflop_per_second": turns.peak / 1e9,
        "ways": rows,
        "environment": environment(),
    }


def show(results: dict, console: Console) -> None:
    """One line for each way."""
    about = f"{results['network']}, {results['precision']}"
    table = Table(title=f"{about}, batches of {results['batch_size']}, threads: {results['threads']}")
    for column in ("", "ms per 128", "steps per second", "of plain", "of per-item", "of peak, at best"):
        table.add_column(column.replace("128", str(results["batch_size"])), justify="right" if column else "left")
    for name, row in results["ways"].items():
        table.add_row(
            name,
            f"{row['milliseconds']:.1f}",
            f"{row['steps_per_second']:.1f}",
            f"{row['of_plain_loop']:.1%}",
            f"{row['of_per_item_loop']:.2f}×",
            f"{row['share_of_peak']:.0%}",
        )
    console.print(table)
    console.print(f"peak: {results['peak_gigaflop_per_second']:.0f} GFLOP/s in float32 products", highlight=False)


if __name__ == "__main__":
    main()
