"""The unit that travels, and its stages: featurizer, voice activity detector, decoder, streams."""

from kws.spotter.decoder import Decoder, Detection
from kws.spotter.featurizer import Featurizer
from kws.spotter.spotter import RESTING, Spotter, SpotterFrames, SpotterState
from kws.spotter.streaming import StreamingSpotter
from kws.spotter.vad import VoiceActivityDetector

__all__ = [
    "RESTING",
    "Decoder",
    "Detection",
    "Featurizer",
    "Spotter",
    "SpotterFrames",
    "SpotterState",
    "StreamingSpotter",
    "VoiceActivityDetector",
]
