"""Running speech in synthetic voices that holds no keyword: what a detector learns not to answer.

Recordings of a minute or so by one voice each, as a folder that is named after its settings, made once. The voices
are those that train in the embedded corpus, or in the spoken one; sentences are those of `kws.corpus.sentences`.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from kws.corpus import kokoro
from kws.corpus.base import SPLITS, which_set
from kws.corpus.coloured_noise import root_mean_square
from kws.corpus.espeak import Espeak, accents, family, variants
from kws.corpus.frequent_words import FrequentWords, frequent_words, has_list
from kws.corpus.neural_speakers import NeuralVoice, neural_voices
from kws.corpus.sentences import sentence
from kws.support.errors import KwsError
from kws.support.files import atomic_folder, write_json
from kws.support.locking import lock
from kws.support.progress import available_cores, bar

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000
RECORDING_SECONDS = 60
_FORMAT = 1  # raise it whenever the same settings make other recordings

# Words that sound like others, by which a keyword could be said without its name.
HOMOPHONES = (
    {"no", "know"}, {"right", "write", "rite"}, {"two", "to", "too"}, {"four", "for"}, {"one", "won"},
    {"eight", "ate"}, {"by", "buy", "bye"}, {"see", "sea"}, {"here", "hear"},
)  # fmt: skip


class RunningSpeech:
    """A source of recordings without keywords.

    Args:
        root: folder in which the folder of recordings is made.
        minutes: of speech; 0 for none.
        seed: the same settings and seed give the same bytes.
        split: whose voices read; no voice is in two splits, and none reads the same sentences as another.
        language: of the voices. Without `frequent_words` of it the sentences are English ones, read as if they were
            written in it.
        frequent_words: of so many of the language's most frequent words every other sentence is made, where there is a
            list of them: of English the others come from a small grammar, of other languages there are no others.
        voices: `espeak`, `kokoro`, or both, by turns. A minute of Kokoro takes about a minute of a core.
        cache: where the neural model is kept.
    """

    def __init__(
        self,
        root: str | Path,
        minutes: float,
        seed: int = 0,
        split: str = "training",
        language: str = "en",
        voices: Sequence[str] = ("espeak",),
        cache: str | Path | None = None,
        frequent_words: int = 0,
    ):
        if not 0 <= minutes <= 6000:
            raise KwsError(f"data.running_speech={minutes} must be 0 to 6000 minutes.")
        self.root, self.minutes, self.seed, self.split = Path(root), minutes, seed, split
        self.language = language
        self.frequent_words = check_frequent_words(frequent_words, language)
        self.voices = (voices,) if isinstance(voices, str) else tuple(voices)
        self.cache = Path(cache) if cache is not None else self.root

    def prepare(self, keywords: Sequence[str]) -> Path | None:
        """Make the recordings unless they are there, without saying any of `keywords`. Hands back their folder."""
        if not self.minutes:
            return None
        settings, folder = self._place(keywords)
        if folder.is_dir():
            return folder
        self.root.mkdir(parents=True, exist_ok=True)
        with lock(self.root / ".running.lock", lambda: log.warning("waiting: another run speaks")) as held:
            if held:
                for remains in self.root.glob(".running-*.tmp"):
                    shutil.rmtree(remains, ignore_errors=True)
            if not folder.is_dir():
                self._make(folder, settings, self._texts(keywords))
        return folder

    def _texts(self, keywords: Sequence[str]) -> "Texts":
        count = self.frequent_words
        words = frequent_words(self.language, count, unsaid(keywords).union(keywords)) if count else None
        return Texts(tuple(sorted(unsaid(keywords))), words, 0.5 if self.language.startswith("en") else 1.0)

    def _place(self, keywords: Sequence[str]) -> tuple[dict, Path]:
        with Espeak() as espeak:
            version = espeak.version
        settings = {
            "format": _FORMAT,
            "minutes": self.minutes,
            "without": sorted(unsaid(keywords)),
            "seed": self.seed,
            "split": self.split,
            "espeak": version,
        }
        if self.language != "en":
            settings["language"] = self.language
        if self.frequent_words:
            settings["frequent_words"] = self.frequent_words
        if "kokoro" in self.voices:
            settings |= {"voices": sorted(self.voices), "kokoro": kokoro.KEY}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        return settings, self.root / f"running-{key}"

    def _generator(self, *subject: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self.split), *subject])

    def _make(self, folder: Path, settings: dict, texts: "Texts") -> None:
        count = max(1, round(self.minutes * 60 / RECORDING_SECONDS))
        readers, neural = self._readers(count), "kokoro" in self.voices
        try:
            with ExitStack() as stack:
                temporary = stack.enter_context(atomic_folder(folder))
                advance = stack.enter_context(bar("speaking", count, True))
                run = map
                if neural and available_cores() > 1:
                    pool = ProcessPoolExecutor(available_cores(), get_context("spawn"))
                    run = stack.enter_context(pool).map
                for _ in run(partial(self._record, temporary, texts), range(count), readers):
                    advance(1)
                write_json(temporary / "settings.json", settings)
        except ValueError as error:
            raise KwsError(f"data.running_speech: {error}; set it to 0, or name fewer words.") from error

    def _readers(self, count: int) -> list[str | NeuralVoice]:
        """Who reads each recording: the name of a voice of espeak-ng, or a neural speaker."""
        robots = people = []
        if "espeak" in self.voices:
            names = [name for name in variants() if which_set(family(name)) == self.split]
            voices = [f"{accent}+{name}" for name in names for accent in accents(self.language)]
            robots = np.resize(self._generator().permutation(voices), count).tolist()
        if "kokoro" in self.voices:
            people = neural_voices(count, self.split, self.language, kokoro.prepare(self.cache), self.seed)
        return [robots[n] if robots and (n % 2 == 0 or not people) else people[n] for n in range(count)]

    def _record(self, folder: Path, texts: "Texts", number: int, reader: str | NeuralVoice) -> None:
        generator = self._generator(number)
        if isinstance(reader, str):
            speech = read(reader, texts, RECORDING_SECONDS, generator)
        else:
            model = kokoro.synthesizer(kokoro.prepare(self.cache))
            speech = read_neural(model, reader, texts, RECORDING_SECONDS, generator)
        soundfile.write(folder / f"{number:05d}.flac", speech, SAMPLE_RATE, subtype="PCM_16")


class Texts(NamedTuple):
    """What is read: sentences of the grammar, and strings of frequent words.

    Attributes:
        without: words, in lower case, that are not said.
        words: the frequent ones; None for none.
        share: of the sentences that are made of them.
    """

    without: tuple[str, ...]
    words: FrequentWords | None = None
    share: float = 0.5

    def draw(self, generator: np.random.Generator) -> str:
        """The next one."""
        if self.words is not None and generator.random() < self.share:
            return self.words.sentence(generator)
        return sentence(generator, self.without)


def check_frequent_words(count: int, language: str) -> int:
    """So many, or none where there is no list of the language.

    Raises:
        KwsError: fewer than none, or too few to draw from.
    """
    if count and count < 1000:
        raise KwsError(f"data.frequent_words={count} must be 1000 or more, or 0 for none.")
    return count if count and has_list(language) else 0


def unsaid(keywords: Sequence[str]) -> set[str]:
    """Words, in lower case, that running speech must not hold: the keywords, their parts and what sounds like them."""
    words = {part for keyword in keywords for part in keyword.lower().split()}
    return words.union(*(group for group in HOMOPHONES if group & words)) if words else words


def read(voice: str, texts: Texts, seconds: float, generator: np.random.Generator) -> np.ndarray:
    """`seconds` of sentences by one voice, float32 (S,) at `SAMPLE_RATE`, each at its own level, pitch and rate."""
    tract, pitch = float(np.exp(generator.uniform(np.log(0.9), np.log(1.12)))), generator.uniform(25, 75)
    rate = generator.uniform(120, 230)

    def say(espeak: Espeak) -> np.ndarray:
        said = espeak.speak(
            texts.draw(generator),
            voice,
            rate=round(rate * generator.uniform(0.85, 1.15)),
            pitch=int(np.clip(pitch + generator.normal(0, 8), 5, 95)),
            pitch_range=int(generator.integers(20, 90)),
            seed=int(generator.integers(2**31)),
        ).astype(np.float64)
        return soxr.resample(said, espeak.sample_rate * tract, SAMPLE_RATE)

    return _joined(say, seconds, generator)


def read_neural(
    model: kokoro.Kokoro,
    reader: NeuralVoice,
    texts: Texts,
    seconds: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """The same by a neural speaker."""
    tract, mean = float(np.exp(generator.uniform(-0.1, 0.1))), float(np.exp(generator.uniform(-0.15, 0.35)))

    def say(espeak: Espeak) -> np.ndarray:
        text = texts.draw(generator)
        ipa = espeak.ipa(text, reader.accent) + text[-1]
        speed = mean * float(np.exp(generator.uniform(-0.1, 0.1)))
        said = model.speak(ipa, reader.mix, speed, reader.english).astype(np.float64)
        return soxr.resample(said, kokoro.SAMPLE_RATE * tract, SAMPLE_RATE)

    return _joined(say, seconds, generator)


def _joined(say: Callable[[Espeak], np.ndarray], seconds: float, generator: np.random.Generator) -> np.ndarray:
    """What `say` says, over and over, with pauses between, until there are `seconds` of it."""
    pieces, length = [], 0
    with Espeak() as espeak:  # one for each recording, which then depends on no other
        while length < seconds * SAMPLE_RATE:
            spoken = say(espeak)
            level = 10 ** (generator.uniform(-30, -14) / 20) / max(root_mean_square(spoken), 1.0)
            pieces.append(spoken * level)
            pieces.append(np.zeros(int(generator.uniform(0.0, 0.3) * SAMPLE_RATE)))
            length += len(pieces[-1]) + len(pieces[-2])
    return np.clip(np.concatenate(pieces)[: round(seconds * SAMPLE_RATE)], -1, 1).astype(np.float32)
