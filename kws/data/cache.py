"""Waveforms of a corpus as memory-mapped arrays: decoded and resampled once, there whole or not at all.

A cache is a folder, `waveforms-<corpus>-<rate>-<key>`: `training.npy`, `validation.npy`, `testing.npy` (N, S) int16,
`noise.npy` (all background recordings end to end) and `waveforms.json`, which says what was left out: of the clips
themselves the corpus tells. Its key covers the content of every recording,
the choice of clips, the rate and the length. So a changed clip or setting leads to another folder, an equal corpus
elsewhere leads to this one, and a folder that is there is right. It is made under a temporary name and renamed.
Deleting any of it is safe; it is made again.
"""

import errno
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from kws.corpus import audio
from kws.corpus.base import Corpus, Refusal, digest
from kws.corpus.clips import SPLITS, ClipTable
from kws.corpus.selection import NO_SPEECH
from kws.data.decoding import Engine, find_engine
from kws.support.content import Content, Files, digests, look_at
from kws.support.errors import BrokenRecording, KwsError
from kws.support.files import atomic_folder
from kws.support.locking import lock
from kws.support.progress import available_cores, bar

VERSION = "3"  # of what is in the folder; raise it when the same clips would give other arrays
PREFIX = "waveforms-"
MAX_NOISE_SECONDS = 3600.0
DAY = 86_400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WaveformSplit:
    """The clips of one split, row by row; clips that could not be read have no row."""

    samples: np.ndarray  # (N, S) int16, memory-mapped
    labels: np.ndarray  # (N,) int64, class index
    clips: ClipTable

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def paths(self) -> list[str]:
        """The recording of each clip."""
        return list(self.clips.paths())

    @property
    def speakers(self) -> list[str]:
        """The speaker of each clip."""
        return [os.fsdecode(speaker) for speaker in self.clips.speakers]


@dataclass(frozen=True)
class Waveforms:
    """A corpus at one rate and length."""

    splits: dict[str, WaveformSplit]  # training, validation, testing
    noise: list[np.ndarray]  # each (S,) int16, memory-mapped: what training may hear of each recording
    refused: tuple[Refusal, ...]  # recordings that could not be used
    key: str
    sample_rate: int
    labels: tuple[str, ...]
    silent: dict[str, int]  # clips for training that are silent from end to end, by label
    folder: Path


def waveforms(
    corpus: Corpus,
    sample_rate: int,
    seconds: float = 1.0,
    directory: str | os.PathLike = "cache",
    workers: int | None = None,
    max_broken_share: float = 0.01,
    progress: bool = True,
    engine: str = "threads",
    tail: float = 0.0,
) -> Waveforms:
    """The waveforms of `corpus` at `sample_rate`, each brought to `seconds` and followed by `tail` seconds of silence.

    They come from the cache or are made now.

    Clips are decoded and resampled by `workers` threads (None: one per core available), or by what else `engine`
    names (`kws.data.decoding`). Shorter clips get zeros at the end, longer ones are cropped around the speech
    (`kws.corpus.audio.fit`).

    Raises KwsError when more than `max_broken_share` of the clips cannot be read, when a split is left without
    clips, when the disk is full or the directory cannot be written, and when a recording changes meanwhile.
    """
    samples, silence = round(sample_rate * seconds), round(sample_rate * tail)
    if sample_rate < audio.RATES[0] or samples < 1:
        raise KwsError(f"sample_rate={sample_rate} and seconds={seconds} give no waveform; use 8000 or 16000, and 1.0")
    workers = workers or available_cores()
    directory = Path(directory)
    with readable_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        files = corpus.files()
        with bar("checking recordings", len(files), progress) as advance:
            index = directory / f"digests-{_short(str(corpus.root.resolve()))}.bin"
            content = digests(files, index, workers, advance)
        key = _key(corpus, sample_rate, samples, silence, content)
        folder = directory / f"{PREFIX}{_slug(corpus.name)}-{sample_rate}-{key[:20]}"
        found = _load(folder, corpus, key)
        if found is None:
            with lock(
                directory / ".lock", lambda: log.warning("waiting: %s is in use by another run", directory)
            ) as held:
                found = _load(folder, corpus, key)  # made by another process while this one waited
                if found is None:
                    _clean(directory, held)
                    if folder.is_dir():
                        _remove(folder)
                    facts = {"key": key, "sample_rate": sample_rate, "samples": samples + silence}
                    unchanged = partial(_refuse_changed, files, content.identity, workers)
                    _build(folder, corpus, find_engine(engine, workers), facts, silence, unchanged, progress)
                    found = _load(folder, corpus, key)
        if found is None:
            raise KwsError(f"{folder}: the cache just written cannot be read back; check the disk, or use another one")
    _check_share(corpus, found, max_broken_share)
    return found


