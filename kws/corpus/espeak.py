"""Speech from espeak-ng, through ctypes and the library and voices inside the package `espeakng-loader`.

The calls are those of espeak-ng's `speak_lib.h` (version 1.52).
"""

import _ctypes
import ctypes
import os
import re
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from kws.support.errors import KwsError

STRESS = re.compile("[',%=]+")
"""Marks of stress, in the notation of `Espeak.phonemes`."""
# The English accents of espeak-ng, as files below its `lang` folder. (`en-gb` is no name to it, though `en` is.)
ACCENTS = (
    "gmw/en",
    "gmw/en-US",
    "gmw/en-GB-scotland",
    "gmw/en-029",
    "gmw/en-GB-x-rp",
    "gmw/en-GB-x-gbclan",
    "gmw/en-GB-x-gbcwmd",
    "gmw/en-US-nyc",
)

# Variants that are meant as effects or machines rather than as people.
_NOT_PEOPLE = ("anikaRobot", "Demonic", "fast", "robosoft", "Tweaky", "UniRobot", "whisper")

_LOUD_ECHO = 50  # percent

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARACTERS_ARE_UTF8, _PHONEMES = 1, 0x100
_MNEMONICS, _IPA = 0x00, 0x02  # what phonemes are written in
_INITIALIZE_DONT_EXIT = 0x8000
_RATE, _PITCH, _RANGE = 1, 3, 4
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_one_at_a_time = threading.Lock()


def _data_path() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


def variants() -> tuple[str, ...]:
    """Names of the voice variants that sound like people and speak repeatably, sorted.

    Left out: machines and effects, among them loud echoes; variants of another language than the accent's; and those
    of espeak-ng's Klatt synthesizer, which reads memory that it has not set: what it says differs between runs.
    """
    names = []
    for path in sorted((_data_path() / "voices" / "!v").iterdir()):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        settings = {words[0]: words[1:] for words in map(str.split, lines) if words}
        effect = path.name.startswith(_NOT_PEOPLE) or int(settings.get("echo", ["0"])[-1]) >= _LOUD_ECHO
        if not effect and "klatt" not in settings and settings.get("language") in (None, ["variant"]):
            names.append(path.name)
    return tuple(names)


