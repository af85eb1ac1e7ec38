"""The corpus that needs no download: words spoken by espeak-ng, on disk as Speech Commands is.

Synthetic voices. What a network reaches on them says nothing about people.
"""

import hashlib
import json
import logging
import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soxr

from kws.corpus.base import SPLITS, Corpus
from kws.corpus.coloured_noise import COLOURS, coloured_noise, hum, root_mean_square
from kws.corpus.espeak import ACCENTS, Espeak, variants, without_switches
from kws.corpus.folder import FolderCorpus
from kws.corpus.other_words import Neighbours, everyday
from kws.corpus.running_speech import RunningSpeech
from kws.corpus.speakers import Voice, choose_voices, speak
from kws.corpus.synthetic_clips import SAMPLE_RATE, place, trim, write
from kws.support.errors import KwsError
from kws.support.files import atomic_folder, write_json, write_text
from kws.support.locking import lock
from kws.support.progress import available_cores, bar

log = logging.getLogger(__name__)

# The words of Speech Commands v0.01.
# fmt: off
WORDS = (
    "bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left", "marvin", "nine",
    "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes",
    "zero",
)
# fmt: on
_FORMAT = 2  # raise it whenever the same settings make other clips: the folder then gets another name
_MARGIN = 0.05  # seconds of a clip that speech leaves free
_NOISE_SECONDS = 40
_MANY = 40  # voices from which on several processes are worth their start
_MORE_FROM_FEW = 3  # times as many other words are said by each voice that evaluates, of which there are few
_BABBLERS = 12
_NOISE_LEVEL = 0.08  # root mean square of a background recording, about -22 dB of full scale

# What the voices of the babble read. None of it is a word of Speech Commands.
_BABBLE = (
    "The kettle was already boiling when her brother came back from the market with bread, cheese and plums.",
    "Trains to the coast leave every half hour, but most people prefer the slow ferry along the river.",
    "My grandmother kept bees behind the garden wall and sold honey in small glass jars each summer.",
    "Because rain had been falling all week, they moved the concert into the old school hall.",
    "Somebody should ask the baker whether she still makes those little almond cakes with cherries.",
    "He painted the kitchen yellow last winter, and now the neighbours want the same colour.",
)


def check_words(words: Sequence[str] | None) -> tuple[str, ...]:
    """The words as a tuple (`None` means `WORDS`), after refusing those that cannot be a class's folder."""
    words = WORDS if words is None else tuple([words] if isinstance(words, str) else words)
    if not words:
        raise KwsError("data.words is empty; name at least one word, or leave it out for the 30 of Speech Commands")
    seen = {}
    for word in words:
        if not isinstance(word, str):
            raise KwsError(
                f"data.words has {word!r}, which is no text; put quotes around words that YAML takes for something "
                "else, such as 'yes', 'no', 'on' and 'off'"
            )
        if not word.strip() or word != word.strip():
            raise KwsError(f"data.words has {word!r}; leave out empty words and spaces at the ends of a word")
        if word.startswith(("_", ".")):
            raise KwsError(f"data.words has {word!r}: folders with that first character hold no keyword; rename it")
        if re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', word) or word.endswith(".") or len(word.encode()) > 100:
            raise KwsError(f"data.words has {word!r}, which cannot be a folder's name; use letters, digits and spaces")
        if word.casefold() in seen:
            raise KwsError(f"data.words has {word!r} and {seen[word.casefold()]!r}, the same word twice; drop one")
        seen[word.casefold()] = word
    return words


