"""The same stream through every runtime: do they give the same labels?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kws.evaluation.ell_runtime import EllRuntime
from kws.evaluation.stream.modes import hear_clips, share, stream_order
from kws.export.onnx_stream import FILE_NAME, StreamModel
from kws.native import CModel
from kws.native.compiler import find_compiler
from kws.program import stored
from kws.runs.names import INT8
from kws.spotter import Spotter
from kws.spotter.runtime import Runtime, TorchRuntime
from kws.support.errors import KwsError

RUNTIMES = ("onnx", "ell", "c", "c_int8")


def find_runtime(name: str, spotter: Spotter, exports: Path) -> Runtime | None:
    """The runtime of this name for the files in a run's exports/; None when they have not been exported.

    C is written anew from the spotter and compiled, for what lies in a folder from elsewhere is not to be run.

    Raises:
        KwsError: no such runtime, or a file that cannot be read or hears other words.
    """
    if name not in RUNTIMES:
        raise KwsError(f"runtimes={name} is unknown; choose from {', '.join(RUNTIMES)}.")
    if name == "onnx":
        path = exports / FILE_NAME
        runtime = StreamModel(path) if path.is_file() else None
    elif name == "c":
        runtime = CModel.of(spotter) if (exports / name).is_dir() and find_compiler() else None
    elif name == "c_int8":
        path = exports / INT8
        here = path.is_file() and find_compiler()
        runtime = CModel.of(spotter, stored.read(path, spotter.program())) if here else None
    else:
        pair = [exports / "featurizer.ell", exports / ("classifier_vad.ell" if spotter.vad else "classifier.ell")]
        whole = all(path.is_file() for path in pair)
        runtime = EllRuntime(*pair, spotter.sample_rate, spotter.featurizer.scale) if whole else None
    if runtime is not None:
        runtime.name = name
    if runtime is not None and tuple(runtime.labels) != spotter.labels:
        raise KwsError(f"the {name} files in {str(exports)!r} hear other words than the spotter; export it again.")
    return runtime


def compare_runtimes(
    spotter: Spotter,
    runtimes: Sequence[Runtime],
    clips: np.ndarray,
    labels: np.ndarray,
    seed: int = 1,
    definition: str = "best",
) -> dict[str, dict[str, Any]]:
    """Play clips as one continuous stream, and each from a reset state, to PyTorch and to every runtime.

    On the stream the state is reset by the detector that the spotter carries, or never if it has none: exported files
    cannot do otherwise.

    Returns:
        By runtime, ``agreement`` (share of the stream's clips with PyTorch's label), ``accuracy`` with ``interval``
        and ``clips`` on the stream, ``largest_difference`` of any clip's highest log-probabilities, ``reset_agreement``
        and ``reset_accuracy``.
    """
    order = stream_order(len(clips), seed)
    ours = TorchRuntime(spotter)
    expected = {reset: hear_clips(ours, clips, order, reset) for reset in (False, True)}
    results = {}
    for runtime in runtimes:
        heard = {reset: hear_clips(runtime, clips, order, reset) for reset in (False, True)}
        given = {reset: verdicts.given[definition] for reset, verdicts in heard.items()}
        same = {reset: given[reset] == expected[reset].given[definition] for reset in heard}
        # Far below the best ones, runtimes that give probabilities have run out of float32.
        floor = np.log(1e-6)
        difference = max(
            float(np.abs(np.maximum(a.confidences, floor) - np.maximum(b.confidences, floor)).max(initial=0.0))
            for a, b in ((heard[reset], expected[reset]) for reset in heard)
        )
        results[runtime.name] = {
            "agreement": float(same[False].mean()),
            **share(given[False] == labels),
            "largest_difference": difference,
            "reset_agreement": float(same[True].mean()),
            "reset_accuracy": float((given[True] == labels).mean()),
        }
    return results


def agreement(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """By runtime, the share of clips with PyTorch's label."""
    return {name: figures["agreement"] for name, figures in results.items()}
