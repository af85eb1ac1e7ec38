"""What a spotter takes for its words: texts that are like them, said by neural voices that it has not heard.

    python benchmarks/sounds_like.py RUN… --say "smart home" "jar of jam" alex

Each text, and each of the spotter's words, is said once by every speaker, after a pause; a speaker is a mix of Kokoro's
voices of the test split, from which no corpus trains. Counted is how often the spotter reports a word, with the decoder
that it comes with. Texts that are nearly a word are harder than what people say by chance, and the voices are not
people. Writes docs/results/sounds_like.json and .md. Needs pip install 'kws[voices]'.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from kws.corpus import kokoro
from kws.corpus.coloured_noise import root_mean_square
from kws.corpus.espeak import Espeak
from kws.corpus.neural_speakers import NeuralVoice, neural_voices
from kws.listen.ears import Ears
from kws.runs.stored import load_spotter
from kws.spotter.runtime import TorchRuntime
from kws.support import files
from kws.support.environment import environment

ROOT = Path(__file__).parents[1]
PAUSE = 1.5  # seconds before and after
LEVEL, NOISE = 0.1, 0.001  # root mean squares
SEED = 1


def spoken(
    texts: Sequence[str], speakers: Sequence[NeuralVoice], model: kokoro.Kokoro, rate: int
) -> list[list[np.ndarray]]:
    """Each text by each speaker: float32 (S,) at `rate`, between pauses, over a soft noise."""
    found = []
    with Espeak() as espeak:
        for text in texts:
            takes = []
            for number, speaker in enumerate(speakers):
                generator = np.random.default_rng([SEED, number])
                speed = float(np.exp(generator.uniform(-0.05, 0.35)))
                said = model.speak(f"{espeak.ipa(text, speaker.accent)}.", speaker.mix, speed, speaker.english)
                said = soxr.resample(said.astype(np.float64), kokoro.SAMPLE_RATE, rate)
                silence = np.zeros(round(PAUSE * rate))
                said = np.concatenate([silence, said * LEVEL / root_mean_square(said), silence])
                takes.append((said + generator.normal(0, NOISE, len(said))).astype(np.float32))
            found.append(takes)
    return found


def judge(
    run: str, name: str, texts: Sequence[str], speakers: Sequence[NeuralVoice], model: kokoro.Kokoro
) -> list[dict[str, Any]]:
    """How often a spotter reports something, text by text."""
    spotter, _ = load_spotter(run)
    runtime, rows = TorchRuntime(spotter), []
    words = [label for label in spotter.labels if not label.startswith("_")]
    everything = [*words, *(text for text in texts if text not in words)]
    for text, takes in zip(everything, spoken(everything, speakers, model, spotter.sample_rate), strict=True):
        reported = [{found.word for found in Ears(runtime, spotter.decoder).hear(take).detections} for take in takes]
        times = Counter(chain.from_iterable(reported))
        rows.append({"listener": name, "text": text, "speakers": len(takes), "reported": dict(times.most_common())})
    return rows


def table(rows: Sequence[dict[str, Any]], about: str) -> str:
    """What people read."""
    listeners = list(dict.fromkeys(row["listener"] for row in rows))
    texts = list(dict.fromkeys(row["text"] for row in rows))
    found = {(row["listener"], row["text"]): row for row in rows}
    lines = [about, "", f"| said | {' | '.join(listeners)} |", "|---" * (1 + len(listeners)) + "|"]
    for text in texts:
        cells = []
        for listener in listeners:
            row = found.get((listener, text))
            counts = [f"{word}: {count}" for word, count in row["reported"].items()] if row else []
            cells.append(", ".join(counts) or ("0" if row else ""))
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="run directories or spotter files; NAME=RUN to call one in the table")
    parser.add_argument("--say", nargs="+", default=[], metavar="TEXT", help="beside the spotter's own words")
    parser.add_argument("--speakers", type=int, default=20)
    parser.add_argument("--language", default="en")
    parser.add_argument("--cache", type=Path, default=ROOT / "cache", help="where the voices are kept")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results" / "sounds_like")
    options = parser.parse_args()
    torch.set_num_threads(1)
    voices = kokoro.prepare(options.cache)
    speakers = neural_voices(options.speakers, "testing", options.language, voices, SEED)
    rows = []
    for run in options.runs:
        name, _, path = run.rpartition("=")
        rows += judge(path, name or Path(path).name, options.say, speakers, kokoro.synthesizer(voices))
    about = (
        f"How often a spotter reports a word when {options.speakers} speakers of the test split say something once, by "
        "neural voices, with the decoder that it comes with. `python benchmarks/sounds_like.py`."
    )
    files.write_json(options.results.with_suffix(".json"), {"about": about, "rows": rows, "environment": environment()})
    files.write_text(options.results.with_suffix(".md"), table(rows, about))
    print(table(rows, about))


if __name__ == "__main__":
    main()
