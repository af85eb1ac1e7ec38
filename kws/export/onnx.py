"""ONNX files: whole clips at once, and one frame at a time with the state passed in and handed back."""

import io
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from kws.export.base import Exported, Exporter, Probe
from kws.export.onnx_graph import IR_VERSION, OPSET, Graph, with_metadata
from kws.export.onnx_steps import ClipTranslator, FrameTranslator
from kws.export.parity import compare
from kws.program import FEATURES
from kws.spotter import Spotter
from kws.spotter.runtime import clips_at_once, log_probabilities
from kws.support import files
from kws.support.onnx_session import session


def metadata(spotter: Spotter, kind: str) -> dict:
    """What a model found in a drawer says of itself. Lists and objects become JSON."""
    settings = spotter.settings
    return {
        "kws_version": version("kws"),
        "kind": kind,
        "labels": settings["labels"],
        "sample_rate": spotter.sample_rate,
        "featurizer": settings["featurizer"],
        "classifier": settings["classifier"],
        "vad": settings["vad"],
        "decoder": settings["decoder"],
        "gate": spotter.decoder.gate.facts,
        "about": settings["about"],
        "mean": spotter.normalization.mean.tolist(),
        "deviation": spotter.normalization.deviation.tolist(),
    }


def clip_model(spotter: Spotter) -> onnx.ModelProto:
    """Whole clips: raw ``features`` (batch, frames, F) to read-out ``log_probabilities`` (batch, C)."""
    classifier = spotter.classifier
    if not classifier.streams:
        return traced_clip_model(spotter)
    program = spotter.program()
    graph = Graph("clip")
    clips = ClipTranslator(graph, program)
    features = graph.input("features", ["batch", "frames", spotter.featurizer.num_features])
    clips.values[FEATURES] = features
    normalization, *network = program.network
    # What is the same for every frame goes before the turn, so that a runtime may put both into one pass.
    clips.values[normalization.name] = graph.node("Transpose", clips.run([normalization]), perm=[1, 0, 2])
    outputs = clips.run(network)  # (T, B, C)
    if classifier.readout_name == "last":
        result = graph.node("Gather", outputs, graph.constant("last", np.array(-1, dtype=np.int64)), axis=0)
    elif classifier.readout_name == "best":
        result = graph.node("ReduceMax", outputs, axes=[0], keepdims=0)
        if classifier.resting is not None:
            rest = graph.constant("rest", np.arange(len(spotter.labels)) == classifier.resting)
            result = graph.node("Where", rest, graph.node("ReduceMin", outputs, axes=[0], keepdims=0), result)
        result = graph.node("LogSoftmax", result, axis=-1)
    else:
        result = graph.node("ReduceMean", outputs, axes=[0], keepdims=0)
    graph.output(result, "log_probabilities", ["batch", len(spotter.labels)])
    return graph.model(metadata(spotter, "clip"))


class _Clip(nn.Module):
    """What a clip model computes, as a module of its own."""

    def __init__(self, spotter: Spotter):
        super().__init__()
        self.normalization, self.classifier = spotter.normalization, spotter.classifier

    def forward(self, features):
        return self.classifier.readout(self.classifier(self.normalization(features)))


def traced_clip_model(spotter: Spotter) -> onnx.ModelProto:
    """`clip_model` of a network that has no steps; PyTorch's exporter writes its operators as they are."""
    buffer = io.BytesIO()
    example = torch.zeros(2, spotter.sample_rate // spotter.featurizer.hop_size, spotter.featurizer.num_features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the newer exporter, which needs onnxscript
        torch.onnx.export(
            _Clip(spotter).eval(),
            (example,),
            buffer,
            input_names=["features"],
            output_names=["log_probabilities"],
            dynamic_axes={"features": {0: "batch", 1: "frames"}, "log_probabilities": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    return with_metadata(model, metadata(spotter, "clip"))


def step_model(spotter: Spotter) -> onnx.ModelProto:
    """One frame: raw ``features`` (batch, F), ``state_i`` (batch, H) to ``log_probabilities``, ``next_state_i``."""
    program = spotter.program()
    graph = Graph("step")
    frame = FrameTranslator(graph, program)
    frame.values[FEATURES] = graph.input("features", ["batch", spotter.featurizer.num_features])
    states = program.states_of(program.network)
    for state in states:
        graph.input(state.name, ["batch", state.size])
    graph.output(frame.run(program.network), "log_probabilities", ["batch", len(spotter.labels)])
    for state in states:
        graph.output(frame.after[state.name], f"next_{state.name}", ["batch", state.size])
    return graph.model(metadata(spotter, "step"))


def run_clips(path: str | Path, features: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """(N, C) outputs of a clip model."""
    model = session(path)
    batch_size = clips_at_once(features.shape[1], model.get_outputs()[0].shape[1], batch_size)
    parts = [features[start : start + batch_size] for start in range(0, len(features), batch_size)]
    return np.concatenate([model.run(["log_probabilities"], {"features": np.asarray(part)})[0] for part in parts])


def run_steps(path: str | Path, features: np.ndarray) -> np.ndarray:
    """(N, T, C) outputs of a step model, all N streams from zeros."""
    model = session(path)
    states = [i for i in model.get_inputs() if i.name != "features"]
    state = {i.name: np.zeros((len(features), i.shape[1]), dtype=np.float32) for i in states}
    names = ["log_probabilities", *(f"next_{name}" for name in state)]
    outputs = []
    for frame in np.asarray(features).swapaxes(0, 1):  # (N, F)
        output, *after = model.run(names, {"features": np.ascontiguousarray(frame), **state})
        state = dict(zip(state, after, strict=True))
        outputs.append(output)
    return np.stack(outputs, axis=1)


class OnnxExport(Exporter):
    """Writes ``clip.onnx`` and ``step.onnx`` and compares both with PyTorch on real clips.

    There is no step of a network that judges whole clips.

    Args:
        tolerance: largest difference of a log-probability that passes.
    """

    whole_clips = True

    def __init__(self, tolerance: float = 1e-4):
        super().__init__()
        self.tolerance = tolerance

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        directory = Path(directory)
        expected = log_probabilities(spotter, probe.features).numpy()
        with files.atomic(directory / "clip.onnx") as path:
            onnx.save(clip_model(spotter), path)
            parity = compare("clip.onnx", expected, run_clips(path, probe.features), self.tolerance)
        results = [Exported("onnx", directory / "clip.onnx", parity)]
        if not spotter.classifier.streams:
            return results
        with files.atomic(directory / "step.onnx") as path:
            onnx.save(step_model(spotter), path)
            size = clips_at_once(probe.features.shape[1], len(spotter.labels), len(probe.features))
            parts = (probe.features[start : start + size] for start in range(0, len(probe.features), size))
            frames = (torch.from_numpy(run_steps(path, part)) for part in parts)
            computed = np.concatenate([spotter.classifier.readout(part).numpy() for part in frames])
            parity = compare("step.onnx", expected, computed, self.tolerance)
        return [*results, Exported("onnx_step", directory / "step.onnx", parity)]
