"""How fast recordings become features, and how long a training step waits for them.

    python benchmarks/data.py --root ../shared/speech_commands --workers 2 --threads 1

measures, on this machine and in one run:

* files to cached waveforms: decoded and resampled by `kws.data.cache`, with the hash that tells changed files;
* featurizing: `kws.Featurizer` on batches, one thread;
* (a) a plain loop: soundfile, then torchaudio's resampling and mel spectrogram, clip by clip, one thread;
* (b) ELL's way: one hop at a time through Python, in NumPy, with the arithmetic of ELL's featurizer, one thread;
* the share of a training step of a 2×GRU-128 spent on getting its batch, without and with augmentation.

Files are read once beforehand, so that no measurement pays for a cold disk. Writes benchmarks/results/data.json.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from kws.corpus import EmbeddedCorpus, FolderCorpus
from kws.data import SpeechDataModule
from kws.data.augment import Augment
from kws.data.cache import waveforms
from kws.networks import Normalization, RecurrentClassifier
from kws.runs.configuration import CONFIGS, register_resolvers
from kws.spotter.featurizer import INT16_SCALE, PRE_EMPHASIS, Featurizer
from kws.support.errors import KwsError
from kws.support.files import write_json

register_resolvers()

HERE = Path(__file__).parent
BATCH = 128


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print a table, write JSON; hands back what it wrote."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as directory:
        results = measure(options, Path(directory))
    write_json(options.output, results)
    show(results, Console())
    print(options.output)
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, help="recordings as data=folder takes them; without it the embedded corpus"
    )
    parser.add_argument("--sample-rate", type=int, default=8000, help="Hz of waveforms and features")
    parser.add_argument("--workers", type=int, default=2, help="threads that decode")
    parser.add_argument("--threads", type=int, default=1, help="threads of a training step")
    parser.add_argument("--clips", type=int, default=500, help="clips that the plain loop takes; the hop loop a fifth")
    parser.add_argument("--steps", type=int, default=40, help="training steps for each choice of augmentation")
    parser.add_argument("--embedded", type=Path, default=Path("cache/corpora"), help="where the embedded corpus lies")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "data.json")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, directory: Path) -> dict:
    """All measurements; `directory` is for the caches."""
    rate = options.sample_rate
    source = FolderCorpus(options.root) if options.root else EmbeddedCorpus(options.embedded)
    source.prepare()
    corpus = source.scan()
    paths = [clip.path for clip in corpus.clips]
    for path in paths:
        path.read_bytes()

    seconds, cached = timed(
        lambda: waveforms(corpus, rate, directory=directory / "waveforms", workers=options.workers, progress=False)
    )
    reopening, _ = timed(
        lambda: waveforms(corpus, rate, directory=directory / "waveforms", workers=options.workers, progress=False)
    )
    rows = {"files to cached waveforms": {"clips": len(paths), "seconds": seconds, "threads": options.workers}}
    rows["opening the cache again"] = {"clips": len(paths), "seconds": reopening, "threads": options.workers}

    torch.set_num_threads(1)
    featurizer = Featurizer(rate, window_size=rate * 32 // 1000, hop_size=rate * 32 // 1000, num_filters=rate // 200)
    samples = cached.splits["training"].samples[:5000]
    rows["featurizing, in batches"] = best(lambda: featurize(samples, featurizer), len(samples))
    chosen = np.random.default_rng(0).permutation(len(paths))[: options.clips]
    rows |= plain_loop([paths[i] for i in chosen], rate)
    few = samples[: max(options.clips // 5, 1)]
    rows["(b) featurizing, a hop at a time"] = best(lambda: [hop_by_hop(clip, featurizer) for clip in few], len(few))
    with torch.no_grad():
        difference = np.abs(hop_by_hop(few[0], featurizer) - featurizer(torch.tensor(few[:1]) / INT16_SCALE)[0].numpy())
    for row in rows.values():
        row["clips_per_second"] = row["clips"] / row["seconds"]

    torch.set_num_threads(options.threads)
    shares = {}
    for name in ("none", "light", "noisy"):
        data = SpeechDataModule(
            source, featurizer, augmentation(name, rate), rate, batch_size=BATCH, cache_dir=directory, seed=0
        )
        shares[name] = waiting(data, options.steps)
    return {
        "corpus": {"name": corpus.name, "clips": len(paths)},
        "sample_rate": rate,
        "threads": options.threads,
        "environment": {"machine": platform.machine(), "torch": torch.__version__, "python": platform.python_version()},
        "throughput": rows,
        "largest difference of (b)": float(difference.max()),
        "training_step": shares,
    }


def timed(work: Callable):
    """Seconds that `work` took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def best(work: Callable, clips: int, repetitions: int = 3) -> dict:
    """The quickest of some runs on one thread: the others were held up."""
    return {"clips": clips, "seconds": min(timed(work)[0] for _ in range(repetitions)), "threads": 1}


@torch.no_grad()
def featurize(samples: np.ndarray, featurizer: Featurizer) -> None:
    """Features of (N, S) int16 clips, batch by batch."""
    for start in range(0, len(samples), BATCH):
        featurizer(torch.tensor(samples[start : start + BATCH]).float() / INT16_SCALE)


