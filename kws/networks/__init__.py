"""Networks from normalised features to log-probabilities."""

from kws.networks.bcresnet import BCResNet
from kws.networks.crnn import CRNNClassifier
from kws.networks.fastgrnn import FastGRNNClassifier
from kws.networks.normalization import Normalization
from kws.networks.recurrent import RecurrentClassifier

__all__ = ["NETWORKS", "BCResNet", "CRNNClassifier", "FastGRNNClassifier", "Normalization", "RecurrentClassifier"]

NETWORKS = {
    network.__name__: network for network in (RecurrentClassifier, CRNNClassifier, FastGRNNClassifier, BCResNet)
}
"""Classifiers by the name under which a spotter file stores them."""
