"""What the page is told of a spotter, as plain values: spotter.json."""

import hashlib
import json
from typing import Any

from kws.native.sources import DETECTOR_SETTINGS, max_smoothing
from kws.program import Program
from kws.program.quantized import is_integer
from kws.spotter import Spotter, VoiceActivityDetector

DETECTOR = tuple(DETECTOR_SETTINGS)
"""The detector's parameters in the order in which the engine has them."""


def facts(spotter: Spotter, name: str, program: Program | None = None) -> dict[str, Any]:
    """Labels, sizes and stored settings.

    Times of the decoder are in hops, as the engine has them, so that nobody rounds twice.

    Args:
        spotter: as it is stored.
        name: what the page calls it.
        program: what the engine computes; the spotter's own when None.
    """
    program = program or spotter.program()
    featurizer = spotter.featurizer
    said = {
        "name": name,
        "labels": list(spotter.labels),
        "sample_rate": spotter.sample_rate,
        "hop": featurizer.hop_size,
        "features": featurizer.num_features,
        "mean": [float(f"{value:.6g}") for value in spotter.normalization.mean.tolist()],
        "deviation": [float(f"{value:.6g}") for value in spotter.normalization.deviation.tolist()],
        "weights": spotter.num_parameters,
        "integers": is_integer(program),
        "max_smoothing": max_smoothing(spotter),
        "about": {key: value for key, value in spotter.about.items() if isinstance(value, str | int | float)},
        "detector_hints": DETECTOR_SETTINGS,
        "settings": stored_settings(spotter),
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for tensor in spotter.classifier.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return {**said, "id": digest.hexdigest()[:16]}


def stored_settings(spotter: Spotter) -> dict[str, Any]:
    """What can be changed while it listens: ``decoder``, ``vad``, and whether the detector is in use (``reset``)."""
    decoder = spotter.decoder
    vad = spotter.vad or VoiceActivityDetector(spotter.featurizer.num_features, spotter.featurizer.hop_seconds)
    threshold = decoder.settings["threshold"]
    per_word = threshold if isinstance(threshold, dict) else dict.fromkeys(spotter.labels, threshold)
    return {
        "threshold": [float(per_word.get(label, 1.0)) for label in spotter.labels],
        "ignored": [label in decoder.ignored for label in spotter.labels],
        "smoothing": decoder.window,
        "consecutive": decoder.consecutive,
        "refractory": decoder.wait,
        "reset": spotter.vad is not None,
        "vad": {name: vad.settings[name] for name in DETECTOR},
    }
