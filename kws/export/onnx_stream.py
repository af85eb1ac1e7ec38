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

from kws.export import stream_parity
from kws.export.base import Exported, Exporter, Probe
from kws.export.onnx import metadata
from kws.export.onnx_graph import Graph
from kws.export.onnx_steps import FrameTranslator
from kws.export.parity import Parity
from kws.program import SAMPLES, VOICE, Program
from kws.program import steps as s
from kws.spotter import Spotter
from kws.spotter.runtime import Outputs
from kws.support import files
from kws.support.onnx_session import session

FILE_NAME = "stream.onnx"
FRONT = "front_"
"""What the names of the nodes begin with that make features of samples, and the detector's."""


def stream_model(spotter: Spotter) -> onnx.ModelProto:
    """The graph for any number of streams.

    Inputs: ``samples`` (streams, hop) in [-1, 1]; ``buffer`` (streams, window - hop) where windows overlap;
    ``previous`` (streams, 1) with pre-emphasis; ``vad`` (streams, 4) with a detector; ``state_i`` (streams, H).
    Outputs: ``log_probabilities`` (streams, C), ``voice`` (streams,) int64 with a detector, and ``next_…`` for every
    input of state.
    """
    program = spotter.program()
    graph = Graph("stream")
    stream = StreamTranslator(graph, program)
    stream.values[SAMPLES] = graph.input(SAMPLES, ["streams", program.input_size])
    graph.prefix = FRONT  # for whoever quantizes the file: these nodes must stay as they are
    stream.run(step for step in program.steps if step in program.front or isinstance(step, s.Detector))
    graph.prefix = ""
    states = program.states_of(program.network)
    for state in states:
        graph.input(state.name, ["streams", state.size])
    graph.output(stream.run(program.network), "log_probabilities", ["streams", len(spotter.labels)])
    keep = [stream.keep[step.source] for step in program.of_type(s.Reset)]
    for state in states:
        value = stream.after[state.name]
        for factor in keep:
            value = graph.node("Mul", factor, value)
        graph.output(value, f"next_{state.name}", ["streams", state.size])
    return graph.model({**metadata(spotter, "stream"), "initial_state": "zeros"})