@cache
def accents(language: str) -> tuple[str, ...]:
    """Accents of a language, or of one accent, as files below espeak-ng's `lang` folder: of `en`, `en-US`, `de`, `pt`.

    Raises:
        KwsError: espeak-ng does not speak it.
    """
    if language == "en":
        return ACCENTS
    folder = _data_path() / "lang"
    files = {path.name: path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    # The language first, then its accents; not the same again in Latin letters.
    found = [language] if language in files else []
    found += sorted(name for name in files if name.startswith(f"{language}-") and "-Latn" not in name)
    if not found:
        raise KwsError(
            f"data.language={language!r} is none of espeak-ng's languages; choose one of {', '.join(sorted(files))}"
        )
    return tuple(files[name] for name in found)


def family(variant: str) -> str:
    """The name without a number at its end, for `steph`, `steph2` and `steph3` sound alike; not of `f1`, `f2`…."""
    return re.sub(r"(?<=..)\d+$", "", variant)


def without_switches(phonemes: Iterable[str]) -> list[str]:
    """Without the marks at which another language's pronunciation begins and ends, `(en)` and `(de)`."""
    plain = (re.sub(r"\([a-z-]+\)", "", phoneme) for phoneme in phonemes)
    return [phoneme for phoneme in plain if phoneme.strip("_!|")]


def unstressed(phoneme: str) -> str:
    """A phoneme without the marks of stress."""
    return STRESS.sub("", phoneme)


class Espeak:
    """The synthesizer, as a context: `with Espeak() as espeak: samples = espeak.speak("yes", "gmw/en-US+f3")`.

    The library keeps the state of its oscillators and filters in globals that neither its initialization nor its
    termination clears, so what it says depends on all it has said before. Entering the context loads the
    library afresh and leaving it unloads it: the same calls within a context give the same samples in every one.
    One context can be open at a time; others wait for it.
    """

    def __init__(self):
        self._library = None
        self._pieces: list[np.ndarray] = []
        self._callback = _SYNTH_CALLBACK(self._receive)

    def __enter__(self) -> "Espeak":
        import espeakng_loader

        _one_at_a_time.acquire()
        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            self._library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
            self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
            self._library.espeak_Synth.argtypes = [
                ctypes.c_char_p,  # text
                ctypes.c_size_t,  # its bytes, with the closing zero
                ctypes.c_uint,  # position
                ctypes.c_int,  # type of the position
                ctypes.c_uint,  # end position
                ctypes.c_uint,  # flags
                ctypes.c_void_p,  # identifier, unused
                ctypes.c_void_p,  # user data, unused
            ]
            self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            self._library.espeak_TextToPhonemes.argtypes = [
                ctypes.POINTER(ctypes.c_char_p),
                ctypes.c_int,
                ctypes.c_int,
            ]
            self._library.espeak_Info.restype = ctypes.c_char_p
            self._library.espeak_Info.argtypes = [ctypes.c_void_p]
            self.sample_rate = self._library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(_data_path()), _INITIALIZE_DONT_EXIT
            )
            if self.sample_rate <= 0:
                raise KwsError("espeak-ng does not start; reinstall the package 'espeakng-loader'")
            self._library.espeak_SetSynthCallback(self._callback)
        except BaseException:
            self._unload()
            raise
        return self

    def __exit__(self, *_):
        self._library.espeak_Terminate()
        self._unload()

    def _unload(self) -> None:
        try:
            if self._library is not None:
                unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary  # POSIX, Windows
                unload(self._library._handle)
        finally:
            self._library = None
            _one_at_a_time.release()

    def _receive(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on speaking

    @property
    def version(self) -> str:
        """Version of the library, such as `1.52.0`."""
        return self._library.espeak_Info(None).decode()

    def speak(
        self, text: str, voice: str, rate: int = 175, pitch: int = 50, pitch_range: int = 50, seed: int = 0
    ) -> np.ndarray:
        """Samples of `text`, int16 `(S,)` at `self.sample_rate` (22,050 Hz); empty when there is nothing to say.

        `voice` is an accent, or an accent and a variant: `gmw/en-US+f3`. `rate` in words per minute (80 to 450),
        `pitch` and `pitch_range` from 0 to 100; `seed` of the noise in fricatives and breath. A text in double
        brackets is phonemes, `[[n'oU]]`.
        """
        self._pieces.clear()
        self._choose(voice)
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(seed)
        encoded = text.encode()
        flags = _CHARACTERS_ARE_UTF8 | (_PHONEMES if text.startswith("[[") else 0)
        if self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, flags, None, None) != 0:
            raise KwsError(f"espeak-ng cannot speak {text!r} with the voice {voice!r}; choose another word")
        self._library.espeak_Synchronize()
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)

    def phonemes(self, text: str, voice: str) -> tuple[str, ...]:
        """Phonemes of `text` in espeak-ng's own notation, as `voice` says them; `'` before one marks a stress."""
        return tuple(phoneme for word in self._words(text, voice, _MNEMONICS) for phoneme in word)

    def ipa(self, text: str, voice: str) -> str:
        """`text` in IPA as `voice` says it, words apart: `hˈeɪ mˈɪɹɚ`."""
        words = ["".join(word) for word in self._words(text, voice, _IPA)]
        return " ".join(without_switches(words))

    def notation(self, text: str, voice: str) -> list[tuple[str, str]]:
        """Each phoneme of `text` as `voice` says it: in espeak-ng's own notation, and in IPA."""
        own, ipa = (
            [phoneme for word in self._words(text, voice, mode) for phoneme in word] for mode in (_MNEMONICS, _IPA)
        )
        return list(zip(own, ipa, strict=True)) if len(own) == len(ipa) else []

    def _words(self, text: str, voice: str, notation: int) -> Iterator[list[str]]:
        self._choose(voice)
        rest = ctypes.c_char_p(text.encode())
        while rest.value:  # the library takes a clause at a time
            said = self._library.espeak_TextToPhonemes(
                ctypes.byref(rest), _CHARACTERS_ARE_UTF8, notation | ord("|") << 8
            )
            for word in said.decode().split():
                yield [phoneme for phoneme in word.split("|") if phoneme]

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise KwsError(f"espeak-ng has no voice {voice!r}; reinstall the package 'espeakng-loader'")
