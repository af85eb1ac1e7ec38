"""exports/c, exports/c_int8: a spotter in C that anybody can compile, and that has been compiled, run and compared."""

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kws.export import c_int8
from kws.export.base import Exported, Exporter, Probe
from kws.export.parity import Parity
from kws.export.stream_parity import compare_detections, compare_streams
from kws.native import builds, compiler, folder, measure
from kws.native.library import CModel
from kws.program import Program, stored
from kws.program.quantize import quantize
from kws.runs.names import INT8
from kws.spotter import Spotter
from kws.support.environment import processor
from kws.support.errors import KwsError

FOLDER = "c"
INTEGER_FOLDER, INTEGERS = INT8.split("/")  # a folder, and in it the network as `kws.program.stored` keeps it
FOLDERS = {"float32": FOLDER, "int8": INTEGER_FOLDER}
"""By the kind of weights."""


class CExport(Exporter):
    """Writes exports/c, exports/c_int8 or both, and compares them frame by frame on real clips as one long stream.

    float32 is compared with PyTorch. int8 is calibrated on training clips and compared with its twin in Python to the
    last bit; how often it has the label of the float32 network is reported. Without a C compiler, and without the one
    that a target takes, a sentence says what was not compiled or not checked.

    Args:
        weights: ``float32``, ``int8``, or a list of them.
        targets: what is compiled: ``host``, ``wasm``, or a machine and a system such as ``aarch64-linux``.
        tolerance: of float32: largest difference of a log-probability that passes.
        agreement: of int8: least share of frames with the label of the float32 network that passes.
        clips: how many of the probe's clips make the stream.
    """

    def __init__(
        self,
        weights: str | Sequence[str] = "float32",
        targets: Sequence[str] = (compiler.HOST,),
        tolerance: float = 1e-4,
        agreement: float = 0.9,
        clips: int = 300,
    ):
        super().__init__()
        self.weights = (weights,) if isinstance(weights, str) else tuple(weights)
        for kind in self.weights:
            if kind not in FOLDERS:
                raise KwsError(f"export.c.weights={kind} is unknown; choose float32, int8 or [float32,int8].")
        self.targets = tuple(targets)
        self.tolerance = tolerance
        self.agreement = agreement
        self.clips = clips

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """Write a folder for each kind of weights, whole or not at all, and check it."""
        return [self.write_folder(kind, spotter, probe, Path(directory) / FOLDERS[kind]) for kind in self.weights]

    def write_folder(self, kind: str, spotter: Spotter, probe: Probe, path: Path) -> Exported:
        """Write and check the folder of one kind of weights."""
        parity = model = None
        said = f"It has not been compared with PyTorch: {compiler.NONE_FOUND}."
        program = in_integers(spotter, probe) if kind == "int8" else spotter.program()
        with folder.replaced(path) as new:
            folder.write_sources(spotter, new, program)
            folder.write_package(spotter, new)
            if kind == "int8":
                stored.write(program, new / INTEGERS)
            for target in compiler.possible(self.targets):
                builds.build_library(new, target)
            if compiler.find_compiler() is not None:
                model = CModel.in_folder(new)
                waveforms = np.asarray(probe.waveforms[: self.clips], np.float32) / 32768
                parity, said = self.compare(kind, spotter, program, model, waveforms)
            else:
                print(f"{path} is written and not checked: {compiler.NONE_FOUND}.")
            small = measure.footprint(new)
            native = measure.figures(model, small)
            folder.write_readme(spotter, new, program, table(native, small), said)
        return Exported(FOLDERS[kind], path, parity, native)

    def compare(
        self, kind: str, spotter: Spotter, program: Program, model: CModel, waveforms: np.ndarray
    ) -> tuple[Parity, str]:
        """Check a model, and say in a sentence what was found."""
        if kind == "int8":
            name = f"{FOLDERS[kind]}/src/kws_model.c"
            parity = c_int8.check(spotter, program, model, waveforms, self.agreement, name)
            return parity, (
                f"Compared on {parity.clips} recordings as one stream: its integers are those of its twin in Python to "
                "the last bit, and voice and detections are the same. It has the label of the float32 network in "
                f"{parity.label_agreement:.1%} of the frames; no log-probability differs by more than "
                f"{parity.max_abs_difference:.2g}."
            )
        parity = check(spotter, model, waveforms, self.tolerance)
        return parity, (
            f"Compared with PyTorch on {parity.clips} recordings as one stream: no log-probability differs by "
            f"more than {parity.max_abs_difference:.1e}, voice and detections are the same."
        )


def in_integers(spotter: Spotter, probe: Probe) -> Program:
    """The integer program of a spotter, calibrated on training clips."""
    if probe.training is None:
        raise KwsError("export.c.weights=int8 is calibrated on training clips, and there are none here.")
    return quantize(spotter.program(), probe.training())


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
