"""The unit that travels: everything a device needs to spot keywords, in one object and one file."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kws.networks import NETWORKS, Normalization
from kws.program import Program
from kws.spotter.decoder import Decoder
from kws.spotter.featurizer import Featurizer, FeaturizerState
from kws.spotter.vad import VadState, VoiceActivityDetector
from kws.support import files
from kws.support.errors import KwsError

FORMAT = "kws.spotter"
VERSION = 1


RESTING = "_silence_"
"""The label, where a corpus has it, of what is heard when nothing is said."""


class SpotterState(NamedTuple):
    """Where each of B streams stands. Passed in, handed back, kept nowhere else."""

    featurizer: FeaturizerState
    vad: VadState | None
    classifier: tuple[Tensor, ...]


class SpotterFrames(NamedTuple):
    """What a spotter says of the next T frames of B streams."""

    features: Tensor  # (B, T, F), raw
    signal: Tensor | None  # (B, T) voice activity, None without a detector
    log_probabilities: Tensor  # (B, T, C)


class Spotter(nn.Module):
    """Featurizer, normalization, classifier, voice activity detector and decoder, with the labels they tell apart.

    Args:
        featurizer: samples to features.
        classifier: normalised features to log-probabilities.
        labels: class names in the order of the classifier's outputs.
        vad: the detector whose falling signal resets the classifier, or None for never.
        normalization: measured on the training split; the identity when left out.
        decoder: settings of the `Decoder` that turns posteriors into detections; its own defaults when left out.
        about: plain facts that travel along (run, corpus, seed); not used in computing.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        classifier: nn.Module,
        labels: Sequence[str],
        vad: VoiceActivityDetector | None = None,
        normalization: Normalization | None = None,
        decoder: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.featurizer = featurizer
        self.normalization = normalization or Normalization(featurizer.num_features)
        self.classifier = classifier
        self.labels = tuple(labels)
        self.classifier.resting = self.labels.index(RESTING) if RESTING in self.labels else None
        self.vad = vad
        self.decoder = Decoder(self.labels, featurizer.hop_seconds, **(decoder or {}))
        self.about = dict(about or {})

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.featurizer.sample_rate

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the weights, as plain values: enough to build the same spotter again."""
        return {
            "labels": list(self.labels),
            "featurizer": dict(self.featurizer.settings),
            "classifier": {"network": type(self.classifier).__name__, **self.classifier.settings},
            "vad": dict(self.vad.settings) if self.vad else None,
            "decoder": dict(self.decoder.settings),
            "about": dict(self.about),
        }

    @property
    def num_parameters(self) -> int:
        """Trained weights."""
        return sum(p.numel() for p in self.classifier.parameters())

    def program(self) -> Program:
        """What it computes of one hop, as steps: what every export is written from.

        Raises:
            KwsError: the network judges whole clips, and has no hops.
        """
        network = [*self.normalization.steps(), *self.classifier.steps("normalization")]
        detector, reset = self.vad.steps() if self.vad else (None, None)
        before = [] if detector is None else [detector]
        after = [] if reset is None else [reset]
        steps = (*self.featurizer.steps(), *before, *network, *after)
        return Program(steps, self.featurizer.hop_size)

    def features(self, waveform: Tensor) -> Tensor:
        """Raw features of whole clips: (B, S) samples in [-1, 1] to (B, T, F)."""
        return self.featurizer(waveform)

    def classify(self, features: Tensor) -> Tensor:
        """Clips by their raw features: (B, T, F) to (B, C) log-probabilities."""
        return self.classifier.readout(self.classifier(self.normalization(features)))

    def forward(self, waveform: Tensor) -> Tensor:
        """Whole clips: (B, S) samples in [-1, 1] to (B, C) log-probabilities, the state reset before each clip."""
        return self.classify(self.features(waveform))

    def initial_state(self, streams: int = 1, device: torch.device | str | None = None) -> SpotterState:
        """The state of `streams` streams that have heard nothing yet."""
        return SpotterState(
            featurizer=self.featurizer.initial_state(streams, device),
            vad=self.vad.initial_state(streams, device) if self.vad else None,
            classifier=self.classifier.initial_state(streams, device),
        )

    def stream(self, samples: Tensor, state: SpotterState) -> tuple[SpotterFrames, SpotterState]:
        """The next hops of B streams: (B, T · hop_size) samples in [-1, 1]."""
        features, featurizer_state = self.featurizer.stream(samples, state.featurizer)
        frames, vad_state, classifier_state = self.stream_features(features, state.vad, state.classifier)
        return frames, SpotterState(featurizer_state, vad_state, classifier_state)

    def step(self, samples: Tensor, state: SpotterState) -> tuple[SpotterFrames, SpotterState]:
        """One hop of each stream: `stream` with (B, hop_size) samples."""
        return self.stream(samples, state)

    def stream_features(
        self, features: Tensor, vad_state: VadState | None, classifier_state: tuple[Tensor, ...]
    ) -> tuple[SpotterFrames, VadState | None, tuple[Tensor, ...]]:
        """`stream` from raw features (B, T, F) on.

        The classifier's state is cleared after the update of a frame on which the detector's signal falls; that
        frame's output is the one from before the clearing, as ELL's compiled code has it.
        """
        normalized = self.normalization(features)
        if vad_state is None:
            log_probabilities, classifier_state = self.classifier.stream(normalized, classifier_state)
            return SpotterFrames(features, None, log_probabilities), None, classifier_state

        signal, after = self.vad.stream(features, vad_state)
        before = torch.cat([vad_state.signal[:, None], signal[:, :-1]], dim=1)
        falls = (before == 1) & (signal == 0)  # (B, T)
        # Between two resets of any stream the classifier runs over all frames at once.
        ends = (falls.any(0).nonzero().flatten() + 1).tolist()
        pieces, start = [], 0
        for end in [*ends, features.shape[1]]:
            if end > start:
                piece, classifier_state = self.classifier.stream(normalized[:, start:end], classifier_state)
                pieces.append(piece)
                keep = ~falls[:, end - 1, None]  # (B, 1)
                classifier_state = tuple(tensor * keep for tensor in classifier_state)
            start = end
        log_probabilities = (
            torch.cat(pieces, dim=1) if pieces else self.classifier.stream(normalized, classifier_state)[0]
        )
        return SpotterFrames(features, signal, log_probabilities), after, classifier_state

    def save(self, path: str | Path, small: bool = False) -> None:
        """Write the spotter to one file, whole or not at all.

        Args:
            path: the file.
            small: with weights in float16, a little over half the size. They come back as float32, rounded.
        """
        weights = halved(self.state_dict()) if small else self.state_dict()
        content = {"format": FORMAT, "version": VERSION, "settings": self.settings, "weights": weights}
        with files.atomic(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Spotter":
        """An untrained spotter of these `settings`."""
        network = dict(settings["classifier"])
        name = network.pop("network")
        if name not in NETWORKS:
            raise KwsError(f"the network {name!r} is unknown to this version; it knows {', '.join(NETWORKS)}.")
        return cls(
            featurizer=Featurizer(**settings["featurizer"]),
            classifier=NETWORKS[name](**network),
            labels=settings["labels"],
            vad=VoiceActivityDetector(**settings["vad"]) if settings["vad"] else None,
            decoder=settings["decoder"],
            about=settings["about"],
        )

    @classmethod
    def load(cls, path: str | Path) -> "Spotter":
        """Read a spotter that `save` wrote, in evaluation mode. Runs no code from the file.

        Raises:
            KwsError: the file is missing, no spotter, of a newer version, or does not fit its own settings.
        """
        path = Path(path)
        if not path.is_file():
            raise KwsError(f"there is no spotter at {str(path)!r}; name the run directory that train.py printed last.")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
            raise KwsError(f"{str(path)!r} cannot be read as a spotter (damaged or another kind of file).") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise KwsError(f"{str(path)!r} is not a spotter; a Lightning checkpoint is, for instance, something else.")
        if content["version"] > VERSION:
            raise KwsError(f"{str(path)!r} was written by a newer kws (version {content['version']}); update kws.")
        spotter = cls.from_settings(content["settings"])
        try:
            spotter.load_state_dict(content["weights"])
        except RuntimeError as error:
            raise KwsError(f"the weights in {str(path)!r} do not fit its own settings: {error}") from error
        return spotter.eval()


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16, as views of one tensor: a file has some hundred bytes for each tensor that stands alone."""
    floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    together = torch.cat([tensor.detach().flatten().half() for tensor in floats.values()])
    parts = together.split([tensor.numel() for tensor in floats.values()])
    small = {name: part.view(tensor.shape) for (name, tensor), part in zip(floats.items(), parts, strict=True)}
    return {name: small.get(name, tensor) for name, tensor in weights.items()}
