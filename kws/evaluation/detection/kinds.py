"""False alarms apart: every kind of sound in which no keyword is said, heard and counted by itself.

words     the stream that the keywords are in: isolated other words, pauses, background, and keywords taken for others
between   the same without the latter: what is reported while no other keyword is said
noise     noise and music
silence   nothing at all
…         long recordings of any other kind, a folder each: running speech, television
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kws.evaluation.detection import recordings
from kws.evaluation.detection.thresholds import Trace, hear, join
from kws.evaluation.stream.long_stream import Piece
from kws.spotter.decoder import Decoder
from kws.spotter.runtime import Runtime
from kws.support.errors import BrokenRecording, KwsError

WORDS, BETWEEN, NOISE, SILENCE = "words", "between", "noise", "silence"
UNNAMED = "negatives"
"""What recordings are called whose folder was given no name."""


@dataclass(frozen=True)
class Kind:
    """One kind of sound as it was heard.

    Attributes:
        what: what it is, for people.
        trace: what was heard.
        recordings: how many, where it is a folder of them.
        refused: those that could not be read.
    """

    what: str
    trace: Trace
    recordings: int | None = None
    refused: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        """What evaluation.json says of it beside its false alarms."""
        facts: dict[str, Any] = {"what": self.what, "hours": self.trace.hours}
        return facts if self.recordings is None else {**facts, "recordings": self.recordings, "refused": self.refused}


Folders = str | Path | Sequence[str | Path] | Mapping[str, str | Path | Sequence[str | Path]]


def by_name(negatives: Folders | None) -> dict[str, list[str | Path]]:
    """Folders by the name of their kind, as ``negatives=`` gives them: one, a list, or either by name.

    Raises:
        KwsError: a name that is taken, or a kind without a folder.
    """
    if not negatives:
        return {}
    named = negatives if isinstance(negatives, Mapping) else {UNNAMED: negatives}
    result = {}
    for name, folders in named.items():
        if name in (WORDS, BETWEEN, NOISE, SILENCE):
            raise KwsError(f"negatives.{name}: that is what a part of every evaluation is called; choose another name.")
        result[str(name)] = [folders] if isinstance(folders, str | Path) else list(folders or ())
        if not result[str(name)]:
            raise KwsError(f"negatives.{name} names no folder; give it one, or leave it out.")
    return result


def hear_folders(runtime: Runtime, decoder: Decoder, folders: Sequence[str | Path]) -> Kind:
    """Play all recordings of some folders to a runtime, each from a fresh state.

    Raises:
        KwsError: a folder without recordings, or none that can be used.
    """
    traces, refused = [], []
    for path in [path for folder in folders for path in recordings.find_recordings(folder)]:
        pieces = (Piece(block, (), ()) for block in recordings.blocks(path, runtime.sample_rate))
        try:
            traces.append(hear(runtime, decoder, pieces))
        except BrokenRecording as error:
            refused.append(str(error))
    names = ", ".join(str(folder) for folder in folders)
    if not sum(len(trace.word) for trace in traces):
        raise KwsError(f"none of the recordings in negatives={names!r} can be used: {refused[0]}.")
    return Kind(f"recordings in {names}", join(traces, decoder.hop_seconds), len(traces), refused)
