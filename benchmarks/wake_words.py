"""Wake words heard in real recordings, beside the spotters of others, in one run.

    python benchmarks/wake_words.py RUN… --positives ../shared/wake_words --negatives ../shared/running_speech \
        --noise ../shared/speech_commands/_background_noise_

plays two streams to every listener. In the first each recording of a word (a folder a word) follows a pause, over
background noise that is `--snr` dB softer than its speech; in the second nobody says the words. A word counts as heard
where it is reported between its beginning and 0.75 s after its end; whatever is reported in the second stream is a
false alarm, and after a report a second passes before the next. Misses are given at so many false alarms an hour: the
threshold with the fewest misses of those that have no more. It is chosen on what it is measured on, for everybody
alike, and so is a bound. At the threshold that a run has stored, chosen by its own calibration, figures are given as
well.

A run is judged for each of its words alone: the others are ignored. Which of the words a recording holds is judged by
the highest score of any (closed set).

pyopen-wakeword and pymicro-wakeword (pip install 'kws[benchmark]') are heard for the words they have a model for.
Writes docs/results/wake_words.json and .md.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kws.corpus.audio import EXTENSIONS
from kws.evaluation.detection import recordings
from kws.evaluation.detection.search import Recorder, averaged, points
from kws.evaluation.detection.thresholds import THRESHOLDS, Trace, hear, join, operating_point
from kws.evaluation.intervals import wilson_interval
from kws.evaluation.stream.long_stream import Piece, Truth
from kws.evaluation.stream.word_ends import word_span
from kws.runs.stored import load_spotter
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import TorchRuntime
from kws.support import files
from kws.support.environment import environment
from kws.support.errors import KwsError

ROOT = Path(__file__).parents[1]
RATES = (0.0, 0.5, 1.0, 2.0)
"""False alarms an hour."""
PAUSE = (1.5, 3.0)  # seconds
TOLERANCE = 0.75  # seconds after a word's end
REFRACTORY = 1.0  # seconds
PEER_RATE = 16000
MORE = 1 - np.logspace(-7, -1, 200)[::-1]  # thresholds close to 1, where wake words have theirs


@dataclass
class Heard:
    """One listener and one word.

    Attributes:
        listener: its name.
        word: what it listens for.
        decoder: what makes reports of its scores.
        positives: the stream in which the word is said.
        negatives: the one in which it is not.
        stored: the threshold it comes with.
        facts: what else the results should say.
    """

    listener: str
    word: str
    decoder: Decoder
    positives: Trace
    negatives: Trace
    stored: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def results(self) -> dict[str, Any]:
        """Misses at each rate, with the threshold, and at the stored one."""
        thresholds = np.unique(np.concatenate([np.linspace(0.005, 0.9, 180), MORE, THRESHOLDS]))
        missed = points(self.decoder, self.positives, TOLERANCE, thresholds).miss_rate
        alarms = points(self.decoder, self.negatives, TOLERANCE, thresholds).false_alarms
        count, at = len(self.positives.truths), []
        for rate in RATES:
            allowed = np.flatnonzero(alarms <= rate)
            best = allowed[missed[allowed].argmin()] if len(allowed) else None
            misses = count if best is None else round(missed[best] * count)
            at.append(
                {
                    "rate": rate,
                    "misses": misses,
                    "miss_rate": misses / count,
                    "interval": list(wilson_interval(misses, count)),
                    "false_alarms_per_hour": None if best is None else float(alarms[best]),
                    "threshold": None if best is None else float(thresholds[best]),
                }
            )
        row = {"listener": self.listener, "word": self.word, "recordings": count, "bounds": at, **self.facts}
        if self.stored is not None:
            point = operating_point(
                self.decoder, self.positives, self.stored, TOLERANCE, {"running speech": self.negatives}
            )
            row["stored"] = {
                "threshold": self.stored,
                "misses": point["misses"],
                "miss_rate": point["miss_rate"],
                "false_alarms_per_hour": point["kinds"]["running speech"]["false_alarms_per_hour"],
            }
        return row


def positives(folder: Path, word: str, noise: Sequence[Path], snr: float, rate: int, seed: int = 1) -> Iterator[Piece]:
    """The word's recordings, each after a pause, over noise: the same samples, but for the rate, for everybody."""
    random = np.random.default_rng(seed)
    loops = [whole(path, rate) for path in noise]
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)
    position, gain = 0, None
    for path in [paths[i] for i in random.permutation(len(paths))]:
        clip, pause = whole(path, rate), round(random.uniform(*PAUSE) * rate)
        loop, start = loops[random.integers(len(loops))], random.random()
        begin, end = word_span(clip, rate)
        speech = rms(clip[round(begin * rate) : round(end * rate)])
        under = np.take(loop, np.arange(pause + len(clip)) + int(start * len(loop)), mode="wrap")
        wanted = speech / 10 ** (snr / 20) / max(rms(under), 1e-6)
        gains = np.full(len(under), wanted, np.float32)
        ramp = rate // 2  # the level follows the next speaker's without a click
        gains[:ramp] = np.linspace(wanted if gain is None else gain, wanted, ramp)
        gain, samples = wanted, (under * gains).astype(np.float32)
        samples[pause:] += clip
        truth = Truth(word, (position + pause) / rate + begin, (position + pause) / rate + end, snr)
        position += len(samples)
        yield Piece(np.clip(samples, -1, 1), (truth,), ())


