"""The embedded corpus grown up: neural voices, pronunciations, phrases of up to three seconds, other languages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from kws.corpus import kokoro, neural_speakers
from kws.corpus.base import Corpus
from kws.corpus.embedded import EmbeddedCorpus
from kws.corpus.espeak import Espeak, accents
from kws.corpus.frequent_words import FrequentWords, frequent_words
from kws.corpus.neural_speakers import NeuralVoice, choose_neural_voices
from kws.corpus.other_words import part_of
from kws.corpus.pronunciations import check_pronunciations, notation, readings, shown
from kws.corpus.running_speech import RunningSpeech, check_frequent_words, unsaid
from kws.corpus.similar_words import nearest
from kws.corpus.speakers import Voice
from kws.corpus.synthetic_clips import trim
from kws.support.errors import KwsError

VOICES = ("espeak", "kokoro")
_LENGTHS = (0.5, 4.0)  # seconds that a clip may last
_SHORTEST, _LONGEST = 1.0, 3.0  # seconds of a clip whose length follows from the words
_FREE = 0.15  # seconds of such a clip beyond the longest word
_CAREFUL = 150  # words per minute of a speaker who takes time
_TABLE_ACCENTS = 2  # of a language, in whose sounds pronunciations are read
_MANY_NEURAL = 4  # speakers from which on several processes are worth their start
_FORMAT = 1  # raise it whenever the same settings make other clips
_PARTS_FORMAT = 1  # the same, of parts of phrases
_SIMILAR_FORMAT = 1  # the same, of similar words


class SpokenCorpus(EmbeddedCorpus):
    """Words, or phrases of up to three seconds, spoken by voices that are chosen; a source as `data=` chooses them.

    Args:
        voices: `espeak`, `kokoro` or both. Speakers of the neural kind are mixes of Kokoro's voice vectors.
        speakers: of espeak-ng's kind.
        neural_speakers: of the neural kind. A clip takes about half a second of a core, a hundred times espeak-ng's.
        language: a language of espeak-ng, or one accent of it: `en`, `en-US`, `de`. Neural voices read its IPA, most
            of them those of the language's own where Kokoro has any.
        pronunciations: IPA by word, or a list of several, in place of espeak-ng's own reading.
        seconds: length of a clip; None for as long as the longest word needs, 1.0 to 3.0.
        cache: where the neural model is kept.
        frequent_words: other words are drawn from so many of the language's most frequent ones, where there is a list
            of them; else they are everyday English ones, read as if they were written in the language.
        phrase_parts: share of the voices that train which, beside other words, say a part of each phrase that is no
            keyword: its beginning or its end alone, or the phrase with another word in the place of one.
        similar_words: clips, by each voice that trains, of frequent words that sound like a keyword.

    The others are those of `EmbeddedCorpus`.
    """

    name = "spoken"

    def __init__(
        self,
        root: str | Path,
        words: Sequence[str] | None = None,
        voices: Sequence[str] = ("espeak",),
        speakers: int = 300,
        neural_speakers: int = 200,
        takes: int = 1,
        other_words: int = 0,
        silence_share: float = 0.0,
        running_speech: RunningSpeech | None = None,
        language: str = "en",
        pronunciations: Mapping[str, str | Sequence[str]] | None = None,
        seconds: float | None = None,
        seed: int = 0,
        workers: int | None = None,
        cache: str | Path | None = None,
        frequent_words: int = 0,
        phrase_parts: float = 0.0,
        similar_words: int = 0,
    ):
        super().__init__(root, words, speakers, takes, other_words, silence_share, running_speech, seed, workers)
        self.voices = _check_voices(voices)
        self.accents = accents(language)
        if words is None and not language.startswith("en"):
            raise KwsError(f"data.words is empty, and there is no choice of words for data.language={language}; set it")
        if neural_speakers < 3:
            raise KwsError(f"data.neural_speakers={neural_speakers}; each split needs one, so ask for 3 or more")
        self.neural_speakers, self.language = neural_speakers, language
        self.cache = Path(cache) if cache is not None else self.root
        overridden = check_pronunciations(pronunciations, self.words)
        with Espeak() as espeak:
            if overridden:
                table = notation(espeak, self.accents[:_TABLE_ACCENTS], self.words)
                self.readings = readings(overridden, self.words, table)
            self.shown = shown(espeak, self.readings, self.accents, overridden)
            self.seconds = self._length(espeak) if seconds is None else float(seconds)
        if not _LENGTHS[0] <= self.seconds <= _LENGTHS[1]:
            raise KwsError(
                f"data.seconds={seconds} must be {_LENGTHS[0]} to {_LENGTHS[1]}, or null to follow the words"
            )
        self.frequent_words = check_frequent_words(frequent_words, language) if other_words else 0
        if not 0 <= phrase_parts <= 1:
            raise KwsError(f"data.phrase_parts={phrase_parts} must be 0 to 1, a share of the voices")
        phrases = [word for word in self.words if len(word.split()) > 1]
        self.phrases, self.phrase_parts = phrases if other_words and phrase_parts else [], phrase_parts
        if similar_words < 0:
            raise KwsError(f"data.similar_words={similar_words} must be 0 or more clips by each voice")
        self.similar_words = similar_words if self.frequent_words else 0
        self._similar: dict[str, list[str]] = {}
        self._frequent: FrequentWords | None = None
        self._files: kokoro.KokoroFiles | None = None
        self._told = False
        self.settings |= {
            "spoken": _FORMAT,
            "voices": sorted(self.voices),
            "language": language,
            "pronunciations": {word: list(said) for word, said in overridden.items()},
            "seconds": self.seconds,
        }
        if self.frequent_words:
            self.settings["frequent_words"] = self.frequent_words
        if self.phrases:
            self.settings |= {"phrase_parts": phrase_parts, "parts": _PARTS_FORMAT}
        if self.similar_words:
            self.settings |= {"similar_words": similar_words, "similar": _SIMILAR_FORMAT}
        if "kokoro" in self.voices:
            self.settings |= {"neural_speakers": neural_speakers, "kokoro": kokoro.KEY}

    def prepare(self) -> Path:
        """Make the corpus unless it is there, after printing how each word is said. Hands back its folder."""
        if not self._told:  # Lightning prepares its data again
            for sentence in self.shown:
                print(sentence)
            self._told = True
        return super().prepare()

    def scan(self) -> Corpus:
        """The `Corpus` on disk; how each word is said is among its notes."""
        corpus = super().scan()
        return replace(corpus, notes=(*self.shown, *corpus.notes))

    def _length(self, espeak: Espeak) -> float:
        longest = max(
            len(trim(espeak.speak(text, accent, _CAREFUL).astype(np.float64), espeak.sample_rate))
            for texts in self.readings.values()
            for text in texts
            for accent in self.accents[:_TABLE_ACCENTS]
        )
        needed = longest / espeak.sample_rate + _FREE
        return min(max(math.ceil(10 * needed - 1e-6) / 10, _SHORTEST), _LONGEST)

    def _voices(self) -> list[Voice | NeuralVoice]:
        if self.frequent_words:
            self._frequent = frequent_words(self.language, self.frequent_words, unsaid(self.words).union(self.words))
        if self.similar_words:
            self._similar = self._sounding_alike(self._frequent.words)
        chosen = super()._voices() if "espeak" in self.voices else []
        if "kokoro" in self.voices:
            self._files = kokoro.prepare(self.cache)
            chosen += choose_neural_voices(self.neural_speakers, self.language, self._files, self.seed)
        return chosen

    def _other_words(self, generator: np.random.Generator) -> list[str]:
        return super()._other_words(generator) if self._frequent is None else self._frequent.some(generator)

    def _speak_others(self, folder: Path, speaker: Voice | NeuralVoice) -> list[str]:
        others = super()._speak_others(folder, speaker) + self._speak_parts(folder, speaker)
        return others + self._speak_similar(folder, speaker)

    def _sounding_alike(self, words: Sequence[str]) -> dict[str, list[str]]:
        """Of each keyword, those of the words that sound most like it, as the language's first accent says them."""
        accent = self.accents[0]
        with Espeak() as espeak:
            readings = self._phonemes(espeak, accent)
            said = [espeak.phonemes(word, accent) for word in words]
        found: dict[str, list[str]] = {word: [] for word in self.words}
        for word, phonemes in readings:
            found[word] += [words[number] for number in nearest(phonemes, said) if words[number] not in found[word]]
        return {word: alike for word, alike in found.items() if alike}

    def _speak_similar(self, folder: Path, speaker: Voice | NeuralVoice) -> list[str]:
        """Write a training speaker's clips of words that sound like keywords. Hands back their names below `folder`."""
        if not self._similar or speaker.split != "training":
            return []
        generator, names = self._generator(speaker.identity, "similar words"), []
        with Espeak() as espeak:
            say = self._sayer(espeak, speaker)
            for number in range(self.similar_words):
                word = str(generator.choice(list(self._similar)))
                speech = say(str(generator.choice(self._similar[word])), generator)
                names.append(f"like {word}/{speaker.identity}_nohash_{number}.wav")
                self._write_clip(folder / names[-1], speech, generator)
        return names

    def _speak_parts(self, folder: Path, speaker: Voice | NeuralVoice) -> list[str]:
        """Write what a training speaker may say of each phrase without saying it. Hands back names below `folder`."""
        if not self.phrases or speaker.split != "training":
            return []
        generator = self._generator(speaker.identity, "parts of phrases")
        others, keywords, names = self._other_words(generator), [word.split() for word in self.words], []
        with Espeak() as espeak:
            say = self._sayer(espeak, speaker)
            for phrase in self.phrases:
                words = phrase.split()
                part = part_of(words, keywords, others, generator)
                if generator.random() >= self.phrase_parts or part is None:
                    continue
                reading = str(generator.choice(self.readings[phrase]))
                given = reading.strip("[]").split()  # a word's phonemes, where they are given
                if reading.startswith("[[") and len(given) == len(words):
                    said = [
                        given[w] if isinstance(w, int) else "|".join(espeak.phonemes(w, speaker.accent)) for w in part
                    ]
                    text = f"[[{' '.join(said)}]]"
                else:
                    text = " ".join(words[w] if isinstance(w, int) else w for w in part)
                speech = say(text, generator)
                names.append(f"part of {phrase}/{speaker.identity}_nohash_0.wav")
                self._write_clip(folder / names[-1], speech, generator)
        return names

    def _babblers(self, voices: Sequence[Voice | NeuralVoice]) -> list[Voice]:
        robots = [voice for voice in voices if isinstance(voice, Voice)]
        return super()._babblers(robots or super()._voices())

    def _many(self, voices: Sequence[Voice | NeuralVoice]) -> bool:
        return super()._many(voices) or sum(isinstance(voice, NeuralVoice) for voice in voices) >= _MANY_NEURAL

    def _manner(self, speaker: Voice | NeuralVoice) -> tuple[float, float]:
        """Of the speaker: the length of the vocal tract, and the mean pitch or, of a neural voice, the mean speed."""
        if isinstance(speaker, Voice):
            return super()._manner(speaker)
        generator = self._generator(speaker.identity)
        # Read alone, words come slower from these voices than from people.
        return float(np.exp(generator.uniform(-0.08, 0.09))), float(np.exp(generator.uniform(-0.05, 0.37)))

    def _sayer(self, espeak: Espeak, speaker: Voice | NeuralVoice) -> Callable[[str, np.random.Generator], np.ndarray]:
        if isinstance(speaker, Voice):
            return super()._sayer(espeak, speaker)
        table = notation(espeak, (speaker.accent, *self.accents[:_TABLE_ACCENTS]), self.words)
        model = kokoro.synthesizer(self._files)
        return partial(neural_speakers.speak, espeak, model, table, speaker, *self._manner(speaker), self._longest)


def _check_voices(voices: Sequence[str]) -> tuple[str, ...]:
    voices = (voices,) if isinstance(voices, str) else tuple(voices)
    for voice in voices:
        if voice not in VOICES:
            raise KwsError(f"data.voices has {voice!r}; choose from {', '.join(VOICES)}")
    if not voices:
        raise KwsError(f"data.voices is empty; choose from {', '.join(VOICES)}")
    return voices
