"""The card of a bundled spotter: what it is, on what data it was trained, how good it is, how it is made again."""

from collections.abc import Mapping, Sequence
from typing import Any

from kws.evaluation.detection.kinds import BETWEEN
from kws.runs.summary import interval, percent
from kws.spotter import Spotter
from kws.support.errors import KwsError

SPEECH_COMMANDS = (
    "Trained on recordings of Speech Commands (Pete Warden, “Speech Commands: A Dataset for Limited-Vocabulary Speech "
    "Recognition”, 2018), which are by their contributors and under the licence CC BY 4.0, "
    "https://creativecommons.org/licenses/by/4.0/."
)
"""The sentence on data that the experiments `commands` and `commands_small` are trained on."""


def card(
    name: str,
    spotter: Spotter,
    results: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    overrides: Sequence[str],
    rounding: Mapping[str, float],
    data: str,
) -> str:
    """The text of card.md.

    Args:
        name: of the folder.
        spotter: what is bundled.
        results, evaluation: results.json and evaluation.json of its run.
        overrides: the run's command line.
        rounding: what `kws.spotters.bundle.rounding` measured.
        data: a sentence on the recordings and their licence.
    """
    words = [label for label in spotter.labels if label not in spotter.decoder.ignored]
    clips, commit = evaluation["clips"], results["environment"].get("git_commit") or "unknown"
    hop = f"{1000 * spotter.featurizer.hop_seconds:g}"
    accuracy = f"{percent(clips['accuracy'])}{interval(clips['interval'])}"
    command = " ".join(["python train.py", *(quoted(override) for override in overrides)])
    worst = sorted((value, word) for word, value in clips["per_word"].items() if value is not None)[:3]
    lines = [
        f"# {name}",
        "",
        f"Hears {', '.join(words)}; {spotter.sample_rate} Hz, an answer every {hop} ms, "
        f"{spotter.num_parameters:,} weights ({type(spotter.classifier).__name__}), stored as float16.",
        "",
        f"**Data.** {data} Corpus {results['corpus']['name']}, {results['corpus']['clips']['training']:,} training "
        f"clips; fingerprint {results['corpus']['fingerprint']}.",
        "",
        "**Figures**, of the run's float32 weights, from its `evaluation.json` "
        f"({evaluation['split']} split of {evaluation['corpus']['name']}):",
        "",
        "| what | figure |",
        "|---|---|",
        f"| accuracy over clips | {accuracy}, {clips['clips']:,} clips |",
        f"| hardest words | {', '.join(f'{word} {percent(value, 0)}' for value, word in worst)} |",
        *detection(evaluation.get("detection")),
        "",
        f"Rounding the weights to float16 changes no posterior of {rounding['clips']:,} clips of that split by more "
        f"than {rounding['difference']:.1e}; accuracy {percent(rounding['before'])} before and "
        f"{percent(rounding['after'])} after, the same label on {percent(rounding['same'])}.",
        "",
        "**Made again** by",
        "",
        "```sh",
        command,
        "python evaluate.py run=outputs/…",
        f"python -m kws.spotters outputs/… --name {name}",
        "```",
        "",
        f"at commit {commit}, seed {results['seed']}; {results['training']['epochs']} epochs.",
        "",
    ]
    return "\n".join(lines)


def detection(found: Mapping[str, Any] | None) -> list[str]:
    """Rows on the spotter as a detector."""
    if not found:
        return []
    if BETWEEN not in found["as_stored"].get("kinds", {}):
        raise KwsError("the run's evaluation.json was made before false alarms were told apart; run evaluate.py again.")
    hours = found["stream"]["hours"]
    rows = [("as stored", found["as_stored"])]
    rows += [
        (f"at the threshold that the validation stream gave for {row['target']:g} an hour", row[BETWEEN]["overall"])
        for row in found.get("chosen_on_validation") or []
        if row["target"] in (1, 5, 10)
    ]
    return [
        f"| {what}, {hours:.0f} h of the test stream | misses {percent(point['miss_rate'], 1)}, takes "
        f"{percent(point['substitution_rate'], 1)} for another keyword, "
        f"{point['kinds'][BETWEEN]['false_alarms_per_hour']:.1f} other false alarms an hour |"
        for what, point in rows
    ]


def quoted(override: str) -> str:
    """An override for a shell."""
    return override if not set(override) & set("[]{}() *'\"") else f"'{override}'"
