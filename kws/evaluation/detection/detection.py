"""Misses against false alarms per hour, on a long stream."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kws.evaluation.detection import recordings
from kws.evaluation.detection.matching import score
from kws.evaluation.detection.thresholds import (
    Curve,
    Trace,
    WordCounts,
    choose,
    choose_per_word,
    count_words,
    curve,
    hear,
    hear_lanes,
    join,
    operating_point,
    reports,
    threshold_table,
)
from kws.evaluation.stream.long_stream import LongStream, Piece
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Runtime
from kws.support.errors import BrokenRecording, KwsError

TARGETS = (0.1, 0.5, 1.0, 10.0)  # false alarms per hour


@dataclass(frozen=True)
class DetectionSettings:
    """How detection is judged; the fields of `LongStream`, and

    tolerance  seconds after a word's end in which it may be reported
    targets    false alarms per hour at which misses are given
    """

    hours: float = 2.0
    snr: Sequence[float | None] = (None, 20.0, 10.0, 5.0)
    gap: tuple[float, float] = (1.0, 4.0)
    keyword_share: float = 0.5
    section: float = 60.0
    seed: int = 1
    lanes: int = 8
    tolerance: float = 0.75
    targets: Sequence[float] = TARGETS

    def stream(
        self, clips: np.ndarray, labels: np.ndarray, runtime: Runtime, noise, seed_offset: int = 0
    ) -> LongStream:
        """The stream of a split's clips."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("tolerance", "targets")}
        fields["seed"] = self.seed + seed_offset
        return LongStream(clips, labels, runtime.labels, runtime.sample_rate, noise=noise, **fields)


