"""Detections against the truth: hits, misses and false alarms.

A detection hits a keyword when it names it between the word's start and `tolerance` seconds after its end. Each
keyword is hit once at most. Every other detection is a false alarm: the wrong word, the same word reported again, a
word where none was said. With a `debounce` a word that is reported again is no second false alarm for so many seconds,
nor a false alarm at all while its keyword may still be reported.

Another word while a keyword is said is a substitution: its keyword was taken for it. How often that happens depends on
how often keywords are said, so beside false alarms an hour there is its share of the keywords; it can be left out of
the false alarms.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kws.evaluation.intervals import poisson_interval, wilson_interval
from kws.evaluation.stream.long_stream import Truth

KINDS = ("within a keyword", "in other speech", "in background")


class Protocol(NamedTuple):
    """Rules of counting.

    Attributes:
        tolerance: seconds after a word's end in which it may be reported.
        debounce: seconds in which a false alarm of the same word does not count again; 0 for never.
        reference: what somebody else reached by these rules, for comparison: where, misses as a share, and false alarms
            per hour.
    """

    tolerance: float
    debounce: float = 0.0
    reference: tuple[str, float, float] | None = None


PROTOCOLS = {
    "kws": Protocol(0.75),
    # `calc_detection_stats` in benchmark/runner and the figures of benchmark/training/streaming_wakeword/README.md of
    # mlcommons/tiny: 10 of 50 words missed and 4 false alarms in twenty minutes. It knows one word; here each is
    # counted so.
    "mlperf_tiny": Protocol(
        1.0, 1.0, ("MLPerf Tiny's reference model, one word, on its own twenty minutes", 0.2, 12.0)
    ),
}


class Report(NamedTuple):
    """A detection, as matching needs it: the word and the time in seconds."""

    word: str
    time: float


class Matching(NamedTuple):
    """Which detection hit which keyword.

    Attributes:
        hit_by: for each keyword the index of its detection, or None for a miss.
        false_alarms: indices of the other detections that count.
        substitutions: indices of those that name another word while a keyword is said, false alarms or not.
    """

    hit_by: list[int | None]
    false_alarms: list[int]
    substitutions: list[int]


def match(
    reports: Sequence[Report],
    truths: Sequence[Truth],
    tolerance: float,
    debounce: float = 0.0,
    substitutions: bool = True,
) -> Matching:
    """Match detections in the order of time with keywords in the order of their start.

    With `substitutions` they count as false alarms.
    """
    hit_by: list[int | None] = [None] * len(truths)
    false_alarms, substituted, first = [], [], 0
    counted: dict[str, float] = {}  # time of the last false alarm by word
    for number, report in enumerate(reports):
        while first < len(truths) and truths[first].end + tolerance < report.time:
            first += 1
        at, again, other = first, False, False
        while at < len(truths) and truths[at].start <= report.time:
            if report.time <= truths[at].end + tolerance:
                if truths[at].word != report.word:
                    other = True
                elif hit_by[at] is None:
                    hit_by[at] = number
                    break
                else:
                    again = True
            at += 1
        else:
            if debounce > 0 and (again or report.time - counted.get(report.word, -np.inf) <= debounce):
                continue
            counted[report.word] = report.time
            if other and not again:
                substituted.append(number)
            if substitutions or again or not other:
                false_alarms.append(number)
    return Matching(hit_by, false_alarms, substituted)


def score(
    reports: Sequence[Report],
    truths: Sequence[Truth],
    hours: float,
    tolerance: float,
    speech: Sequence[tuple[float, float]] = (),
    debounce: float = 0.0,
) -> dict[str, Any]:
    """Misses, false alarms and latency of one set of detections, with 95 % intervals.

    Args:
        reports: detections in the order of time.
        truths: keywords in the order of time.
        hours: length of the stream.
        tolerance: seconds after a word's end in which it may be reported.
        speech: (start, end) of other speech, in the order of time, to say what false alarms were raised by.
        debounce: see `Protocol`.

    Returns:
        ``keywords``, ``misses``, ``miss_rate`` and ``miss_interval`` (Wilson), ``false_alarms``, ``hours``,
        ``false_alarms_per_hour`` and ``false_alarm_interval`` (Poisson, per hour), ``false_alarms_by_kind``,
        ``substitutions``, which are among them, and ``substitution_rate``, their share of the keywords,
        ``latency`` (seconds after the word's end: median and 90th percentile of the hits; None without hits).
    """
    matching = match(reports, truths, tolerance, debounce)
    misses = sum(number is None for number in matching.hit_by)
    latencies = sorted(
        reports[number].time - truth.end for number, truth in zip(matching.hit_by, truths, strict=True)
        if number is not None
    )  # fmt: skip
    kinds = Counter(_kind(reports[number].time, truths, speech, tolerance) for number in matching.false_alarms)
    return {
        "keywords": len(truths),
        "misses": misses,
        "miss_rate": misses / len(truths) if truths else None,
        "miss_interval": list(wilson_interval(misses, len(truths))) if truths else None,
        **per_hour(len(matching.false_alarms), hours),
        "false_alarms_by_kind": {kind: kinds[kind] for kind in KINDS},
        "substitutions": len(matching.substitutions),
        "substitution_rate": len(matching.substitutions) / len(truths) if truths else None,
        "latency": {
            "median": latencies[len(latencies) // 2],
            "90 %": latencies[min(len(latencies) - 1, int(0.9 * len(latencies)))],
        }
        if latencies
        else None,
    }


def per_hour(false_alarms: int, hours: float) -> dict[str, Any]:
    """So many false alarms in so many ``hours``: their number, rate and its 95 % interval, as `score` gives them."""
    low, high = poisson_interval(false_alarms)
    return {
        "hours": hours,
        "false_alarms": false_alarms,
        "false_alarms_per_hour": false_alarms / hours,
        "false_alarm_interval": [low / hours, high / hours],
    }


def _kind(time: float, truths: Sequence[Truth], speech: Sequence[tuple[float, float]], tolerance: float) -> str:
    at = bisect_right(truths, time, key=lambda truth: truth.start) - 1
    if at >= 0 and time <= truths[at].end + tolerance:
        return KINDS[0]
    at = bisect_right(speech, time, key=lambda span: span[0]) - 1
    return KINDS[1] if at >= 0 and time <= speech[at][1] + tolerance else KINDS[2]
