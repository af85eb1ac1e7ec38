"""One ONNX file that hears: samples of a hop and the state in, log-probabilities, voice and the next state out.

    samples ─► clean ─► buffer ─► DFT ─► filters ─► log ─┬─► normalise ─► layers ─► log_probabilities
                                                         └─► VAD ─► voice   │
                                                              └─ falls: next_state_i = 0

Featurizer, normalisation, network, detector and reset are all inside; onnxruntime needs nothing beside it. A stream
starts with zeros in every input but ``samples``.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto

from kws import files
from kws.evaluation.runtimes import Outputs
from kws.export.base import Exported, Exporter, Probe
from kws.export.onnx import metadata, session
from kws.export.onnx_graph import Graph, array, normalize
from kws.export.onnx_networks import frame_classifier, state_names
from kws.export.parity import Parity, ParityError, allowed
from kws.featurizer import PRE_EMPHASIS, Featurizer
from kws.spotter import Spotter
from kws.vad import INITIAL_NOISE_FLOOR, VoiceActivityDetector

FILE_NAME = "stream.onnx"
VAD_STATE = 4  # columns of ``vad``: noise floor, signal, frames heard, time of the last one in seconds
TIE = 1e-4  # relative distance from a threshold at which rounding may decide


def stream_model(spotter: Spotter) -> onnx.ModelProto:
    """The graph for any number of streams.

    Inputs: ``samples`` (streams, hop) in [-1, 1]; ``buffer`` (streams, window - hop) where windows overlap;
    ``previous`` (streams, 1) with pre-emphasis; ``vad`` (streams, 4) with a detector; ``state_i`` (streams, H).
    Outputs: ``log_probabilities`` (streams, C), ``voice`` (streams,) int64 with a detector, and ``next_…`` for every
    input of state.
    """
    featurizer, vad, classifier = spotter.featurizer, spotter.vad, spotter.classifier
    graph = _Builder("stream")
    samples = graph.clean(graph.input("samples", ["streams", featurizer.hop_size]))
    features = graph.features(samples, featurizer)
    keep = None if vad is None else graph.voice_activity(features, vad)
    names = state_names(classifier)
    before = [graph.input(name, ["streams", size]) for name, size in zip(names, classifier.state_sizes, strict=True)]
    frame = normalize(graph, features, spotter.normalization)
    scores, after = frame_classifier(graph, frame, classifier, before)
    graph.output(scores, "log_probabilities", ["streams", len(spotter.labels)])
    for name, value, size in zip(names, after, classifier.state_sizes, strict=True):
        value = value if keep is None else graph.node("Mul", keep, value)
        graph.output(value, f"next_{name}", ["streams", size])
    return graph.model({**metadata(spotter, "stream"), "initial_state": "zeros"})


class _Builder(Graph):
    """The stages in front of the network."""

    def clean(self, samples: str) -> str:
        """NaN and infinite samples to 0, the rest into [-1, 1], as `kws.streaming` has it."""
        zero = self.constant("silence", np.array(0, dtype=np.float32))
        # x - x is 0 for numbers and NaN for everything else.
        finite = self.node("Equal", self.node("Sub", samples, samples), zero)
        samples = self.node("Where", finite, samples, zero)
        low, high = (self.constant(name, np.array(v, np.float32)) for name, v in (("lowest", -1), ("highest", 1)))
        return self.node("Clip", samples, low, high)

    def features(self, samples: str, featurizer: Featurizer) -> str:
        """(streams, hop) samples to (streams, F) features."""
        if featurizer.pre_emphasis:
            samples = self._pre_emphasis(samples, featurizer.hop_size)
        overlap = featurizer.window_size - featurizer.hop_size
        if overlap:
            heard = self.node("Concat", self.input("buffer", ["streams", overlap]), samples, axis=1)
            start, end, axis = (
                self.constant(name, np.array([v], np.int64))
                for name, v in (
                    ("kept_from", featurizer.hop_size),
                    ("kept_to", featurizer.window_size),
                    ("kept_axis", 1),
                )
            )
            self.output(self.node("Slice", heard, start, end, axis), "next_buffer", ["streams", overlap])
            samples = heard
        cosine, sine = dft_matrices(featurizer)
        # Both parts of the transform in one product; the window and the samples' scale are in the matrix.
        spectrum = self.node("MatMul", samples, self.constant("dft", np.concatenate([cosine, sine], axis=1)))
        real, imaginary = self.node("Split", self.node("Mul", spectrum, spectrum), outputs=2, axis=1)
        spectrum = self.node("Add", real, imaginary)  # squared magnitude
        filters = array(featurizer.filters)
        if featurizer.power_spectrum:
            filters = filters / np.float32(featurizer.fft_size)
        else:
            spectrum = self.node("Sqrt", spectrum)
        features = self.node("MatMul", spectrum, self.constant("filters", filters))
        if featurizer.log_delta is not None:
            delta = self.constant("log_delta", np.array(featurizer.log_delta, np.float32))
            features = self.node("Log", self.node("Add", features, delta))
        if featurizer.cosines is not None:
            features = self.node("MatMul", features, self.constant("dct", array(featurizer.cosines)))
        return features

    def _pre_emphasis(self, samples: str, hop: int) -> str:
        """y[t] = x[t] - 0.97 x[t-1]; the last sample waits for the next hop."""
        previous = self.input("previous", ["streams", 1])
        zero, last, end, axis = (
            self.constant(name, np.array([v], np.int64))
            for name, v in (("first", 0), ("last", hop - 1), ("end", hop), ("samples_axis", 1))
        )
        self.output(self.node("Slice", samples, last, end, axis), "next_previous", ["streams", 1])
        delayed = previous
        if hop > 1:
            delayed = self.node("Concat", previous, self.node("Slice", samples, zero, last, axis), axis=1)
        factor = self.constant("pre_emphasis", np.array(PRE_EMPHASIS, np.float32))
        return self.node("Sub", samples, self.node("Mul", delayed, factor))

    def voice_activity(self, features: str, vad: VoiceActivityDetector) -> str:
        """Follow the detector; the value (streams, 1) that is 0 where its signal falls, and 1 elsewhere."""
        s = vad.settings

        def number(name: str, value: float) -> str:
            return self.constant(f"vad.{name}", np.array(value, np.float32))

        state = self.input("vad", ["streams", VAD_STATE])
        floor, signal, frames, earlier = self.node("Split", state, outputs=VAD_STATE, axis=1)  # (streams, 1) each
        half = number("half", 0.5)
        signal = self.node("Greater", signal, half)
        floor = self.node("Where", self.node("Greater", frames, half), floor, number("initial", INITIAL_NOISE_FLOOR))
        # ELL's clock, in float32 like everything here: see VadState.
        now = self.node("Mul", frames, number("frame_duration", s["frame_duration"]))
        elapsed = self.node("Sub", now, earlier)

        weights = array(vad.weights)[:, None] / np.float32(vad.weights.numel())
        level = self.node("MatMul", features, self.constant("vad.weights", weights))
        large = self.node("Greater", level, self.node("Mul", floor, number("large_input", s["large_input"])))
        slow, usual = number("slow", s["gain_att"] / s["tau_up"]), number("usual", 1 / s["tau_up"])
        rate = self.node("Where", large, slow, usual)
        rate = self.node("Where", self.node("Less", level, floor), number("falling", 1 / s["tau_down"]), rate)
        # A floor that would overtake the level stops there: at most the whole distance.
        rate = self.node("Min", self.node("Mul", rate, elapsed), number("whole", 1.0))
        floor = self.node("Add", floor, self.node("Mul", rate, self.node("Sub", level, floor)))

        above = self.node("Mul", floor, number("threshold_up", s["threshold_up"]))
        above = self.node("Max", above, number("level_threshold", s["level_threshold"]))
        begins = self.node("Greater", level, above)
        ends = self.node("Less", level, self.node("Mul", floor, number("threshold_down", s["threshold_down"])))
        voice = self.node("And", self.node("Or", signal, begins), self.node("Not", ends))
        keep = self.node("Cast", self.node("Not", self.node("And", signal, ends)), to=TensorProto.FLOAT)
        voiced = self.node("Cast", voice, to=TensorProto.FLOAT)
        frames = self.node("Add", frames, number("one", 1.0))
        self.output(self.node("Concat", floor, voiced, frames, now, axis=1), "next_vad", ["streams", VAD_STATE])
        axis = self.constant("vad.axis", np.array([1], np.int64))
        voice = self.node("Squeeze", self.node("Cast", voice, to=TensorProto.INT64), axis)
        self.output(voice, "voice", ["streams"], TensorProto.INT64)
        return keep


def dft_matrices(featurizer: Featurizer) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the featurizer's transform as matrices (window_size, K), float32.

    With the Hamming window and the scale of the samples multiplied in; computed in float64.
    """
    n, k = np.mgrid[: featurizer.window_size, : featurizer.fft_size // 2 + 1]
    angle = 2 * np.pi * (n * k % featurizer.fft_size) / featurizer.fft_size
    weight = np.full(featurizer.window_size, featurizer.scale)
    if featurizer.window is not None:
        weight = weight * featurizer.window.double().numpy()
    return tuple((weight[:, None] * part).astype(np.float32) for part in (np.cos(angle), -np.sin(angle)))


class StreamModel:
    """A ``stream.onnx`` in onnxruntime, in one thread.

    A runtime as `kws.evaluation.runtimes` has it: `start` gives the state, `hear` hears whole hops.
    """

    name = "onnx"

    def __init__(self, path: str | Path, threads: int = 1):
        self.session = session(path, threads)
        facts = self.session.get_modelmeta().custom_metadata_map
        self.labels = tuple(json.loads(facts["labels"]))
        self.sample_rate = int(facts["sample_rate"])
        self.hop_size = int(json.loads(facts["featurizer"])["hop_size"])
        self.state_sizes = {i.name: i.shape[1] for i in self.session.get_inputs() if i.name != "samples"}
        self.has_vad = "vad" in self.state_sizes
        self.outputs = ["log_probabilities", *(["voice"] if self.has_vad else [])]
        self.names = [*self.outputs, *(f"next_{name}" for name in self.state_sizes)]

    def start(self, streams: int = 1) -> dict[str, np.ndarray]:
        """The state of `streams` streams that have heard nothing yet."""
        return {name: np.zeros((streams, size), np.float32) for name, size in self.state_sizes.items()}

    def step(self, samples: np.ndarray, state: dict[str, np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """One hop (streams, hop) float32: [log-probabilities (streams, C), voice (streams,)], and the next state."""
        results = self.session.run(self.names, {"samples": samples, **state})
        count = len(self.outputs)
        return results[:count], dict(zip(state, results[count:], strict=True))

    def hear(self, samples: np.ndarray, state: dict[str, np.ndarray]) -> tuple[Outputs, dict[str, np.ndarray]]:
        """The next hops, (streams, T · hop): `Outputs` and the next state."""
        hops = np.ascontiguousarray(
            np.asarray(samples, np.float32).reshape(len(samples), -1, self.hop_size).swapaxes(0, 1)
        )
        frames, voices = [], []
        for hop in hops:
            results, state = self.step(hop, state)
            frames.append(results[0])
            voices += results[1:]
        shape = (len(samples), 0, len(self.labels))
        outputs = np.stack(frames, axis=1) if frames else np.zeros(shape, np.float32)
        return Outputs(outputs, np.stack(voices, axis=1) if voices else None), state


@torch.no_grad()
def compare_streams(spotter: Spotter, model: StreamModel, waveforms: np.ndarray, tolerance: float) -> Parity:
    """Run both over the clips as one stream without a break, and compare every frame.

    Where PyTorch's level lies within rounding of one of the detector's thresholds, the two may rightly decide
    differently; from there the file goes on with PyTorch's state.

    Raises:
        ParityError: a log-probability is further off than `tolerance`, or the voice differs and it was no tie.
    """
    hop = model.hop_size
    count = waveforms.shape[1] // hop
    samples = np.ascontiguousarray(waveforms[:, : count * hop].reshape(1, -1), np.float32)
    state, theirs = model.start(), spotter.initial_state()
    largest, same, total, block = 0.0, 0, 0, 64
    for start in range(0, samples.shape[1] // hop, block):
        piece = samples[:, start * hop : (start + block) * hop]
        before = theirs
        frames, theirs = spotter.stream(torch.from_numpy(piece), before)
        outputs, state = model.hear(piece, state)
        expected = frames.log_probabilities.numpy()
        upto = expected.shape[1]
        if (
            frames.signal is not None
            and (differs := np.flatnonzero(frames.signal[0].numpy() != outputs.signal[0])).size
        ):
            upto = int(differs[0])
            _refuse_unless_tie(spotter, frames, before, upto, start)
            state = _state_of(spotter, model, theirs)
        difference = np.abs(expected[:, :upto] - outputs.log_probabilities[:, :upto])
        limit = allowed(expected[:, :upto], tolerance)
        largest = max(largest, float(difference.max(initial=0.0)))
        if not (difference <= limit).all():
            frame = int((np.nan_to_num(difference, nan=np.inf) / limit).max(axis=(0, 2)).argmax())
            raise ParityError(
                f"{FILE_NAME} differs from PyTorch by {difference[:, frame].max():.3g} in frame {start + frame} of the "
                f"stream; {limit[:, frame].max():.3g} is allowed. The file has not been kept."
            )
        same += int((expected[:, :upto].argmax(-1) == outputs.log_probabilities[:, :upto].argmax(-1)).sum())
        total += upto
    return Parity(largest, same / max(total, 1), len(waveforms), tolerance)


def _refuse_unless_tie(spotter: Spotter, frames, before, at: int, start: int) -> None:
    vad, state = spotter.vad, before.vad
    levels = vad.level(frames.features)
    _, state = vad.follow(levels[:, : at + 1], state)
    s, floor, level = vad.settings, float(state.noise_floor), float(levels[0, at])
    edges = (s["threshold_up"] * floor, s["threshold_down"] * floor, s["level_threshold"])
    if min(abs(level - edge) / max(edge, 1e-9) for edge in edges) > TIE:
        raise ParityError(f"{FILE_NAME} hears voice otherwise than PyTorch in frame {start + at} of the stream.")


def _state_of(spotter: Spotter, model: StreamModel, state) -> dict[str, np.ndarray]:
    """PyTorch's state in the file's form."""
    parts = {"buffer": state.featurizer.buffer, "previous": state.featurizer.previous}
    if state.vad is not None:
        vad, frames = state.vad, state.vad.frames.float()
        time = (frames - 1).clamp(min=0) * np.float32(spotter.vad.settings["frame_duration"]).item()
        parts["vad"] = torch.stack([vad.noise_floor, vad.signal.float(), frames, time], dim=1)
    parts |= dict(zip(state_names(spotter.classifier), state.classifier, strict=True))
    return {name: parts[name].numpy().astype(np.float32) for name in model.state_sizes}


class OnnxStreamExport(Exporter):
    """Writes ``stream.onnx`` and compares it with PyTorch frame by frame on real clips as one long stream.

    Args:
        tolerance: largest difference of a log-probability that passes.
        clips: how many of the probe's clips make the stream.
    """

    def __init__(self, tolerance: float = 1e-4, clips: int = 300):
        super().__init__()
        self.tolerance = tolerance
        self.clips = clips

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        """Write the file and check it."""
        directory = Path(directory)
        waveforms = np.asarray(probe.waveforms[: self.clips], np.float32) / 32768
        with files.atomic(directory / FILE_NAME) as path:
            onnx.save(stream_model(spotter), path)
            parity = compare_streams(spotter, StreamModel(path), waveforms, self.tolerance)
        return [Exported("onnx_stream", directory / FILE_NAME, parity)]