class Detection:
    """Validation and test stream of a spotter, each heard once, and what follows from them.

    Args:
        runtime: who listens.
        decoder: smoothing, run length and refractory time; its thresholds are among those tried.
        validation: (samples (N, S), class indices (N,)) of the split on which thresholds are chosen.
        testing: the same of the split that is reported.
        noise: recordings of background noise.
        settings: how.
        negatives: folder of long recordings without keywords.
    """

    def __init__(
        self,
        runtime: Runtime,
        decoder: Decoder,
        validation: tuple[np.ndarray, np.ndarray],
        testing: tuple[np.ndarray, np.ndarray] | None,
        noise: Sequence[np.ndarray] = (),
        settings: DetectionSettings | None = None,
        negatives: str | Path | None = None,
    ):
        self.runtime = runtime
        self.decoder = decoder
        self.settings = settings or DetectionSettings()
        self.refused: list[BrokenRecording] = []
        # Different seeds: the two streams share the recipe, not the draw.
        self.validation_stream = self.settings.stream(*validation, runtime, noise, seed_offset=1)
        self.validation = hear_lanes(runtime, decoder, self.validation_stream)
        self.stream = self.testing = None
        if testing is not None:
            self.stream = self.settings.stream(*testing, runtime, noise)
            self.testing = hear_lanes(runtime, decoder, self.stream)
        self.negatives = self._hear_folder(negatives) if negatives else None

    def _hear_folder(self, folder: str | Path) -> Trace:
        traces = []
        for path in recordings.find_recordings(folder):
            pieces = (Piece(block, (), ()) for block in recordings.blocks(path, self.runtime.sample_rate))
            try:
                traces.append(hear(self.runtime, self.decoder, pieces))
            except BrokenRecording as error:
                self.refused.append(error)
        if not sum(len(trace.word) for trace in traces):
            raise KwsError(f"none of the recordings in negatives={str(folder)!r} can be used: {self.refused[0]}.")
        return join(traces, self.decoder.hop_seconds)

    @cached_property
    def validation_curve(self) -> Curve:
        """Misses against false alarms on the validation stream."""
        return self.curve(self.validation)

    @cached_property
    def validation_counts(self) -> WordCounts:
        """The same for each word."""
        return count_words(self.decoder, self.validation, self.settings.tolerance)

    def curve(self, trace: Trace, negatives: Trace | None = None) -> Curve:
        """Misses against false alarms over all thresholds."""
        return curve(self.decoder, trace, self.settings.tolerance, negatives)

    def calibrate(self, target: float, per_word: bool = False) -> float | dict[str, float]:
        """Threshold, or one per word, for `target` false alarms per hour on the validation stream.

        Raises:
            KwsError: no threshold comes down to the target.
        """
        chosen = choose_per_word(self.validation_counts, target) if per_word else choose(self.validation_curve, target)
        if chosen is None:
            raise KwsError(
                f"no threshold brings the false alarms on the validation stream down to {target:g} an hour; "
                "allow more of them, or smooth over longer with decoder.smoothing."
            )
        return chosen

    def results(self) -> dict[str, Any]:
        """What evaluation.json says of detection."""
        s, points = self.settings, self.curve(self.testing)
        results: dict[str, Any] = {
            "stream": {
                "hours": self.testing.hours,
                "keywords": len(self.testing.truths),
                "clips": len(self.stream.keywords),
                "other_speech": self.stream.speech_kind,
                "snr": list(s.snr),
                "seed": s.seed,
                "tolerance": s.tolerance,
            },
            "decoder": dict(self.decoder.settings),
            "as_stored": self._point(self.decoder.settings["threshold"]),
            "operating_points": [
                {**self._point(choose(points, target)), "target": target, "false_alarms_per_hour": target}
                for target in s.targets
            ],
            "chosen_on_validation": [self._transferred(target) for target in s.targets],
            "misses_by_snr": self._misses_by_snr(choose(points, max(s.targets))),
            "curve": {name: values.tolist() for name, values in points._asdict().items()},
        }
        if self.negatives is not None:
            alone = self.curve(self.testing, self.negatives)
            results["negatives"] = {
                "hours": self.negatives.hours,
                "recordings": len(self.negatives.starts),
                "refused": [str(error) for error in self.refused],
                "operating_points": [
                    {**self._point(choose(alone, target)), "target": target, "false_alarms_per_hour": target}
                    for target in s.targets
                ],
                "curve": {name: values.tolist() for name, values in alone._asdict().items()},
            }
        return results

    def _point(self, threshold) -> dict[str, Any]:
        point = operating_point(self.decoder, self.testing, threshold, self.settings.tolerance, self.negatives)
        point["measured_false_alarms_per_hour"] = point["false_alarms_per_hour"]
        return point

    def _transferred(self, target: float) -> dict[str, Any]:
        """Thresholds from the validation stream on the test stream: one for all words, and one for each."""
        tolerance = self.settings.tolerance
        overall = choose(self.validation_curve, target)
        each = choose_per_word(self.validation_counts, target)
        return {
            "target": target,
            "overall": self._point(overall),
            "per_word": self._point(each) if each is not None else None,
            "validation": {
                "overall": operating_point(self.decoder, self.validation, overall, tolerance),
                "per_word": operating_point(self.decoder, self.validation, each, tolerance) if each else None,
            },
        }

    def _misses_by_snr(self, threshold: float | None) -> list[dict[str, Any]]:
        """Misses in each background, at the threshold of the most lenient target."""
        if threshold is None:
            return []
        row = reports(self.decoder, self.testing, threshold_table(self.decoder, threshold))[0]
        rows = []
        for snr in dict.fromkeys(truth.snr for truth in self.testing.truths):
            truths = [truth for truth in self.testing.truths if truth.snr == snr]
            figures = score(row, truths, self.testing.hours, self.settings.tolerance)
            names = ("keywords", "misses", "miss_rate", "miss_interval", "latency")
            rows.append({"snr": snr, **{name: figures[name] for name in names}})
        return sorted(rows, key=lambda row: (row["snr"] is not None, -(row["snr"] or 0)))
