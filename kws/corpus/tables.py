"""Tables of clips as rows with named fields: JSON lines, CSV and TSV, told apart by what is in them.

Read line by line, so that memory does not grow with the file.
"""

import codecs
import csv
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kws.corpus.columns import Columns, shown
from kws.support.errors import KwsError

LONGEST_LINE = 1 << 20  # characters
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
END = "\x04"  # a line that stands behind the last one, to see that no quote is open there
REMEDY = "a manifest is JSON with an object a line, or CSV or TSV whose first line names the columns"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its fields by what they say (`kws.corpus.columns`), or why there are none."""

    line: int
    fields: dict[str, Any]
    refused: str = ""


def read(path: Path, columns: Columns) -> Iterator[Row]:
    """The rows of a manifest, blank lines left out. Fields are texts in CSV and TSV, and anything in JSON.

    Bytes that are no UTF-8 become lone surrogates, which names of files may have.

    Raises:
        KwsError: the file cannot be read, is no text or neither kind of table, lacks a column that is needed, or names
            two that could be the same.
    """
    lines = _lines(path)
    for number, line in enumerate(lines, start=1):
        start = line.strip()
        if not start:
            continue
        if start.startswith("["):
            raise KwsError(f"{path}:{number}: one array of JSON; write one object a line (jq -c '.[]')")
        if start.startswith("{"):
            yield from _objects(path, number, line, lines, columns)
        else:
            yield from _table(path, number, line, lines, columns)
        return
    raise KwsError(f"{path}: the file is empty; {REMEDY}")


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        wide = head.startswith(UTF16)
        if b"\0" in head and not wide:
            raise KwsError(f"{path}: no text; {REMEDY}")
        encoding, errors = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise KwsError(f"{path}:{number}: a line of more than {LONGEST_LINE} characters; {REMEDY}")
                yield line
    except UnicodeError as error:
        raise KwsError(f"{path}: neither UTF-8 nor UTF-16 ({error.reason}); save it as UTF-8") from error
    except FileNotFoundError as error:
        raise KwsError(f"{path}: the manifest does not exist; correct data.path") from error
    except IsADirectoryError as error:
        raise KwsError(f"{path}: a folder; name the manifest in it, or take data=folder data.root={path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KwsError(f"{path}: the manifest cannot be read ({reason}); repair it, or correct data.path") from error


def _objects(path: Path, number: int, line: str, lines: Iterator[str], columns: Columns) -> Iterator[Row]:
    while True:
        if line.strip():
            yield _object(path, number, line, columns)
        number += 1
        line = next(lines, "")
        if not line:
            return


def _object(path: Path, number: int, line: str, columns: Columns) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return Row(number, {}, "no JSON object in one line")
    if not isinstance(value, dict):
        return Row(number, {}, "no JSON object in one line")
    names = columns.of(tuple(value), f"{path}:{number}")
    for field in ("path", "label"):
        if field not in names:
            return Row(number, {}, columns.lacking(field, tuple(value)))
    return Row(number, {field: value[name] for field, name in names.items()})


def _table(path: Path, number: int, header: str, lines: Iterator[str], columns: Columns) -> Iterator[Row]:
    delimiter = "\t" if "\t" in header else ";" if header.count(";") > header.count(",") else ","
    at, next_line = number, number  # the line at which the present row begins, and the next that is read
    size, ended = 0, False

    def remaining() -> Iterator[str]:
        nonlocal next_line, size, ended
        for line in itertools.chain([header], lines):
            next_line, size = next_line + 1, size + len(line)
            if size > LONGEST_LINE:
                raise KwsError(f"{path}:{at}: a row of more than {LONGEST_LINE} characters; is a quote left open?")
            yield line
        ended = True
        yield END

    reader = csv.reader(remaining(), delimiter=delimiter)
    names: list[str] | None = None
    try:
        for fields in reader:
            if ended:
                if fields == [END]:
                    return
                raise KwsError(f"{path}:{at}: a quote is opened there and never closed; close it, or write it twice")
            if names is None:
                names = [name.strip() for name in fields]
                known = columns.of(names, f"{path}:{at}")
                for field in ("path", "label"):
                    if field not in known:
                        raise KwsError(f"{path}:{at}: {columns.lacking(field, names)}")
                places = {field: names.index(name) for field, name in known.items()}
            elif len(fields) == len(names):
                yield Row(at, {field: fields[place].strip() for field, place in places.items()})
            elif any(field.strip() for field in fields):
                yield Row(at, {}, f"{len(fields)} fields where the first line names {len(names)} columns")
            at, size = next_line, 0
    except csv.Error as error:
        raise KwsError(f"{path}:{at}: cannot be read as a table ({error}); is a quote left open?") from error


def check_text(path: Path, line: int, field: str, text: str) -> str:
    """The text, which is to be shown and compared, so that it must have been UTF-8."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise KwsError(f"{path}:{line}: its {field} {shown(text)} is no UTF-8; save the file as UTF-8")
    return text
