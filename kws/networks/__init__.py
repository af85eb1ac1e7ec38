"""Networks from normalised features to log-probabilities. A file here is all that a new one needs."""

import importlib
import pkgutil

from kws.networks.bcresnet import BCResNet
from kws.networks.classifier import Classifier
from kws.networks.crnn import CRNNClassifier
from kws.networks.dilated import DilatedClassifier
from kws.networks.fastgrnn import FastGRNNClassifier
from kws.networks.normalization import Normalization
from kws.networks.recurrent import RecurrentClassifier
from kws.networks.speech_embedding import SpeechEmbeddingClassifier

__all__ = [
    "NETWORKS",
    "BCResNet",
    "CRNNClassifier",
    "Classifier",
    "DilatedClassifier",
    "FastGRNNClassifier",
    "Normalization",
    "RecurrentClassifier",
    "SpeechEmbeddingClassifier",
]

NETWORKS = Classifier.known
"""Classifiers by the name under which a spotter file stores them."""

# A file that is not named above makes itself known when it is read.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
