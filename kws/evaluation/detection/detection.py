"""Misses against false alarms per hour, on a long stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kws.evaluation.detection.kinds import BETWEEN, NOISE, SILENCE, UNNAMED, WORDS, Folders, Kind, by_name, hear_folders
from kws.evaluation.detection.matching import PROTOCOLS, Protocol, Report, per_hour, score
from kws.evaluation.detection.thresholds import (
    THRESHOLDS,
    Curve,
    Trace,
    choose,
    choose_per_word,
    count_words,
    curve,
    false_alarms,
    hear_lanes,
    operating_point,
    reports,
    threshold_table,
)
from kws.evaluation.stream import no_speech
from kws.evaluation.stream.long_stream import LongStream
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Runtime
from kws.support.errors import KwsError

TARGETS = (0.1, 0.5, 1.0, 10.0)  # false alarms per hour


@dataclass(frozen=True)
class DetectionSettings:
    """How detection is judged; the fields of `LongStream`, and

    noise_hours    of noise and music; half of `hours` when None
    silence_hours  of silence; a tenth of `hours` when None
    protocol       one of `PROTOCOLS`: what counts as found, and what as a false alarm
    tolerance      seconds after a word's end in which it may be reported; the protocol's own when None
    targets        false alarms per hour at which misses are given, thresholds chosen on the validation stream
    kind_targets   more of them for each kind of false alarms alone
    """

    hours: float = 2.0
    noise_hours: float | None = None
    silence_hours: float | None = None
    snr: Sequence[float | None] = (None, 20.0, 10.0, 5.0)
    gap: tuple[float, float] = (1.0, 4.0)
    keyword_share: float = 0.5
    section: float = 60.0
    seed: int = 1
    lanes: int = 8
    protocol: str = "kws"
    tolerance: float | None = None
    targets: Sequence[float] = TARGETS
    kind_targets: Sequence[float] = (0.5, 5.0)

    def __post_init__(self):
        if self.protocol not in PROTOCOLS:
            raise KwsError(f"detection.protocol={self.protocol} is unknown; choose from {', '.join(PROTOCOLS)}.")
        if self.tolerance is not None and self.protocol != "kws":
            raise KwsError(
                f"detection.tolerance={self.tolerance} would not be detection.protocol={self.protocol} any more; "
                "leave one of the two out."
            )

    @property
    def rules(self) -> Protocol:
        """The protocol with the tolerance that was chosen."""
        rules = PROTOCOLS[self.protocol]
        return rules if self.tolerance is None else rules._replace(tolerance=self.tolerance)

    @property
    def points(self) -> list[float]:
        """False alarms per hour at which misses are given: the targets, and where the protocol's reference stands."""
        reference = self.rules.reference
        return sorted({*self.targets, *([] if reference is None else [reference[2]])})

    def stream(
        self, clips: np.ndarray, labels: np.ndarray, runtime: Runtime, noise, seed_offset: int = 0
    ) -> LongStream:
        """The stream of a split's clips."""
        names = ("hours", "snr", "gap", "keyword_share", "section", "lanes")
        fields = {name: getattr(self, name) for name in names}
        fields["seed"] = self.seed + seed_offset
        return LongStream(clips, labels, runtime.labels, runtime.sample_rate, noise=noise, **fields)

    def no_speech(self, runtime: Runtime, noise: Sequence[np.ndarray]) -> dict[str, no_speech.NoSpeech]:
        """What holds no speech at all, by kind; a kind of no hours is left out."""
        given = {
            NOISE: self.hours / 2 if self.noise_hours is None else self.noise_hours,
            SILENCE: self.hours / 10 if self.silence_hours is None else self.silence_hours,
        }
        settings = {
            name: {"hours": hours, "seed": self.seed, "lanes": self.lanes} for name, hours in given.items() if hours > 0
        }
        make = {
            NOISE: lambda **s: no_speech.noise_and_music(noise, runtime.sample_rate, **s),
            SILENCE: lambda **s: no_speech.silence(runtime.sample_rate, **s),
        }
        return {name: make[name](**chosen) for name, chosen in settings.items()}


