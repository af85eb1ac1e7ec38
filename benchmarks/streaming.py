"""How much of a processor core listening takes.

    python benchmarks/streaming.py [--run outputs/…] [--seconds 60]

measures, on this machine and in one run, microseconds per hop and the share of real time, in one thread:

* the spotter's PyTorch step with its featurizer, VAD and reset, for one stream and for 64 as a batch;
* its streaming ONNX file in onnxruntime, the same;
* its C, compiled here, in float32 and int8: the same, and for 1,000 streams hop by hop. A block is one call, as it
  would be from a program in C, where the others are called once a hop;
* pymicro-wakeword and pyopen-wakeword (pip install 'kws[benchmark]') with a model of theirs, one stream; and 64 of
  them one after the other, for they know no batches.

Without a run the network is an untrained 2×GRU-128 at 8 kHz, which computes as fast as a trained one. All take turns
on blocks of a quarter of a second of noise; a figure is the median over its blocks, which a busy machine disturbs
least. The packages are run as they are: Python around a TFLite interpreter. Writes benchmarks/results/streaming.json.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from rich.console import Console
from rich.table import Table

from kws.export.onnx_stream import StreamModel, stream_model
from kws.native import CModel
from kws.native.compiler import NONE_FOUND, find_compiler
from kws.networks import RecurrentClassifier
from kws.program import Program
from kws.program.quantize import quantize
from kws.runs.stored import load_spotter
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.vad import VoiceActivityDetector
from kws.support.environment import environment
from kws.support.errors import KwsError
from kws.support.files import write_json

HERE = Path(__file__).parent
BLOCK_SECONDS = 0.24  # about; a whole number of everybody's hops
ROUNDS = 10
STREAMS = 64
MANY_STREAMS = 1000


class Contestant(NamedTuple):
    """Somebody who listens to a block.

    Attributes:
        name: for the table.
        hop_seconds: audio between two answers.
        hops: hops in a block.
        streams: streams that hear it.
        listen: hears the block number i.
    """

    name: str
    hop_seconds: float
    hops: int
    streams: int
    listen: Callable[[int], None]


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print a table, write JSON; hands back what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="run directory or spotter.ckpt; an untrained 2×GRU-128 when left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="audio for each contestant with one stream")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "streaming.json")
    options = parser.parse_args(arguments)
    if not options.seconds > 0:
        raise KwsError(f"--seconds={options.seconds} must be above 0.")
    torch.set_num_threads(1)
    spotter = load_spotter(options.run)[0] if options.run else untrained()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "stream.onnx"
        onnx.save(stream_model(spotter), path)
        results = {
            "contestants": measure(contestants(spotter, path), options.seconds),
            "model": {
                "parameters": spotter.num_parameters,
                "sample_rate": spotter.sample_rate,
                "bytes": path.stat().st_size,
                "c_state_bytes": CModel.of(spotter).state_bytes if find_compiler() else None,
            },
            "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
            "environment": environment(),
        }
    write_json(options.output, results)
    show(results, Console())
    print(options.output)
    return results


def untrained() -> Spotter:
    """The tutorial's network, 2×GRU-128 at 8 kHz, with its VAD and 23 labels."""
    torch.manual_seed(0)
    featurizer = Featurizer()
    network = RecurrentClassifier(featurizer.num_features, 23)
    vad = VoiceActivityDetector(featurizer.num_features, featurizer.hop_seconds)
    return Spotter(featurizer, network, [f"word {i}" for i in range(23)], vad=vad).eval()


def contestants(spotter: Spotter, path: Path) -> list[Contestant]:
    """Everybody who can be had; a package that is not installed is said and left out."""
    found = [ours(spotter, path, kind, streams) for kind in ("PyTorch step", "ONNX") for streams in (1, STREAMS)]
    if find_compiler():
        integers = quantize(spotter.program(), heard_features(spotter))
        for program in (None, integers):
            found += [in_c(spotter, streams, program) for streams in (1, STREAMS, MANY_STREAMS)]
    else:
        print(f"C is left out: {NONE_FOUND}.")
    for package, make in (("pymicro-wakeword", micro_wakeword), ("pyopen-wakeword", open_wakeword)):
        try:
            found += [make(f"{package} {version(package)}", streams) for streams in (1, STREAMS)]
        except ImportError:  # also when it has no metadata
            print(f"{package} is not installed and left out; pip install 'kws[benchmark]' brings it.")
    return found


def ours(spotter: Spotter, path: Path, kind: str, streams: int) -> Contestant:
    """The spotter hop by hop, in PyTorch or in onnxruntime."""
    hop, seconds = spotter.featurizer.hop_size, spotter.featurizer.hop_seconds
    hops = max(1, round(BLOCK_SECONDS / seconds))
    noise = audio(streams, hops * hop * ROUNDS)
    if kind == "ONNX":
        model = StreamModel(path)
        state = model.start(streams)

        def step(samples):
            nonlocal state
            _, state = model.step(samples, state)
    else:
        state = spotter.initial_state(streams)
        noise = torch.from_numpy(noise)

        def step(samples):
            nonlocal state
            _, state = spotter.step(samples, state)

    blocks = [[noise[:, (i * hops + t) * hop : (i * hops + t + 1) * hop] for t in range(hops)] for i in range(ROUNDS)]
    if kind == "ONNX":
        blocks = [[np.ascontiguousarray(samples) for samples in block] for block in blocks]

    def listen(i: int) -> None:
        with torch.inference_mode():
            for samples in blocks[i % ROUNDS]:
                step(samples)

    return Contestant(f"kws {kind}", seconds, hops, streams, listen)


