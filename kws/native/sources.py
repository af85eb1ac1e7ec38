"""kws_model.h and kws_model.c of a spotter."""

import textwrap
from importlib.metadata import PackageNotFoundError, version

from kws.native.files import C, filled, joined
from kws.native.parts import number
from kws.native.road import LINE, Road, road
from kws.program import Program
from kws.program.quantized import is_integer, sizes
from kws.spotter import Spotter

DETECTOR_SETTINGS = {
    "tau_up": "seconds in which the noise floor follows a rising level, above 0",
    "tau_down": "seconds in which it follows a falling one, above 0",
    "large_input": "above this many times the floor a level counts as large …",
    "gain_att": "… and the floor follows it this much more slowly",
    "threshold_up": "voice begins when the level exceeds this many times the floor …",
    "level_threshold": "… and exceeds this much in itself",
    "threshold_down": "voice ends when the level falls below this many times the floor",
}
"""The detector's parameters in their order in C; `kws.spotter.vad` explains them."""

TOTALS = "    int32_t totals[KWS_LABELS];          /* of the last hop: the integers that were scaled to scores */\n"
"""Of an integer network, in kws_state."""

LEAST_SMOOTHING = 0.5
"""Seconds over which probabilities can be averaged at least, whatever was stored."""


def sources(spotter: Spotter, program: Program | None = None) -> dict[str, str]:
    """The texts of kws_model.h and kws_model.c by name.

    Args:
        spotter: whose labels, decoder and facts they bear.
        program: what is computed of a hop; the spotter's own when None.

    Raises:
        KwsError: the network judges whole clips, holds numbers that are not finite, or there is no C for a step.
    """
    program = program or spotter.program()
    way = road(program)
    said = {name: comment(text) for name, text in facts(spotter, program).items()} | _numbers(spotter, program, way)
    texts = {"kws_model.h": _members(program, way), "kws_model.c": _code(spotter, program, way)}
    return {name: filled(C / name, said | own) for name, own in texts.items()}


def max_smoothing(spotter: Spotter) -> int:
    """Hops for which a state has room by default."""
    return max(spotter.decoder.window, round(LEAST_SMOOTHING / spotter.featurizer.hop_seconds), 1)


def words(spotter: Spotter) -> list[int]:
    """Numbers of the labels that can be reported."""
    return spotter.decoder.words.tolist()


def kws_version() -> str:
    """Of this package."""
    try:
        return version("kws")
    except PackageNotFoundError:
        return "(not installed)"


def comment(text: str, first: int = 3) -> str:
    """Text for the inside of a C comment, behind `first` columns; nothing in it ends the comment."""
    text = text.replace("*/", "* /").replace("/*", "/ *")
    return textwrap.fill(text, LINE, initial_indent=" " * first, subsequent_indent=" * ")[first:]


def string(text: str) -> str:
    """A C string."""
    escaped = "".join(
        f"\\{character}"
        if character in '"\\?'
        else character
        if character.isprintable()
        else "".join(f"\\{byte:03o}" for byte in character.encode())
        for character in text
    )
    return f'"{escaped}"'


def facts(spotter: Spotter, program: Program) -> dict[str, str]:
    """What every file of a model says of it, by the names of the gaps in their texts."""
    milliseconds = f"{1000 * spotter.featurizer.hop_seconds:g}"
    weights = f"{sum(step.num_weights for step in program.network):,} weights"
    if is_integer(program):
        weights = f"{sizes(program)['weights']:,} weights of int8"
    about = [f"{name.replace('_', ' ')} {value}" for name, value in spotter.about.items() if value is not None]
    return {
        "title": f"A keyword spotter that tells apart: {', '.join(spotter.labels)}.",
        "summary": (
            f"It hears {spotter.sample_rate} Hz and has an answer every {milliseconds} ms. {weights} in its network."
        ),
        "origin": f"Written by kws {kws_version()}." + (f" Of the model: {', '.join(about)}." if about else ""),
        "sample_rate": str(spotter.sample_rate),
        "hop": str(program.input_size),
        "milliseconds": milliseconds,
    }


