"""Clips that a table names, wherever they lie: JSON lines as NeMo has them, CSV, TSV."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kws.corpus.columns import Columns
from kws.corpus.rows import SPLIT_NAMES
from kws.corpus.table_corpus import Table, TableCorpus
from kws.support.errors import KwsError


class ManifestCorpus(TableCorpus):
    """The clips that are named in one or several manifests.

    path        the manifest; several; or {training: …, validation: …, testing: …}, each one or several. Where several
                are named without their splits, and their names tell them apart (train.csv, dev.csv), the rows that name
                none are in those
    root        where relative paths begin; None: each manifest's own folder
    columns     the names of columns that are called otherwise, {label: Wort}; None for one that is to be ignored
    options     those of TableCorpus and FolderCorpus
    """

    def __init__(
        self,
        path: str | os.PathLike | Sequence | Mapping,
        root: str | os.PathLike | None = None,
        words: Sequence[str] | None = None,
        columns: Mapping[str, str | None] | None = None,
        name: str | None = None,
        **options: Any,
    ):
        tables = tables_of(path, root)
        common = tables[0].folder
        if len({table.folder for table in tables}) > 1:
            tables = [table._replace(folder=table.folder.absolute()) for table in tables]
            common = Path(os.path.commonpath([table.folder for table in tables]))
        if len(tables) == 1:
            name = name or tables[0].path.stem
        super().__init__(common, words, name, Columns(columns), **options)
        self.tables = tables


def tables_of(path: Any, root: str | os.PathLike | None = None) -> list[Table]:
    """The tables that `data.path` names: one, several, or one or several a split."""
    by_split: Mapping = path if isinstance(path, Mapping) else {"": path}
    tables = []
    for name, given in by_split.items():
        if name and (not isinstance(name, str) or name.casefold() not in SPLIT_NAMES):
            raise KwsError(f"data.path names {name!r}; splits are training, validation and testing")
        several = [given] if isinstance(given, (str, os.PathLike)) else given
        if not isinstance(several, Sequence) or not all(isinstance(one, (str, os.PathLike)) for one in several):
            raise KwsError(f"data.path holds {given!r}; name a manifest, [several], or {{training: …, validation: …}}")
        for one in map(Path, several):
            folder = one.parent if root is None else Path(root)
            tables.append(Table(one, folder, SPLIT_NAMES[name.casefold()] if name else ""))
    if not tables:
        raise KwsError("data.path names no manifest; name one")
    usual = {} if isinstance(path, Mapping) else {table: _split_in(table.path.stem) for table in tables}
    if len(set(filter(None, usual.values()))) > 1:
        tables = [table._replace(usual_split=split) for table, split in usual.items()]
    return tables


def _split_in(name: str) -> str:
    """The split that a file's name speaks of; empty for none, or several."""
    splits = {SPLIT_NAMES[part] for part in re.split(r"[^a-z]+", name.casefold()) if part in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else ""
