"""A pair of ``.ell`` files as a runtime, computed by this package's own interpreter in NumPy."""

from pathlib import Path
from typing import Any

import numpy as np

from kws.ell import archive, metadata
from kws.ell.interpreter import Interpreter
from kws.spotter.runtime import Outputs
from kws.support.errors import KwsError


class EllRuntime:
    """See `kws.spotter.runtime.Runtime`.

    Args:
        featurizer: path of the featurizer model, samples of a hop in, features out.
        classifier: path of the classifier model, features in, probabilities out.
        sample_rate: Hz.
        scale: what samples in [-1, 1] are multiplied with; 32768 for a featurizer on 16-bit values.

    Raises:
        KwsError: a file cannot be read, or the two do not fit each other.
    """

    name = "ell"

    def __init__(self, featurizer: str | Path, classifier: str | Path, sample_rate: int, scale: float = 1.0):
        self.featurizer, self.classifier = archive.read(featurizer), archive.read(classifier)
        if self.featurizer.output_size != self.classifier.input_size:
            raise KwsError(
                f"{str(featurizer)!r} gives {self.featurizer.output_size} features and {str(classifier)!r} takes "
                f"{self.classifier.input_size}; they do not belong together."
            )
        self.labels = metadata.labels(self.classifier)
        self.sample_rate = sample_rate
        self.scale = np.float32(scale)
        self.hop_size = self.featurizer.input_size

    def start(self, streams: int = 1) -> list[tuple[Interpreter, Interpreter]]:
        """The state of fresh streams. Interpreters keep their state inside, so what `hear` gives back is the same."""
        return [(Interpreter(self.featurizer), Interpreter(self.classifier)) for _ in range(streams)]

    def hear(self, samples: np.ndarray, state: Any) -> tuple[Outputs, Any]:
        """The next hops of each stream, (B, T · hop)."""
        output = self.classifier.node(self.classifier.output_elements[0]).id
        vad = self.classifier.vad
        frames, signals = [], []
        for row, (featurizer, classifier) in zip(samples, state, strict=True):
            features = featurizer.run(row.reshape(-1, self.hop_size) * self.scale)
            values = classifier.run(features, [output] if vad is None else [output, vad.id])
            frames.append(np.log(np.maximum(values[output], np.finfo(np.float32).tiny)))
            if vad is not None:
                signals.append(values[vad.id][:, 0].astype(np.int64))
        return Outputs(np.stack(frames), np.stack(signals) if signals else None), state
