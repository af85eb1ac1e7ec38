"""The LightningModule: what a training step is."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from kws.data import Batch
from kws.evaluation.clips import ClipMeter
from kws.spotter import Spotter
from kws.spotter.spotter import RESTING
from kws.support.errors import KwsError
from kws.training import schedule
from kws.training.checkpoints import not_a_number
from kws.training.denoising import check as denoising_check
from kws.training.denoising import denoise
from kws.training.detection_loss import detection_loss
from kws.training.pauses import Pauses
from kws.training.recognizer import Recognizer
from kws.training.teachers import Teachers

UNHEARD = -30.0  # natural logarithm of what a label that is not asked for gets; finite, for label smoothing
STATES = ("reset", "carry", "mixed")


class Mixed(NamedTuple):
    """How the clips of a batch are mixed."""

    share: Tensor  # (B,) of each clip itself, from a half to one
    partner: Tensor  # (B,) index of the clip that is the rest


class SpotterModule(pl.LightningModule):
    """Trains the classifier of a spotter.

    Args:
        spotter: what is trained; its normalization has been measured.
        optimizer: given the parameters, makes the optimizer.
        scheduler: given the optimizer (and ``total_steps`` or ``T_max`` where it takes one), makes the scheduler,
            which steps once a batch.
        label_smoothing: share of the target spread evenly over all labels.
        state: ``reset``: each clip from zeros. ``carry``: each lane of the batch goes on from where its previous clip
            ended, as on a stream, with the gradient cut between clips. ``mixed``: some lanes do, drawn at each step.
        carry_share: probability that a lane goes on, when mixed.
        pause_seconds: longest pause, of silence or background noise, that carried lanes hear between two clips.
        mixup: α of the Beta(α, α) distribution that each clip's share of its own features is drawn from; the rest is
            another clip of the batch, and the target is shared alike (Zhang et al., "mixup", 2018). 0 for none.
        teachers: runs of trained spotters, or their files, to learn from beside the labels; `moonshine` for a speech
            recogniser that learns the labels first.
        teacher_share: of the loss that is the divergence from the teachers; the rest compares with the labels.
        temperature: by which teachers and student are softened when they are compared.
        joined: clips that follow each other in one sequence, each judged within its own span. The gradient goes
            through all of them, so that the network learns to let go of a word before the next one begins. A batch
            that is not a multiple leaves its last clips out.
        detection: weight of the detector's loss, `detection_loss`, beside the clips'; 0 for none.
        detection_seconds: over which it averages posteriors, as the decoder will.
        detection_slack: seconds of the next clip in which a word may still be recognised.
        alarm_weight: of false alarms in it; 1 for as much as a miss.
        denoising: passes over the training clips in which a speech embedding first learns what noise is, `denoise`.
        new_cycle: a resumed run begins its schedule anew, over the steps that are left, with the optimizer's values of
            now.
    """

    def __init__(
        self,
        spotter: Spotter,
        optimizer: Callable[..., torch.optim.Optimizer],
        scheduler: Callable[..., Any] | None = None,
        label_smoothing: float = 0.0,
        state: str = "reset",
        carry_share: float = 0.5,
        pause_seconds: float = 0.0,
        mixup: float = 0.0,
        teachers: Sequence[str | Path] = (),
        teacher_share: float = 0.7,
        temperature: float = 2.0,
        joined: int = 1,
        detection: float = 0.0,
        detection_seconds: float = 0.2,
        detection_slack: float = 0.25,
        alarm_weight: float = 1.0,
        denoising: int = 0,
        new_cycle: bool = False,
    ):
        super().__init__()
        if state not in STATES:
            raise KwsError(f"training.state={state!r} is unknown; choose one of {', '.join(STATES)}.")
        if not pause_seconds >= 0:
            raise KwsError(f"training.pause_seconds={pause_seconds} must be 0 or more.")
        if not mixup >= 0:
            raise KwsError(f"training.mixup={mixup} must be 0 or more.")
        if not 0 <= teacher_share <= 1:
            raise KwsError(f"training.teacher_share={teacher_share} must lie in [0, 1].")
        if not temperature > 0:
            raise KwsError(f"training.temperature={temperature} must be greater than 0.")
        if joined < 1:
            raise KwsError(f"training.joined={joined} must be at least 1.")
        if not 0 <= label_smoothing < 1:
            raise KwsError(f"training.label_smoothing={label_smoothing} must lie in [0, 1).")
        if not spotter.classifier.streams:
            network = type(spotter.classifier).__name__
            if state != "reset":
                raise KwsError(f"training.state={state} needs a network with a state; a {network} judges whole clips.")
            if joined > 1 or detection:
                print(f"A {network} judges whole clips: training.joined and training.detection are left out.")
            joined, detection = 1, 0.0
        other = [label for label in spotter.labels if label.startswith("_")]
        if detection and other and RESTING not in other:
            # A keyword's clip then has frames that another label answers best, and the read-out must not take them.
            print(
                f"No label {RESTING} stands for the pauses in a clip: with training.detection {other[0]} learns to "
                "answer there, and hides the words. Set data.silence_share=1."
            )
        if teachers and spotter.classifier.readout_name == "best" and RESTING not in spotter.labels:
            # The best frame of each label counts. The surer a network is to be, the more it needs a label for the rest.
            print(
                f"No label {RESTING} stands for the pauses in a clip: beside training.teachers a word may come to "
                "stand for them, which ruins it. Set data.silence_share=1."
            )
        self.spotter = spotter
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.new_cycle = new_cycle
        self.earlier_steps = 0  # that are no part of a new cycle
        self.label_smoothing = label_smoothing
        self.carry_share = {"reset": 0.0, "carry": 1.0, "mixed": carry_share}[state]
        self.pause_seconds = pause_seconds
        self.mixup = mixup
        self.teachers = Teachers(teachers, spotter) if teachers else None
        self.teacher_share, self.temperature = teacher_share, temperature
        self.joined = joined
        for name, value in (
            ("detection", detection),
            ("detection_seconds", detection_seconds),
            ("detection_slack", detection_slack),
            ("alarm_weight", alarm_weight),
        ):
            if not value >= 0:
                raise KwsError(f"training.{name}={value} must be 0 or more.")
        self.detection, self.alarm_weight = detection, alarm_weight
        denoising_check(spotter.classifier, denoising)
        self.denoising = denoising
        hop = spotter.featurizer.hop_seconds
        self.detection_window = max(1, round(detection_seconds / hop))
        self.detection_slack = round(detection_slack / hop)
        self.words = torch.tensor([i for i, label in enumerate(spotter.labels) if not label.startswith("_")])
        self.unrecorded = torch.zeros(len(spotter.labels), dtype=torch.bool)
        self.pauses: Pauses | None = None
        self.carried: tuple[Tensor, ...] | None = None
        self.fitted: dict[str, float] = {}  # loss and accuracy of the last whole epoch
        self.earlier_seconds = 0.0  # that a resumed run had trained before
        self.started: float | None = None
        self.losses = torch.zeros(2)  # of the epoch so far: sum over clips, and clips
        self.training_clips = ClipMeter(spotter.labels)
        self.validation_clips = ClipMeter(spotter.labels)
        self.test_clips = ClipMeter(spotter.labels)

    def setup(self, stage: str) -> None:
        """Teachers hear for themselves; the corpus says which labels no recording trains."""
        if stage != "fit":
            return
        data = self.trainer.datamodule
        data.keep_waveforms |= self.teachers is not None
        self.unrecorded = torch.tensor([label in data.corpus.unrecorded for label in self.spotter.labels])

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimizer and, stepping once a batch, scheduler."""
        try:
            optimizer = self.make_optimizer(self.spotter.classifier.groups())
        except (TypeError, ValueError) as error:
            raise KwsError(f"optimizer: {error}; check the values of optimizer.*") from error
        for group in optimizer.param_groups:
            group["lr"] *= group.get("rate", 1.0)
        if self.make_scheduler is None:
            self.first_groups = [values_of(optimizer)]
            return {"optimizer": optimizer}
        steps = int(self.trainer.estimated_stepping_batches) - self.earlier_steps
        scheduler = schedule.make(self.make_scheduler, optimizer, steps)
        self.first_groups = [values_of(optimizer)]  # the schedule has its own by now
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """The next rate; behind the end of its schedule it stays what it was."""
        if schedule.steps_left(scheduler) > 1:
            super().lr_scheduler_step(scheduler, metric)

    def on_train_start(self) -> None:
        """A resumed run has its optimizer back by now."""
        optimizers = self.trainer.optimizers
        if self.new_cycle:
            for optimizer, groups in zip(optimizers, self.first_groups, strict=True):
                for group, values in zip(optimizer.param_groups, groups, strict=True):
                    group.update(values)
        left = self.trainer.estimated_stepping_batches - self.trainer.global_step
        for config in self.trainer.lr_scheduler_configs:
            if self.trainer.is_global_zero and schedule.steps_left(config.scheduler) < left:
                print(
                    "The learning rate's cycle ends before the training does, which goes on at its last rate; "
                    "new_cycle=true begins another."
                )

    def loss(self, log_probabilities: Tensor, labels: Tensor, mixed: Mixed | None = None) -> Tensor:
        """Cross entropy of (B, C) read-out log-probabilities, with label smoothing, of mixed clips where they are."""
        correct = log_probabilities.gather(1, labels[:, None])[:, 0]
        if mixed is not None:
            other = log_probabilities.gather(1, labels[mixed.partner, None])[:, 0]
            correct = torch.lerp(other, correct, mixed.share)
        return -(1 - self.label_smoothing) * correct.mean() - self.label_smoothing * log_probabilities.mean()

    def without_unrecorded(self, log_probabilities: Tensor, recorded: Tensor, mixed: Mixed | None) -> Tensor:
        """(B, C), for clips that are `recorded` among the labels alone that recordings train.

        A network that sees recordings of some words, and voices speak the others, learns that whatever people say is
        none of these others.
        """
        if mixed is not None:
            recorded = recorded & recorded[mixed.partner]
        out = recorded[:, None] & self.unrecorded.to(recorded.device)
        return log_probabilities.masked_fill(out, UNHEARD).log_softmax(dim=-1)

    def wanted(self, waveforms: Tensor, mixed: Mixed | None) -> Tensor:
        """Softened posteriors of the teachers, (B, C), mixed as the clips are."""
        wanted = self.teachers(waveforms, self.temperature)
        return wanted if mixed is None else torch.lerp(wanted[mixed.partner], wanted, mixed.share[:, None])

    def divergence(self, log_probabilities: Tensor, wanted: Tensor) -> Tensor:
        """Kullback-Leibler divergence of softened posteriors (B, C) from the teachers', times temperature squared.

        The square keeps its gradient as large as that of the labels' loss (Hinton et al., 2015).
        """
        softened = torch.log_softmax(log_probabilities / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(softened, wanted, reduction="batchmean")

    def mix(self, clips: int) -> Mixed | None:
        """Which clip each of a batch is mixed with."""
        if not self.mixup:
            return None
        share = torch.distributions.Beta(self.mixup, self.mixup).sample((clips,)).to(self.device)
        # The larger share is the clip's own, whose label is what training accuracy is counted by.
        return Mixed(torch.maximum(share, 1 - share), torch.randperm(clips, device=self.device))

    def first_state(self, clips: int) -> tuple[Tensor, ...]:
        """The state from which each lane of a training batch starts."""
        state = self.spotter.classifier.initial_state(clips, self.device)
        if self.carry_share and self.carried is not None and len(self.carried[0]) >= clips:
            keep = torch.rand(clips, 1, device=self.device) < self.carry_share
            carried = self.after_a_pause(tuple(tensor[:clips] for tensor in self.carried))
            state = tuple(torch.where(keep, old, new) for old, new in zip(carried, state, strict=True))
        return state

    @torch.no_grad()
    def after_a_pause(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The state when the next clip begins."""
        if not self.pause_seconds:
            return state
        if self.pauses is None:
            recordings = self.trainer.datamodule.waveforms.noise
            self.pauses = Pauses(self.spotter.featurizer, recordings, self.pause_seconds)
        features = self.spotter.normalization(self.pauses.features(len(state[0]), self.device))
        return self.spotter.classifier.stream(features, state)[1] if features.shape[1] else state

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        lanes = max(len(batch.labels) // self.joined, 1)
        clips = min(lanes * self.joined, len(batch.labels))
        labels = batch.labels[:clips]
        features = self.spotter.normalization(batch.features[:clips])  # (B, T, F)
        mixed = self.mix(clips)
        if mixed is not None:
            features = torch.lerp(features[mixed.partner], features, mixed.share[:, None, None])
        heard = self.listen(features.reshape(lanes, -1, features.shape[-1]))  # (H·L, J·T, C)
        wanted = self.wanted(batch.waveforms[:clips], mixed) if self.teachers is not None else None
        recorded = None if batch.recorded is None else batch.recorded[:clips]
        heads = [self.judge(one, labels, mixed, recorded, wanted) for one in heard.split(lanes)]
        loss = torch.stack([loss for loss, _ in heads]).mean()
        together = torch.stack([log_probabilities for _, log_probabilities in heads]).mean(0)
        self.training_clips.update(together.detach(), labels)
        self.note(loss.detach(), clips, batch_idx)
        return loss

    def judge(
        self,
        heard: Tensor,
        labels: Tensor,
        mixed: Mixed | None,
        recorded: Tensor | None,
        wanted: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Loss of what a network, or one of its heads, heard in B clips, and the clips' log-probabilities, (B, C).

        Args:
            heard: log-probabilities of their frames, (L, J·T, C): L sequences of J clips.
            labels: (B,) class indices.
            mixed: how the clips were mixed.
            recorded: (B,) whether a clip is compared with the words that have recordings alone.
            wanted: posteriors of the teachers, (B, C).
        """
        frames = heard.reshape(len(labels), -1, heard.shape[-1])  # (B, T, C)
        answers = log_probabilities = self.spotter.classifier.readout(frames)  # (B, C)
        if recorded is not None:
            log_probabilities = self.without_unrecorded(answers, recorded, mixed)
        loss = self.loss(log_probabilities, labels, mixed)
        if wanted is not None:  # of typed words a recording's label says nothing, but a teacher does
            loss = torch.lerp(loss, self.divergence(answers, wanted), self.teacher_share)
        if self.detection:
            loss = (
                loss
                + self.detection
                * detection_loss(
                    heard,
                    labels.reshape(len(heard), -1),
                    self.words.to(labels.device),
                    self.detection_window,
                    min(self.detection_slack, frames.shape[1] - 1),
                    self.alarm_weight,
                ).mean()
            )
        return loss, log_probabilities

    def note(self, loss: Tensor, clips: int, batch: int) -> None:
        """Keep a batch's loss for the epoch's mean, and show it now and then: Lightning's own `log` takes longer.

        Raises:
            KwsError: it is not a number. A GPU is asked now and then, for it must be waited for.
        """
        self.losses = self.losses.to(loss.device) + torch.stack([loss * clips, torch.full_like(loss, clips)])
        trainer = self._trainer
        if trainer is None:
            return
        shown = (trainer.global_step + 1) % trainer.log_every_n_steps == 0
        if (shown or loss.device.type == "cpu" or batch + 1 == trainer.num_training_batches) and not math.isfinite(
            self.losses[0]
        ):
            raise KwsError(not_a_number("the loss is", trainer.current_epoch))
        if shown:
            for logger in trainer.loggers:
                logger.log_metrics({"training/loss_step": float(loss)}, step=trainer.global_step)

    def training_loss(self) -> float:
        """Mean over the epoch's clips so far; in a distributed training every process must ask."""
        total, clips = self.all_gather(self.losses).reshape(-1, 2).sum(0).tolist()
        return total / max(clips, 1)

    def listen(self, features: Tensor) -> Tensor:
        """Log-probabilities (lanes, frames, C) of normalised sequences, each lane from the state it starts with."""
        classifier = self.spotter.classifier
        if not self.carry_share:
            return classifier(features)
        frames, state = classifier.stream(features, self.first_state(len(features)))
        self.carried = tuple(tensor.detach() for tensor in state)
        return frames

    @property
    def seconds(self) -> float:
        """Seconds spent in training, those before an interruption too."""
        return self.earlier_seconds + (time.perf_counter() - self.started if self.started is not None else 0.0)

    def on_fit_start(self) -> None:
        """The clock starts; an embedding learns what noise is, and a teacher the words, unless they know."""
        self.started = time.perf_counter()
        if self.denoising and "denoised" not in self.spotter.about:
            self.spotter.to(self.trainer.strategy.root_device)
            found = denoise(self.spotter, self.trainer.datamodule, self.denoising)
            self.spotter.about["denoised"] = found
            left = found["distance"] / found["published"]
            print(
                f"In noise the embedding is now {left:.0%} as far from what it hears without as the published one is."
            )
        if self.recognizer is not None:
            self.recognizer.learn(self.trainer.datamodule, self.unrecorded)

    @property
    def recognizer(self) -> Recognizer | None:
        """The speech recogniser among the teachers."""
        return None if self.teachers is None else self.teachers.recognizer

    def on_train_epoch_start(self) -> None:
        """A new order of the clips begins with empty lanes."""
        self.carried = None
        self.training_clips.reset()
        self.losses.zero_()

    def on_train_epoch_end(self) -> None:
        """Training loss and accuracy of the epoch, measured while the weights moved."""
        loss, accuracy = self.training_loss(), self.training_clips.results()["accuracy"]
        self.log("training/loss_epoch", loss, sync_dist=True)
        self.log("training/accuracy", accuracy, sync_dist=True)
        self.fitted = {"loss": loss, "accuracy": accuracy}

    def classify(self, features: Tensor) -> Tensor:
        """Log-probabilities of clips (B, C) in full precision whatever the trainer's: what is exported is measured."""
        with torch.autocast(self.device.type, enabled=False):
            return self.spotter.classify(features)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and clip counts of a batch."""
        log_probabilities = self.classify(batch.features)
        self.log(
            "validation/loss",
            self.loss(log_probabilities, batch.labels),
            batch_size=len(batch.labels),
            sync_dist=True,
        )
        self.validation_clips.update(log_probabilities, batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Validation accuracy."""
        self.log(
            "validation/accuracy", self.validation_clips.results()["accuracy"] or 0.0, prog_bar=True, sync_dist=True
        )
        self.validation_clips.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Clip counts of a batch."""
        self.test_clips.update(self.classify(batch.features), batch.labels)

    def on_test_epoch_end(self) -> None:
        """Test accuracy."""
        self.log("test/accuracy", self.test_clips.results()["accuracy"] or 0.0, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Dropout and mixed states draw from the global generator, so a resumed run needs it where it stood."""
        checkpoint["random_state"] = torch.get_rng_state()
        checkpoint["fitted"] = self.fitted
        checkpoint["seconds"] = self.seconds
        checkpoint["spotter_settings"] = self.spotter.settings
        checkpoint["clips"] = self.trainer.datamodule.content
        if self.recognizer is not None:
            checkpoint["recognizer"] = self.recognizer.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the generator back."""
        torch.set_rng_state(checkpoint["random_state"])
        self.fitted = checkpoint.get("fitted", {})
        self.earlier_seconds = checkpoint.get("seconds", 0.0)
        if "denoised" in checkpoint["spotter_settings"]["about"]:
            self.spotter.about["denoised"] = checkpoint["spotter_settings"]["about"]["denoised"]
        if self.recognizer is not None and "recognizer" in checkpoint:
            self.recognizer.restore(checkpoint["recognizer"])
        if self.new_cycle:
            self.earlier_steps = checkpoint["global_step"]
            checkpoint["lr_schedulers"] = []


def values_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimizer's groups of parameters say beside the parameters."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
