"""ELL's own files, written exactly and run by an interpreter that shares no arithmetic with PyTorch."""

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from kws.ell import archive, build, fastgrnn, graph, interpreter, onnx_form
from kws.ell.model import Model
from kws.export.base import Exported, Exporter, Probe
from kws.export.parity import Parity, ParityError, compare, worst
from kws.program import drawing
from kws.program.steps import FastGRNN, Recurrent
from kws.spotter import Spotter
from kws.spotter.featurizer import INT16_SCALE, Featurizer
from kws.support import files
from kws.support.onnx_session import session

ROUNDING = 1e-6  # eight units in the last place of float32
FASTGRNN_STREAM = 1e-4
"""Difference of a probability that passes on a stream of a FastGRNN, whose state adds up rounding: over 10,312 frames
ELL's compiled code was 2.7e-5 from float64 and PyTorch 3.8e-6."""


def facts(spotter: Spotter) -> dict[str, Any]:
    """What `kws.ell.build.classifier` and `kws.ell.onnx_form.classifier_onnx` write beside the network."""
    settings = spotter.settings
    return {
        "labels": spotter.labels,
        "metadata": {
            "kws_version": version("kws"),
            "sample_rate": spotter.sample_rate,
            "readout": spotter.classifier.readout_name,
            "featurizer": settings["featurizer"],
            "decoder": settings["decoder"],
            "gate": spotter.decoder.gate.facts,
            "about": settings["about"],
        },
    }


def transform_rounding(featurizer: Featurizer, samples: torch.Tensor) -> np.ndarray:
    """How far rounding in a float32 transform may move each feature, (B, T, F); zeros where there is no logarithm.

    It is relative to the loudest filter of a frame, and the logarithm divides it by a filter's own output: with a small
    ``log_delta``, a quiet filter in a loud frame keeps few digits.
    """
    before = Featurizer(**{**featurizer.settings, "dct": None})
    features = before(samples).double().numpy()
    if featurizer.log_delta is None:
        return np.zeros_like(features)
    outputs = np.exp(features)
    rounding = ROUNDING * outputs.max(axis=-1, keepdims=True) / outputs
    return (
        rounding
        if featurizer.cosines is None
        else rounding.sum(axis=-1, keepdims=True).repeat(featurizer.num_features, -1)
    )


def vad_facts(spotter: Spotter) -> dict[str, Any]:
    """The detector's settings as ELL has them."""
    return {"sample_rate": spotter.sample_rate, **spotter.vad.settings}


def models(spotter: Spotter) -> dict[str, Model]:
    """Every ELL model of a spotter, by file name; those with a detector only where the spotter has one.

    Raises:
        NoNode: the network has a step that ELL cannot compute.
    """
    program = spotter.program()
    result = {"featurizer.ell": build.featurizer(program.front)}
    result["classifier.ell"] = build.classifier(program, **facts(spotter))
    if spotter.vad is not None:
        settings = vad_facts(spotter)
        result["classifier_vad.ell"] = build.classifier(program, **facts(spotter), vad=settings)
        result["vad.ell"] = build.vad(settings, spotter.featurizer.num_features)
    return result