@torch.no_grad()
def heard_features(spotter: Spotter) -> np.ndarray:
    """What the integers are calibrated on here, (N, T, F): their speed does not hang on it."""
    return spotter.features(torch.from_numpy(audio(16, spotter.sample_rate))).numpy()


def in_c(spotter: Spotter, streams: int, program: Program | None) -> Contestant:
    """The spotter's C, a block in a call; inside of it hop after hop, and in each the streams one after the other.

    Args:
        spotter: what is written.
        streams: how many.
        program: its network in integers; None for float32.
    """
    model, seconds = CModel.of(spotter, program), spotter.featurizer.hop_seconds
    hops = max(1, round(BLOCK_SECONDS / seconds))
    state = model.start(streams)
    blocks = np.split(audio(streams, hops * model.hop_size * ROUNDS), ROUNDS, axis=1)
    blocks = [np.ascontiguousarray(block) for block in blocks]

    def listen(i: int) -> None:
        nonlocal state
        _, state = model.hear(blocks[i % ROUNDS], state)

    return Contestant(f"kws C, {'int8' if program else 'float32'}", seconds, hops, streams, listen)


def micro_wakeword(name: str, streams: int) -> Contestant:
    """microWakeWord's model for "okay nabu": features every 10 ms, an answer every 30 ms."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    listeners = [(MicroWakeWordFeatures(), MicroWakeWord.from_builtin(Model.OKAY_NABU)) for _ in range(streams)]
    stride = listeners[0][1].stride
    hops = max(1, round(BLOCK_SECONDS / (0.01 * stride)))
    chunks = chunks_of_bytes(hops * stride * ROUNDS, 160)
    size = hops * stride

    def listen(i: int) -> None:
        for chunk in chunks[i % ROUNDS * size : (i % ROUNDS + 1) * size]:
            for features, model in listeners:
                for feature in features.process_streaming(chunk):
                    model.process_streaming_prob(feature)

    return Contestant(name, 0.01 * stride, hops, streams, listen)


def open_wakeword(name: str, streams: int) -> Contestant:
    """openWakeWord's model for "okay nabu": an answer every 80 ms."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    listeners = [
        (OpenWakeWordFeatures.from_builtin(), OpenWakeWord.from_builtin(Model.OKAY_NABU)) for _ in range(streams)
    ]
    hops = max(1, round(BLOCK_SECONDS / 0.08))
    chunks = chunks_of_bytes(hops * ROUNDS, 1280)

    def listen(i: int) -> None:
        for chunk in chunks[i % ROUNDS * hops : (i % ROUNDS + 1) * hops]:
            for features, model in listeners:
                for embedding in features.process_streaming(chunk):
                    list(model.process_streaming(embedding))

    return Contestant(name, 0.08, hops, streams, listen)


def audio(streams: int, count: int) -> np.ndarray:
    """Noise that swells and fades, so that detectors have something to decide: (streams, count) float32."""
    random = np.random.default_rng(0)
    loudness = 0.05 + 0.05 * np.sin(np.arange(count) / 2000)
    return (random.standard_normal((streams, count)) * loudness).clip(-1, 1).astype(np.float32)


def chunks_of_bytes(count: int, size: int) -> list[bytes]:
    """16-bit audio in `count` chunks of `size` samples."""
    samples = (audio(1, count * size)[0] * 32767).astype(np.int16)
    return [chunk.tobytes() for chunk in samples.reshape(count, size)]


def measure(everybody: list[Contestant], seconds: float) -> list[dict]:
    """Median processor time of a block for each contestant, taking turns."""
    for contestant in everybody:
        for i in range(4 if contestant.streams == 1 else 1):
            contestant.listen(i)  # warm up, and fill their windows
    times: dict[int, list[float]] = {number: [] for number in range(len(everybody))}
    blocks = max(ROUNDS, round(seconds / BLOCK_SECONDS))
    for turn in range(ROUNDS):
        for number, contestant in enumerate(everybody):
            # Many streams take long enough that few blocks say as much.
            for i in range(max(1, blocks // ROUNDS // (1 if contestant.streams == 1 else 16))):
                # Of this thread alone: on a machine with other work the clock on the wall counts that too.
                started = time.thread_time()
                contestant.listen(turn + i)
                times[number].append(time.thread_time() - started)
    return [summarize(contestant, times[number]) for number, contestant in enumerate(everybody)]


def summarize(contestant: Contestant, times: list[float]) -> dict:
    """Figures of a contestant from the seconds its blocks took."""
    median, fastest = float(np.median(times)), float(np.min(times))
    heard = contestant.hops * contestant.hop_seconds * contestant.streams  # seconds of audio in a block
    return {
        "name": contestant.name,
        "streams": contestant.streams,
        "hop_seconds": contestant.hop_seconds,
        "microseconds_per_hop": 1e6 * median / contestant.hops,
        "microseconds_per_hop_and_stream": 1e6 * median / contestant.hops / contestant.streams,
        "real_time_factor": median / heard,
        "real_time_factor_fastest_block": fastest / heard,
        "blocks": len(times),
    }


def show(results: dict, console: Console) -> None:
    """Print the table."""
    table = Table("", "streams", "hop", "µs a hop", "µs a hop and stream", "share of real time", "in the fastest block")
    for row in results["contestants"]:
        table.add_row(
            row["name"],
            str(row["streams"]),
            f"{1000 * row['hop_seconds']:.0f} ms",
            f"{row['microseconds_per_hop']:.0f}",
            f"{row['microseconds_per_hop_and_stream']:.1f}",
            f"{100 * row['real_time_factor']:.3f} %",
            f"{100 * row['real_time_factor_fastest_block']:.3f} %",
        )
    console.print(table)


if __name__ == "__main__":
    main()
