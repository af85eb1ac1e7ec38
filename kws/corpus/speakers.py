"""Who speaks: voices of espeak-ng as speakers of a corpus, each with a split and a manner of its own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from kws.corpus.base import SPLITS, which_set
from kws.corpus.espeak import ACCENTS, Espeak, family, variants
from kws.corpus.synthetic_clips import SAMPLE_RATE, trim
from kws.support.errors import KwsError

_FASTEST = 430  # words per minute; espeak-ng ends at 450


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker. `identity` is the eight hexadecimal digits in its clips' names.

    Where a language has few accents, speakers of another `number` have the same voice with another manner.
    """

    accent: str
    variant: str
    split: str
    identity: str
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.accent}+{self.variant}"


def voice(accent: str, variant: str, number: int = 0) -> Voice:
    """The speaker with this accent and variant: always of the same identity and split.

    The split is that of the variant's family, so that no timbre is in two splits with two accents.
    """
    split = which_set(family(variant))
    name = f"{accent}+{variant}" + (f"#{number}" if number else "")
    return Voice(accent, variant, split, identity_of(name, split), number)


def identity_of(name: str, split: str) -> str:
    """Eight hexadecimal digits for a speaker's name: a hash, salted until the dataset's rule gives it that split.

    So the rule and the lists on disk agree.
    """
    salt = 0
    while True:
        identity = hashlib.sha1(f"{name}+{salt}".encode()).hexdigest()[:8]
        if which_set(identity) == split:
            return identity
        salt += 1


def shares(count: int) -> dict[str, int]:
    """How many of `count` speakers are in each split: a tenth each for validation and testing, one at least."""
    tenth = max(1, round(count / 10))
    return {"training": count - 2 * tenth, "validation": tenth, "testing": tenth}


def choose_voices(count: int, generator: np.random.Generator, accents: Sequence[str] = ACCENTS) -> list[Voice]:
    """`count` speakers, a tenth each for validation and testing, with as many variants and accents as there are."""
    wanted = shares(count)
    names = variants()
    repeats = -(-len(ACCENTS) // len(accents))  # so that every language has as many speakers as English
    chosen = []
    for split in SPLITS:
        members = [name for name in generator.permutation(names).tolist() if which_set(family(name)) == split]
        order = generator.permutation(accents).tolist()
        every = [
            (order[(position + turn) % len(order)], name, number)
            for number in range(repeats)
            for turn in range(len(order))  # each variant once before any comes with its second accent
            for position, name in enumerate(members)
        ]
        if wanted[split] > len(every):
            raise KwsError(
                f"data.speakers={count} is more than the voices of espeak-ng: {len(every)} are for {split}, "
                f"{wanted[split]} would be needed; lower data.speakers"
            )
        chosen += [voice(*one) for one in every[: wanted[split]]]
    return chosen


def speak(
    espeak: Espeak,
    speaker: Voice,
    tract: float,
    pitch: float,
    longest: float,
    text: str,
    generator: np.random.Generator,
) -> np.ndarray:
    """`text` as `speaker` says it this time: float64 `(S,)` at `SAMPLE_RATE`, silence trimmed.

    Args:
        tract: length of the vocal tract, which moves pitch and formants alike; 1.0 for the voice's own.
        pitch: the speaker's mean, from 0 to 100.
        longest: seconds that the speech may last; what is longer is spoken faster.
    """
    rate = generator.uniform(140, 200)
    pitch = int(np.clip(pitch + generator.normal(0, 6), 5, 95))
    pitch_range, seed = int(generator.integers(30, 71)), int(generator.integers(2**31))
    while True:
        spoken = espeak.speak(text, speaker.name, round(rate), pitch, pitch_range, seed).astype(np.float64)
        spoken = soxr.resample(trim(spoken, espeak.sample_rate), espeak.sample_rate * tract, SAMPLE_RATE)
        if len(spoken) == 0:
            raise KwsError(f"the voice {speaker.name!r} of espeak-ng says nothing for {text!r}; choose another word")
        if len(spoken) <= longest * SAMPLE_RATE:
            return spoken
        if rate >= _FASTEST:
            raise too_long(text, longest)
        rate = min(max(1.05, len(spoken) / (longest * SAMPLE_RATE)) * rate, _FASTEST)


def too_long(text: str, longest: float) -> KwsError:
    """What is said of a phrase that does not fit however fast it is spoken."""
    room = "one second" if longest < 1 else f"{longest:.1f} seconds"
    return KwsError(f"data.words has {text!r}, which does not fit into {room}; choose a shorter phrase")
