"""What a detector misses on the validation stream, after every epoch: by this its best checkpoint is chosen."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from kws.evaluation.detection.detection import DetectionSettings
from kws.evaluation.detection.search import points
from kws.evaluation.detection.thresholds import CHUNK_VALUES, Trace, choose, hear_lanes
from kws.spotter.decoder import Decoder
from kws.spotter.featurizer import Featurizer
from kws.spotter.runtime import Outputs

FRAMES = 1024  # heard at a time


class DetectionCheck(pl.Callback):
    """Logs ``validation/missed``: the share of keywords missed at `target` false alarms an hour.

    The stream is made once and kept as features; an epoch costs its network alone. A decoder averages as the
    detector's loss does.

    Args:
        hours: of stream; with few hours a low target is a matter of chance.
        target: false alarms an hour.
    """

    def __init__(self, hours: float = 2.0, target: float = 5.0):
        self.settings, self.target = DetectionSettings(hours=hours), target
        self.heard: Trace | None = None  # `score` holds the features, (T, F)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        spotter = pl_module.spotter
        if self.heard is None:
            data = trainer.datamodule
            clips, front = data.waveforms.splits["validation"], Front(spotter.featurizer, spotter.labels)
            stream = self.settings.stream(clips.samples, clips.labels, front, data.waveforms.noise, seed_offset=1)
            self.heard = hear_lanes(front, Keeper(spotter.labels, spotter.featurizer.hop_seconds), stream)
        seconds = pl_module.detection_window * spotter.featurizer.hop_seconds
        decoder = Decoder(spotter.labels, spotter.featurizer.hop_seconds, smoothing=seconds)
        curve = points(decoder, listen(pl_module, decoder, self.heard), self.settings.rules.tolerance)
        threshold = choose(curve, self.target)
        missed = 1.0 if threshold is None else float(curve.miss_rate[curve.thresholds == threshold][0])
        pl_module.log("validation/missed", missed, sync_dist=True)


class Front:
    """A `Runtime` that ends with the features."""

    name = "features"

    def __init__(self, featurizer: Featurizer, labels: tuple[str, ...]):
        self.featurizer, self.labels = featurizer, labels
        self.sample_rate, self.hop_size = featurizer.sample_rate, featurizer.hop_size

    def start(self, streams: int = 1) -> Any:
        """See `Runtime`."""
        return self.featurizer.initial_state(streams)

    @torch.no_grad()
    def hear(self, samples: np.ndarray, state: Any) -> tuple[Outputs, Any]:
        """Features (B, T, F) in the place of log-probabilities."""
        features, state = self.featurizer.stream(torch.from_numpy(samples), state)
        return Outputs(features.cpu().numpy(), None), state


class Keeper(Decoder):
    """Keeps whatever it is given."""

    def smooth(self, log_probabilities: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, F): no word, the values, and the past as it was."""
        return torch.zeros(log_probabilities.shape[:2], dtype=torch.int64), log_probabilities, past


@torch.no_grad()
def listen(module: pl.LightningModule, decoder: Decoder, heard: Trace) -> Trace:
    """What a decoder makes of a trace of features, all parts side by side, each from a fresh state."""
    spotter, training = module.spotter, module.spotter.training
    spotter.eval()
    parts = np.split(heard.score, heard.starts[1:])
    lengths = [len(part) for part in parts]
    features = np.zeros((len(parts), max(lengths), heard.score.shape[1]), np.float32)
    for row, part in zip(features, parts, strict=True):
        row[: len(part)] = part
    state, past = spotter.classifier.initial_state(len(parts), module.device), decoder.initial_state(len(parts)).past
    words, scores = [], []
    most = min(FRAMES, max(1, CHUNK_VALUES // (len(parts) * len(decoder.labels))))
    with torch.autocast(module.device.type, enabled=False):
        for start in range(0, features.shape[1], most):
            block = torch.from_numpy(features[:, start : start + most]).to(module.device)
            frames, state = spotter.classifier.stream(spotter.normalization(block), state)
            word, score, past = decoder.smooth(frames.cpu(), past)
            words.append(word.to(torch.int32).numpy())
            scores.append(score.numpy())
    spotter.train(training)
    word, score = (
        np.concatenate([row[:length] for row, length in zip(np.concatenate(rows, axis=1), lengths, strict=True)])
        for rows in (words, scores)
    )
    return heard._replace(word=word, score=score)
