"""Speakers out of a few dozen neural voices: mixed voice vectors, each mix with an accent and a manner of its own."""

from dataclasses import dataclass

import numpy as np
import soxr

from kws.corpus.base import SPLITS
from kws.corpus.espeak import Espeak, accents
from kws.corpus.kokoro import SAMPLE_RATE as KOKORO_RATE
from kws.corpus.kokoro import Kokoro, KokoroFiles, speaks, vectors_of
from kws.corpus.pronunciations import Notation
from kws.corpus.speakers import identity_of, shares, too_long
from kws.corpus.synthetic_clips import SAMPLE_RATE, trim

_NATIVE = 0.75  # share of the voices in a mix that are the language's own
_OWN_ACCENTS = {"a": "gmw/en-US", "b": "gmw/en"}  # by the first letter of the voice that weighs most
_OWN = 0.5  # share of speakers who keep it; the others speak with any
_MOST_MIXED = 3
_FASTEST = 2.5  # times a voice's own speed
_ENDINGS = (".", ".", "?", "!", ",")


@dataclass(frozen=True)
class NeuralVoice:
    """One speaker. `identity` is the eight hexadecimal digits in its clips' names."""

    accent: str  # of espeak-ng, whose IPA it reads
    mix: tuple[tuple[str, float], ...]  # voices and their weights
    split: str
    identity: str

    @property
    def english(self) -> bool:
        """Whether the accent is one of English."""
        return self.accent.startswith("gmw/en")


def choose_neural_voices(count: int, language: str, files: KokoroFiles, seed: int) -> list[NeuralVoice]:
    """`count` speakers, a tenth each for validation and testing. A voice vector is in the mixes of one split only."""
    return [
        speaker
        for split, wanted in shares(count).items()
        for speaker in neural_voices(wanted, split, language, files, seed)
    ]


def neural_voices(count: int, split: str, language: str, files: KokoroFiles, seed: int) -> list[NeuralVoice]:
    """`count` speakers of one split. More of them leave the earlier ones as they are."""
    names = vectors_of(files, split)
    native = [name for name in names if speaks(name, language)]
    foreign = [name for name in names if name not in native]
    chosen = []
    for number in range(count):
        generator = np.random.default_rng([seed, SPLITS.index(split), number])
        mixed: list[str] = []
        for _ in range(int(generator.integers(1, _MOST_MIXED + 1))):
            group = native if generator.random() < _NATIVE else foreign
            rest = [name for name in group if name not in mixed] or [name for name in names if name not in mixed]
            mixed += [str(generator.choice(rest))] if rest else []
        weights = generator.dirichlet(np.ones(len(mixed))).round(3).tolist()
        accent = str(generator.choice(accents(language)))
        own = _OWN_ACCENTS.get(max(zip(weights, mixed, strict=True))[1][0])
        if generator.random() < _OWN and own in accents(language):
            accent = own
        mix = tuple(zip(mixed, weights, strict=True))
        chosen.append(NeuralVoice(accent, mix, split, identity_of(f"{accent}{mix}{number}", split)))
    return chosen


def speak(
    espeak: Espeak,
    kokoro: Kokoro,
    table: Notation,
    speaker: NeuralVoice,
    tract: float,
    speed: float,
    longest: float,
    text: str,
    generator: np.random.Generator,
) -> np.ndarray:
    """`text` as `speaker` says it this time: float64 `(S,)` at `SAMPLE_RATE`, silence trimmed.

    Args:
        table: of the speaker's accent, for a text in espeak-ng's notation.
        tract: length of the vocal tract, which moves pitch and formants alike; 1.0 for the voice's own.
        speed: the speaker's mean.
        longest: seconds that the speech may last; what is longer is spoken faster.
    """
    ipa = table.read(text) if text.startswith("[[") else espeak.ipa(text, speaker.accent)
    ipa += str(generator.choice(_ENDINGS))
    speed *= float(np.exp(generator.uniform(-0.1, 0.1)))
    while True:
        spoken = kokoro.speak(ipa, speaker.mix, speed, speaker.english).astype(np.float64)
        spoken = soxr.resample(trim(spoken, KOKORO_RATE), KOKORO_RATE * tract, SAMPLE_RATE)
        if len(spoken) <= longest * SAMPLE_RATE:
            return spoken
        if speed >= _FASTEST:
            raise too_long(text, longest)
        # Some more than is needed: the model makes steps, and each try costs a second.
        speed = min(1.05 * len(spoken) / (longest * SAMPLE_RATE) * speed, _FASTEST)
