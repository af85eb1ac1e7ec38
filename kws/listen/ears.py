"""A spotter that listens, whatever runs it: the C engine, PyTorch, or a ``stream.onnx``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kws.export.onnx_stream import StreamModel
from kws.native import CModel
from kws.native.compiler import find_compiler
from kws.runs.configuration import CONFIGS
from kws.runs.stored import load_spotter
from kws.spotter import Decoder, Detection, Spotter
from kws.spotter.runtime import Outputs, Runtime, TorchRuntime
from kws.spotter.streaming import clean
from kws.support.errors import KwsError

ENGINES = ("auto", "c", "python")
LIBRARIES = (".so", ".dylib", ".dll")
CHUNK = 1024
"""Hops computed at a time, which bounds the memory."""


class Heard(NamedTuple):
    """What a block of audio brought.

    Attributes:
        detections: the words, with their times in seconds from the start of the stream.
        outputs: log-probabilities (T, C) of the hops it completed.
        signal: voice activity (T,) of them, or None without a detector.
    """

    detections: list[Detection]
    outputs: np.ndarray
    signal: np.ndarray | None


class Ears:
    """One stream of audio, heard block by block.

    Args:
        runtime: what computes posteriors.
        decoder: what makes detections of them.

    Attributes:
        repaired, clipped: samples so far that were not finite, and that lay beyond full scale.
    """

    def __init__(self, runtime: Runtime, decoder: Decoder):
        self.runtime, self.decoder = runtime, decoder
        self.labels, self.sample_rate = runtime.labels, runtime.sample_rate
        self.hop_seconds = runtime.hop_size / runtime.sample_rate
        self.start()

    def start(self) -> None:
        """Begin a new stream."""
        self.state, self.decoding = self.runtime.start(), self.decoder.initial_state()
        self.waiting = np.zeros((1, 0), np.float32)
        self.repaired = self.clipped = 0

    def whole_hops(self, block: np.ndarray) -> np.ndarray:
        """What is there in whole hops, (1, S), with the next samples (S,) cleaned; the rest waits."""
        samples, repaired, clipped = clean(block)
        self.repaired, self.clipped = self.repaired + int(repaired), self.clipped + int(clipped)
        samples = np.concatenate([self.waiting, samples.numpy()], axis=1)
        whole = samples.shape[1] // self.runtime.hop_size * self.runtime.hop_size
        self.waiting = samples[:, whole:]
        return samples[:, :whole]

    def hear(self, block: np.ndarray) -> Heard:
        """The next samples (S,) at the spotter's rate: floats in [-1, 1] or integers, as many as there are."""
        samples, hop = self.whole_hops(block), self.runtime.hop_size
        whole = samples.shape[1]
        detections: list[Detection] = []
        pieces: list[Outputs] = []
        for start in range(0, whole, CHUNK * hop):
            piece = samples[:, start : min(start + CHUNK * hop, whole)]
            outputs, self.state = self.runtime.hear(piece, self.state)
            heard = [torch.from_numpy(outputs.log_probabilities), self.decoding, torch.from_numpy(piece)]
            voice = None if outputs.signal is None else torch.from_numpy(np.asarray(outputs.signal))
            frames, after = self.decoder.stream(*heard, voice)
            detections += self.decoder.detections(frames, self.decoding.frames)[0]
            self.decoding = after
            pieces.append(outputs)
        if not pieces:
            return Heard([], np.zeros((0, len(self.labels)), np.float32), None)
        signals = [piece.signal[0] for piece in pieces if piece.signal is not None]
        outputs = np.concatenate([piece.log_probabilities[0] for piece in pieces])
        return Heard(detections, outputs, np.concatenate(signals) if signals else None)


