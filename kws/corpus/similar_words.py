"""Real words that sound like a keyword: *commuter*, *computing* and *compared* for *computer*."""

from collections.abc import Sequence

import numpy as np

from kws.corpus.espeak import unstressed
from kws.corpus.other_words import VOWELS, Phonemes

NEAREST = 40  # words for each keyword
_ALIKE = 1.0  # what is nearer than this may be the keyword in another accent


def distances(keyword: Phonemes, words: Sequence[Phonemes]) -> np.ndarray:
    """How many sounds each word is away from a keyword, float64 (W,).

    Levenshtein's distance over phonemes without stress, in which another vowel for a vowel counts half, and so does a
    sound before the keyword's first or behind its last: what begins with the keyword, or ends with it, is like it.
    """
    wanted = [unstressed(sound) for sound in keyword]
    spelled = [[unstressed(sound) for sound in word] for word in words]
    known = {sound: code for code, sound in enumerate(sorted({*wanted, *(s for word in spelled for s in word)}))}
    vowel = np.array([sound[:1] in tuple(VOWELS) for sound in known] + [False])
    lengths = np.array([len(word) for word in spelled], int)
    codes = np.full((max(lengths, default=0), len(words)), len(known))
    for number, word in enumerate(spelled):
        codes[: len(word), number] = [known[sound] for sound in word]
    row = 0.5 * np.arange(len(codes) + 1)[:, None] + np.zeros(len(words))
    for place, sound in enumerate(wanted, 1):
        code, more, above = known[sound], 0.5 if place == len(wanted) else 1.0, row
        other = np.where(codes == code, 0.0, np.where(vowel[codes] & vowel[code], 0.5, 1.0))
        row = np.empty_like(above)
        row[0] = place
        for at in range(1, len(row)):
            row[at] = np.minimum.reduce([above[at] + 1, row[at - 1] + more, above[at - 1] + other[at - 1]])
    return row[lengths, np.arange(len(words))]


def nearest(keyword: Phonemes, words: Sequence[Phonemes], count: int = NEAREST) -> list[int]:
    """Which words are nearest to a keyword without being as good as it, the nearest first; of equals the first."""
    away = distances(keyword, words)
    order = np.argsort(away, kind="stable")
    return [int(number) for number in order if away[number] >= _ALIKE][:count]
