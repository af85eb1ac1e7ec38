"""Words of a language by how often people say them: what voices read that shall not only know a few hundred words.

The lists are those of the package pyspellchecker (MIT), counted in subtitles of films. Words that sound like a keyword
are left out by their phonemes, whatever the keyword.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from spellchecker import SpellChecker

from kws.corpus.espeak import Espeak, accents, unstressed

EVENNESS = 0.4
"""A word is drawn as often as the so-manieth power of its frequency says: 1 would say little beside *the* and *you*."""
_ACCENTS = 2  # in which words are compared by their sounds
_LENGTHS = (4, 10)  # words of a sentence
_LISTENED = 400  # words drawn for one speaker
_COMMA = 0.1
_ENDINGS = ("", "s", "z", "I#z", "Iz")  # keywords with one of them are near enough to be neither


class FrequentWords(NamedTuple):
    """Words and their shares of what is drawn."""

    words: tuple[str, ...]
    shares: np.ndarray

    def sentence(self, generator: np.random.Generator) -> str:
        """Some words in a row, which make no sense, with a comma now and then."""
        said = [self.words[i] for i in generator.choice(len(self.words), generator.integers(*_LENGTHS), p=self.shares)]
        commas = [", " if generator.random() < _COMMA else " " for _ in said[1:]]
        text = "".join(word + between for word, between in zip(said, [*commas, ""], strict=True))
        return text + ("?" if generator.random() < 0.2 else ".")

    def some(self, generator: np.random.Generator, count: int = _LISTENED) -> list[str]:
        """So many different words, in alphabetical order."""
        count = min(count, len(self.words))
        return sorted(self.words[i] for i in generator.choice(len(self.words), count, replace=False, p=self.shares))


def has_list(language: str) -> bool:
    """Whether there is a list of a language, or of the one whose accent it is: `en`, `en-US`, `de`."""
    return _language(language) in SpellChecker.languages()


def frequent_words(language: str, count: int, keywords: Collection[str] = ()) -> FrequentWords:
    """The `count` most frequent words of a language but those that are, or sound like, a keyword or a part of one.

    Two accents of the language say what sounds alike; a plural of a keyword counts as like it.
    """
    counted = _counted(_language(language))[:count]
    spelled = {part for keyword in keywords for part in (keyword.lower(), *keyword.lower().split())}
    with Espeak() as espeak:
        kept = [item for item in counted if item[0] not in spelled]
        for accent in accents(language)[:_ACCENTS]:
            alike = {
                _plain(espeak.phonemes(keyword, accent)) + ((ending,) if ending else ())
                for keyword in sorted(spelled)
                for ending in _ENDINGS
            }
            kept = [item for item in kept if _plain(espeak.phonemes(item[0], accent)) not in alike]
    shares = np.array([times for _, times in kept], float) ** EVENNESS
    return FrequentWords(tuple(word for word, _ in kept), shares / shares.sum())


@cache
def _counted(language: str) -> Sequence[tuple[str, int]]:
    """All words of a list and how often each was counted, the most frequent first."""
    counts = SpellChecker(language=language).word_frequency.dictionary
    words = (word for word in counts if word.replace("'", "").isalpha() and (len(word) > 1 or word in "ai"))
    return sorted(((word, counts[word]) for word in words), key=lambda item: (-item[1], item[0]))


def _language(language: str) -> str:
    return language.split("-")[0].lower()


def _plain(phonemes: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(unstressed, phonemes))