class EllExport(Exporter):
    """Writes ELL's models and runs them on real clips, clip by clip and as one stream with resets.

    ``featurizer.ell``, ``classifier.ell``, ``classifier_vad.ell``, ``vad.ell``, ``categories.txt``, and
    ``classifier_ell.onnx``, the form that ELL's own importer takes. Of a network with a step that ELL cannot compute
    there are none, and a sentence says so.

    Args:
        tolerance: largest difference of a probability that passes.
        feature_tolerance: largest difference of a feature, relative to the largest feature where that is above 1.
        clips: how many of the probe's clips are compared; the interpreter takes one frame at a time.
    """

    def __init__(self, tolerance: float = 1e-5, feature_tolerance: float = 1e-5, clips: int = 200):
        super().__init__()
        self.tolerance = tolerance
        self.feature_tolerance = feature_tolerance
        self.clips = clips

    @torch.no_grad()
    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        directory = Path(directory)
        try:
            built = models(spotter)
        except build.NoNode as error:
            print(f"No Ell files: {error}")
            built = {}
        chosen = np.unique(np.linspace(0, len(probe.features) - 1, min(self.clips, len(probe.features))).astype(int))
        waveforms, features = probe.waveforms[chosen], np.ascontiguousarray(probe.features[chosen])
        checks = {
            "featurizer.ell": lambda model: self.check_featurizer(spotter, model, waveforms),
            "classifier.ell": lambda model: self.check_clips(spotter, model, features),
            "classifier_vad.ell": lambda model: self.check_stream(spotter, model, features),
            "vad.ell": lambda model: self.check_vad(spotter, model, features),
        }
        results = []
        for name, model in built.items():
            path = directory / name
            with files.atomic(path) as temporary:
                archive.write(model, temporary)
                parity = checks[name](archive.read(temporary))
            results.append(Exported(name.replace(".ell", "_ell"), path, parity))
        for name in checks.keys() - built.keys():
            (directory / name).unlink(missing_ok=True)  # of an earlier export with a detector, or of another network
        path = directory / "classifier_ell.onnx"
        if not built:
            path.unlink(missing_ok=True)
            return []
        with files.atomic(path) as temporary:
            onnx.save(onnx_form.classifier_onnx(spotter.program(), **facts(spotter)), temporary)
            results.append(Exported("ell_onnx", path, self.check_onnx_form(spotter, temporary, features)))
        files.write_text(directory / "categories.txt", "".join(f"{label}\n" for label in spotter.labels))
        return [*results, Exported("categories", directory / "categories.txt")]

    def check_featurizer(self, spotter: Spotter, model: Model, waveforms: np.ndarray) -> Parity:
        """All clips as one stream of samples."""
        hop = spotter.featurizer.hop_size
        samples = waveforms.reshape(-1)
        samples = samples[: len(samples) // hop * hop].astype(np.float32)
        expected = spotter.featurizer(torch.from_numpy(samples / INT16_SCALE)[None])[0].numpy()
        # A device that does not scale hands over what we would scale up first.
        given = samples if spotter.featurizer.scale == INT16_SCALE else samples / np.float32(INT16_SCALE)
        computed = interpreter.run(model, given.reshape(-1, hop))
        allowed = self.feature_tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
        limit = allowed + transform_rounding(spotter.featurizer, torch.from_numpy(samples / INT16_SCALE)[None])[0]
        difference = np.abs(expected - computed)
        if not (difference <= limit).all():  # also when it is not a number
            frame, feature = worst(difference, limit)
            raise ParityError(
                f"featurizer.ell differs from PyTorch by {difference[frame, feature]:.3g} (frame {frame}, feature "
                f"{feature}); {limit[frame, feature]:.3g} is allowed."
            )
        return Parity(float(difference.max(initial=0)), 1.0, len(waveforms), allowed)

    def check_clips(self, spotter: Spotter, model: Model, features: np.ndarray) -> Parity:
        """Every clip from a reset state; all frames' probabilities."""
        expected = spotter.classifier(spotter.normalization(torch.from_numpy(features))).exp().numpy()
        computed = np.empty_like(expected)
        machine = interpreter.Interpreter(model)
        for clip, frames in enumerate(features):
            machine.reset()
            computed[clip] = machine.run(frames)
            if not np.abs(computed[clip] - expected[clip]).max() <= self.tolerance:
                raise self.mismatch("classifier.ell", spotter, model, frames, resets=False)
        largest = float(np.abs(expected - computed).max(initial=0))
        # The label of a clip, by the same readout.
        readout = spotter.classifier.readout
        log = [readout(torch.from_numpy(x).clamp(min=1e-30).log()).numpy() for x in (expected, computed)]
        agreement = float((log[0].argmax(-1) == log[1].argmax(-1)).mean())
        frames = compare("classifier.ell", _frames(expected), _frames(computed), self.tolerance)
        return Parity(largest, min(agreement, frames.label_agreement), len(features), self.tolerance)

    def check_stream(self, spotter: Spotter, model: Model, features: np.ndarray) -> Parity:
        """All clips as one stream, the state reset by the detector."""
        stream = _frames(features)
        state = spotter.initial_state()
        frames, _, _ = spotter.stream_features(torch.from_numpy(stream)[None], state.vad, state.classifier)
        expected = frames.log_probabilities[0].exp().numpy()
        computed = interpreter.run(model, stream)
        tolerance = FASTGRNN_STREAM if spotter.program().of_type(FastGRNN) else self.tolerance
        if not np.abs(computed - expected).max() <= tolerance:
            raise self.mismatch("classifier_vad.ell", spotter, model, stream, resets=True)
        return compare("classifier_vad.ell", expected, computed, tolerance)

    def check_vad(self, spotter: Spotter, model: Model, features: np.ndarray) -> Parity:
        """The signal on every frame of the same stream."""
        stream = _frames(features)
        expected = spotter.vad(torch.from_numpy(stream)[None])[0].numpy()
        computed = interpreter.run(model, stream).ravel()
        wrong = np.flatnonzero(expected != computed)
        if len(wrong):
            raise ParityError(f"vad.ell hears voice otherwise than PyTorch in frame {wrong[0]} of the stream.")
        return Parity(0.0, 1.0, len(features), 0.0)

    def check_onnx_form(self, spotter: Spotter, path: Path, features: np.ndarray) -> Parity:
        """The first frame of every clip: this form has no state of its own. All frames of a FastGRNN, see there."""
        if spotter.program().of_type(FastGRNN):
            expected = spotter.classifier(spotter.normalization(torch.from_numpy(features))).numpy()
            model = ReferenceEvaluator(onnx.load(path), new_ops=[fastgrnn.FastGRNN])
            frames = features.swapaxes(0, 1)[:, None]  # (T, 1, N, F)
            computed = np.stack([model.run(None, {"input": frame})[0] for frame in frames], axis=1)
            return compare("classifier_ell.onnx", _frames(expected), _frames(computed), 10 * self.tolerance)
        model = session(path)
        name = model.get_inputs()[0].name
        computed = np.concatenate([model.run(None, {name: clip[:1, None]})[0].reshape(1, -1) for clip in features])
        expected = spotter.classifier(spotter.normalization(torch.from_numpy(features[:, :1])))[:, 0].numpy()
        return compare("classifier_ell.onnx", expected, computed, 10 * self.tolerance)

    def mismatch(self, name: str, spotter: Spotter, model: Model, frames: np.ndarray, resets: bool) -> ParityError:
        """Which node of the file is the first to compute something else."""
        computed = interpreter.Interpreter(model).trace(frames)
        for node, expected in node_outputs(spotter, frames, resets).items():
            given = computed[model.named(node).id]
            difference = np.abs(given - expected).max(axis=1)
            wrong = np.flatnonzero(~(difference <= self.tolerance * np.maximum(1, np.abs(expected).max(axis=1))))
            if len(wrong):
                return ParityError(
                    f"{name} differs from PyTorch from node {node!r} on, first in frame {wrong[0]} by "
                    f"{difference[wrong[0]]:.3g}; {self.tolerance:.3g} is allowed. The file has not been kept."
                )
        return ParityError(f"{name} differs from PyTorch in its probabilities. The file has not been kept.")


def _frames(array_of_clips: np.ndarray) -> np.ndarray:
    """(N, T, X) to (N · T, X)."""
    return np.ascontiguousarray(array_of_clips.reshape(-1, array_of_clips.shape[-1]))


@torch.no_grad()
def node_outputs(spotter: Spotter, frames: np.ndarray, resets: bool) -> dict[str, np.ndarray]:
    """What PyTorch computes where the ELL model has the nodes of these names: (T, width) each, in their order."""
    network = spotter.classifier
    heard: dict[str, list[np.ndarray]] = {}

    def listen(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            heard.setdefault(name, []).append(output[0].numpy())

        return hook

    recurrent = spotter.program().of_type(Recurrent) + spotter.program().of_type(FastGRNN)
    names = [f"{type(step).__name__.lower()} {i}" for i, step in enumerate(recurrent, 1)]
    layers = getattr(network, "layers", [])  # a network of another build is located by its first and last nodes alone
    handles = [layer.register_forward_hook(listen(name)) for name, layer in zip(names, layers, strict=False)]
    try:
        features = torch.from_numpy(np.ascontiguousarray(frames))[None]
        state = spotter.initial_state()
        result, _, _ = spotter.stream_features(features, state.vad if resets else None, state.classifier)
    finally:
        for handle in handles:
            handle.remove()
    outputs = {} if result.signal is None else {"voice activity": result.signal[0].numpy()[:, None]}
    outputs["divide deviation"] = spotter.normalization(features)[0].numpy()
    outputs |= {name: np.concatenate(pieces) for name, pieces in heard.items()}
    outputs["softmax"] = result.log_probabilities[0].exp().numpy()
    return outputs


class GraphExport(Exporter):
    """Draws the spotter and its ELL models: ``<name>.dot`` and ``<name>.svg``, with the wires of the reset."""

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        results = []
        drawn = {"spotter": drawing.boxes(spotter.program())}
        with suppress(build.NoNode):  # EllExport says it
            drawn |= {Path(name).stem: graph.boxes(model) for name, model in models(spotter).items()}
        for name, boxes in drawn.items():
            for suffix in (".dot", ".svg"):
                path = Path(directory) / f"{name}{suffix}"
                with files.atomic(path) as temporary:
                    drawing.write(boxes, temporary)
                results.append(Exported(f"{name}_{suffix[1:]}", path))
        return results
