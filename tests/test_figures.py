"""Every figure in the README stands in a file that a command wrote."""

import json
import re

import pytest

from tests.recordings import REAL
from tests.scripts import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = README[: README.index("## Use")]
# ELL's own trainer and the streams of its network: ../shared/speech_commands/BASELINE.md; 95 % is of intervals.
QUOTED = {"84.77", "84.8", "86.20", "86.2", "83.8"}


def stored(path):
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def studies():
    return {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "results").glob("*.json")}


def variants():
    return [variant for study in studies().values() for variant in study.get("variants", {}).values()]


def means_with_halves():
    """Means over the seeds with half the width of their interval, in percent, as tables round them."""
    pairs = set()
    for variant in variants():
        if "interval" in variant:
            # Files of before know the interval of the test accuracy alone.
            for name, (low, high) in variant.get("intervals", {"test": variant["interval"]}).items():
                digits = 2 if name == "test" else 1
                pairs.add((f"{100 * variant['mean'][name]:.{digits}f}", f"{50 * (high - low):.{digits}f}"))
    return pairs


def percentages():
    """What may stand before a percent sign, at every precision."""
    shares = [share for variant in variants() for share in variant["mean"].values()]
    streaming = stored("benchmarks/results/streaming.json")["contestants"]
    shares += [contestant["real_time_factor"] for contestant in streaming if contestant["streams"] == 1]
    shares += [way["of_plain_loop"] for way in stored("benchmarks/results/training.json")["ways"].values()]
    reached = stored("benchmarks/results/time_to_accuracy.json")["reached"].values()
    shares += [value for target in reached for value in (target["target"], target["share"]["wall"])]
    native = stored("benchmarks/results/native.json")["variants"].values()
    shares += [variant[weights]["accuracy"] for variant in native for weights in ("float32", "int8")]
    shares.append(stored("docs/results/default.json")["as_stored"]["miss_rate"])
    shares += wake_word_misses()
    figures = {f"{100 * share:.{digits}f}" for share in shares for digits in (0, 1, 2, 3)}
    return figures | {half for _, half in means_with_halves()}


def wake_word_misses():
    """Of every row of the wake words, and means over the seeds of a listener."""
    listeners = {}
    for row in stored("docs/results/wake_words.json")["rows"]:
        name, _, seed = row["listener"].rpartition(", seed ")
        missed = [*(bound["miss_rate"] for bound in row["bounds"]), row["stored"]["miss_rate"]]
        listeners.setdefault((name or seed, row["word"]), []).append(missed)
    assert any(len(seeds) == 3 for seeds in listeners.values())
    for seeds in listeners.values():
        yield from (share for missed in seeds for share in missed)
        yield from (sum(missed) / len(missed) for missed in zip(*seeds, strict=True))


def test_percentages():
    told = set(re.findall(r"(?<![\d.])(\d+(?:\.\d+)?) %", RESULTS)) - QUOTED - {"95"}
    assert len(told) > 20
    assert told <= percentages(), f"in no file of results: {sorted(told - percentages())}"


def test_means_with_their_intervals():
    told = set(re.findall(r"(\d+\.\d+) ± (\d+\.\d+) %", README))
    assert len(told) >= 9
    assert told <= means_with_halves()


def test_streams():
    known = [
        tuple(f"{100 * variant['mean'][f'stream, {mode}, best frame']:.1f} %" for mode in ("reset", "never", "vad"))
        for variant in studies()["states"]["variants"].values()
    ]
    rows = re.findall(r"^\| (.*?) \| (\d\d\.\d %) \| (\d\d\.\d %) \| (\d\d\.\d %) \|$", README, re.M)
    assert len(rows) >= 3
    for name, *told in rows:
        assert tuple(told) in known, name


def test_speed_and_size_in_c():
    rows = {
        row["name"]: row for row in stored("benchmarks/results/streaming.json")["contestants"] if row["streams"] == 1
    }
    onnx = rows["kws ONNX"]["real_time_factor"]
    for name in ("kws C, float32", "kws C, int8"):
        assert f"{onnx / rows[name]['real_time_factor']:.1f} times" in RESULTS
    told = set(re.findall(r"(\d+\.\d) KiB", RESULTS))
    native = stored("benchmarks/results/native.json")["variants"]
    known = {native[variant]["int8"][name] for variant in native for name in ("flash_bytes", "state_bytes")}
    assert len(told) == 3
    assert told <= {f"{size / 1024:.1f}" for size in known}


def test_speed():
    ways = stored("benchmarks/results/training.json")["ways"]
    assert f"{ways['Lightning, as train.py']['of_per_item_loop']:.2f} times" in RESULTS
    for target in stored("benchmarks/results/time_to_accuracy.json")["reached"].values():
        assert f"{target['wall']:.0f} s" in RESULTS
        assert f"{100 * target['share']['wall']:.1f} %" in RESULTS


def test_numbers_of_weights():
    known = {f"{run['parameters']:,}" for variant in variants() for run in variant["seeds"].values()}
    told = set(re.findall(r"(\d+,\d+) weights", README))
    assert told
    assert told <= known


@pytest.mark.skipif(not (REAL / "BASELINE.md").is_file(), reason="BASELINE.md lies beside the recordings")
def test_what_is_quoted():
    baseline = (REAL / "BASELINE.md").read_text(encoding="utf-8")
    for figure in QUOTED:
        exact = re.findall(r"(\d+\.\d+) %", baseline)
        assert any(figure in (value, f"{float(value):.1f}") for value in exact), figure
