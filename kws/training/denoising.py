"""Before it learns words, a speech embedding learns to hear in noise what the published one hears without.

The published embedding, as it came, hears each training clip without its background noise, and what it hears is the
target of the embedding that hears the clip with it: distillation across conditions, as Li, Seltzer, Wang, Zhao and Gong
do with posteriors, "Large-Scale Domain Adaptation via Teacher-Student Learning", Interspeech 2017. No label has a part
in it, so nothing is learned about words, or about the voices that say them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kws.data import SpeechDataModule
from kws.networks.classifier import Classifier
from kws.networks.speech_embedding import SpeechEmbeddingClassifier, layers, pretrained
from kws.spotter import Spotter
from kws.support.errors import KwsError

FIRST = 2  # blocks that stay as they are; the others hold most of the weights and take less than half of the time
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.01
SCALED_ON = 256  # clips of the validation split
MEASURED = 20  # last batches, by which its figures are
_LEAST = 1e-3  # of the mean variance: a channel that says nothing shall not count for much


def check(classifier: Classifier, passes: int) -> None:
    """Whether there is an embedding that can learn so.

    Raises:
        KwsError: there is none, or no block of it is to learn.
    """
    if not isinstance(passes, int) or passes < 0:
        raise KwsError(f"training.denoising={passes} must be a whole number of passes over the clips, 0 for none.")
    if passes and not isinstance(classifier, SpeechEmbeddingClassifier):
        raise KwsError(f"training.denoising={passes} is for model=speech_embedding; set it to 0.")
    if passes and classifier.settings["blocks"] <= FIRST:
        raise KwsError(
            f"training.denoising={passes} teaches blocks behind the first {FIRST}, and "
            f"model.blocks={classifier.settings['blocks']} has none; set it to 0."
        )


class Distance:
    """How far an embedding in noise is from the published one without.

    Args:
        classifier: whose embedding learns.
        features: normalised ones of some clips as they are, (N, T, F), by which the channels are scaled.
    """

    @torch.no_grad()
    def __init__(self, classifier: SpeechEmbeddingClassifier, features: Tensor):
        self.published = pretrained(**classifier.settings).requires_grad_(False).eval().to(features.device)
        variance = self.published.embedded(features).var(dim=(0, 2), keepdim=True)  # (1, E, 1, F')
        self.variance = variance.clamp(min=_LEAST * float(variance.mean()))

    def __call__(self, given: Tensor, clean: Tensor) -> Tensor:
        """Mean square of the difference over the variance of each channel: 1 of one that always says the mean.

        Args:
            given: the learning embedding of clips with noise, (B, E, T', F').
            clean: normalised features of these clips without it, (B, T, F).
        """
        with torch.no_grad():
            wanted = self.published.embedded(clean)
        return ((given - wanted).square() / self.variance).mean()


@torch.random.fork_rng(devices=[])
def denoise(
    spotter: Spotter, data: SpeechDataModule, passes: int, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Teach the embedding of a spotter in so many passes over the training clips, augmented; say what came of it.

    Every process of a distributed training does the same by itself. The global generator stays where it is. `say` is
    given a line after each pass.

    Returns:
        ``passes``, and the ``distance`` in noise that is left, beside ``published``, that of the published embedding.

    Raises:
        KwsError: no background noise is added to the clips.
    """
    if data.augment is None or not data.augment.noisy:
        raise KwsError(f"training.denoising={passes} needs clips with background noise; choose augment=people.")
    classifier, normalization = spotter.classifier, spotter.normalization
    device = next(classifier.parameters()).device
    loader = data.loader("training", training=True, alone=True)
    steps = passes * len(loader)
    clips = torch.from_numpy(data.split_features("validation")[:SCALED_ON]).to(device)
    distance = Distance(classifier, normalization(clips))
    parameters = list(classifier.embedding[len(layers(FIRST)) :].parameters())
    learned_before = [(parameter, parameter.requires_grad) for parameter in classifier.parameters()]
    classifier.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, cycle_momentum=False)
    far, published, started = [], [], time.perf_counter()
    for done in range(passes):
        loader.sampler.set_epoch(done)
        for batch in loader:
            batch = batch._replace(waveforms=batch.waveforms.to(device))
            noisy, clean = map(normalization, data.with_and_without_noise(batch))
            classifier.settle()
            loss = distance(classifier.embedded(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            far.append(float(loss.detach()))
            if len(far) > steps - MEASURED:
                with torch.no_grad():
                    published.append(float(distance(distance.published.embedded(noisy), clean)))
        mean, seconds = np.mean(far[-len(loader) :]), time.perf_counter() - started
        say(f"noise {done + 1:3d}/{passes} · distance {mean:.3f} · {seconds / (done + 1):.1f} s")
    optimizer.zero_grad()
    for parameter, learns in learned_before:
        parameter.requires_grad_(learns)
    classifier.settle()
    return {
        "passes": passes,
        "distance": float(np.mean(far[-MEASURED:])),
        "published": float(np.mean(published)),
    }
