"""Recordings to waveforms of one rate and length, in the order of the clips: by threads here, or by a Ray cluster."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from kws.corpus import audio
from kws.corpus.base import Refusal
from kws.corpus.clips import Clip, ClipTable
from kws.support.errors import BrokenRecording, KwsError

ENGINES = ("threads", "ray")
CHUNK = 32  # clips a thread decodes at a time
Waveform = np.ndarray
"""(S,) int16."""


class Engine(Protocol):
    """Whatever decodes."""

    def __call__(self, clips: ClipTable, sample_rate: int, samples: int) -> Iterator[list[Waveform | Refusal]]:
        """What came of the clips, chunk by chunk in their order: `samples` samples at `sample_rate` each."""


def find_engine(name: str, workers: int) -> Engine:
    """The engine that ``data.engine`` names. Raises KwsError for another name."""
    if name not in ENGINES:
        raise KwsError(f"data.engine={name} is unknown; choose from {', '.join(ENGINES)}.")
    if name == "threads":
        return Threads(workers)
    from kws.data.ray_decoding import RayCluster  # Ray takes a second to import, and few have it

    return RayCluster()


class Threads:
    """Some threads: libsndfile and soxr work without Python's lock, and threads need no second copy of the result."""

    def __init__(self, workers: int):
        self.workers = workers

    def __call__(self, clips: ClipTable, sample_rate: int, samples: int) -> Iterator[list[Waveform | Refusal]]:
        """See `Engine`."""
        with ThreadPoolExecutor(self.workers) as pool:
            yield from in_order(
                chunks_of(clips, CHUNK),
                lambda chunk: pool.submit(decode, chunk, sample_rate, samples),
                lambda future: future.result(),
                lambda future: future.cancel(),
                4 * self.workers,
            )


def decode(clips: Iterable[Clip], sample_rate: int, samples: int) -> list[Waveform | Refusal]:
    """Waveforms of some clips, each brought to `samples` samples at `sample_rate`; or why there is none."""
    results: list[Waveform | Refusal] = []
    for clip in clips:
        try:
            waveform, rate = audio.read(clip.path, clip.start, clip.duration)
            results.append(audio.to_int16(audio.fit(audio.resample(waveform, rate, sample_rate), samples)))
        except BrokenRecording as error:
            results.append(Refusal(error.path, error.reason))
    return results


def chunks_of(clips: ClipTable, size: int) -> Iterator[ClipTable]:
    """The clips, so many at a time."""
    return (clips[first : first + size] for first in range(0, len(clips), size))


def in_order(work: Iterable[Any], submit: Callable, result: Callable, cancel: Callable, ahead: int) -> Iterator[Any]:
    """Have work done elsewhere and hand back what came of it in order, `ahead` pieces at most before it is taken.

    Args:
        work: pieces of it.
        submit: given a piece, begins with it and hands back a job.
        result: given a job, waits for what came of it.
        cancel: given a job, gives it up.
        ahead: so that memory stays small.
    """
    pending: deque = deque()
    try:
        for piece in work:
            pending.append(submit(piece))
            if len(pending) > ahead:
                yield result(pending.popleft())
        while pending:
            yield result(pending.popleft())
    finally:  # an error or Ctrl-C: do not do the rest first
        for job in pending:
            cancel(job)
