"""Recorded words as files: <root>/<word>/<speaker>_nohash_<n>.wav, below one folder and never over another file."""

import io
import re
from pathlib import Path

import numpy as np
import soundfile

from kws.corpus.audio import to_int16
from kws.corpus.base import SPEAKER_MARK
from kws.support.errors import KwsError

LONGEST = 10.0
"""Seconds of a recording."""
RATES = (8000, 48_000)
MOST = 10_000
"""Takes of a speaker and a word."""
_SPEAKER = re.compile(r"[A-Za-z0-9-]{1,32}")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(1, 10))}


class Recordings:
    """A folder of recorded words.

    Args:
        root: the folder; it is made with the first recording.
    """

    def __init__(self, root: Path):
        self.root = Path(root)

    def counts(self) -> dict[str, int]:
        """How many recordings of each word there are."""
        if not self.root.is_dir():
            return {}
        folders = [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return {path.name: sum(1 for _ in path.glob("*.wav")) for path in sorted(folders)}

    def add(self, word: str, speaker: str, content: bytes) -> Path:
        """Write a recording.

        Args:
            word: what was said; its folder.
            speaker: letters, digits and dashes.
            content: a WAV file of one channel.

        Returns:
            the file; a new one always.

        Raises:
            KwsError: a name that is none, or no recording of a word.
        """
        check_word(word)
        check_speaker(speaker)
        samples, rate = decoded(content)
        folder = self.root / word
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != self.root.resolve() / word:  # a link that leads elsewhere
            raise KwsError(f"{str(folder)!r} leads out of the folder of recordings; name another word.")
        file = io.BytesIO()
        soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
        return _written(file.getvalue(), folder, speaker)


def _written(content: bytes, folder: Path, speaker: str) -> Path:
    """A new file of the first free name; one that is there, or comes meanwhile, stays what it is."""
    for n in range(MOST):
        path = folder / f"{speaker}{SPEAKER_MARK}{n}.wav"
        try:
            with path.open("xb") as file:
                try:
                    file.write(content)
                except OSError:
                    path.unlink()  # half a recording is none
                    raise
            return path
        except FileExistsError:
            continue
    raise KwsError(f"{str(folder)!r} holds {MOST:,} recordings of the speaker {speaker!r}; choose another name.")


def check_word(word: str) -> None:
    """A word must be a name of a folder, and of nothing else, on every system.

    Raises:
        KwsError: it is not.
    """
    good = (
        0 < len(word) <= 64
        and word.strip() == word
        and not word.startswith((".", "_"))
        and not word.endswith(".")
        and not _FORBIDDEN.search(word)
        and word.isprintable()
        and word.split(".")[0].lower() not in _DEVICES
    )
    if not good:
        raise KwsError(
            f"{word[:80]!r} cannot be a word's folder: up to 64 letters, none of / \\ : * ? \" < > |, no dot or _ in "
            "front."
        )


def check_speaker(speaker: str) -> None:
    """A speaker must be letters, digits and dashes: corpora tell speakers by what stands before ``_nohash_``.

    Raises:
        KwsError: it is not.
    """
    if not _SPEAKER.fullmatch(speaker):
        raise KwsError(f"{speaker[:80]!r} is no name for a speaker; use up to 32 letters, digits and dashes.")


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    """Samples (S,) int16 and rate of a WAV.

    Raises:
        KwsError: it is none, too long, of several channels or of an odd rate.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format != "WAV" or file.channels != 1 or not RATES[0] <= file.samplerate <= RATES[1]:
                raise KwsError(f"a recording is a WAV of one channel at {RATES[0]} to {RATES[1]} Hz.")
            samples = file.read(round(LONGEST * file.samplerate) + 1, dtype="float32")
            rate = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError) as error:
        raise KwsError(f"this is no recording that can be read ({error}).") from None
    if not 0 < len(samples) <= LONGEST * rate:
        raise KwsError(f"a recording of a word has up to {LONGEST:g} s.")
    return to_int16(samples), rate
