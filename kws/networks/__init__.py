"""Networks from normalised features to log-probabilities."""

from kws.networks.normalization import Normalization
from kws.networks.recurrent import RecurrentClassifier

__all__ = ["NETWORKS", "Normalization", "RecurrentClassifier"]

NETWORKS = {network.__name__: network for network in (RecurrentClassifier,)}
"""Classifiers by the name under which a spotter file stores them."""
