"""ELL's own files, written exactly and run by an interpreter that shares no arithmetic with PyTorch."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from kws import files
from kws.ell import archive, build, fastgrnn, interpreter, onnx_form
from kws.ell import graph as drawing
from kws.ell.model import Model
from kws.errors import KwsError
from kws.export.base import Exported, Exporter, Probe
from kws.export.onnx import session
from kws.export.onnx_graph import array
from kws.export.parity import Parity, ParityError, compare, worst
from kws.featurizer import INT16_SCALE, Featurizer
from kws.networks import CRNNClassifier, FastGRNNClassifier, RecurrentClassifier
from kws.spotter import Spotter

NO_FASTGRNN = (
    "FastGRNN: classifier.ell is not available, because its form in ELL has not been established by running ELL; "
    "classifier_ell.onnx is what ELL's own importer reads."
)
ROUNDING = 1e-6  # eight units in the last place of float32
NO_CRNN = "No Ell files: ELL cannot hold a CRNN's convolutions, which keep earlier frames; stream.onnx holds them."
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def classifier_facts(spotter: Spotter) -> dict[str, Any]:
    """What `kws.ell.build.classifier` and `kws.ell.onnx_form.classifier_onnx` need to know."""
    network = spotter.classifier
    layers = layer_facts(network)
    settings = spotter.settings
    return {
        "layers": layers,
        "output_weight": array(network.linear.weight),
        "output_bias": array(network.linear.bias),
        "labels": spotter.labels,
        "mean": array(spotter.normalization.mean),
        "deviation": array(spotter.normalization.deviation),
        "metadata": {
            "kws_version": version("kws"),
            "sample_rate": spotter.sample_rate,
            "readout": network.readout_name,
            "featurizer": settings["featurizer"],
            "decoder": settings["decoder"],
            "about": settings["about"],
        },
    }


def layer_facts(network) -> list[dict[str, Any]]:
    """The recurrent layers as `kws.ell` takes them."""
    if isinstance(network, RecurrentClassifier) and not isinstance(network, CRNNClassifier):
        return [
            {"cell": network.cell, **{name: array(getattr(layer, f"{name}_l0")) for name in WEIGHTS}}
            for layer in network.layers
        ]
    if isinstance(network, FastGRNNClassifier):
        return [
            {
                "cell": "fastgrnn",
                "input_weights": [array(weight) for weight in layer.input_weights],
                "hidden_weights": [array(weight) for weight in layer.hidden_weights],
                **{name: array(getattr(layer, name)) for name in ("gate_bias", "update_bias", "zeta", "nu")},
                "gate": layer.gate,
                "update": layer.update,
            }
            for layer in network.layers
        ]
    raise KwsError(
        f"ELL has no node for a {type(network).__name__}, so it cannot be exported to .ell; use the ONNX files "
        "(export=onnx), or a GRU or LSTM."
    )


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
    """Every ELL model of a spotter, by file name.

    Those with a detector only where the spotter has one, the classifiers only for GRU and LSTM.
    """
    facts = classifier_facts(spotter)
    settings = None if spotter.vad is None else vad_facts(spotter)
    result = {"featurizer.ell": build.featurizer(spotter.featurizer.settings)}
    if isinstance(spotter.classifier, RecurrentClassifier):
        result["classifier.ell"] = build.classifier(**facts)
        if settings is not None:
            result["classifier_vad.ell"] = build.classifier(**facts, vad=settings)
    if settings is not None:
        result["vad.ell"] = build.vad(settings, spotter.featurizer.num_features)
    return result


class EllExport(Exporter):
    """Writes ELL's models and runs them on real clips, clip by clip and as one stream with resets.

    ``featurizer.ell``, ``classifier.ell``, ``classifier_vad.ell``, ``vad.ell``, ``categories.txt``, and
    ``classifier_ell.onnx``, the form that ELL's own importer takes. Of a FastGRNN there are all but the classifiers
    in .ell, and a sentence says so.

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
        if isinstance(spotter.classifier, CRNNClassifier):
            print(NO_CRNN)
            return []
        directory = Path(directory)
        chosen = np.unique(np.linspace(0, len(probe.features) - 1, min(self.clips, len(probe.features))).astype(int))
        waveforms, features = probe.waveforms[chosen], np.ascontiguousarray(probe.features[chosen])
        checks = {
            "featurizer.ell": lambda model: self.check_featurizer(spotter, model, waveforms),
            "classifier.ell": lambda model: self.check_clips(spotter, model, features),
            "classifier_vad.ell": lambda model: self.check_stream(spotter, model, features),
            "vad.ell": lambda model: self.check_vad(spotter, model, features),
        }
        results = []
        built = models(spotter)
        for name, model in built.items():
            path = directory / name
            with files.atomic(path) as temporary:
                archive.write(model, temporary)
                parity = checks[name](archive.read(temporary))
            results.append(Exported(name.replace(".ell", "_ell"), path, parity))
        for name in checks.keys() - built.keys():
            (directory / name).unlink(missing_ok=True)  # of an earlier export with a detector, or of another network
        if isinstance(spotter.classifier, FastGRNNClassifier):
            print(NO_FASTGRNN)
        path = directory / "classifier_ell.onnx"
        with files.atomic(path) as temporary:
            onnx.save(onnx_form.classifier_onnx(**classifier_facts(spotter)), temporary)
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
        if not np.abs(computed - expected).max() <= self.tolerance:
            raise self.mismatch("classifier_vad.ell", spotter, model, stream, resets=True)
        return compare("classifier_vad.ell", expected, computed, self.tolerance)

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
        if isinstance(spotter.classifier, FastGRNNClassifier):
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

    handles = [
        layer.register_forward_hook(listen(f"{network.cell} {i}")) for i, layer in enumerate(network.layers, start=1)
    ]
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
    """Draws the ELL models: ``<model>.dot`` and ``<model>.svg``, with the detector and its reset wires."""

    def export(self, spotter: Spotter, probe: Probe, directory: Path) -> list[Exported]:
        results = []
        for name, model in models(spotter).items():
            for suffix in (".dot", ".svg"):
                path = Path(directory) / Path(name).with_suffix(suffix).name
                with files.atomic(path) as temporary:
                    drawing.write(model, temporary)
                results.append(Exported(f"{Path(name).stem}_{suffix[1:]}", path))
        return results
