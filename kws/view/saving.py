"""What was tuned on the page, back into the spotter or into conf/vad."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kws.page.facts import DETECTOR, stored_settings
from kws.runs.configuration import CONFIGS
from kws.spotter import Decoder, Spotter, VoiceActivityDetector
from kws.support import files
from kws.support.errors import KwsError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def save_into_spotter(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give a stored spotter another decoder and detector; the file is replaced as a whole, and nothing else changes.

    What calibration said of the earlier decoder is taken out of ``about``, since it is no longer true.

    Args:
        path: a ``spotter.ckpt``.
        settings: as `kws.page.facts.stored_settings` gives them.

    Returns:
        the settings that are stored now.

    Raises:
        KwsError: settings that a decoder or a detector cannot have, or a file that cannot be written.
    """
    spotter = Spotter.load(path)
    if clean(settings, spotter) != stored_settings(spotter):
        change(spotter, settings)
        spotter.about.pop("calibration", None)
        try:
            spotter.save(path)
        except OSError as error:
            raise KwsError(
                f"{str(path)!r} cannot be written ({error.strerror}); copy the run and save there."
            ) from None
    return stored_settings(spotter)


def change(spotter: Spotter, settings: Mapping[str, Any]) -> None:
    """Put a page's settings into a spotter in memory."""
    settings = clean(settings, spotter)
    before = spotter.decoder
    seconds = spotter.featurizer.hop_seconds
    ignored = [label for label, out in zip(spotter.labels, settings["ignored"], strict=True) if out]
    thresholds = {
        label: value for label, value in zip(spotter.labels, settings["threshold"], strict=True) if label not in ignored
    }
    one = set(thresholds.values())
    # What is the same in hops keeps the seconds that were stored.
    hops = {"smoothing": before.window, "refractory": before.wait}
    times = {
        name: before.settings[name] if settings[name] == stored else round(settings[name] * seconds, 6)
        for name, stored in hops.items()
    }
    same_words = set(ignored) == set(before.ignored)
    spotter.decoder = Decoder(
        spotter.labels,
        seconds,
        **times,
        threshold=one.pop() if len(one) == 1 else thresholds,
        consecutive=settings["consecutive"],
        ignored=before.settings["ignored"] if same_words else ignored,
    )
    spotter.vad = detector(spotter, settings["vad"]) if settings["reset"] else None


def detector(spotter: Spotter, parameters: Mapping[str, float]) -> VoiceActivityDetector:
    """A detector with these parameters for a spotter's features."""
    featurizer = spotter.featurizer
    return VoiceActivityDetector(featurizer.num_features, featurizer.hop_seconds, **parameters)


def clean(settings: Mapping[str, Any], spotter: Spotter) -> dict[str, Any]:
    """Settings from a page, each of its type; what a decoder or a detector would not notice is refused here.

    Raises:
        KwsError: one is missing, or is no such value.
    """
    labels = len(spotter.labels)
    kinds: dict[str, tuple[str, Any]] = {
        "threshold": (f"{labels} numbers from 0 to 1", lambda v: _numbers(v, labels, 0, 1)),
        "ignored": (f"{labels} truth values", lambda v: _listed(v, labels, lambda x: isinstance(x, bool))),
        "smoothing": ("a whole number of hops", lambda v: _whole(v, 1)),
        "consecutive": ("a whole number of hops", lambda v: _whole(v, 1)),
        "refractory": ("a whole number of hops", lambda v: _whole(v, 0)),
        "reset": ("a truth value", lambda v: isinstance(v, bool)),
        "vad": (f"numbers named {', '.join(DETECTOR)}", _parameters),
    }
    for name, (what, good) in kinds.items():
        if name not in settings or not good(settings[name]):
            raise KwsError(f"settings.{name} must be {what}.")
    chosen = {name: settings[name] for name in kinds}
    return {
        **chosen,
        "threshold": [float(value) for value in settings["threshold"]],
        "vad": {name: float(settings["vad"][name]) for name in DETECTOR},
    }


def _number(value: Any, least: float = -1e6, most: float = 1e6) -> bool:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return good and math.isfinite(value) and least <= value <= most


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and _number(value, least, 100_000)


def _listed(values: Any, count: int, good) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(good, values))


def _numbers(values: Any, count: int, least: float, most: float) -> bool:
    return _listed(values, count, lambda value: _number(value, least, most))


def _parameters(values: Any) -> bool:
    return isinstance(values, Mapping) and set(values) == set(DETECTOR) and all(map(_number, values.values()))


def save_as_choice(name: str, settings: Mapping[str, Any], spotter: Spotter, folder: Path | None = None) -> Path:
    """Write the detector as conf/vad/<name>.yaml, a choice of ``vad=``.

    Args:
        name: small letters, digits and _; of no choice that there is.
        settings: see `save_into_spotter`; their detector is taken, whether it is in use or not.
        spotter: for whose features it was tuned.
        folder: conf/vad of the project when None.

    Raises:
        KwsError: no such name, or it is taken.
    """
    folder = folder or CONFIGS / "vad"
    if not _NAME.fullmatch(name):
        raise KwsError(f"{name[:60]!r} is no name of a choice; use small letters, digits and _, a letter first.")
    if not folder.is_dir():
        raise KwsError(f"there is no folder {str(folder)!r} here, so a choice cannot be kept; save into the spotter.")
    path = folder / f"{name}.yaml"
    if path.exists():
        raise KwsError(f"vad={name} is a choice already, and is not written over; take another name.")
    parameters = clean(settings, spotter)["vad"]
    detector(spotter, parameters)  # it says what it cannot take
    lines = [
        f"# Tuned by ear with python -m kws.view, for {spotter.featurizer.num_features} features at "
        f"{spotter.sample_rate} Hz, a frame every {1000 * spotter.featurizer.hop_seconds:g} ms.",
        "_target_: kws.spotter.vad.VoiceActivityDetector",
        "_partial_: true            # features per frame and frame duration come from the featurizer",
        *(f"{key}: {value!r}" for key, value in parameters.items()),
    ]
    files.write_text(path, "\n".join(lines) + "\n")
    return path
