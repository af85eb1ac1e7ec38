"""A corpus whose clips are the rows of tables: what reading makes of them, before the options choose."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kws.corpus import selection, tables
from kws.corpus.base import SPEAKER_MARK, Clip, by_reason, printable, speaker_of
from kws.corpus.clips import ClipTable
from kws.corpus.columns import Columns, listed
from kws.corpus.folder import NOISE_FOLDER, Findings, FolderCorpus, label_of
from kws.corpus.lists import key
from kws.corpus.rows import LONGEST_LABEL, Unusable, piece_of, seconds_of, split_of, text_of
from kws.support.errors import KwsError

MOST_NAMED = 10_000
"""Rows left out that are named one by one; of more only their number is kept."""
OWN_MEANING = (selection.UNKNOWN, selection.SILENCE, selection.NULL)
"""Labels that rows may have and that are no words."""
_label_of = lru_cache(1 << 16)(label_of)


class Table(NamedTuple):
    """A file of rows."""

    path: Path
    folder: Path  # where its relative paths begin
    split: str = ""  # of all its rows
    usual_split: str = ""  # of those that name none


class TableCorpus(FolderCorpus):
    """The clips that the rows of `self.tables` name, a recording or a piece of one each.

    A row says its path and label, and perhaps split, speaker, start and end or duration in seconds. A row without a
    split is drawn by the hash rule: with its speaker, so that none is in two splits, and by the recording's name where
    there is no speaker. A speaker whose other rows name one split is in that.

    root        of the corpus, to which the names of recordings are relative
    columns     how the tables call what
    lists       lists of clips that take the place of the tables' splits; pieces, which are on none, keep theirs
    options     those of FolderCorpus. Noise is what rows with the label `_background_noise_` name, and the folder of
                that name in root, or else `noise`. Rows may have the labels `_unknown_`, `_silence_`, `_null_` too
    """

    def __init__(
        self,
        root: Path,
        words: Sequence[str] | None,
        name: str | None,
        columns: Columns,
        lists: str | os.PathLike | None = None,
        **options: Any,
    ):
        super().__init__(root, words, name, lists=lists, **options)
        if lists is None:  # the splits are the tables', whatever lies in root
            self.lists = None
        self.columns = columns
        self.never_others: frozenset[str] = frozenset()  # words that must not be among `_unknown_`
        self.tables: list[Table] = []

    def _settings(self) -> list:
        tables = [list(map(str, table)) for table in self.tables]
        return [*super()._settings(), tables, self.columns.own, sorted(self.never_others)]

    def _find(self, found: Findings) -> tuple[Sequence[str], ClipTable, list[Path]]:
        reading = Reading(found, self.words)
        for table in self.tables:
            self._read(table, reading)
        self._note(reading)
        labels = {clip.label for clip in reading.clips}
        words = sorted(reading.words)
        keywords = self.words or tuple(word for word in words if word in labels or self.required_splits)
        place = ", ".join(printable(str(table.path)) for table in self.tables[:3])
        if missing := [word for word in keywords if word not in labels]:
            raise KwsError(
                f"{place}: no row with the label {missing[0]!r} can be used ({reading.reasons() or 'there is none'}); "
                f"correct the manifest, data.root or data.columns, or choose other data.words ({listed(words)})"
            )
        if not keywords:
            raise KwsError(f"{place}: no row with a word can be used ({reading.reasons() or 'there is none'})")
        clips = self._split(self._without_bad(ClipTable.of(self._placed(reading)), found), found)
        return keywords, clips, list(dict.fromkeys([*reading.noise, *self._noise(found)]))

    def _read(self, table: Table, reading: "Reading") -> None:
        reading.findings.seen.list(table.path)
        for row in tables.read(table.path, self.columns):
            try:
                if row.refused:
                    raise Unusable(row.refused)
                clip = self._clip(table, row, reading)
                if clip is not None:
                    reading.add(clip)
            except Unusable as error:
                reading.refuse(table, row, str(error))

    def _clip(self, table: Table, row: tables.Row, reading: "Reading") -> Clip | None:
        """What a row says, in no split yet if it names none; None for noise, and for words that nobody wants.

        Raises:
            Unusable: it says nothing that can be used.
        """
        fields = row.fields
        label = self._label(table, row, reading)
        if label is None:
            return None
        split = split_of(fields.get("split"))
        if table.split and split and split != table.split:
            raise Unusable(f"it says {split} in a table of {table.split}")
        start, duration = piece_of(*(seconds_of(fields.get(name), name) for name in ("start", "end", "duration")))
        path = self._located(table, text_of(fields.get("path"), "path"), reading)
        if label == NOISE_FOLDER:
            if start:
                raise Unusable(f"a piece; a recording of {NOISE_FOLDER} is taken whole")
            reading.noise.append(path)
            return None
        if speaker := text_of(fields.get("speaker"), "speaker"):
            speaker = _label_of(tables.check_text(table.path, row.line, "speaker", speaker))
            reading.speakers.add(speaker)
        elif SPEAKER_MARK in path.name:
            speaker = speaker_of(path.name)
        else:  # nobody else's
            speaker = os.path.splitext(os.fspath(path).removeprefix(f"{self.root}{os.sep}"))[0]  # noqa: PTH122
        return Clip(path, label, speaker, split or table.split or table.usual_split, start, duration)

    def _label(self, table: Table, row: tables.Row, reading: "Reading") -> str | None:
        given = text_of(row.fields.get("label"), "label")
        if not given:
            raise Unusable("it has no label")
        if len(given) > LONGEST_LABEL:
            raise Unusable(f"its label is longer than {LONGEST_LABEL} characters")
        label = _label_of(tables.check_text(table.path, row.line, "label", given))
        if not label.startswith("_"):
            reading.words.add(label)
            if reading.wanted is None or label in reading.wanted:
                return label
            return label if self.unknown_share and label not in self.never_others else None
        if label == NOISE_FOLDER:
            return label if self.noise is None else None
        if label in OWN_MEANING or self.null_label:
            return label if label in OWN_MEANING else self.null_label
        reading.others[label] += 1
        return None

    def _located(self, table: Table, named: str, reading: "Reading") -> Path:
        """The recording that a row names.

        Raises:
            Unusable: there is none.
        """
        if not named:
            raise Unusable("it names no file")
        # As in lists of clips: a name with backslashes and no slash is one of Windows.
        path = os.path.join(table.folder, named if "/" in named else named.replace("\\", "/"))  # noqa: PTH118 - for speed
        if path != reading.last:  # the pieces of a recording follow one another
            there = self._there(path)
            if there is None:
                reading.missing(path)
                raise Unusable("it names a file that is not there")
            reading.last, reading.found_path = path, Path(there)
        return reading.found_path

    def _there(self, path: str) -> str | None:
        return path if os.path.isfile(path) else None  # noqa: PTH113 - for speed

    def _placed(self, reading: "Reading") -> list[Clip]:
        """Every clip in a split: its own, that of its speaker's other rows, or by the hash rule."""
        splits: dict[str, set[str]] = defaultdict(set)
        for clip in reading.clips:
            if clip.split:
                splits[clip.speaker].add(clip.split)
        placed, drawn = [], {}
        for clip in reading.clips:
            if not clip.split:
                if clip.speaker not in drawn:
                    known = splits.get(clip.speaker, ())
                    by = clip.speaker if clip.speaker in reading.speakers else clip.path.stem
                    drawn[clip.speaker] = next(iter(known)) if len(known) == 1 else self._drawn(by)
                # Three times as fast as dataclasses.replace.
                clip = Clip(clip.path, clip.label, clip.speaker, drawn[clip.speaker], clip.start, clip.duration)
            placed.append(clip)
        return placed

    def _split(self, clips: ClipTable, found: Findings) -> ClipTable:
        """By the lists, where there are any."""
        if self.lists is None:
            return clips
        whole = clips.take(np.isnan(clips.start))
        paths: dict[str, Path] = {}
        for clip in whole:
            name = f"{clip.path.parent.name}/{clip.path.name}"
            if (other := paths.setdefault(key(name), clip.path)) != clip.path:
                raise KwsError(
                    f"data.lists={self.lists}: {printable(name)} would be {printable(str(other))} and "
                    f"{printable(str(clip.path))} of this manifest; leave data.lists out, and say the splits there"
                )
        return super()._split(whole, found) + clips.take(~np.isnan(clips.start))

    def _naming(self, split: str) -> str:
        return f"name some with the split {split} in {listed([table.path.name for table in self.tables])}"

    def _note(self, reading: "Reading") -> None:
        notes = reading.findings.notes
        if reading.unnamed:
            notes.append(f"{reading.unnamed} more rows are left out, for the like reasons")
        if reading.others:
            notes.append(
                f"{sum(reading.others.values())} rows labelled {listed(list(reading.others))} left out; "
                "data.null_label=_null_ takes those with a _"
            )
        for table in self.tables:
            if table.usual_split:
                notes.append(f"{table.path.name} is {table.usual_split}, by its name, where its rows name no split")


