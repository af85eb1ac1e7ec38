"""What happens around the epochs: a line each, and clips to hear and see in TensorBoard."""

import time

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from kws.runs import pictures
from kws.spotter.featurizer import INT16_SCALE
from kws.support.pictures import without_harm


def tensorboard_writer(trainer: pl.Trainer):
    """The TensorBoard writer of a trainer, or None where it logs elsewhere."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            return logger.experiment
    return None


class EpochLines(pl.Callback):
    """Prints a line at the end of every epoch, above the progress bar where there is one."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The module logs its loss and accuracy after the callbacks have been called, so it is asked here. In a
        # distributed training every process must ask, for their figures are put together; the first one prints.
        metrics = dict(trainer.callback_metrics)
        metrics["training/loss"] = pl_module.training_loss()
        metrics["training/accuracy"] = pl_module.training_clips.results()["accuracy"]
        parts = [f"epoch {trainer.current_epoch + 1:3d}/{trainer.max_epochs}"]
        for name, text, scale in (
            ("training/loss", "loss {:.3f}", 1),
            ("training/accuracy", "training {:.1f} %", 100),
            ("validation/accuracy", "validation {:.1f} %", 100),
            ("validation/missed", "missed {:.1f} %", 100),
        ):
            value = metrics.get(name)
            if value is not None:
                parts.append(text.format(float(value) * scale))
        parts.append(f"{time.perf_counter() - self.started:.1f} s")
        if not trainer.is_global_zero:
            return
        line = " · ".join(parts)
        bar = trainer.progress_bar_callback
        if bar is not None:
            bar.print(line)
        else:
            print(line, flush=True)


class SampleLogger(pl.Callback):
    """Some training clips in TensorBoard, to hear and to see, before training and as the network gets them.

    Args:
        clips: how many.
    """

    def __init__(self, clips: int = 4):
        self.clips = clips

    @rank_zero_only
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with without_harm("the clips in TensorBoard"):
            self.log_clips(trainer, pl_module)

    @torch.no_grad()
    def log_clips(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write them, where TensorBoard is logged to."""
        writer = tensorboard_writer(trainer)
        data = trainer.datamodule
        if writer is None or not self.clips:
            return
        split = data.waveforms.splits["training"]
        chosen = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(data.seed))[: self.clips]
        chosen = chosen.sort().values.numpy()
        featurizer = pl_module.spotter.featurizer
        samples = (torch.from_numpy(split.samples[chosen]).float() / INT16_SCALE).to(pl_module.device)
        versions = {"clean": (samples, featurizer(samples))}
        if data.augment is not None:
            generator = torch.Generator(samples.device).manual_seed(data.seed)
            augmented = data.augment.waveforms(samples, generator)
            versions["augmented"] = (augmented, data.augment.features(featurizer(augmented), generator))
        for version, (waveforms, features) in versions.items():
            for i, index in enumerate(chosen):
                word = data.labels[split.labels[index]]
                name = f"clips/{i}_{word}_{version}"
                writer.add_audio(name, waveforms[i].cpu(), sample_rate=featurizer.sample_rate)
                figure = pictures.features(features[i].cpu().numpy(), featurizer.hop_seconds, f"{word} ({version})")
                writer.add_figure(name, figure)
