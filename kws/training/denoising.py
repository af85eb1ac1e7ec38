"""A speech embedding that learns to hear in noise what the published one hears without.

The published embedding, as it came, hears each training clip without its background noise, and what it hears is the
target of the embedding that hears the clip with it: distillation across conditions, as Li, Seltzer, Wang, Zhao and Gong
do with posteriors, "Large-Scale Domain Adaptation via Teacher-Student Learning", Interspeech 2017. No label has a part
in it, so nothing is learned about words, or about the voices that say them.
"""

import torch
from torch import Tensor

from kws.networks.classifier import Classifier
from kws.networks.speech_embedding import SpeechEmbeddingClassifier, pretrained
from kws.support.errors import KwsError

_LEAST = 1e-3  # of the mean variance: a channel that says nothing shall not count for much


def check(classifier: Classifier, denoising: float) -> None:
    """Whether there is an embedding that can learn so.

    Raises:
        KwsError: there is none, or none of its blocks learns; or its blocks were to learn from nothing else.
    """
    if not denoising:
        if getattr(classifier, "detached", False) and classifier.learns:
            raise KwsError("model.detached=true leaves blocks nothing to learn from; set training.denoising=1.")
        return
    if not isinstance(classifier, SpeechEmbeddingClassifier):
        raise KwsError(f"training.denoising={denoising} is for model=speech_embedding; set it to 0.")
    if not classifier.learns:
        raise KwsError(
            f"training.denoising={denoising} teaches blocks of the embedding, and model.frozen=true keeps all; "
            "set model.frozen=2."
        )


class Denoising:
    """How far an embedding in noise is from the published one without.

    Args:
        classifier: whose embedding learns.
        features: normalised ones of some clips as they are, (N, T, F), by which the channels are scaled.
    """

    @torch.no_grad()
    def __init__(self, classifier: SpeechEmbeddingClassifier, features: Tensor):
        self.published = pretrained(**classifier.settings).requires_grad_(False).eval()
        variance = self.published.embedded(features).var(dim=(0, 2), keepdim=True)  # (1, E, 1, F')
        self.variance = variance.clamp(min=_LEAST * float(variance.mean()))

    def __call__(self, given: Tensor, clean: Tensor) -> Tensor:
        """Mean square of the difference over the variance of each channel: 1 of one that always says the mean.

        Args:
            given: the learning embedding of clips with noise, (B, E, T', F').
            clean: normalised features of these clips without it, (B, T, F).
        """
        self.published.to(clean.device)
        with torch.no_grad():
            wanted = self.published.embedded(clean)
        return ((given - wanted).square() / self.variance.to(given.device)).mean()