def _key(corpus: Corpus, sample_rate: int, samples: int, silence: int, content: Content) -> str:
    settings = (VERSION, str(sample_rate), str(samples), soxr.__version__, soundfile.__libsndfile_version__)
    settings += (f"tail {silence}",) if silence else ()
    inside = hashlib.blake2b(content.digest.data, digest_size=16).hexdigest()
    return digest([settings, (corpus.fingerprint(), inside)])


# ---- making it


def _build(
    folder: Path,
    corpus: Corpus,
    decode: Engine,
    facts: dict,
    silence: int,
    unchanged: Callable[[], None],
    progress: bool,
) -> None:
    sample_rate, samples = facts["sample_rate"], facts["samples"]
    needed = 2 * samples * len(corpus.clips)
    if needed > (free := shutil.disk_usage(folder.parent).free):
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
    refused: list[Refusal] = []
    silent: Counter[str] = Counter()
    table: dict = {**facts, "splits": {}, "noise": []}
    with atomic_folder(folder) as temporary:
        total = len(corpus.clips) + len(corpus.noise)
        with bar("decoding recordings", total, progress) as advance:
            for split in SPLITS:
                clips, done, left_out = corpus.split(split), 0, []
                with ArrayFile(temporary / f"{split}.npy", (samples,)) as file:
                    for results in decode(clips, sample_rate, samples - silence):
                        for row, result in enumerate(results, start=done):
                            label = clips.labels[clips.label[row]]
                            if isinstance(result, Refusal):
                                refused.append(result)
                                left_out.append(row)
                                continue
                            file.append(np.pad(result, (0, silence))[None])
                            if split == "training" and label not in NO_SPEECH and np.abs(result).max() <= 1:
                                silent[label] += 1
                        done += len(results)
                        advance(len(results))
                table["splits"][split] = {"clips": len(clips) - len(left_out), "left_out": left_out}
            with ArrayFile(temporary / "noise.npy", ()) as file:
                for path in corpus.noise:
                    try:
                        recording = audio.to_int16(_noise(path, sample_rate, corpus.noise_share))
                        file.append(recording)
                        table["noise"].append(len(recording))
                    except BrokenRecording as error:
                        refused.append(Refusal(error.path, error.reason))
                    advance(1)
        table["silent"] = dict(silent)
        table["refused"] = [[refusal.path, refusal.reason] for refusal in refused]
        unchanged()
        with (temporary / "waveforms.json").open("w", encoding="ascii") as file:
            json.dump(table, file)  # ASCII: paths may hold bytes that are no text
            file.flush()
            os.fsync(file.fileno())


def _refuse_changed(files: Files, before: np.ndarray, workers: int) -> None:
    changed = np.flatnonzero((look_at(files, workers) != before).any(axis=1))
    if len(changed):
        path = os.fsdecode(next(files.take(changed[:1]).paths()))
        raise KwsError(f"{path!r}: changed while the corpus was being read; run again when it is at rest")


def _noise(path: Path, sample_rate: int, share: float) -> np.ndarray:
    return audio.read_at(path, sample_rate, MAX_NOISE_SECONDS, share)


class ArrayFile:
    """A `.npy` file that grows along its first dimension; `row` is the shape of what follows it.

    Written with ordinary writes rather than through a map: on a full disk a write fails, a map kills the process.
    """

    def __init__(self, path: Path, row: tuple[int, ...], dtype: str = "<i2"):
        self.path, self.row, self.count, self.dtype = path, row, 0, np.dtype(dtype)
        self.file = path.open("wb")
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        """Add rows, (n, *row)."""
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.count += len(rows)

    def _write_header(self) -> None:
        # NumPy pads its headers so that the first dimension can grow in place.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, *self.row)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                start = self.file.tell() - self.dtype.itemsize * self.count * int(np.prod(self.row, dtype=np.int64))
                self.file.seek(0)
                self._write_header()
                assert self.file.tell() == start, "the header has grown over the data"
                self.file.flush()
                os.fsync(self.file.fileno())  # a power failure must not leave a renamed folder of zeros
        finally:
            self.file.close()


