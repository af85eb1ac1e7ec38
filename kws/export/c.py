"""exports/c: a spotter in C that anybody can compile, and that has been compiled, run and compared here."""

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kws.export.base import Exported, Exporter, Probe
from kws.export.parity import Parity
from kws.export.stream_parity import compare_detections, compare_streams
from kws.native import builds, compiler, folder, measure
from kws.native.library import CModel
from kws.spotter import Spotter
from kws.support.environment import processor

FOLDER = "c"


class CExport(Exporter):
    """Writes exports/c and compares it with PyTorch frame by frame on real clips as one long stream.

    Without a C compiler, and without the one that a target takes, a sentence says what was not compiled or not checked.

    Args:
        targets: what is compiled: ``host``, ``wasm``, or a machine and a system such as ``aarch64-linux``.
        tolerance: largest difference of a log-probability that passes.
        clips: how many of the probe's clips make the stream.
    """

    def __init__(self, targets: Sequence[str] = (compiler.HOST,), tolerance: float = 1e-4, clips: int = 300):
        super().__init__()
        self.targets = tuple(targets)
        self.tolerance = tolerance
        self.clips = clips

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """Write the folder, whole or not at all, and check it."""
        path = Path(directory) / FOLDER
        parity = model = None
        said = f"It has not been compared with PyTorch: {compiler.NONE_FOUND}."
        with folder.replaced(path) as new:
            folder.write_sources(spotter, new)
            folder.write_package(spotter, new)
            for target in compiler.possible(self.targets):
                builds.build_library(new, target)
            if compiler.find_compiler() is not None:
                model = CModel.in_folder(new)
                waveforms = np.asarray(probe.waveforms[: self.clips], np.float32) / 32768
                parity = check(spotter, model, waveforms, self.tolerance)
                said = (
                    f"Compared with PyTorch on {parity.clips} recordings as one stream: no log-probability differs by "
                    f"more than {parity.max_abs_difference:.1e}, voice and detections are the same."
                )
            else:
                print(f"{path} is written and not checked: {compiler.NONE_FOUND}.")
            small = measure.footprint(new)
            native = measure.figures(model, small)
            folder.write_readme(spotter, new, spotter.program(), table(native, small), said)
        return [Exported("c", path, parity, native)]


def check(spotter: Spotter, model: CModel, waveforms: np.ndarray, tolerance: float) -> Parity:
    """Compare a model in C with PyTorch on the clips as one stream without a break.

    Raises:
        ParityError: log-probabilities, voice or detections differ.
    """

    def resume(samples: np.ndarray, state: np.ndarray, signal: np.ndarray, _) -> np.ndarray:
        """Where the detectors are in a tie, C's decides as PyTorch's did."""
        hop = model.hop_size
        _, state = model.hear(samples[:, :-hop], state)
        settings = model.settings(state).detector
        before = [getattr(settings, name) for name, _ in settings._fields_]
        settings.threshold_up = settings.level_threshold = -np.inf
        settings.threshold_down = -np.inf if signal[-1] else np.inf
        _, state = model.hear(samples[:, -hop:], state)
        settings = model.settings(state).detector
        for (name, _), value in zip(settings._fields_, before, strict=True):
            setattr(settings, name, value)
        return state

    name = f"{FOLDER}/src/kws_model.c"
    parity, heard, voice = compare_streams(spotter, model, resume, waveforms, tolerance, name)
    samples = waveforms[:, : waveforms.shape[1] // model.hop_size * model.hop_size].reshape(-1)
    detections, _ = model.decode(heard, samples, voice, model.start())
    compare_detections(spotter, heard, samples, voice, detections, name)
    return parity


def table(native: dict[str, float | int | None], small: measure.Footprint | None) -> list[list[str]]:
    """Rows of the README's table: the model here, and its code for a small processor."""
    memory = f"{native['state_bytes']:,} bytes" if native["state_bytes"] else "–"
    time = f"{native['microseconds_per_hop']:.1f} µs" if native["microseconds_per_hop"] else "not measured"
    rows = [[f"{processor()}, {platform.system()}", "–", memory, time]]
    if small is not None:
        rows.append([small.name, f"{small.flash_bytes / 1024:.1f} KiB", memory, "–"])
    return rows