def whole(path: Path, rate: int) -> np.ndarray:
    """A recording as float32 mono (S,) at `rate`."""
    return np.concatenate(list(recordings.blocks(path, rate)))


def rms(samples: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


class Alone(Recorder):
    """Several decoders, each of one word, that hear at once: their traces are columns, as those of several averages."""

    def __init__(self, decoders: Sequence[Decoder]):
        super().__init__(decoders[0], ())
        self.decoders = list(decoders)


def of_run(run: str, name: str, options: argparse.Namespace) -> tuple[list[Heard], dict[str, Any] | None]:
    """A spotter of ours, for each word that there are recordings of; and which of these words it takes them for."""
    spotter, _ = load_spotter(run)
    runtime, rate, own = TorchRuntime(spotter), spotter.sample_rate, spotter.decoder.settings
    words = [label for label in spotter.labels if (options.positives / folder_of(label)).is_dir()]
    if not words:
        raise KwsError(f"{run}: none of its words has a folder in {options.positives}.")
    hop, settings = spotter.featurizer.hop_seconds, {**own, "threshold": 0.5, "refractory": REFRACTORY}
    alone = Alone(
        [
            Decoder(spotter.labels, hop, **{**settings, "ignored": [x for x in spotter.labels if x != word]})
            for word in words
        ]
    )
    unsaid = [
        hear(runtime, alone, (Piece(block, (), ()) for block in recordings.blocks(path, rate)))
        for path in recordings.find_recordings(options.negatives)
    ]
    unsaid = join(unsaid, hop)
    found, right, count = [], 0, 0
    for number, word in enumerate(words):
        folder = options.positives / folder_of(word)
        said = hear(runtime, alone, positives(folder, word, options.noise, options.snr, rate))
        threshold = own["threshold"]
        threshold = threshold.get(word, 1.0) if isinstance(threshold, dict) else threshold
        facts = {"weights": spotter.num_parameters, "smoothing": own["smoothing"]}
        traces = averaged(said, number), averaged(unsaid, number)
        found.append(Heard(name, word, alone.decoders[number], *traces, threshold, facts))
        for truth in said.truths:
            frames = slice(round(truth.start / hop), round((truth.end + TOLERANCE) / hop))
            right += int(said.score[frames].max(axis=0).argmax()) == number
            count += 1
        print(f"{run}: {word} heard", flush=True)
    return found, {"words": words, "recordings": count, "right": right} if len(words) > 1 else None


def folder_of(word: str) -> str:
    """`smart mirror` lies in `smart_mirror`."""
    return word.replace(" ", "_")


def of_peer(name: str, word: str, seconds: float, score: Callable, cutoff: float, options) -> Heard:
    """A spotter of others: `score` begins a stream, and hands back a function from 16-bit samples to scores."""
    decoder = Decoder(("_others_", word), seconds, smoothing=seconds, refractory=REFRACTORY)

    def listen(pieces: Iterator[Piece]) -> Trace:
        scores, truths, hears = [], [], score()
        for piece in pieces:
            truths += piece.truths
            scores += hears((piece.samples * 32767).astype(np.int16))
        best = np.asarray(scores, np.float32)
        return Trace(np.ones(len(best), np.int16), best, tuple(truths), (), len(best) * seconds / 3600)

    said = listen(positives(options.positives / word, word, options.noise, options.snr, PEER_RATE))
    unsaid = [
        listen(Piece(block, (), ()) for block in recordings.blocks(path, PEER_RATE))
        for path in recordings.find_recordings(options.negatives)
    ]
    print(f"{name}: {word} heard", flush=True)
    return Heard(name, word, decoder, said, join(unsaid, seconds), cutoff)


def peers(options: argparse.Namespace) -> list[Heard]:
    """Those that are installed, with their models for "alexa"."""
    found = []
    for package, make in (("pymicro-wakeword", micro), ("pyopen-wakeword", open_)):
        try:
            found.append(make(f"{package} {version(package)}", options))
        except ImportError:  # also when it has no metadata
            print(f"{package} is not installed and left out; pip install 'kws[benchmark]' brings it.")
    return found


def micro(name: str, options: argparse.Namespace) -> Heard:
    """microWakeWord: features every 10 ms, a score every third."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    stride = MicroWakeWord.from_builtin(Model.ALEXA).stride

    def begin():
        features, model, rest = MicroWakeWordFeatures(), MicroWakeWord.from_builtin(Model.ALEXA), []

        def hears(samples: np.ndarray) -> list[float]:
            scores = []
            for feature in features.process_streaming(samples.tobytes()):
                rest.append(model.process_streaming_prob(feature))
                if len(rest) % stride == 0:
                    scores.append(rest[-1])
                    rest.clear()
            return scores

        return hears

    return of_peer(
        name, "alexa", 0.01 * stride, begin, MicroWakeWord.from_builtin(Model.ALEXA).probability_cutoff, options
    )


def open_(name: str, options: argparse.Namespace) -> Heard:
    """openWakeWord: a score every 80 ms. It asks for 0.5."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    def begin():
        features, model = OpenWakeWordFeatures.from_builtin(), OpenWakeWord.from_builtin(Model.ALEXA)
        rest = np.zeros(0, np.int16)

        def hears(samples: np.ndarray) -> list[float]:
            nonlocal rest
            samples, scores = np.concatenate([rest, samples]), []
            whole = len(samples) // 1280 * 1280
            rest = samples[whole:]
            for chunk in samples[:whole].reshape(-1, 1280):
                # It begins with eight seconds of silence of its own, so a chunk's score is the last that comes of it.
                found = [p for e in features.process_streaming(chunk.tobytes()) for p in model.process_streaming(e)]
                scores.append(found[-1] if found else 0.0)
            return scores

        return hears

    return of_peer(name, "alexa", 0.08, begin, 0.5, options)


def table(rows: Sequence[dict[str, Any]], closed: dict[str, Any], about: str) -> str:
    """What people read."""
    lines = [
        about,
        "",
        "| listener | word | " + " | ".join(f"≤ {rate:g} an hour" for rate in RATES) + " | stored threshold |",
    ]
    lines.append("|---" * (3 + len(RATES)) + "|")
    for row in rows:
        cells = [
            f"{point['miss_rate']:.1%} ({point['interval'][0]:.1%} to {point['interval'][1]:.1%})"
            for point in row["bounds"]
        ]
        stored = row.get("stored")
        cells.append(f"{stored['miss_rate']:.1%} at {stored['false_alarms_per_hour']:.1f} an hour" if stored else "")
        lines.append(f"| {row['listener']} | {row['word']} | " + " | ".join(cells).replace("%", " %") + " |")
    for run, result in closed.items():
        share = f"{result['right'] / result['recordings']:.1%}".replace("%", " %")
        lines += ["", f"Which of {', '.join(result['words'])}, {run}: {share} of {result['recordings']} recordings."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help="run directories or spotter files; NAME=RUN to call one in the table")
    parser.add_argument("--positives", type=Path, required=True, help="a folder of recordings for each word")
    parser.add_argument("--negatives", type=Path, required=True, help="recordings in which nobody says them")
    parser.add_argument("--noise", type=Path, required=True, help="recordings of background noise")
    parser.add_argument("--snr", type=float, default=10.0, help="dB of each recording's speech over the noise")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results" / "wake_words")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.noise = recordings.find_recordings(options.noise)
    heard, closed = [], {}
    for run in options.runs:
        name, _, path = run.rpartition("=")
        found, which = of_run(path, name or f"kws {Path(path).name}", options)
        heard += found
        if which:
            closed[name or path] = which
    heard += peers(options)
    rows = [one.results() for one in heard]
    hours = heard[0].negatives.hours if heard else 0.0
    about = (
        f"Wake words in real recordings over background noise at {options.snr:g} dB, and false alarms in {hours:.2f} "
        "hours of running speech without them. Missed, with the 95 % interval, at so many false alarms an hour: the "
        "threshold chosen on these recordings themselves, for everybody alike (a bound). Last: the threshold that a "
        "spotter comes with. `python benchmarks/wake_words.py`."
    )
    results = {"about": about, "snr": options.snr, "hours": hours, "rows": rows, "closed_set": closed}
    files.write_json(options.results.with_suffix(".json"), {**results, "environment": environment()})
    files.write_text(options.results.with_suffix(".md"), table(rows, closed, about))
    print(table(rows, closed, about))


if __name__ == "__main__":
    main()
