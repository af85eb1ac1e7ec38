"""What exports/c_int8 has to be: its twin in Python to the last bit, and nearly the float32 network."""

from itertools import pairwise

import numpy as np
import torch

from kws.export.parity import Parity, ParityError, allowed
from kws.export.stream_parity import compare_detections
from kws.native.library import CModel
from kws.program import Program, integer
from kws.spotter import Spotter

SCALING = 1e-5
"""What scores and log-softmax, the only floats behind the integers, may differ by."""


class Heard:
    """One stream through a model in C, hop by hop.

    Attributes:
        features (T, F), totals (T, C), log_probabilities (T, C), signal (T,) or None.
    """

    def __init__(self, model: CModel, samples: np.ndarray):
        state, hop = model.start(), model.hop_size
        features, totals, log_probabilities, signal = [], [], [], []
        for start in range(0, samples.shape[1] - hop + 1, hop):
            outputs, frame, state = model.listen(samples[:, start : start + hop], state)
            features.append(frame[0, 0])
            totals.append(model.totals(state)[0])
            log_probabilities.append(outputs.log_probabilities[0, 0])
            signal.append(0 if outputs.signal is None else outputs.signal[0, 0])
        self.features, self.totals = np.array(features), np.array(totals)
        self.log_probabilities = np.array(log_probabilities)
        self.signal = np.array(signal) if model.has_detector else None


@torch.no_grad()
def twin(spotter: Spotter, program: Program, features: np.ndarray) -> tuple[integer.Outputs, np.ndarray | None]:
    """What the twin of an integer program says of one stream with the resets of the spotter's detector.

    Args:
        spotter: whose detector.
        program: the integer program.
        features: raw ones, (T, F).

    Returns:
        totals and log-probabilities, (T, C), and the detector's signal (T,), None without one.
    """
    signal, ends = None, []
    if spotter.vad is not None:
        signal = spotter.vad(torch.from_numpy(features[None]))[0].numpy()
        ends = (np.flatnonzero(np.diff(signal) < 0) + 2).tolist()  # a reset follows the frame that falls
    bounds = [0, *ends, len(features)]
    pieces = [integer.run(program, features[None, a:b])[0] for a, b in pairwise(bounds)]
    return integer.Outputs(*(np.concatenate(parts, axis=1)[0] for parts in zip(*pieces, strict=True))), signal


@torch.no_grad()
def check(
    spotter: Spotter, program: Program, model: CModel, waveforms: np.ndarray, agreement: float, name: str
) -> Parity:
    """Compare a model in C with its twin and with PyTorch on the clips as one stream without a break.

    Args:
        spotter: the float32 one.
        program: its integer program.
        model: the same in C.
        waveforms: (N, S) clips in [-1, 1].
        agreement: least share of frames that have the float32 network's label.
        name: of the file, for a sentence.

    Returns:
        how far C is from the float32 network; its tolerance is the share of frames that may have another label.

    Raises:
        ParityError: an integer, the voice or a detection is not the twin's, or too many labels are others.
    """
    count = waveforms.shape[1] // model.hop_size * model.hop_size
    samples = np.ascontiguousarray(waveforms[:, :count].reshape(1, -1), np.float32)
    heard = Heard(model, samples)
    expected, signal = twin(spotter, program, heard.features)
    _refuse(heard.totals, expected.totals, f"{name} computes other integers than its twin in Python")
    if signal is not None:
        _refuse(heard.signal, signal, f"{name} hears voice otherwise than its twin")
    off = np.abs(heard.log_probabilities - expected.log_probabilities) > allowed(expected.log_probabilities, SCALING)
    _refuse(off, np.zeros_like(off), f"{name} makes other log-probabilities of the same integers than its twin")
    detections, _ = model.decode(heard.log_probabilities, samples[0], heard.signal, model.start())
    compare_detections(spotter, heard.log_probabilities, samples[0], heard.signal, detections, name)

    frames, _ = spotter.stream(torch.from_numpy(samples), spotter.initial_state())
    exact = frames.log_probabilities[0].numpy()
    same = float((exact.argmax(-1) == heard.log_probabilities.argmax(-1)).mean())
    if same < agreement:
        raise ParityError(
            f"{name} has the label of the float32 network in {same:.1%} of the frames, and {agreement:.1%} were asked "
            "for (export.c.agreement). It has not been kept; export float32, or lower what is asked for."
        )
    return Parity(float(np.abs(exact - heard.log_probabilities).max()), same, len(waveforms), 1 - agreement)


def _refuse(computed: np.ndarray, expected: np.ndarray, what: str) -> None:
    """ParityError where the rows of two arrays are not the same."""
    (frames,) = np.nonzero((computed != expected).reshape(len(expected), -1).any(axis=1))
    if len(frames):
        raise ParityError(f"{what} in frame {frames[0]} of the stream. It has not been kept.")
