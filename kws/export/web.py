"""exports/web: a folder of static files, the page that listens with this spotter in any browser."""

from pathlib import Path

import numpy as np

from kws.export import c, c_int8
from kws.export.base import Exported, Exporter, Probe
from kws.export.parity import Parity, ParityError, allowed
from kws.export.stream_parity import compare_detections
from kws.native import CModel, compiler, folder
from kws.page import heard_by_the_page, write_page
from kws.page.node import HeardInNode, hear_in_node
from kws.program import Program
from kws.spotter import Spotter
from kws.support.errors import KwsError

FOLDER = "web"
IN_NODE = 20
"""Clips that the page's own engine hears in node."""
OTHER_INTEGERS = 0.05
"""What posteriors of an integer network may differ by: where a feature lies between two integers, its last digit, which
another processor rounds otherwise, decides."""


class WebExport(Exporter):
    """Writes exports/web: the engine as WebAssembly, what the page is told of the spotter, HTML, CSS and ES modules.

    The same C is compiled for this machine and compared as export=c compares it; where there is node, the page's own
    engine runs in it, and has to say the same, words included.

    Args:
        weights: ``float32`` or ``int8``.
        tolerance, agreement, clips: see `kws.export.c.CExport`.
    """

    def __init__(self, weights: str = "float32", tolerance: float = 1e-4, agreement: float = 0.9, clips: int = 100):
        super().__init__()
        if weights not in ("float32", "int8"):
            raise KwsError(f"export.web.weights={weights} is unknown; choose float32 or int8.")
        self.weights, self.tolerance, self.agreement, self.clips = weights, tolerance, agreement, clips

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """Write the folder, whole or not at all, and check it."""
        if compiler.find_compiler(crosses=True) is None:
            print(f"No {FOLDER} files: for WebAssembly {compiler.NO_CROSS_COMPILER}.")
            return []
        path = Path(directory) / FOLDER
        told = heard_by_the_page(spotter)
        program = c.in_integers(told, probe) if self.weights == "int8" else told.program()
        with folder.replaced(path) as new:
            write_page(spotter, new, path.resolve().parents[1].name, program)
            model = CModel.of(told, program)
            waveforms = np.asarray(probe.waveforms[: self.clips], np.float32) / 32768
            parity = self.compare(told, program, model, waveforms)
            samples = waveforms[:IN_NODE, : waveforms.shape[1] // model.hop_size * model.hop_size].reshape(-1)
            heard = hear_in_node(new, samples, len(spotter.labels))
            if heard is None:
                print(f"{path}: there is no node here, so only its C was compared, compiled for this machine.")
            else:
                # The stored spotter judges: its words and its detector are chosen, where the page's are switched.
                own = CModel.of(spotter, c.in_integers(spotter, probe) if self.weights == "int8" else None)
                tolerance = OTHER_INTEGERS if self.weights == "int8" else self.tolerance
                compare_in_node(spotter, own, samples, heard, tolerance)
        return [Exported(FOLDER, path, parity)]

    def compare(self, spotter: Spotter, program: Program, model: CModel, waveforms: np.ndarray) -> Parity:
        """The C of the engine, compiled here, with PyTorch or with its twin in integers."""
        if self.weights == "int8":
            return c_int8.check(spotter, program, model, waveforms, self.agreement, FOLDER)
        return c.check(spotter, model, waveforms, self.tolerance)


def compare_in_node(spotter: Spotter, model: CModel, samples: np.ndarray, heard: HeardInNode, tolerance: float) -> None:
    """Compare what the page's engine said with the C of the stored spotter.

    Where rounding decides a tie of the detectors, the two part; what comes after is not compared.

    Raises:
        ParityError: posteriors or words differ.
    """
    outputs, _ = model.hear(samples[None], model.start())
    hops = len(heard.voice)
    if outputs.signal is not None and (differs := np.flatnonzero(outputs.signal[0] != heard.voice)).size:
        hops = int(differs[0])
    expected = np.exp(outputs.log_probabilities[0, :hops].astype(np.float64))
    difference = np.abs(expected - heard.posteriors[:hops])
    if not (difference <= allowed(outputs.log_probabilities[0, :hops], tolerance)).all():
        raise ParityError(
            f"{FOLDER}: the page's engine differs by {difference.max():.3g} from the C of the stored spotter. "
            "It has not been kept."
        )
    log_probabilities = np.log(np.maximum(heard.posteriors[:hops], 1e-30))
    voice = None if outputs.signal is None else heard.voice[:hops]
    until = hops * model.hop_size / model.sample_rate
    found = [detection for detection in heard.detections if detection.time <= until + 1e-6]
    compare_detections(spotter, log_probabilities, samples[: hops * model.hop_size], voice, found, FOLDER)
