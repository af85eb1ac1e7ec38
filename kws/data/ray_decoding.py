"""Recordings decoded by a Ray cluster (`data.engine=ray`): the same waveforms as threads give, from many machines.

Only decoding is spread. The choice of clips, what tells them from others, and the cache itself stay with the process
that asks, so that the folder it writes is the same to the last byte. The machines read the recordings by themselves:
they must lie under the same path there.
"""

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from kws.corpus.base import Refusal
from kws.corpus.clips import Clip, ClipTable
from kws.data.decoding import Waveform, chunks_of, decode, in_order
from kws.support.errors import KwsError

CHUNK = 256  # clips a task decodes
AHEAD = 4  # tasks for each core of the cluster that may wait, or lie done


class RayCluster:
    """The Ray that this process belongs to, or the one that RAY_ADDRESS names, or one that is started here."""

    def __init__(self):
        try:
            import ray
        except ImportError as error:
            raise KwsError(
                "data.engine=ray needs Ray: pip install 'kws[ray]', or leave data.engine=threads."
            ) from error
        self.ray = ray
        if not ray.is_initialized():
            try:
                ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise KwsError(
                    f"data.engine=ray: no Ray can be reached ({str(error).splitlines()[0]}); correct RAY_ADDRESS, or "
                    "leave it out to have Ray started on this machine."
                ) from error

    def __call__(self, clips: ClipTable, sample_rate: int, samples: int) -> Iterator[list[Waveform | Refusal]]:
        """See `kws.data.decoding.Engine`."""
        task = self.ray.remote(num_cpus=1)(decode_there)
        work = ([replace(clip, path=Path.cwd() / clip.path) for clip in chunk] for chunk in chunks_of(clips, CHUNK))
        here = iter(clips)
        results = in_order(
            work,
            lambda chunk: task.remote(chunk, sample_rate, samples),
            self._result,
            self.ray.cancel,
            AHEAD * max(1, int(self.ray.cluster_resources().get("CPU", 1))),
        )
        for node, made_with, waveforms, reasons in results:
            _refuse_other(node, made_with)
            found = iter(waveforms)
            yield [
                next(found) if reason is None else _same_here(node, clip, reason, sample_rate, samples)
                for reason, clip in zip(reasons, here, strict=False)
            ]

    def _result(self, job: Any) -> tuple:
        try:
            return self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            raise KwsError(
                f"data.engine=ray: a task was lost ({str(error).splitlines()[0]}); is kws installed on every machine? "
                "Run again, or leave data.engine=threads."
            ) from error


def made_with() -> dict[str, str]:
    """What the bytes of a waveform depend on beside its recording."""
    return {
        "machine": platform.machine(),
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
        "numpy": np.__version__,
    }


def decode_there(
    clips: list[Clip], sample_rate: int, samples: int
) -> tuple[str, dict[str, str], np.ndarray, list[str | None]]:
    """On a machine of the cluster: its name, `made_with`, the waveforms (N, S), and each clip's reason to have none."""
    results = decode(clips, sample_rate, samples)
    waveforms = [result for result in results if not isinstance(result, Refusal)]
    reasons = [result.reason if isinstance(result, Refusal) else None for result in results]
    return platform.node(), made_with(), np.array(waveforms, np.int16).reshape(-1, samples), reasons


def _refuse_other(node: str, theirs: dict[str, str]) -> None:
    """Other libraries give other bytes, and the cache would not be the one that its name says."""
    for name, ours in made_with().items():
        if theirs[name] != ours:
            raise KwsError(
                f"data.engine=ray: {node} has {name} {theirs[name]}, this machine {ours}; install the same there."
            )


def _same_here(node: str, clip: Clip, reason: str, sample_rate: int, samples: int) -> Refusal:
    """The refusal of a clip that cannot be read here either; else the other machine does not see what this one does."""
    (result,) = decode([clip], sample_rate, samples)
    if not isinstance(result, Refusal):
        raise KwsError(
            f"{str(clip.path)!r} can be read here but not on {node} ({reason}); data.engine=ray needs the recordings "
            "under the same path on every machine."
        )
    return result
