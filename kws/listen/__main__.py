"""python -m kws.listen RUN FILE…: one line for every word that is heard."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kws.listen.ears import ENGINES, LIBRARIES, Ears, open_ears
from kws.listen.frames import Frames
from kws.listen.sources import expand, read_file, read_pipe, seconds_of
from kws.runs.names import CONFIG, SPOTTER
from kws.spotter import Detection
from kws.spotters import named
from kws.support.command import run
from kws.support.errors import BrokenRecording, KwsError
from kws.support.progress import bar

LONG = 60.0
"""Seconds from which on a file gets a progress bar."""
EXAMPLES = """examples:
  python -m kws.listen outputs/… recording.wav folder    WAV, FLAC, OGG, Opus, MP3 …, any rate and channels
  arecord -f S16_LE -r 16000 | python -m kws.listen outputs/… -
  python -m kws.listen outputs/… --microphone
  python -m kws.listen --microphone                      the spotter that comes with kws: yes, no, up, down …
"""


def main() -> int:
    """The command."""
    return main_with(sys.argv[1:])


def main_with(arguments: list[str]) -> int:
    """`main` with arguments; 1 when a recording could not be heard."""
    options = parse(arguments)
    if options.devices:
        return show_devices()
    if options.run is not None and not names_a_spotter(options.run):
        options.run, options.files = None, [options.run, *options.files]
    if options.microphone == bool(options.files):
        raise KwsError("name files, folders or - for standard input, or else give --microphone.")
    ears = open_ears(options.run or named(), options.engine, options.threshold, options.vad)
    frames = Frames(options.every_frame, ears) if options.every_frame else None
    try:
        if options.microphone:
            broken = hear_microphone(ears, options, frames)
        else:
            broken = sum(hear(ears, name, options, frames) for name in options.files)
    finally:
        if frames:
            frames.close()
    return 1 if broken else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kws.listen",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        nargs="?",
        help="a run directory, spotter.ckpt, stream.onnx, or a library of export=c; the bundled spotter if left out",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="recordings, folders of them, - for standard input")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, for programs")
    parser.add_argument(
        "--threshold", action="append", default=[], help="0.7 for every word, or yes=0.7; may be repeated"
    )
    parser.add_argument("--vad", help="another detector of conf/vad, or off")
    parser.add_argument(
        "--engine", choices=ENGINES, default="auto", help="what computes a spotter; C where there is a compiler"
    )
    parser.add_argument("--every-frame", metavar="FILE", help="every frame's posteriors too, as .csv or .npz")
    parser.add_argument("--rate", type=int, help="Hz of raw samples on standard input; the spotter's own if left out")
    parser.add_argument("--channels", type=int, default=1, help="of raw samples on standard input")
    parser.add_argument("--microphone", action="store_true", help="listen to the microphone until Ctrl-C")
    parser.add_argument("--device", help="number or part of the name of a microphone")
    parser.add_argument("--devices", action="store_true", help="list the microphones")
    return parser.parse_intermixed_args(arguments)  # options may stand between files


def names_a_spotter(name: str) -> bool:
    """Whether the first argument is what listens, and not the first recording."""
    path = Path(name)
    if path.is_dir():
        return any((path / file).exists() for file in (SPOTTER, CONFIG))
    return name != "-" and (path.suffix in (".ckpt", ".onnx", *LIBRARIES) or not path.exists())


def hear(ears: Ears, name: str, options: argparse.Namespace, frames: Frames | None) -> int:
    """Every recording that a name means; how many of them could not be heard."""
    if name == "-":
        ears.start()
        for block in read_pipe(sys.stdin.buffer, ears.sample_rate, options.rate, options.channels):
            say(ears, "-", block, options.json, frames)
        tell_of_repairs(ears, "-")
        return 0
    broken = 0
    for path in expand([name]):
        ears.start()
        try:
            for block in with_progress(path, ears.sample_rate):
                say(ears, str(path), block, options.json, frames)
        except BrokenRecording as error:
            print(error, file=sys.stderr, flush=True)
            broken += 1
        tell_of_repairs(ears, str(path))
    return broken


def with_progress(path: Path, rate: int) -> Iterator[np.ndarray]:
    """The blocks of a recording, with a bar on a terminal where it is long."""
    seconds = seconds_of(path)
    with bar(path.name, round(seconds), progress=seconds > LONG) as advance:
        done = 0
        for block, so_far in read_file(path, rate):
            yield block
            advance(round(so_far) - done)
            done = round(so_far)


def hear_microphone(ears: Ears, options: argparse.Namespace, frames: Frames | None) -> int:
    """Listen until Ctrl-C, with a level meter on a terminal."""
    from kws.listen.meter import Meter
    from kws.listen.microphone import record

    meter, blocks = Meter(), record(ears.sample_rate, options.device)
    try:
        for i, block in enumerate(blocks):
            if i == 0:  # the sound card could be opened
                print("Listening; Ctrl-C ends it.", file=sys.stderr, flush=True)
            meter.clear()
            say(ears, "microphone", block, options.json, frames)
            meter.show(block)
    except KeyboardInterrupt:
        meter.clear()
        tell_of_repairs(ears, "microphone")
    return 0


def say(ears: Ears, name: str, block: np.ndarray, as_json: bool, frames: Frames | None) -> None:
    """Hear a block and print what was said in it."""
    heard = ears.hear(block)
    for detection in heard.detections:
        print(line(name, detection, as_json), flush=True)
    if frames:
        frames.add(name, heard)


def line(name: str, detection: Detection, as_json: bool) -> str:
    """A detection as it is printed: file, the end of its hop in seconds, word, confidence."""
    if as_json:
        facts = {"file": name, "time": round(detection.time, 4), "word": detection.word}
        return json.dumps({**facts, "confidence": round(detection.confidence, 4)}, ensure_ascii=False)
    return f"{name}  {detection.time:.2f} s  {detection.word}  {detection.confidence:.2f}"


def tell_of_repairs(ears: Ears, name: str) -> None:
    """What was wrong with the samples, on stderr."""
    if ears.repaired:
        print(f"{name}: {ears.repaired:,} samples were NaN or infinite and counted as silence.", file=sys.stderr)
    if ears.clipped:
        print(f"{name}: {ears.clipped:,} samples lay beyond full scale and were clipped.", file=sys.stderr)


def show_devices() -> int:
    """List the microphones, one a line."""
    from kws.listen.microphone import devices

    found = devices()
    for i, device in enumerate(found):
        print(f"{i}  {device['name']}")
    if not found:
        print("There is no sound card to record from.", file=sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    run(main)
