"""One recording: read it, resample it, bring it to a length.

Waveforms are float32, mono, in [-1, 1], shape (S,). Whatever is wrong with a file is a `BrokenRecording` that
names it and says why; nothing here returns half a recording.
"""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from kws.corpus import containers, other_formats
from kws.support.errors import BrokenRecording

EXTENSIONS = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64", ".sph", ".m4a", ".mp4", ".aac", ".wma", ".amr", ".3gp", ".webm", ".mka",
)  # fmt: skip
"""What recordings are called; what is in them decides, and those that cannot be decoded are named."""
USUAL = ".wav, .flac, .ogg, .opus, .mp3, .aiff, …"
RATES = (1_000, 768_000)  # Hz; outside lie headers that were never a recording of speech
MAX_CHANNELS = 8
MAX_SECONDS = 600.0
MAX_PEAK = 16.0  # 24 dB over full scale; float files beyond it hold integers that nobody divided
BLOCK = 1 << 18  # frames decoded at a time, so that a header which lies about its length costs nothing
UNKNOWN_FRAMES = 1 << 62  # libsndfile's count for a FLAC stream whose header leaves the length open
MAX_SAMPLES = 1 << 25  # of a recording in one piece: eleven minutes at 48 kHz
ROUNDING = 0.05  # s that a piece may end after its recording: manifests round their numbers
CANCELLED = 0.02  # of the channels' power; their mean has less only where they cancel each other out
_lock = threading.Lock()
_silenced: list[int] = []  # where standard error goes otherwise, and an entry for each recording that is being read


