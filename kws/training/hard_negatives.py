"""Hard negatives: every few epochs the network hears the long recordings, and what it answers is trained on more."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

LANES = 64


class HardNegatives(pl.Callback):
    """Weights the pieces of long recordings (`data.negatives`, `data.running_speech`) by what the network answers them.

    They are heard as a stream, one piece after the other, and the weight of each is `base` plus the highest average
    posterior of a keyword within it, so that with data.negatives_per_epoch the likeliest false alarms are drawn most.

    Args:
        every: epochs from one time to the next.
        base: weight of a piece that is answered by nothing.
    """

    def __init__(self, every: int = 4, base: float = 0.05):
        self.every, self.base = every, base
        self.weights: np.ndarray | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = trainer.datamodule
        if data.negatives is None:
            return
        if trainer.current_epoch and trainer.current_epoch % self.every == 0:
            self.weights = self.base + answers(pl_module, data.split_features("training"), data.negatives)
            heard = np.sort(self.weights - self.base)
            figures = {"negatives/mean": heard.mean(), "negatives/highest_percent": heard[-len(heard) // 100 :].mean()}
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=trainer.global_step)
        if self.weights is not None:
            data.negative_weights[:] = self.weights

    def state_dict(self) -> dict[str, Any]:
        """Where a resumed run goes on."""
        return {"weights": None if self.weights is None else torch.from_numpy(self.weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the weights back."""
        self.weights = None if state["weights"] is None else np.asarray(state["weights"])


@torch.no_grad()
def answers(module: pl.LightningModule, features: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """The highest average posterior of a keyword in each clip, (N,), as they are heard one after the other.

    Args:
        module: the `SpotterModule`; its network listens as it will when it is used.
        features: (·, T, F) raw features of a split.
        clips: (N,) indices of the clips, in the order in which they are heard.
    """
    spotter, window = module.spotter, module.detection_window
    training = spotter.training
    spotter.eval()
    lanes = min(LANES, len(clips))
    length = -(-len(clips) // lanes)
    order = clips[np.minimum(np.arange(lanes * length), len(clips) - 1)].reshape(lanes, length)
    state = spotter.classifier.initial_state(lanes, module.device)
    highest, past = [], None
    with torch.autocast(module.device.type, enabled=False):
        for at in range(length):
            heard = torch.from_numpy(np.asarray(features[order[:, at]])).to(module.device)  # (lanes, T, F)
            frames, state = spotter.classifier.stream(spotter.normalization(heard), state)
            posteriors = frames[..., module.words.to(module.device)].exp().transpose(1, 2)  # (lanes, W, T)
            past = posteriors.new_zeros(*posteriors.shape[:2], window - 1) if past is None else past
            joined = torch.cat([past, posteriors], dim=2)
            highest.append(F.avg_pool1d(joined, window, 1).amax(dim=(1, 2)))
            past = joined[..., joined.shape[2] - window + 1 :]
    spotter.train(training)
    return torch.stack(highest, dim=1).reshape(-1)[: len(clips)].cpu().numpy().astype(np.float64)
