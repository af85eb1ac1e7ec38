"""Which column of a table of clips says what: the usual names, or those that the user gives."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kws.corpus.base import printable
from kws.support.errors import KwsError

USUAL_NAMES = {
    "path": (
        "path", "audio_filepath", "audio_file", "audio_path", "audio", "file", "filename", "file_name", "filepath",
        "file_path", "clip", "clip_path", "wav", "wav_path", "wav_filename", "recording",
    ),
    "label": ("label", "command", "word", "keyword", "class", "category"),
    "split": ("split", "set", "subset", "partition"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "start": ("start", "offset", "start_time", "begin"),
    "end": ("end", "end_time"),
    "duration": ("duration",),
}  # fmt: skip
SENTENCES = ("sentence", "text", "transcript", "transcription")
LONGEST_SHOWN = 40


class Columns:
    """The columns of one source.

    Args:
        own: what the user calls some of them, by the names of `USUAL_NAMES`; None as a name: there is none.
        others: names that only `own` may use.
    """

    def __init__(self, own: Mapping[str, str | None] | None = None, others: Sequence[str] = ()):
        self.own = dict(own or {})
        for field, name in self.own.items():
            if field not in USUAL_NAMES and field not in others:
                raise KwsError(f"data.columns names {field!r}; a column is one of {', '.join(USUAL_NAMES)}")
            if name is not None and not isinstance(name, str):
                raise KwsError(f"data.columns.{field} is {name!r}, which is no text; write it in quotes")
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, names: Sequence[str], place: str) -> dict[str, str]:
        """The name of each column that is there, by what it says.

        Raises:
            KwsError: two could be meant. `place`, a file with a line, is in the sentence.
        """
        key = tuple(names)
        if key not in self._known:
            if len(self._known) > 1000:  # rows of JSON may have any keys
                self._known.clear()
            self._known[key] = self._find(key, place)
        return self._known[key]

    def _find(self, names: tuple[str, ...], place: str) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for name in names:
            plain = name.strip().casefold()
            for field, usual in USUAL_NAMES.items():
                if field not in self.own and plain in usual:
                    found.setdefault(field, []).append(name)
        for field, name in self.own.items():
            if name is not None and name in names:
                found[field] = [name] * names.count(name)
        for field, several in found.items():
            if len(several) > 1:
                twice = [name for name, count in Counter(several).items() if count > 1]
                which = f"the column {twice[0]!r} is there twice" if twice else f"{_and(several)} could both be it"
                raise KwsError(f"{place}: which column is the {field}? {which}; name one: data.columns={{{field}: …}}")
        return {field: name for field, (name,) in found.items()}

    def lacking(self, field: str, names: Sequence[str]) -> str:
        """What to say of a table, or of a row of JSON, that has no such column."""
        if (own := self.own.get(field)) is not None:
            return f"no column is called {own!r}, which would be the {field}, among {listed(names)}"
        sentences = [name for name in names if name.strip().casefold() in SENTENCES]
        if field == "label" and sentences:
            return (
                f"{shown(sentences[0])} holds whole sentences, as in Common Voice, and nothing says when a word is "
                "said; cut the words out first, with a forced aligner, or take Multilingual Spoken Words, which is cut "
                f"from Common Voice: data=mswc (where each is one word: data.columns={{label: {sentences[0][:40]}}})"
            )
        return (
            f"no column says the {field} ({', '.join(USUAL_NAMES[field])}) among {listed(names)}; name it: "
            f"data.columns={{{field}: …}}"
        )


def shown(value: object) -> str:
    """A value from a file, for a sentence."""
    text = printable(value if isinstance(value, str) else repr(value))
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")


def listed(names: Sequence[str]) -> str:
    """The first few of many names, for a sentence."""
    return ", ".join(shown(name) for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} and {names[-1]!r}"