class EmbeddedCorpus:
    """Words, or short phrases, spoken by the English voices of espeak-ng; a source as `data=` chooses them.

    `words`: what is said and the class's name at once; `None` for the 30 words of Speech Commands v0.01.
    `speakers`: voices, each an accent with a variant; about 80 % train, 10 % validate and 10 % test.
    `takes`: clips of each word by each speaker. Pitch, rate, offset, level and noise are drawn for every clip.
    `other_words`: clips of other words by each speaker, as `_unknown_`: everyday words, and every fourth of a
    training voice made up, one phoneme away from a keyword. Each voice that evaluates says three times as many.
    `silence_share`: pieces of the background recordings, as `_silence_`; 1.0 for as many as a word has clips.
    `running_speech`: who speaks recordings without keywords, cut into `_unknown_` for training, or None.
    `seed`: the same settings and seed give the same bytes.
    `workers`: processes that speak; None for one per core.

    Clips are one second of 16 kHz, 16 bit: `<word>/<speaker>_nohash_<take>.wav`, beside `validation_list.txt`,
    `testing_list.txt` and `_background_noise_/`. They lie in a folder of `root` that is named after a hash of the
    settings, appears whole or not at all, and is used again.

    `kws.corpus.spoken.SpokenCorpus` grows from it: more voices, languages, lengths.
    """

    name = "embedded"
    accents = ACCENTS
    seconds = 1.0  # of a clip
    readings: dict[str, tuple[str, ...]]
    """What espeak-ng is given to say each word: the word, or phonemes in double brackets; several take turns."""

    def __init__(
        self,
        root: str | Path,
        words: Sequence[str] | None = None,
        speakers: int = 150,
        takes: int = 1,
        other_words: int = 0,
        silence_share: float = 0.0,
        running_speech: RunningSpeech | None = None,
        seed: int = 0,
        workers: int | None = None,
    ):
        self.words = check_words(words)
        self.readings = {word: (word,) for word in self.words}
        if speakers < 3:
            raise KwsError(f"data.speakers={speakers}; each split needs one, so ask for 3 or more")
        if takes < 1:
            raise KwsError(f"data.takes={takes}; ask for one clip or more of each word by each speaker")
        if not 0 <= other_words <= 1000:
            raise KwsError(f"data.other_words={other_words}; ask for 0 to 1000 clips by each speaker")
        self.root, self.speakers, self.takes, self.seed = Path(root), speakers, takes, seed
        self.workers = workers or available_cores()
        self.other_words, self.silence_share, self.running_speech = other_words, silence_share, running_speech
        with Espeak() as espeak:
            self.settings = {
                "format": _FORMAT,
                "words": list(self.words),
                "speakers": speakers,
                "takes": takes,
                "other_words": other_words,
                "seed": seed,
                "espeak": espeak.version,
                "variants": list(variants()),
            }

    @property
    def folder(self) -> Path:
        """Where this corpus lies, or will."""
        key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]
        return self.root / f"{self.name}-{key}"

    @property
    def _longest(self) -> float:
        return self.seconds - _MARGIN

    def scan(self) -> Corpus:
        """The `Corpus` on disk, which `prepare` has made."""
        if not self.folder.is_dir():
            raise KwsError(f"there is no corpus in {str(self.folder)!r}; call prepare() first")
        return FolderCorpus(
            self.folder,
            words=self.words,
            name=self.name,
            unknown_share=math.inf if self.other_words else 0.0,
            silence_share=self.silence_share,
            silence_seconds=self.seconds,
            running_speech=self.running_speech,
        ).scan()

    def prepare(self) -> Path:
        """Make the corpus unless it is there. Hands back its folder."""
        if self.folder.is_dir():
            return self.folder
        self.root.mkdir(parents=True, exist_ok=True)
        with lock(
            self.root / ".lock", lambda: log.warning("waiting: another run makes a corpus in %s", self.root)
        ) as held:
            if held:  # whatever is half made was left by a process that was killed
                for remains in self.root.glob(f".{self.name}-*.tmp"):
                    shutil.rmtree(remains, ignore_errors=True)
            if not self.folder.is_dir():
                self._make()
        return self.folder

    def _voices(self) -> list[Voice]:
        return choose_voices(self.speakers, np.random.default_rng(self.seed), self.accents)

    def _make(self) -> None:
        voices = self._voices()
        self._refuse_silent_words()
        with atomic_folder(self.folder) as folder:
            names = {split: [] for split in SPLITS}
            for speaker, spoken in zip(voices, self._spoken(folder, voices), strict=True):
                names[speaker.split] += spoken
            self._write_noise(folder / "_background_noise_", self._babblers(voices))
            for split in ("validation", "testing"):
                write_text(folder / f"{split}_list.txt", "".join(f"{name}\n" for name in sorted(names[split])))
            write_json(folder / "settings.json", self.settings)

    def _babblers(self, voices: Sequence[Voice]) -> list[Voice]:
        return [v for v in voices if v.split == "training"][:_BABBLERS]

    def _spoken(self, folder: Path, voices: Sequence[Voice]) -> Iterator[list[str]]:
        """Write each speaker's clips; hands back their names below `folder`, speaker by speaker."""
        with bar("speaking", len(voices), True) as advance, ExitStack() as stack:
            many = self.workers > 1 and self._many(voices)
            # espeak-ng speaks with one voice at a time in a process. Fresh processes: a fork would copy held locks.
            pool = ProcessPoolExecutor(self.workers, get_context("spawn")) if many else None
            run = map if pool is None else stack.enter_context(pool).map
            for names in run(partial(self._speak_all, folder), voices):
                yield names
                advance(1)

    def _many(self, voices: Sequence[Voice]) -> bool:
        return len(voices) >= _MANY

    def _speak_all(self, folder: Path, speaker: Voice) -> list[str]:
        return self._speak_words(folder, speaker) + self._speak_others(folder, speaker)

    def _refuse_silent_words(self) -> None:
        with Espeak() as espeak:
            for word, (text, *_) in self.readings.items():
                if len(trim(espeak.speak(text, self.accents[0]).astype(np.float64), espeak.sample_rate)) == 0:
                    raise KwsError(f"data.words has {word!r}, which espeak-ng speaks as silence; write it in letters")

    def _generator(self, *subject: str) -> np.random.Generator:
        """Draws that depend on the seed and the subject alone, not on the order of the work."""
        digest = hashlib.sha256("\n".join(subject).encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(digest, np.uint32).tolist()])

    def _manner(self, speaker: Voice) -> tuple[float, float]:
        """Of the speaker: the length of the vocal tract (which moves pitch and formants alike) and the mean pitch."""
        generator = self._generator(speaker.identity)
        return float(np.exp(generator.uniform(np.log(0.92), np.log(1.09)))), generator.uniform(35, 65)

    def _sayer(self, espeak: Espeak, speaker: Voice) -> Callable[[str, np.random.Generator], np.ndarray]:
        """A function of a text, and of the generator of what is drawn for one clip, to speech `(S,)`."""
        return partial(speak, espeak, speaker, *self._manner(speaker), self._longest)

    def _write_clip(self, path: Path, speech: np.ndarray, generator: np.random.Generator) -> None:
        write(path, place(speech, generator, round(self.seconds * SAMPLE_RATE)))

    def _speak_words(self, folder: Path, speaker: Voice) -> list[str]:
        """Write a speaker's clips of the keywords. Hands back their names below `folder`."""
        names = []
        with Espeak() as espeak:  # one for each speaker: its clips then depend on no other speaker's
            say = self._sayer(espeak, speaker)
            for word in self.words:
                generator, readings = self._generator(speaker.identity, word), self.readings[word]
                first = int(generator.integers(len(readings))) if len(readings) > 1 else 0
                for take in range(self.takes):
                    speech = say(readings[(first + take) % len(readings)], generator)
                    names.append(f"{word}/{speaker.identity}_nohash_{take}.wav")
                    self._write_clip(folder / names[-1], speech, generator)
        return names

    def _speak_others(self, folder: Path, speaker: Voice) -> list[str]:
        """Write a speaker's clips of other words. Hands back their names below `folder`."""
        count = self.other_words * (1 if speaker.split == "training" else _MORE_FROM_FEW)
        if not count:
            return []
        generator = self._generator(speaker.identity, "other words")
        words = self._other_words(generator)
        names = []
        with Espeak() as espeak:
            say = self._sayer(espeak, speaker)
            # In just this order: what espeak-ng says depends on all that it was asked before.
            readings = self._phonemes(espeak, speaker.accent)
            keywords = [phonemes for _, phonemes in readings]
            neighbours = Neighbours(keywords, [espeak.phonemes(word, speaker.accent) for word in words])
            spoken = {text: espeak.phonemes(text, speaker.accent) for text in words}
            words = [text for text in words if spoken[text] not in keywords]
            for number in range(count):
                if speaker.split == "training" and number % 4 == 3:
                    word, phonemes = readings[int(generator.integers(len(readings)))]
                    name = f"near {word}"
                    text = f"[[{'|'.join(neighbours.of(phonemes, generator))}]]"
                else:
                    text = name = str(generator.choice(words))
                speech = say(text, generator)
                names.append(f"{name}/{speaker.identity}_nohash_{number}.wav")
                self._write_clip(folder / names[-1], speech, generator)
        return names

    def _other_words(self, generator: np.random.Generator) -> list[str]:
        """Words of which a speaker says some."""
        return everyday(self.words, WORDS)

    def _phonemes(self, espeak: Espeak, accent: str) -> list[tuple[str, tuple[str, ...]]]:
        """Each reading of each word: the word, and its sounds."""
        found = []
        for word in self.words:
            for text in self.readings[word]:
                given = re.split(r"[| ]", text.strip("[]")) if text.startswith("[[") else None
                found.append((word, tuple(given or without_switches(espeak.phonemes(text, accent)))))
        return found

    def _write_noise(self, folder: Path, voices: Sequence[Voice]) -> None:
        length = _NOISE_SECONDS * SAMPLE_RATE
        sounds = {
            f"{colour}_noise": coloured_noise(colour, length, SAMPLE_RATE, self._generator(colour))
            for colour in COLOURS
        }
        sounds["hum"] = hum(length, SAMPLE_RATE, self._generator("hum"))
        sounds["babble"] = _babble(voices, length, self._generator("babble"))
        for name, sound in sounds.items():
            write(folder / f"{name}.wav", sound * _NOISE_LEVEL)


def _babble(voices: Sequence[Voice], length: int, generator: np.random.Generator) -> np.ndarray:
    """All `voices` reading at once, over and over, each at its own level; float64 `(length,)`, RMS 1."""
    babble = np.zeros(length)
    for speaker in voices:
        spoken = []
        with Espeak() as espeak:
            while sum(map(len, spoken)) < length:
                text = _BABBLE[generator.integers(len(_BABBLE))]
                rate, pitch = int(generator.integers(140, 200)), int(generator.integers(35, 66))
                said = espeak.speak(text, speaker.name, rate, pitch).astype(np.float64)
                spoken.append(soxr.resample(said, espeak.sample_rate, SAMPLE_RATE))
        reading = np.roll(np.concatenate(spoken)[:length], int(generator.integers(length)))
        babble += reading / root_mean_square(reading) * 10 ** (generator.uniform(-6, 0) / 20)
    return babble / root_mean_square(babble)
