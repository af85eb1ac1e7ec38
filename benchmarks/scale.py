"""How time and memory grow with a corpus: 10,000, 100,000 and 1,000,000 clips, and what 20 million would take.

    python benchmarks/scale.py                   # scan, decode, start again: 35 words, and 38,000 at the largest size
    python benchmarks/scale.py --words 10000     # instead: train and evaluate a spotter of 10,000 words

Trees of clips of ten milliseconds are made in a temporary folder, hard links for the most part, so that names are as
many as they would be and disk is not. Every part runs in a process of its own, once, and says

* seconds by the clock, and of the processors, its helpers' included: on a machine with other work only these compare;
* memory: the most it held, beyond what Python and the libraries had taken before it began.

parts: `scan` finds the clips for the first time (`FolderCorpus.scan`); `decode` is the data module's first start, which
reads every file; `start` is its second, with a valid cache, until the first batch could be drawn. The kernel has seen
the names by then; a cold disk comes on top. 20 million is a line through the two largest sizes, not a measurement.

Writes benchmarks/results/scale.json; each of the two commands keeps what the other has written there.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RATE = 8000
SAMPLES = 80  # of a clip: ten milliseconds
LINKS = 50  # names of one file; file systems allow some tens of thousands
MANY_WORDS = 38_000
MOST = 20_000_000
PARTS = ("scan", "decode", "start")


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print tables, write JSON; hands back what it wrote."""
    options = parse(arguments)
    if options.part:
        print(json.dumps(PART[options.part](*options.folders, options.threads)))
        return {}
    results = json.loads(options.output.read_text()) if options.output.is_file() else {}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        if options.words:
            results["words"] = words(options.words, Path(directory), options)
        else:
            results["growth"] = growth(options, Path(directory))
    results["environment"] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    show(results, Console())
    print(options.output)
    return results


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes, ascending")
    parser.add_argument(
        "--many-words", type=int, default=MANY_WORDS, help="words of the second tree of the largest size"
    )
    parser.add_argument("--words", type=int, help="train and evaluate so many words instead")
    parser.add_argument("--clips-per-word", type=int, default=6, help="of which a sixth each validates and tests")
    parser.add_argument("--threads", type=int, default=2, help="threads that decode, and processes that look at files")
    parser.add_argument(
        "--directory", type=Path, help="where the temporary folder is made; it takes 1 GB a million clips"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results" / "scale.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("folders", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# ---- growth


def growth(options: argparse.Namespace, directory: Path) -> dict:
    """All parts for each size; the largest with many words too."""
    trees = [(count, 35) for count in options.clips] + [(options.clips[-1], options.many_words)]
    rows = []
    for count, size in trees:
        root, cache = directory / f"{count}-{size}" / "clips", directory / f"{count}-{size}" / "cache"
        made = make_tree(root, count, size)
        row = {"clips": made, "words": size, "load": os.getloadavg()[0]}
        for part in PARTS:
            row[part] = child(part, root, cache, options.threads)
        assert row["scan"].pop("fingerprint") == row["start"].pop("fingerprint") == row["decode"].pop("fingerprint")
        rows.append(row)
        print(f"{made:,} clips of {size:,} words: start again in {row['start']['seconds']:.1f} s", flush=True)
    return {"threads": options.threads, "rows": rows, "at_20_million": extrapolated(rows[:-1])}


def make_tree(root: Path, count: int, size: int) -> int:
    """A tree laid out as Speech Commands is; how many clips it has."""
    made, source = 0, None
    for word in range(size):
        folder = root / f"word{word:05}"
        folder.mkdir(parents=True)
        for take in range(count // size):
            name = folder / f"{hashlib.md5(b'%d' % made).hexdigest()[:10]}_nohash_{take % 5}.wav"
            if made % LINKS:
                os.link(source, name)
            else:
                source = name
                name.write_bytes(recording(np.frombuffer(hashlib.shake_128(b"%d" % made).digest(2 * SAMPLES), "<i2")))
            made += 1
    return made


def recording(samples: np.ndarray) -> bytes:
    """A WAV file of int16 samples (S,)."""
    data = samples.astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )


def child(part: str, root: Path, cache: Path, threads: int) -> dict:
    """What one part takes in a fresh process."""
    command = [sys.executable, __file__, "--part", part, "--threads", str(threads), str(root), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def scan(root: str, cache: str, threads: int) -> dict:
    """Part: find the clips of a folder that was never seen."""
    from kws.corpus import FolderCorpus

    with measured() as row:
        corpus = FolderCorpus(root).scan()
    return row | {"fingerprint": corpus.fingerprint(), "bytes_per_clip": corpus.clips.nbytes / len(corpus.clips)}


def start(root: str, cache: str, threads: int) -> dict:
    """Part: a data module from nothing to its first batch."""
    from kws.corpus import FolderCorpus
    from kws.data import SpeechDataModule
    from kws.spotter.featurizer import Featurizer

    featurizer = Featurizer(RATE, window_size=SAMPLES, hop_size=SAMPLES, num_filters=8)
    with measured() as row:
        source = FolderCorpus(root, memory=f"{cache}/scans")
        data = SpeechDataModule(
            source, featurizer, sample_rate=RATE, seconds=SAMPLES / RATE, cache_dir=cache, workers=threads
        )
        data.prepare_data()
        data.setup()
        data.findings()
    return row | {"fingerprint": data.corpus.fingerprint()}


PART = {"scan": scan, "decode": start, "start": start}


class measured:  # noqa: N801 - used as a function is
    """Seconds, seconds of the processors, and megabytes beyond those held before, of the block."""

    def __enter__(self) -> dict:
        self.row, self.before, self.cpu, self.clock = {}, resident("VmRSS"), used(), time.perf_counter()
        return self.row

    def __exit__(self, *_) -> None:
        seconds, processors = time.perf_counter() - self.clock, used() - self.cpu
        self.row |= {
            "seconds": seconds,
            "processor_seconds": processors,
            "megabytes": resident("VmHWM") - self.before,
            "megabytes_of_libraries": self.before,
        }


def used() -> float:
    """Seconds of the processors that this process and its children have had."""
    rows = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(row.ru_utime + row.ru_stime for row in rows)


def resident(name: str) -> float:
    """Megabytes: VmRSS, held now, or VmHWM, the most that was ever held."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def extrapolated(rows: list[dict]) -> dict:
    """20 million clips on the line through the two largest sizes."""
    if len(rows) < 2:
        return {}
    one, two = rows[-2:]
    away = (MOST - two["clips"]) / (two["clips"] - one["clips"])
    return {
        part: {
            name: two[part][name] + away * (two[part][name] - one[part][name])
            for name in ("seconds", "processor_seconds", "megabytes")
        }
        for part in PARTS
    }


# ---- many words


def words(size: int, directory: Path, options: argparse.Namespace) -> dict:
    """A run of so many words of tiny clips, trained, tested, exported, then evaluated: the most memory it held."""
    root, run = directory / "clips", directory / "run"
    for word, clip, data in tiny_clips(size, options.clips_per_word):
        (root / word).mkdir(parents=True, exist_ok=True)
        (root / word / clip).write_bytes(data)
    for split, place in (("validation", 0), ("testing", 1)):
        lines = (f"word{word:05}/{place:08x}_nohash_0.wav\n" for word in range(size))
        (root / f"{split}_list.txt").write_text("".join(lines))
    common = [f"cache_dir={directory / 'cache'}", "threads=1"]
    settings = [
        "data=folder", f"data.root={root}", "data.seconds=0.1", "featurizer.window_size=160",
        "featurizer.num_filters=20", "model.hidden_size=64", "trainer.max_epochs=2", "calibration.hours=0.1",
        "export=[onnx]", "augment=none", f"directory={run}", f"hydra.run.dir={run}",
    ]  # fmt: skip
    judging = [f"run={run}", "detection.hours=0.1", "runtimes=[]"]
    row = {"words": size, "clips": size * options.clips_per_word, "threads": 1}
    row["train"] = peak([sys.executable, "train.py", *settings, *common])
    row["evaluate"] = peak([sys.executable, "evaluate.py", *judging, *common])
    row["results_megabytes"] = (run / "results.json").stat().st_size / 1e6
    row["report_megabytes"] = (run / "evaluation.html").stat().st_size / 1e6
    return row


def tiny_clips(size: int, count: int) -> Iterator[tuple[str, str, bytes]]:
    """Word, name and WAV of clips of a tenth of a second: two tones, of which each word has its own."""
    random, at = np.random.default_rng(1), np.arange(RATE // 10) / RATE
    side = int(np.ceil(np.sqrt(size)))
    for word in range(size):
        low, high = 200 + 1500 * (word // side) / side, 1800 + 1800 * (word % side) / side
        tones = np.sin(2 * np.pi * low * at) + np.sin(2 * np.pi * high * at)
        for speaker in range(count):
            samples = 6000 * tones + 300 * random.standard_normal(len(at))
            yield f"word{word:05}", f"{speaker:08x}_nohash_0.wav", recording(samples)


def peak(command: list[str]) -> dict:
    """Seconds and the most memory of a process."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, cwd=HERE.parent, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise RuntimeError(f"{command[1]} failed: {printed.read()[-2000:]}")
    return {"seconds": time.perf_counter() - started, "megabytes": usage.ru_maxrss * 1024 / 1e6}


def show(results: dict, console: Console) -> None:
    """Print the tables."""
    if "growth" in results:
        growth = results["growth"]
        table = Table(
            title=f"one run, threads: {growth['threads']}; seconds (of the processors) and MB beyond the libraries"
        )
        for column in ("clips", "words", *PARTS):
            table.add_column(column, justify="right")
        for row in growth["rows"]:
            table.add_row(f"{row['clips']:,}", f"{row['words']:,}", *(cell(row[part]) for part in PARTS))
        if growth["at_20_million"]:
            table.add_row(f"{MOST:,}", "on a line", *(cell(growth["at_20_million"][part]) for part in PARTS))
        console.print(table)
    if "words" in results:
        row = results["words"]
        table = Table(title=f"{row['words']:,} words, {row['clips']:,} clips, threads: {row['threads']}")
        for column in ("", "seconds", "most memory, MB"):
            table.add_column(column, justify="right" if column else "left")
        for name in ("train", "evaluate"):
            table.add_row(f"{name}.py", f"{row[name]['seconds']:.0f}", f"{row[name]['megabytes']:.0f}")
        console.print(table)


def cell(row: dict) -> str:
    """One part's figures."""
    return f"{row['seconds']:.1f} s ({row['processor_seconds']:.1f}), {row['megabytes']:.0f} MB"


if __name__ == "__main__":
    main()