class LibraryEars(Ears):
    """A compiled library alone: its own decoder, whose settings lie in its state.

    Args:
        model: the library.
        threshold: see `with_thresholds`.
    """

    def __init__(self, model: CModel, threshold: Sequence[str]):
        self.runtime, self.labels, self.sample_rate = model, model.labels, model.sample_rate
        self.hop_seconds = model.hop_size / model.sample_rate
        self.threshold = threshold
        self.start()

    def start(self) -> None:
        """Begin a new stream."""
        self.state = self.runtime.start()
        settings = self.runtime.settings(self.state)
        stored = dict(zip(self.labels, settings.threshold, strict=True))
        chosen = with_thresholds({"threshold": stored}, self.labels, self.threshold)["threshold"]
        for i, label in enumerate(self.labels):
            settings.threshold[i] = chosen[label] if isinstance(chosen, Mapping) else chosen
        self.waiting = np.zeros((1, 0), np.float32)
        self.repaired = self.clipped = 0

    def hear(self, block: np.ndarray) -> Heard:
        """The next samples (S,); the outputs are those of a second state that hears the same."""
        samples = self.whole_hops(block)
        outputs, _ = self.runtime.hear(samples, self.state)
        (detections,), self.state = self.runtime.detect(samples, self.state)
        return Heard(detections, outputs.log_probabilities[0], None if outputs.signal is None else outputs.signal[0])


def open_ears(path: str | Path, engine: str = "auto", threshold: Sequence[str] = (), vad: str | None = None) -> Ears:
    """Ears for a run directory, a ``spotter.ckpt``, a ``stream.onnx`` or a compiled library of export=c.

    Args:
        path: where it lies. A compiled library is code, and runs.
        engine: of a spotter: ``c``, compiled here; ``python``; ``auto`` takes C where there is a compiler.
        threshold: a number for every word, or ``word=number``, in place of what is stored.
        vad: a choice of conf/vad in place of the detector that is stored.

    Raises:
        KwsError: nothing to listen with at `path`, or settings that it cannot take.
    """
    path = Path(path)
    if path.suffix == ".onnx" or path.suffix in LIBRARIES:
        if vad is not None:
            raise KwsError(f"--vad={vad}: {str(path)!r} holds its own detector; name the run directory instead.")
        if not path.is_file():
            raise KwsError(f"there is no file {str(path)!r}; export the run again.")
        return _from_file(path, threshold)
    spotter, _ = load_spotter(path)
    if not spotter.classifier.streams:
        raise KwsError(f"{str(path)!r}: a {type(spotter.classifier).__name__} judges whole clips and cannot listen.")
    if vad is not None:
        spotter.vad = _detector(vad, spotter)
    settings = with_thresholds(spotter.decoder.settings, spotter.labels, threshold)
    spotter.decoder = Decoder(spotter.labels, spotter.featurizer.hop_seconds, **settings)
    return Ears(_runtime(spotter, engine), spotter.decoder)


def _runtime(spotter: Spotter, engine: str) -> Runtime:
    if engine == "c" or (engine == "auto" and find_compiler() is not None):
        return CModel.of(spotter)
    return TorchRuntime(spotter)


def _from_file(path: Path, threshold: Sequence[str]) -> Ears:
    if path.suffix != ".onnx":
        return LibraryEars(CModel(path), threshold)
    model = StreamModel(path)
    settings = json.loads(model.session.get_modelmeta().custom_metadata_map["decoder"])
    settings = with_thresholds(settings, model.labels, threshold)
    return Ears(model, Decoder(model.labels, model.hop_size / model.sample_rate, **settings))


def _detector(name: str, spotter: Spotter) -> Any:
    known = sorted(path.stem for path in (CONFIGS / "vad").glob("*.yaml"))
    if name not in known:
        raise KwsError(f"--vad={name} is unknown; choose one of {', '.join(known)}.")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [f"vad={name}", "directory=."])
    featurizer = spotter.featurizer
    return instantiate(config.vad)(num_features=featurizer.num_features, frame_duration=featurizer.hop_seconds)


def with_thresholds(settings: Mapping[str, Any], labels: Sequence[str], given: Sequence[str]) -> dict[str, Any]:
    """A decoder's settings with thresholds from the command line: a number for all words, or ``word=number``.

    Raises:
        KwsError: no number, or a word that the spotter does not know.
    """
    settings = dict(settings)
    for text in given:
        word, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise KwsError(f"--threshold {text}: {number!r} is no number; give 0.7, or a word's: yes=0.7.") from None
        if not equals:
            settings["threshold"] = value
            continue
        if word not in labels:
            raise KwsError(f"--threshold {text}: {word!r} is no word of this spotter; it knows {', '.join(labels)}.")
        before = settings["threshold"]
        every = before if isinstance(before, Mapping) else dict.fromkeys(labels, before)
        settings["threshold"] = {**every, word: value}
    return settings
