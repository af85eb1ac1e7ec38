"""Lists of clips: `validation_list.txt` and its like, one `<word>/<clip>.wav` a line."""

import codecs
import json
import os
import unicodedata
from pathlib import Path, PurePosixPath

from kws.corpus.base import Refusal
from kws.errors import KwsError

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".aac")  # endings that a list may name


def key(entry: str) -> str:
    """What a line and a file have in common: folder and name, without the ending and in one Unicode form.

    Lists travel: a corpus re-encoded as FLAC keeps its lists of `.wav`, and macOS stores `é` as two characters.
    """
    base, ending = os.path.splitext(entry)  # noqa: PTH122 - a line of a list; Path would tidy it up
    return unicodedata.normalize("NFC", base if ending.lower() in AUDIO_ENDINGS else entry)


def read_list(path: Path) -> tuple[dict[str, str], list[Refusal], int]:
    """Read a list: lines by their `key`, lines that cannot name a clip, and how many lines were repeated.

    Takes line feeds and CRLF, blank lines, `./`, backslashes, a byte order mark, UTF-16 (what a Windows shell
    writes), bytes that are no UTF-8, and JSON strings for names with line breaks. Raises KwsError when the file
    cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KwsError(f"{path}: the list cannot be read ({error.strerror}); repair or remove it") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    entries: dict[str, str] = {}
    refused, repeated = [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        entry = line.strip(" \t\r")
        if not entry:
            continue
        if entry.startswith('"'):
            try:
                entry = str(json.loads(entry))
            except ValueError:
                refused.append(
                    Refusal(f"{path.name}:{number}", "a line that starts with a quote but is no JSON string")
                )
                continue
        parts = PurePosixPath(entry if "/" in entry else entry.replace("\\", "/")).parts
        if len(parts) != 2 or ".." in parts or parts[0] == "/" or "\0" in entry:
            refused.append(Refusal(f"{path.name}:{number}", f"{entry[:200]!r} is not of the form word/clip.wav"))
            continue
        name = "/".join(parts)
        if key(name) in entries:
            repeated += 1
        entries.setdefault(key(name), name)
    return entries, refused, repeated