@torch.no_grad()
def plain_loop(paths: list[Path], rate: int) -> dict[str, dict]:
    """What a loop over files costs that treats one clip at a time."""
    decode = best(lambda: [soundfile.read(path, dtype="float32") for path in paths], len(paths))
    decoded = [(torch.from_numpy(samples), own_rate) for samples, own_rate in map(soundfile.read, paths)]
    decoded = [(samples.float(), own_rate) for samples, own_rate in decoded]
    resampling = best(lambda: [torchaudio.functional.resample(s, own, rate) for s, own in decoded], len(paths))
    clips = [torchaudio.functional.resample(samples, own_rate, rate) for samples, own_rate in decoded]
    window = rate * 32 // 1000
    spectrogram = torchaudio.transforms.MelSpectrogram(
        rate, n_fft=window, hop_length=window, n_mels=rate // 200, center=False, power=1.0
    )
    features = best(lambda: [torch.log(spectrogram(clip) + 1.0) for clip in clips], len(paths))
    total = {"clips": len(paths), "threads": 1, "seconds": decode["seconds"] + resampling["seconds"]}
    return {
        "(a) plain loop: decoding": decode,
        "(a) plain loop: resampling": resampling,
        "(a) plain loop: both": total,
        "(a) plain loop: featurizing": features,
    }


def hop_by_hop(samples: np.ndarray, featurizer: Featurizer) -> np.ndarray:
    """Features (T, F) of an int16 clip (S,), one frame at a time, as ELL's Python tools compute them."""
    s = featurizer.settings
    filters = featurizer.filters.numpy()
    buffer = np.zeros(s["window_size"], np.float32)
    previous, features = np.float32(0), []
    for start in range(0, len(samples) - s["hop_size"] + 1, s["hop_size"]):
        hop = samples[start : start + s["hop_size"]].astype(np.float32) / np.float32(INT16_SCALE)
        if s["pre_emphasis"]:
            hop, previous = hop - np.float32(PRE_EMPHASIS) * np.concatenate([[previous], hop[:-1]]), hop[-1]
        buffer = np.concatenate([buffer[s["hop_size"] :], hop])
        spectrum = np.abs(np.fft.rfft(buffer, featurizer.fft_size)).astype(np.float32)
        features.append(np.log(spectrum @ filters + np.float32(s["log_delta"])))
    return np.stack(features)


def augmentation(name: str, rate: int) -> Augment | None:
    """One of the choices in conf/augment."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", overrides=[f"augment={name}", f"data.sample_rate={rate}"])
    return instantiate(config.augment)


def waiting(data: SpeechDataModule, steps: int) -> dict:
    """Median milliseconds of a training step and of the part of it that gets the batch."""
    data.prepare_data()
    data.setup()
    if data.augment is not None:
        data.augment.set_noise(data.waveforms.noise)
    if len(data.clip_labels("training")) < BATCH:
        raise KwsError(f"the training split has fewer than {BATCH} clips, too few to time a step; use a larger corpus")
    normalization = Normalization(data.featurizer.num_features)
    normalization.measure(torch.from_numpy(data.split_features("training")[:2000]).split(512))
    classifier = RecurrentClassifier(data.featurizer.num_features, len(data.labels), hidden_size=128, num_layers=2)
    optimizer = torch.optim.AdamW(classifier.parameters())
    waits, totals = [], []
    while len(totals) < steps + 3:
        batches = iter(data.train_dataloader())
        while len(totals) < steps + 3:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None or len(batch.labels) < BATCH:
                break
            batch = data.on_after_batch_transfer(batch, 0)
            waited = time.perf_counter()
            scores = classifier.readout(classifier(normalization(batch.features)))
            optimizer.zero_grad()
            torch.nn.functional.nll_loss(scores, batch.labels).backward()
            optimizer.step()
            waits.append(waited - start)
            totals.append(time.perf_counter() - start)
    wait, total = statistics.median(waits[3:]), statistics.median(totals[3:])  # the first ones warm up
    return {"wait_ms": 1e3 * wait, "step_ms": 1e3 * total, "share": sum(waits[3:]) / sum(totals[3:])}


def show(results: dict, console: Console) -> None:
    """Two tables."""
    table = Table(title=f"{results['corpus']['name']}, {results['sample_rate']} Hz")
    for column in ("", "clips", "seconds", "threads", "clips per second"):
        table.add_column(column, justify="left" if not column else "right")
    for name, row in results["throughput"].items():
        rate = f"{row['clips_per_second']:,.0f}"
        table.add_row(name, str(row["clips"]), f"{row['seconds']:.2f}", str(row["threads"]), rate)
    console.print(table)
    table = Table(title=f"A training step of a 2×GRU-128, {BATCH} clips, threads: {results['threads']}")
    for column in ("augment", "waiting, ms", "step, ms", "share"):
        table.add_column(column, justify="left" if column == "augment" else "right")
    for name, row in results["training_step"].items():
        table.add_row(name, f"{row['wait_ms']:.1f}", f"{row['step_ms']:.1f}", f"{row['share']:.1%}")
    console.print(table)


if __name__ == "__main__":
    main()