class StreamTranslator(FrameTranslator):
    """The stages in front of the network too. Their states become inputs and outputs of the graph as they come.

    Attributes:
        keep: for a detector's value the one (streams, 1) that is 0 where it falls, and 1 elsewhere.
    """

    def __init__(self, graph: Graph, program: Program):
        super().__init__(graph, program)
        self.keep: dict[str, str] = {}

    def clean(self, step: s.Clean) -> str:
        samples, silence = self.flat(step.source), self.number("silence", 0)
        # x - x is 0 for numbers and NaN for everything else.
        finite = self.graph.node("Equal", self.graph.node("Sub", samples, samples), silence)
        samples = self.graph.node("Where", finite, samples, silence)
        return self.graph.node("Clip", samples, self.number("lowest", -1), self.number("highest", 1))

    def preemphasis(self, step: s.PreEmphasis) -> str:
        """The last sample waits for the next hop."""
        samples, hop = self.flat(step.source), self.program.input_size
        previous = self.graph.input("previous", ["streams", 1])
        zero, last, end, axis = (
            self.integers(*item) for item in (("first", 0), ("last", hop - 1), ("end", hop), ("samples_axis", 1))
        )
        self.graph.output(self.graph.node("Slice", samples, last, end, axis), "next_previous", ["streams", 1])
        delayed = previous
        if hop > 1:
            delayed = self.graph.node("Concat", previous, self.graph.node("Slice", samples, zero, last, axis), axis=1)
        return self.graph.node(
            "Sub", samples, self.graph.node("Mul", delayed, self.number("pre_emphasis", step.factor))
        )

    def window(self, step: s.Window) -> str:
        """The samples alone; the weights are in the matrix of the transform."""
        samples, (overlap,) = self.flat(step.source), step.state_sizes
        if not overlap:
            return samples
        heard = self.graph.node("Concat", self.graph.input("buffer", ["streams", overlap]), samples, axis=1)
        start, end, axis = (
            self.integers(*item)
            for item in (("kept_from", step.hop_size), ("kept_to", step.window_size), ("kept_axis", 1))
        )
        self.graph.output(self.graph.node("Slice", heard, start, end, axis), "next_buffer", ["streams", overlap])
        return heard

    def spectrum(self, step: s.Spectrum) -> str:
        cosine, sine = dft_matrices(self.program.step(step.source), step)
        # Both parts of the transform in one product; the window and the samples' scale are in the matrix.
        matrix = self.graph.constant("dft", np.concatenate([cosine, sine], axis=1))
        spectrum = self.graph.node("MatMul", self.flat(step.source), matrix)
        real, imaginary = self.graph.node("Split", self.graph.node("Mul", spectrum, spectrum), outputs=2, axis=1)
        squares = self.graph.node("Add", real, imaginary)
        if step.power:
            return self.graph.node("Div", squares, self.number("fft_size", step.fft_size))
        return self.graph.node("Sqrt", squares)

    def filterbank(self, step: s.Filterbank) -> str:
        return self.graph.node("MatMul", self.flat(step.source), self.graph.constant("filters", step.weights))

    def logarithm(self, step: s.Logarithm) -> str:
        delta = self.number("log_delta", step.delta)
        return self.graph.node("Log", self.graph.node("Add", self.flat(step.source), delta))

    def cosines(self, step: s.Cosines) -> str:
        return self.graph.node("MatMul", self.flat(step.source), self.graph.constant("dct", step.weights))

    def detector(self, step: s.Detector) -> str:
        """Follow the voice, and say where it falls."""
        settings = step.settings
        node = self.graph.node

        def number(name: str, value: float) -> str:
            return self.number(f"vad.{name}", value)

        (columns,) = step.state_sizes
        state = self.graph.input("vad", ["streams", columns])
        floor, signal, frames, earlier = node("Split", state, outputs=columns, axis=1)  # (streams, 1) each
        half = number("half", 0.5)
        signal = node("Greater", signal, half)
        floor = node("Where", node("Greater", frames, half), floor, number("initial", step.initial_noise_floor))
        # ELL's clock, in float32 like everything here: see VadState.
        now = node("Mul", frames, number("frame_duration", settings["frame_duration"]))
        elapsed = node("Sub", now, earlier)

        weights = step.weights[:, None] / np.float32(step.weights.size)
        level = node("MatMul", self.flat(step.source), self.graph.constant("vad.weights", weights))
        large = node("Greater", level, node("Mul", floor, number("large_input", settings["large_input"])))
        slow = number("slow", settings["gain_att"] / settings["tau_up"])
        rate = node("Where", large, slow, number("usual", 1 / settings["tau_up"]))
        rate = node("Where", node("Less", level, floor), number("falling", 1 / settings["tau_down"]), rate)
        # A floor that would overtake the level stops there: at most the whole distance.
        rate = node("Min", node("Mul", rate, elapsed), number("whole", 1.0))
        floor = node("Add", floor, node("Mul", rate, node("Sub", level, floor)))

        above = node("Mul", floor, number("threshold_up", settings["threshold_up"]))
        above = node("Max", above, number("level_threshold", settings["level_threshold"]))
        begins = node("Greater", level, above)
        ends = node("Less", level, node("Mul", floor, number("threshold_down", settings["threshold_down"])))
        voice = node("And", node("Or", signal, begins), node("Not", ends))
        self.keep[step.name] = node("Cast", node("Not", node("And", signal, ends)), to=TensorProto.FLOAT)
        voiced = node("Cast", voice, to=TensorProto.FLOAT)
        frames = node("Add", frames, number("one", 1.0))
        self.graph.output(node("Concat", floor, voiced, frames, now, axis=1), "next_vad", ["streams", columns])
        axis = self.integers("vad.axis", 1)
        voice = node("Squeeze", node("Cast", voice, to=TensorProto.INT64), axis)
        self.graph.output(voice, VOICE, ["streams"], TensorProto.INT64)
        return voice


def dft_matrices(window: s.Window, spectrum: s.Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of a transform as matrices (window_size, K), float32.

    With the window's weights and the scale of the samples multiplied in; computed in float64.
    """
    n, k = np.mgrid[: window.window_size, : spectrum.fft_size // 2 + 1]
    angle = 2 * np.pi * (n * k % spectrum.fft_size) / spectrum.fft_size
    weight = np.full(window.window_size, window.scale)
    if window.weights is not None:
        weight = weight * window.weights.astype(np.float64)
    return tuple((weight[:, None] * part).astype(np.float32) for part in (np.cos(angle), -np.sin(angle)))


class StreamModel:
    """A ``stream.onnx`` in onnxruntime, in one thread.

    A runtime as `kws.spotter.runtime` has it: `start` gives the state, `hear` hears whole hops.
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


def compare_streams(spotter: Spotter, model: StreamModel, waveforms: np.ndarray, tolerance: float) -> Parity:
    """Run both over the clips as one stream; see `kws.export.stream_parity.compare_streams`."""

    def resume(samples, before, signal, theirs) -> dict[str, np.ndarray]:
        return _state_of(spotter, model, theirs)

    return stream_parity.compare_streams(spotter, model, resume, waveforms, tolerance, FILE_NAME)[0]


def _state_of(spotter: Spotter, model: StreamModel, state) -> dict[str, np.ndarray]:
    """PyTorch's state in the file's form."""
    parts = {"buffer": state.featurizer.buffer, "previous": state.featurizer.previous}
    if state.vad is not None:
        vad, frames = state.vad, state.vad.frames.float()
        time = (frames - 1).clamp(min=0) * np.float32(spotter.vad.settings["frame_duration"]).item()
        parts["vad"] = torch.stack([vad.noise_floor, vad.signal.float(), frames, time], dim=1)
    program = spotter.program()
    names = [state.name for state in program.states_of(program.network)]
    parts |= dict(zip(names, state.classifier, strict=True))
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