class Detection:
    """Validation and test stream of a spotter, each heard once, and what follows from them.

    Args:
        runtime: who listens.
        decoder: smoothing, run length and refractory time; its thresholds are among those tried.
        validation: (samples (N, S), class indices (N,)) of the split on which thresholds are chosen.
        testing: the same of the split that is reported; None when thresholds alone are wanted.
        noise: recordings of background noise.
        settings: how.
        negatives: folders of long recordings without keywords: one, a list, or any by the name of their kind.

    Attributes:
        kinds: sounds in which no keyword is said, by name, as far as they were heard; none without `testing`.
    """

    def __init__(
        self,
        runtime: Runtime,
        decoder: Decoder,
        validation: tuple[np.ndarray, np.ndarray],
        testing: tuple[np.ndarray, np.ndarray] | None,
        noise: Sequence[np.ndarray] = (),
        settings: DetectionSettings | None = None,
        negatives: Folders | None = None,
    ):
        self.runtime = runtime
        self.decoder = decoder
        self.settings = settings or DetectionSettings()
        folders = by_name(negatives)
        # Different seeds: the two streams share the recipe, not the draw.
        self.validation_stream = self.settings.stream(*validation, runtime, noise, seed_offset=1)
        self.validation = hear_lanes(runtime, decoder, self.validation_stream)
        self.stream = self.testing = None
        self.kinds: dict[str, Kind] = {}
        self._known: dict[float | None, dict[str, Any]] = {}
        if testing is not None:
            self.stream = self.settings.stream(*testing, runtime, noise)
            self.testing = hear_lanes(runtime, decoder, self.stream)
            for name, stream in self.settings.no_speech(runtime, noise).items():
                self.kinds[name] = Kind(stream.what, hear_lanes(runtime, decoder, stream))
            self.kinds |= {name: hear_folders(runtime, decoder, chosen) for name, chosen in folders.items()}

    @property
    def rules(self) -> dict[str, float]:
        """The protocol, for the functions that count."""
        return {"tolerance": self.settings.rules.tolerance, "debounce": self.settings.rules.debounce}

    @cached_property
    def validation_reports(self) -> list[list[Report]]:
        """What is said at every threshold of the validation stream: hours of it, decoded once for all ways to count."""
        return reports(self.decoder, self.validation, THRESHOLDS)

    @cached_property
    def validation_curve(self) -> Curve:
        """Misses against false alarms on the validation stream."""
        return self.curve(self.validation, self.validation_reports)

    def curve(self, trace: Trace, rows: list[list[Report]], substitutions: bool = True) -> Curve:
        """Misses against false alarms over all thresholds, one keyword taken for another among them or not.

        `rows` are the trace's `reports`.
        """
        return curve(self.decoder, trace, **self.rules, rows=rows, substitutions=substitutions)

    def chosen(
        self, targets: Sequence[float], per_word: bool = False, substitutions: bool = True
    ) -> list[float | dict[str, float] | None]:
        """Thresholds for so many false alarms per hour on the validation stream; None where none comes down to them."""
        heard = {"rows": self.validation_reports, "substitutions": substitutions}
        if per_word:
            counts = count_words(self.decoder, self.validation, **self.rules, **heard)
            return [choose_per_word(counts, target) for target in targets]
        points = self.validation_curve if substitutions else self.curve(self.validation, **heard)
        return [choose(points, target) for target in targets]

    def calibrate(self, target: float, per_word: bool = False, substitutions: bool = True) -> float | dict[str, float]:
        """Threshold, or one per word, for `target` false alarms per hour on the validation stream.

        Raises:
            KwsError: no threshold comes down to the target.
        """
        (chosen,) = self.chosen([target], per_word, substitutions)
        if chosen is None:
            raise KwsError(
                f"no threshold brings the false alarms on the validation stream down to {target:g} an hour; "
                "allow more of them, or smooth over longer with decoder.smoothing."
            )
        return chosen

    def results(self) -> dict[str, Any]:
        """What evaluation.json says of detection."""
        s, rows = self.settings, reports(self.decoder, self.testing, THRESHOLDS)
        test, between = (self.curve(self.testing, rows, counted) for counted in (True, False))
        chosen = self._transferred(s.points)
        kinds = self._kinds(test, between)
        results: dict[str, Any] = {
            "stream": {
                "hours": self.testing.hours,
                "keywords": len(self.testing.truths),
                "clips": len(self.stream.keywords),
                "other_speech": self.stream.speech_kind,
                "snr": list(s.snr),
                "seed": s.seed,
                "tolerance": s.rules.tolerance,
            },
            "protocol": {"name": s.protocol, "tolerance": s.rules.tolerance, "debounce": s.rules.debounce},
            "decoder": dict(self.decoder.settings),
            "as_stored": self._point(self.decoder.settings["threshold"]),
            # Thresholds from the validation stream: what can be had.
            "operating_points": [_aimed(row["overall"], row["target"]) for row in chosen],
            # Thresholds from the very stream that they are reported on: what cannot be beaten.
            "bounds": [_aimed(self._point(choose(test, target)), target) for target in s.points],
            "chosen_on_validation": chosen,
            "misses_by_snr": self._misses_by_snr(choose(self.validation_curve, max(s.targets))),
            "kinds": kinds,
            "curve": _plain(test),
        }
        if s.rules.reference is not None:
            who, missed, alarms = s.rules.reference
            results["reference"] = {"who": who, "miss_rate": missed, "false_alarms_per_hour": alarms}
        if UNNAMED in kinds:
            results["negatives"] = kinds[UNNAMED]
        return results

    def _kinds(self, test: Curve, between: Curve) -> dict[str, Any]:
        """Every kind of false alarms: how much was heard, the curve against its rate, and misses at some rates.

        These operating points are bounds: each threshold is chosen on that kind itself.
        """
        s = self.settings
        curves = {WORDS: test, BETWEEN: between}
        for name, kind in self.kinds.items():
            curves[name] = test._replace(false_alarms=false_alarms(self.decoder, kind.trace, debounce=s.rules.debounce))
        heard, hours = f"{self.stream.speech_kind}, pauses, background", self.testing.hours
        facts = {WORDS: {"what": f"{heard}, and one keyword taken for another", "hours": hours}}
        facts |= {BETWEEN: {"what": f"the same stream, without one keyword taken for another: {heard}", "hours": hours}}
        facts |= {name: kind.facts for name, kind in self.kinds.items()}
        targets = sorted({*s.points, *s.kind_targets})
        return {
            name: {
                **facts[name],
                "operating_points": [_aimed(self._point(choose(points, target)), target) for target in targets],
                "curve": _plain(points),
            }
            for name, points in curves.items()
        }

    def _point(self, threshold: float | Mapping[str, float] | None) -> dict[str, Any]:
        if isinstance(threshold, Mapping):
            return self._heard_at(threshold)
        if threshold not in self._known:  # several targets often come to the same
            self._known[threshold] = self._heard_at(threshold)
        return self._known[threshold]

    def _heard_at(self, threshold: float | Mapping[str, float] | None) -> dict[str, Any]:
        traces = {name: kind.trace for name, kind in self.kinds.items()}
        point = operating_point(self.decoder, self.testing, threshold, negatives=traces, **self.rules)
        alarms, hours = point["false_alarms"], point["hours"]
        both = {WORDS: per_hour(alarms, hours), BETWEEN: per_hour(alarms - point["substitutions"], hours)}
        point["kinds"] = {**both, **point["kinds"]}
        if UNNAMED in point["kinds"]:
            point["negatives"] = point["kinds"][UNNAMED]
        point["measured_false_alarms_per_hour"] = point["false_alarms_per_hour"]
        return point

    def _transferred(self, targets: Sequence[float]) -> list[dict[str, Any]]:
        """Thresholds from the validation stream on the test stream: one for all words, and one for each.

        Those for as many false alarms `between` the keywords follow: one keyword taken for another is none of these.
        """

        def rows(substitutions: bool) -> list[dict[str, Any]]:
            found = []
            both = [self.chosen(targets, per_word, substitutions) for per_word in (False, True)]
            for overall, each in zip(*both, strict=True):
                heard = {
                    "overall": operating_point(self.decoder, self.validation, overall, **self.rules),
                    "per_word": operating_point(self.decoder, self.validation, each, **self.rules) if each else None,
                }
                point = {"overall": self._point(overall), "per_word": self._point(each) if each is not None else None}
                found.append({**point, "validation": heard})
            return found

        return [
            {"target": target, **one, "between": other}
            for target, one, other in zip(targets, rows(True), rows(False), strict=True)
        ]

    def _misses_by_snr(self, threshold: float | None) -> list[dict[str, Any]]:
        """Misses in each background, at a threshold."""
        if threshold is None:
            return []
        row = reports(self.decoder, self.testing, threshold_table(self.decoder, threshold))[0]
        rows = []
        for snr in dict.fromkeys(truth.snr for truth in self.testing.truths):
            truths = [truth for truth in self.testing.truths if truth.snr == snr]
            figures = score(row, truths, self.testing.hours, **self.rules)
            names = ("keywords", "misses", "miss_rate", "miss_interval", "latency")
            rows.append({"snr": snr, **{name: figures[name] for name in names}})
        return sorted(rows, key=lambda row: (row["snr"] is not None, -(row["snr"] or 0)))


def _aimed(point: Mapping[str, Any], target: float) -> dict[str, Any]:
    return {**point, "target": target, "false_alarms_per_hour": target}


def _plain(points: Curve) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in points._asdict().items()}
