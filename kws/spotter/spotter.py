"""The unit that travels: everything a device needs to spot keywords, in one object and one file."""

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
from kws.support import tensors
from kws.support.errors import KwsError

FORMAT = "kws.spotter"
VERSION = 1


LARGEST = 1 << 20
"""Of any number in a spotter's settings."""
REPEATED = ("num_layers", "stacks", "pointwise")
"""Settings of networks that say how often something is made, with weights of its own."""
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

    def classify(self, features: Tensor, coarse: bool = False) -> Tensor:
        """Clips by raw features: (B, T, F) to (B, C) log-probabilities; of fewer frames where it is `coarse`."""
        classifier = self.classifier.coarse if coarse else self.classifier
        return self.classifier.readout(classifier(self.normalization(features)))

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

        Raises:
            KwsError: weights that are not finite.
        """
        weights = self.state_dict()
        if (name := tensors.not_finite(weights)) is not None:
            raise KwsError(f"the weights {name} are not finite, so {str(path)!r} is not written; lower optimizer.lr.")
        weights = halved(weights) if small else weights
        tensors.save({"format": FORMAT, "version": VERSION, "settings": self.settings, "weights": weights}, path)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], device: str = "cpu") -> "Spotter":
        """An untrained spotter of these `settings`; on the device ``meta`` its network takes no memory."""
        network = dict(settings["classifier"])
        name = network.pop("network")
        if name not in NETWORKS:
            raise KwsError(f"the network {name!r} is unknown to this version; it knows {', '.join(NETWORKS)}.")
        with torch.device(device):
            classifier = NETWORKS[name](**network)
        featurizer = Featurizer(**settings["featurizer"])
        spotter = cls(
            featurizer=featurizer,
            classifier=classifier,
            labels=settings["labels"],
            vad=VoiceActivityDetector(**settings["vad"]) if settings["vad"] else None,
            decoder=settings["decoder"],
            about=settings["about"],
        )
        sizes = [(network["num_classes"], len(spotter.labels)), (network["input_size"], featurizer.num_features)]
        sizes += [(spotter.vad.settings["num_features"], featurizer.num_features)] if spotter.vad else []
        for given, wanted in sizes:
            if given != wanted:
                raise KwsError(f"its parts do not fit together ({given} and {wanted}); make the file again.")
        return spotter

    @classmethod
    def load(cls, path: str | Path) -> "Spotter":
        """Read a spotter that `save` wrote, in evaluation mode. Runs no code from the file.

        Raises:
            KwsError: the file is missing, no spotter, of a newer version, or does not fit its own settings.
        """
        path = Path(path)
        if not path.is_file():
            raise KwsError(f"there is no spotter at {str(path)!r}; name the run directory that train.py printed last.")
        content = tensors.load(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise KwsError(f"{str(path)!r} is not a spotter; a Lightning checkpoint is, for instance, something else.")
        version = content.get("version")
        if not isinstance(version, int) or version > VERSION:
            raise KwsError(f"{str(path)!r} was written by a newer kws (version {version}); update kws.")
        try:
            settings, weights = content["settings"], content["weights"]
            refuse_absurd(settings)
            for name, value in settings["classifier"].items():
                if name in REPEATED and value > len(weights):
                    raise KwsError(f"{value} {name} are more than the weights beside them; make the file again.")
            # By the sizes first, without the memory for them: the file may have been made to fill it.
            refuse_misfits(cls.from_settings(settings, "meta"), weights)
            spotter = cls.from_settings(settings)
            spotter.load_state_dict(weights)
        except KwsError as error:
            raise KwsError(f"{str(path)!r}: {error}") from error
        except Exception as error:  # settings from anywhere can be wrong in any way
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise KwsError(f"no spotter can be made of {str(path)!r} ({reason}); make it again.") from error
        return spotter.eval()


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16, as views of one tensor: a file has some hundred bytes for each tensor that stands alone."""
    floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    together = torch.cat([tensor.detach().flatten().half() for tensor in floats.values()])
    parts = together.split([tensor.numel() for tensor in floats.values()])
    small = {name: part.view(tensor.shape) for (name, tensor), part in zip(floats.items(), parts, strict=True)}
    return {name: small.get(name, tensor) for name, tensor in weights.items()}


def refuse_absurd(value: Any, name: str = "settings") -> None:
    """Raise KwsError for anything in stored settings but plain values of a size that could be meant."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            refuse_absurd(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            refuse_absurd(item, f"{name}[{number}]")
    elif isinstance(value, int | float):
        if not -LARGEST <= value <= LARGEST and not name.startswith("settings.about"):
            raise KwsError(f"{name}={value} can be no spotter's; make the file again.")
    elif value is not None and not isinstance(value, str):
        raise KwsError(f"{name} is no plain value but a {type(value).__name__}; make the file again.")


def refuse_misfits(spotter: Spotter, weights: Mapping[str, Tensor]) -> None:
    """Raise KwsError where stored weights are not those of a spotter, or not finite."""
    wanted = {name: tuple(tensor.shape) for name, tensor in spotter.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != wanted:
        name = min(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise KwsError(
            f"the weights do not fit the settings beside them: {name} is {found.get(name)}, not {wanted.get(name)}; "
            "make the file again."
        )
    if any(tensor.layout != torch.strided or tensor.device.type != "cpu" for tensor in weights.values()):
        raise KwsError("the weights are no plain arrays; make the file again.")
    if (name := tensors.not_finite(weights)) is not None:
        raise KwsError(f"the weights {name} are not finite; train again, with a lower optimizer.lr.")
