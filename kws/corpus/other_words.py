"""Words that are not to be spotted: everyday ones, ones that nobody uses but that sound nearly like a keyword, and
parts of phrases.
"""

import re
from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from kws.corpus.espeak import STRESS, unstressed
from kws.corpus.running_speech import unsaid
from kws.corpus.sentences import vocabulary

VOWELS = "aAeEiIoOuUV03@Q&"  # what a vowel's name begins with in espeak-ng's notation
_RARE = re.compile("[^A-Za-z0-9@:]|2")  # variants of other sounds
_TRIES = 50  # of which one at least is a part without keywords, where there is any
_LENGTHS = (2, 9)  # letters of an everyday word, so that it is one word of a second at most

Phonemes = tuple[str, ...]


def everyday(keywords: Collection[str], more: Collection[str] = ()) -> list[str]:
    """Everyday words, and `more` of them, in alphabetical order, without the keywords, their parts and homophones."""
    without = unsaid(keywords)
    return sorted(
        word for word in vocabulary().union(more) if word not in without and _LENGTHS[0] <= len(word) <= _LENGTHS[1]
    )


class Neighbours:
    """Made-up words one phoneme away from a keyword: another one in its place, one more, or one less.

    Args:
        keywords: phonemes of each.
        known: phonemes of words from which replacements are drawn, as the same voice says them.
    """

    def __init__(self, keywords: Sequence[Phonemes], known: Sequence[Phonemes]):
        self.keywords = [tuple(map(unstressed, word)) for word in keywords]
        sounds = {unstressed(sound) for word in known for sound in word}
        sounds = sorted(sound for sound in sounds if not _RARE.search(sound) and sound)
        self.vowels = [sound for sound in sounds if sound[0] in VOWELS]
        self.consonants = [sound for sound in sounds if sound[0] not in VOWELS]

    def of(self, word: Phonemes, generator: np.random.Generator) -> Phonemes:
        """A word one phoneme away from `word` that is none of the keywords."""
        while True:
            changed, place = list(word), int(generator.integers(len(word)))
            sound, stress = unstressed(word[place]), "".join(STRESS.findall(word[place]))
            vowel = sound[:1] in VOWELS
            change = generator.choice(("other", "other", "other", "more", "less"))
            if change == "other":
                # Vowels whose names begin alike differ in length, or not at all to most ears.
                others = [o for o in self.vowels if o[0].lower() != sound[0].lower()] if vowel else self.consonants
                changed[place] = stress + str(generator.choice(others))
            elif change == "more":  # a consonant at either end
                changed.insert(int(generator.choice((0, len(word)))), str(generator.choice(self.consonants)))
            elif not vowel and len(word) > 2:
                del changed[place]
            sounds = tuple(map(unstressed, changed))
            doubled = any(one == other for one, other in pairwise(sounds))
            if not doubled and sounds not in self.keywords:
                return tuple(changed)


def part_of(
    phrase: Sequence[str], keywords: Collection[Sequence[str]], others: Sequence[str], generator: np.random.Generator
) -> list[int | str] | None:
    """What is nearly a phrase: its beginning, its end, or all of it with another word in the place of one.

    Args:
        phrase: its words, two at least.
        keywords: words of each keyword, the phrase among them; nothing that is made holds one.
        others: words that take a place.
        generator: of the draws.

    Returns:
        Places of the words that are left, and the other word; None where everything of the phrase is a keyword too.
    """
    length = len(phrase)
    for _ in range(_TRIES):
        cut = int(generator.integers(1, length))
        kind = int(generator.integers(4))
        if kind < 2:
            made = [*range(cut)] if kind else [*range(cut, length)]
        else:
            place = int(generator.integers(length))
            made = [*range(place), str(generator.choice(others)), *range(place + 1, length)]
        said = [phrase[word] if isinstance(word, int) else word for word in made]
        if not any(_holds(said, keyword) for keyword in keywords):
            return made
    return None


def _holds(said: Sequence[str], keyword: Sequence[str]) -> bool:
    words, wanted = [word.casefold() for word in said], [word.casefold() for word in keyword]
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))