class Reading:
    """What reading the tables has found so far."""

    def __init__(self, findings: Findings, wanted: Sequence[str] | None = None):
        self.findings = findings
        self.wanted = None if wanted is None else frozenset(wanted)  # keywords; None: every word is one
        self.clips: list[Clip] = []
        self.noise: list[Path] = []
        self.words: set[str] = set()  # of all rows
        self.others: Counter[str] = Counter()  # labels with a _ that were left out
        self.speakers: set[str] = set()  # those that a column names
        self.unnamed = 0
        self.last, self.found_path = "", Path()
        self._places: dict[tuple, int] = {}

    def add(self, clip: Clip) -> None:
        """Take the clip of the row at hand. Raises Unusable for one that is there."""
        piece = (os.path.normpath(self.last), clip.start or 0.0, clip.duration)
        place = self._places.setdefault(piece, len(self.clips))
        if place == len(self.clips):
            self.clips.append(clip)
            return
        first = self.clips[place]
        if first.label != clip.label:
            raise Unusable("the same clip again, with another label; the first one counts")
        raise Unusable(f"the same clip again{', in another split' if first.split != clip.split else ''}")

    def missing(self, path: str) -> None:
        """A recording is not there, and a memory of this scan has to look whether it still is not; but for millions."""
        self.findings.seen.absent.append(path)
        self.findings.seen.unsure |= len(self.findings.seen.absent) > MOST_NAMED

    def refuse(self, table: Table, row: tables.Row, reason: str) -> None:
        """Leave a row out."""
        if len(self.findings.refused) < MOST_NAMED:
            named = str(row.fields.get("path") or "")[:LONGEST_LABEL]
            self.findings.refuse(f"{table.path.name}:{row.line} {named}".strip(), reason)
        else:
            self.unnamed += 1

    def reasons(self) -> str:
        """Why rows have been left out, for a sentence; empty where none were."""
        rows = by_reason(self.findings.refused)
        return "; ".join(f"{row['count']} left out, {row['examples'][0]}: {row['reason']}" for row in rows[:3])