def _numbers(spotter: Spotter, program: Program, way: Road) -> dict[str, str]:
    return {
        "labels": str(len(spotter.labels)),
        "words": str(len(words(spotter))),
        "features": str(program.sizes[program.front[-1].name]),
        "detector": str(int(program.detector is not None)),
        "integers": str(int(is_integer(program))),
        "max_smoothing": str(max_smoothing(spotter)),
        "window": str(way.window_size),
    }


def _members(program: Program, way: Road) -> dict[str, str]:
    """What differs in kws_model.h from model to model."""
    detector = {"detector_types": "", "detector_settings": "", "detector_state": ""}
    if program.detector is not None:
        members = "".join(f"    float {name + ';':<17}/* {about} */\n" for name, about in DETECTOR_SETTINGS.items())
        detector = {
            "detector_types": filled(C / "detector_types.h", {"members": members}),
            "detector_settings": "    kws_detector_settings detector;\n",
            "detector_state": "    kws_detector detector;\n",
        }
    states = "".join(f"    {member}\n" for member in way.front_states)
    if way.states:
        inner = "".join(f"        {member}\n" for member in way.states)
        states += f"    struct {{\n{inner}    }} network; /* what it remembers from hop to hop */\n"
    work = "".join(f"    {member}\n" for member in way.work)
    return {**detector, "totals": TOTALS if is_integer(program) else "", "states": states, "work": work}


def _settings(spotter: Spotter, program: Program) -> str:
    decoder = spotter.decoder
    thresholds = ", ".join(number(value) for value in decoder.thresholds.tolist())
    lines = [
        textwrap.fill(f".threshold = {{{thresholds}}},", LINE, initial_indent="    ", subsequent_indent="        "),
        f"    .smoothing = {decoder.window},",
        f"    .consecutive = {decoder.consecutive},",
        f"    .refractory = {decoder.wait},",
    ]
    if program.detector is not None:
        values = (f"        .{name} = {number(program.detector.settings[name])},\n" for name in DETECTOR_SETTINGS)
        lines.append(f"    .detector = {{\n{''.join(values)}    }},")
    return "\n".join(lines) + "\n"


def _code(spotter: Spotter, program: Program, way: Road) -> dict[str, str]:
    """What differs in kws_model.c from model to model."""
    headers, kernels = joined([*way.files, "decoder.c"])
    more, interface = joined(["interface.c"])
    known = set(kernels)
    labels = "".join(f"    {string(label)}, /* {i} */\n" for i, label in enumerate(spotter.labels))
    forget = "    memset(&state->network, 0, sizeof state->network);\n" if way.states else "    (void)state;\n"
    hop = list(way.hop) if program.detector is not None else ["    state->voice = 1;", *way.hop]
    return {
        "includes": "".join(f"#include <{name}>\n" for name in sorted({*headers, *more})),
        "label_names": labels,
        "word_numbers": _row(words(spotter)),
        "kernels": "\n".join(kernels),
        "declarations": "\n".join([*(f"{table.declaration};" for table in way.tables), *way.constants]) + "\n",
        "settings": _settings(spotter, program),
        "arrival": "".join(f"{line}\n" for line in _with_gate(way.arrival)),
        "gate": _gate(spotter),
        "forget": forget,
        "hop": "".join(f"{line}\n" for line in hop),
        "interface": "\n".join(text for text in interface if text not in known),
        "definitions": "\n".join(table.definition for table in way.tables),
    }


def _with_gate(arrival: list[str]) -> list[str]:
    """What happens to samples as they arrive; the noise gate hears them when they are clean and nothing else yet."""
    cleaned = [i for i, line in enumerate(arrival, 1) if line.lstrip().startswith("clean(")]
    at = cleaned[0] if cleaned else 0  # a program without a featurizer is handed what it is handed
    return [*arrival[:at], "    measure_hop(&state->decoder.gate, samples, count);", *arrival[at:]]


def _gate(spotter: Spotter) -> str:
    """Constants of the decoder's noise gate."""
    gate = spotter.decoder.gate.facts
    floats = "".join(f"#define GATE_{name.upper()} {number(gate[name])}\n" for name in ("floor", "rise", "growth"))
    return floats + "".join(f"#define GATE_{name.upper()} {gate[name]}\n" for name in ("attack", "hold"))


def _row(numbers: list[int]) -> str:
    return textwrap.fill(", ".join(map(str, numbers)), LINE - 8, subsequent_indent="    ")
