"""Multilingual Spoken Words: one-second clips cut from Common Voice, in fifty languages, with its own split tables.

Mazumder et al., "Multilingual Spoken Words Corpus" (NeurIPS Datasets and Benchmarks, 2021); CC BY 4.0. As unpacked:
`<language>/clips/<word>/common_voice_<language>_<n>.opus` beside `<language>_splits.csv` with SET (TRAIN, DEV, TEST),
LINK (`<word>/<clip>.opus`), WORD, VALID, SPEAKER and GENDER, and the same in three files, `<language>_train.csv`,
`_dev.csv` and `_test.csv`, without SET.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kws.corpus import tables
from kws.corpus.base import Clip
from kws.corpus.columns import Columns, listed
from kws.corpus.folder import Findings
from kws.corpus.rows import SPLIT_NAMES, text_of
from kws.corpus.table_corpus import Reading, Table, TableCorpus
from kws.support.errors import KwsError

SITE = "https://mlcommons.org/datasets/multilingual-spoken-words"
COLUMNS = {"path": "LINK", "label": "WORD", "split": "SET", "speaker": "SPEAKER", "valid": "VALID"}
OTHER_ENDINGS = (".wav", ".flac", ".ogg", ".mp3")  # that the clips may have been converted to


class MswcCorpus(TableCorpus):
    """Multilingual Spoken Words, or some of its languages.

    Its own splits are kept. They are drawn clip by clip, so that most who are tested have trained as well.

    root        the folder with a folder for each language, or that of one language
    languages   such as [en, de]; None: all that are there. Words of several languages that are spelt the same are one
                class
    valid_only  leave out the clips that the corpus itself calls invalid
    options     those of TableCorpus and FolderCorpus
    """

    def __init__(
        self,
        root: str | os.PathLike,
        languages: Sequence[str] | str | None = None,
        words: Sequence[str] | None = None,
        valid_only: bool = True,
        name: str | None = None,
        **options: Any,
    ):
        if languages is not None:
            languages = [languages] if isinstance(languages, str) else list(dict.fromkeys(languages))
            if not languages or not all(isinstance(language, str) for language in languages):
                raise KwsError(f"data.languages is {languages!r}; name some in quotes, or null for all that are there")
        self.languages, self.valid_only = languages, valid_only
        self.invalid = 0
        self.spelt: dict[str, set[Path]] = {}  # in which languages each word is
        name = name or "-".join(["mswc", *(languages or ())])
        super().__init__(Path(root), words, name, Columns(COLUMNS, others=("valid",)), **options)

    def _settings(self) -> list:
        self.tables = []  # those of the last scan
        return [*super()._settings(), self.languages, self.valid_only]

    def _find(self, found: Findings) -> tuple[Sequence[str], list[Clip], list[Path]]:
        there = languages_in(self.root)
        for folder in folders_of(self.root):
            found.seen.folder(folder, os.listdir(os.fsencode(folder)))  # noqa: PTH208 - bytes
        languages = sorted(there) if self.languages is None else self.languages
        if missing := [language for language in languages if language not in there]:
            raise KwsError(
                f"{self.root}: no {missing[0]}/{missing[0]}_splits.csv with clips beside it; unpack that language from "
                f"{SITE}, or choose other data.languages ({listed(sorted(there)) or 'none are there'})"
            )
        if not there:
            raise KwsError(
                f"{self.root}: no folder <language> with <language>_splits.csv and clips in it; unpack the audio and "
                f"the splits of some languages from {SITE}, and set data.root to where they are"
            )
        self.tables = [table for language in languages for table in there[language]]
        self.invalid, self.spelt = 0, {}
        keywords, clips, noise = super()._find(found)
        if self.invalid:
            found.notes.append(
                f"{self.invalid} clips that the corpus calls invalid are left out; data.valid_only=false takes them"
            )
        shared = sorted(word for word, several in self.spelt.items() if len(several) > 1)
        if shared:
            found.notes.append(f"spelt the same in several languages, and one class each: {listed(shared)}")
        return keywords, clips, noise

    def _clip(self, table: Table, row: tables.Row, reading: Reading) -> Clip | None:
        if self.valid_only and text_of(row.fields.get("valid"), "VALID").casefold() == "false":
            self.invalid += 1
            return None
        if text_of(row.fields.get("speaker"), "speaker").casefold() == "na":  # nobody knows who
            row.fields["speaker"] = ""
        clip = super()._clip(table, row, reading)
        if clip is not None:
            self.spelt.setdefault(clip.label, set()).add(table.folder)
        return clip

    def _there(self, path: str) -> str | None:
        base = os.path.splitext(path)[0]  # noqa: PTH122 - for speed
        for candidate in (path, *(base + ending for ending in OTHER_ENDINGS)):
            if super()._there(candidate):
                return candidate
        return None


def languages_in(root: Path) -> dict[str, list[Table]]:
    """The tables of each language in a folder, or of the language whose folder it is.

    Raises:
        KwsError: it is no folder.
    """
    if not root.is_dir():
        raise KwsError(f"{root}: no folder; unpack Multilingual Spoken Words there ({SITE}), or correct data.root")
    found: dict[str, list[Table]] = {}
    for folder in folders_of(root):
        for path in sorted(folder.glob("*_splits.csv")):
            language = path.name.removesuffix("_splits.csv")
            if (clips := _clips_of(language, folder)) is not None:
                found[language] = [Table(path, clips)]
        for path in sorted(folder.glob("*_train.csv")):
            language = path.name.removesuffix("_train.csv")
            if language not in found and (clips := _clips_of(language, folder)) is not None:
                parts = {folder / f"{language}_{name}.csv": SPLIT_NAMES[name] for name in ("train", "dev", "test")}
                found[language] = [Table(part, clips, split) for part, split in parts.items() if part.is_file()]
    return found


def folders_of(root: Path) -> list[Path]:
    """Where tables may lie."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [place for each in folders for place in (each, each / "splits") if place.is_dir()]


def _clips_of(language: str, folder: Path) -> Path | None:
    """Where the clips of a language are whose tables lie in a folder."""
    places = (
        folder / "clips",
        folder.parent / "clips",
        folder / language / "clips",
        folder.parent / language / "clips",
    )
    return next((place for place in places if place.is_dir()), None)