def read(
    path: str | os.PathLike,
    start: float | None = None,
    duration: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> tuple[np.ndarray, int]:
    """Read a recording, or `duration` seconds of it from second `start` on; channels are averaged.

    Returns the waveform, float32 (S,), and its rate in Hz. Everything that libsndfile decodes; the content decides, not
    the name. Channels that cancel each other out, as stereo in antiphase does, are not averaged: the loudest is taken.

    Raises BrokenRecording: no regular file, empty, of no known format, truncated, no samples, NaN or infinite
    samples, a peak over `MAX_PEAK`, a rate outside `RATES`, more than `MAX_CHANNELS` channels, or more than
    `max_seconds` or `MAX_SAMPLES` to decode (checked against the header first).
    """
    with opened(path) as file:
        return _decode(path, file, start, duration, max_seconds)


def read_at(path: str | os.PathLike, rate: int, max_seconds: float, share: float = 1.0) -> np.ndarray:
    """A long recording, or this share of it from the beginning, at `rate` Hz: (S,), resampled as it is decoded.

    Raises BrokenRecording as `read` does, but for the number of samples.
    """
    with opened(path) as file:
        if not 0 < file.frames < UNKNOWN_FRAMES:
            raise BrokenRecording(path, "its header does not say how long it is")
        wanted = round(share * file.frames)
        if wanted > max_seconds * file.samplerate:
            raise BrokenRecording(path, f"{wanted / file.samplerate:.0f} s long; at most {max_seconds:g} s can be used")
        if file.samplerate == rate:
            blocks = list(mono_blocks(path, file, wanted))
        else:
            resampler = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32", quality="HQ")
            blocks = [resampler.resample_chunk(block) for block in mono_blocks(path, file, wanted)]
            blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(blocks)


def mono_blocks(
    path: str | os.PathLike, file: soundfile.SoundFile, wanted: int, size: int = BLOCK
) -> Iterator[np.ndarray]:
    """The next `wanted` samples of an open file as blocks of at most `size`, (S,), the mean of its channels, checked.

    Raises BrokenRecording: fewer samples, none, NaN or infinite ones, or a peak over `MAX_PEAK`.
    """
    count, known = 0, file.frames < UNKNOWN_FRAMES
    several, at_once = file.channels > 1, wanted <= size  # a clip need not be decoded twice
    channel = cancelling(file, wanted) if several and not at_once else None
    while count < wanted:
        block = file.read(min(size, wanted - count), dtype="float32", always_2d=True)  # (frames, channels)
        if not len(block):
            break
        count += len(block)
        mono = mixed(block, _loudest(*_powers(block)) if several and at_once else channel)
        peak = max(float(mono.max()), -float(mono.min()))  # NaN anywhere makes both of them NaN
        if not np.isfinite(peak):
            raise BrokenRecording(path, "holds NaN or infinite samples")
        if peak > MAX_PEAK:
            raise BrokenRecording(path, f"samples up to {peak:.3g} in a float file; full scale is 1")
        yield mono
    if count == 0:
        raise BrokenRecording(path, "holds no samples")
    if known and count < wanted:
        raise BrokenRecording(path, f"truncated: {count} of {wanted} samples could be decoded")


def mixed(block: np.ndarray, channel: int | None) -> np.ndarray:
    """(S, channels) to (S,): the mean, or one channel."""
    if block.shape[1] == 1 or channel is not None:
        return block[:, channel or 0]
    return block.mean(axis=1)


def cancelling(file: soundfile.SoundFile, wanted: int) -> int | None:
    """The loudest channel of the next samples, where their mean is next to nothing beside it; None for the mean."""
    first, count = file.tell(), 0
    powers, mean = np.zeros(file.channels), 0.0
    while count < wanted and len(block := file.read(min(BLOCK, wanted - count), dtype="float32", always_2d=True)):
        more = _powers(block)
        powers, mean, count = powers + more[0], mean + more[1], count + len(block)
    file.seek(first)
    return _loudest(powers, mean)


def _powers(block: np.ndarray) -> tuple[np.ndarray, float]:
    """Energy of each channel of (S, channels), and of their mean."""
    mean = block.mean(axis=1)
    return np.einsum("sc,sc->c", block, block, dtype=np.float64), float(
        np.einsum("s,s->", mean, mean, dtype=np.float64)
    )


def _loudest(powers: np.ndarray, mean: float) -> int | None:
    return int(powers.argmax()) if mean < CANCELLED * powers.mean() else None


def length(path: str | os.PathLike) -> float:
    """Seconds that a recording's header promises. Raises BrokenRecording as `read` does, short of decoding."""
    with opened(path) as file:
        if not 0 < file.frames < UNKNOWN_FRAMES:
            raise BrokenRecording(path, "its header does not say how long it is")
        return file.frames / file.samplerate


@contextmanager
def opened(path: str | os.PathLike, least_rate: int = RATES[0]) -> Iterator[soundfile.SoundFile]:
    """The open file, of a usable rate and number of channels; whatever libsndfile raises becomes BrokenRecording.

    What is wrong with a file is said here and nowhere else: NumPy's warnings, and what the decoder of MP3 writes to the
    terminal, stay off it.
    """
    head, patched = _check_file(path)
    try:
        with (
            np.errstate(all="ignore"),
            _no_words(head),
            patched or nullcontext(os.fsencode(path) if os.name == "posix" else os.fspath(path)) as source,
            soundfile.SoundFile(source) as file,
        ):
            if not least_rate <= file.samplerate <= RATES[1]:
                raise BrokenRecording(
                    path, f"a sample rate of {file.samplerate} Hz; {RATES[0]} to {RATES[1]} Hz can be used"
                )
            if not 1 <= file.channels <= MAX_CHANNELS:
                raise BrokenRecording(path, f"{file.channels} channels; at most {MAX_CHANNELS} can be used")
            yield file
    except BrokenRecording:
        raise
    except soundfile.LibsndfileError as error:
        reason = containers.kind(head) or f"not readable as audio ({error.error_string.strip(' .')})"
        raise BrokenRecording(path, reason) from error
    except (RuntimeError, ValueError, TypeError, OSError, MemoryError) as error:
        raise BrokenRecording(path, f"not readable as audio ({error})") from error


def _decode(path, file, start, duration, max_seconds) -> tuple[np.ndarray, int]:
    rate = file.samplerate
    known = file.frames < UNKNOWN_FRAMES
    first = round((start or 0.0) * rate)
    wanted = file.frames - first if duration is None else round(duration * rate)
    limit = min(round(max_seconds * rate), MAX_SAMPLES)
    if known and duration is not None and 0 < first + wanted - file.frames <= ROUNDING * rate:
        wanted = file.frames - first
    if known and first + (wanted if duration is not None else 0) > file.frames:
        raise BrokenRecording(path, f"ends at {file.frames / rate:.2f} s, before the piece that was asked for")
    if wanted > limit and (known or duration is not None):
        raise BrokenRecording(path, f"{wanted / rate:.0f} s long; at most {limit / rate:g} s can be used")
    if first:
        file.seek(first)
    blocks = list(mono_blocks(path, file, min(wanted, limit + 1)))
    waveform = np.ascontiguousarray(blocks[0]) if len(blocks) == 1 else np.concatenate(blocks)
    if len(waveform) > limit:
        raise BrokenRecording(path, f"longer than {limit / rate:g} s")
    return waveform, rate


def _check_file(path: str | os.PathLike) -> tuple[bytes, BinaryIO | None]:
    """Refuse what must not be handed to libsndfile: a pipe would block for ever, a cut WAV would pass as whole.

    Returns the first bytes, and the file with its length filled in where its writer has left that out.
    """
    try:
        # Not blocking: a pipe that appears in place of the file between the two calls is still only looked at.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:
        raise BrokenRecording(path, "its name holds a zero byte") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BrokenRecording(path, "a symbolic link that leads back to itself") from error
        if error.errno == errno.ENOENT:
            reason = "a symbolic link to nothing" if Path(path).is_symlink() else "does not exist"
            raise BrokenRecording(path, reason) from error
        if os.name != "posix" and Path(path).is_dir():
            raise BrokenRecording(path, "a folder, not a recording") from error
        raise BrokenRecording(path, f"cannot be opened ({error.strerror})") from error
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise BrokenRecording(path, "a folder, not a recording")
        if not stat.S_ISREG(status.st_mode):
            raise BrokenRecording(path, "not a regular file")
        if status.st_size == 0:
            raise BrokenRecording(path, "an empty file")
        file = os.fdopen(handle, "rb")
        handle = None
        with ExitStack() as stack:
            stack.enter_context(file)
            head = file.read(64)
            found = containers.find_audio(file)
            missing = containers.missing_bytes(found, status.st_size)
            patched = containers.filled_in(file, found, status.st_size)
            if containers.is_for_others(head) and (decoded := other_formats.decode(file)) is not None:
                return b"RIFF", decoded
            if patched is not None:
                stack.pop_all()  # it is read from
    except OSError as error:
        raise BrokenRecording(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BrokenRecording(path, f"{containers.kind(head).partition(',')[0]}; {error}") from error
    finally:
        if handle is not None:
            os.close(handle)
    if missing:
        raise BrokenRecording(path, f"truncated: {missing} bytes fewer than its header says")
    return head, patched


@contextmanager
def _no_words(head: bytes) -> Iterator[None]:
    """Keep what libsndfile's decoder of MP3 writes to the process's standard error off it."""
    if not containers.is_mp3(head):
        yield
        return
    with _lock:
        if not _silenced:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            _silenced.append(os.dup(2))
            os.dup2(nowhere, 2)
            os.close(nowhere)
        _silenced.append(0)
    try:
        yield
    finally:
        with _lock:  # whoever is last gives it back
            _silenced.pop()
            if len(_silenced) == 1:
                os.dup2(_silenced[0], 2)
                os.close(_silenced.pop())


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample (S,) float32 from one rate to another in Hz; gives round(S · to_rate / from_rate) samples.

    soxr's HQ recipe: linear phase, 20 bit, more than the 16 bit that the cache keeps.
    """
    if from_rate == to_rate:
        return waveform
    if len(waveform) == 0:
        return np.zeros(0, np.float32)
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ")


def fit(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Bring (S,) to (samples,): a short one gets zeros at its end, a long one is cropped around the speech.

    The speech is taken to be where the energy is: of all stretches of `samples` samples, those within 1 % of the
    highest energy, and of these the middle one. Taking the middle puts a word shorter than the stretch at its
    centre rather than at whichever end the noise happens to favour.
    """
    if len(waveform) == samples:
        return waveform
    if len(waveform) < samples:
        return np.pad(waveform, (0, samples - len(waveform)))
    first = loudest_stretch(waveform, samples)
    return waveform[first : first + samples]


def loudest_stretch(waveform: np.ndarray, samples: int) -> int:
    """Where the stretch of `samples` samples begins that `fit` would keep of (S,), S >= samples."""
    centred = waveform.astype(np.float64) - waveform.mean(dtype=np.float64)  # an offset is not speech
    total = np.concatenate([[0.0], np.cumsum(np.square(centred, out=centred))])
    energy = total[samples:] - total[:-samples]  # (S - samples + 1,)
    best = int(energy.argmax())
    below = np.flatnonzero(energy < 0.99 * energy[best])
    after = int(np.searchsorted(below, best))
    left = int(below[after - 1]) + 1 if after > 0 else 0
    right = int(below[after]) - 1 if after < len(below) else len(energy) - 1
    return (left + right) // 2


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] to int16, rounded; what lies outside is clipped. 16-bit files come back exactly."""
    return np.clip(np.rint(waveform * np.float32(32768.0)), -32768, 32767).astype(np.int16)


def to_float32(samples: np.ndarray) -> np.ndarray:
    """int16 samples to float32 in [-1, 1)."""
    return samples.astype(np.float32) * np.float32(1.0 / 32768.0)