# ---- finding it


def _load(folder: Path, corpus: Corpus, key: str) -> Waveforms | None:
    """The waveforms in `folder`; None where there are none, or where somebody has damaged them."""
    try:
        table = json.loads((folder / "waveforms.json").read_text(encoding="ascii"))
        if table["key"] != key:
            return None
        splits, codes = {}, {label: code for code, label in enumerate(corpus.labels)}
        for split in SPLITS:
            facts, clips = table["splits"][split], corpus.split(split)
            there = np.ones(len(clips), bool)
            there[facts["left_out"]] = False
            clips = clips.take(there)
            samples = _map(folder / f"{split}.npy", (facts["clips"], table["samples"]))
            if len(clips) != len(samples):
                raise ValueError(f"{split}.npy is of {len(samples)} clips, not {len(clips)}")
            classes = np.array([codes.get(label, -1) for label in clips.labels], np.int64)
            splits[split] = WaveformSplit(samples, classes[clips.label], clips)
        ends = np.cumsum([0, *table["noise"]])
        noise = _map(folder / "noise.npy", (int(ends[-1]),))
        return Waveforms(
            splits=splits,
            noise=[noise[start:end] for start, end in itertools.pairwise(ends)],
            refused=tuple(Refusal(path, reason) for path, reason in table["refused"]),
            key=key,
            sample_rate=table["sample_rate"],
            labels=corpus.labels,
            silent=dict(table["silent"]),
            folder=folder,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        log.warning("%s is damaged (%s); it is made again", folder, error)
        return None


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, np.int16)  # an empty array cannot be mapped everywhere
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape != shape or array.dtype != np.int16:
        raise ValueError(f"{path.name} is {array.dtype} {array.shape}, not int16 {shape}")
    return array


def _check_share(corpus: Corpus, found: Waveforms, max_broken_share: float) -> None:
    total = len(corpus.clips)
    broken = total - sum(len(split) for split in found.splits.values())
    if broken > max_broken_share * total:
        first = "; ".join(f"{refusal.path!r} is {refusal.reason}" for refusal in found.refused[:3])
        raise KwsError(
            f"{corpus.root}: {broken} of {total} clips cannot be read, more than the share of {max_broken_share:g} "
            f"that is allowed ({first}{'; …' if len(found.refused) > 3 else ''}); remove or repair them, or raise "
            "data.max_broken_share"
        )
    for split in SPLITS:
        if len(corpus.split(split)) and not len(found.splits[split]):
            raise KwsError(f"{corpus.root}: none of the clips for {split} can be read; repair or replace them")
    wanted = {label for split, label in corpus.clips.counts() if split == "training"}
    there = {found.labels[label] for label in np.unique(found.splits["training"].labels)}
    if missing := sorted(wanted - there):
        first = next(refusal for refusal in found.refused if refusal.path)
        raise KwsError(
            f"{corpus.root}: none of the clips of {', '.join(missing)} for training can be read ({first.path!r} is "
            f"{first.reason}); repair or replace them, or leave the words out of data.words"
        )


# ---- around it


def _clean(directory: Path, held: bool) -> None:
    """Remove what killed builds have left behind.

    Whoever holds the lock is the only one building here, so every temporary folder is a leftover. Without locks
    only those are removed that no build can still be working on.
    """
    for path in directory.glob(f".{PREFIX}*.tmp"):
        try:
            old = held or time.time() - path.stat().st_mtime > DAY
        except OSError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Take a damaged cache away in one step, then file by file."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def readable_errors(directory: Path) -> Iterator[None]:
    """A disk that is full or cannot be written becomes a KwsError that names the cache."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise KwsError(
                f"{directory}: the disk is full ({error.strerror}); make room, or put the cache elsewhere"
            ) from error
        raise KwsError(
            f"{directory}: the cache cannot be written ({error.strerror or error}); set its directory to a place that "
            "can be written to"
        ) from error


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "corpus"


def _short(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=6).hexdigest()
