"""Lists of clips: `validation_list.txt` and its like, one `<word>/<clip>.wav` a line."""

import codecs
import json
import os
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np

from kws.corpus.audio import EXTENSIONS
from kws.corpus.base import Corpus, Refusal
from kws.corpus.clips import SPLITS
from kws.support.errors import KwsError
from kws.support.files import atomic
from kws.support.strings import plain


def key(entry: str) -> str:
    """What a line and a file have in common: folder and name, without the ending and in one Unicode form.

    Lists travel: a corpus re-encoded as FLAC keeps its lists of `.wav`, and macOS stores `é` as two characters.
    """
    base, ending = os.path.splitext(entry)  # noqa: PTH122 - a line of a list; Path would tidy it up
    return unicodedata.normalize("NFC", base if ending.lower() in EXTENSIONS else entry)


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


def write_lists(corpus: Corpus, folder: str | os.PathLike) -> list[Path]:
    """Write `training_list.txt`, `validation_list.txt`, `testing_list.txt` and `categories.txt` into `folder`.

    The lists name every clip as `<folder>/<file>`, sorted; `categories.txt` has one label a line in the order of the
    class index, as ELL's trainer reads it. `FolderCorpus(root, lists=folder)` makes the same choice of clips again.
    Pieces of background recordings are on no list: they are no files, and are cut again from the same seed.

    Returns the four paths.
    """
    folder = Path(folder)
    written = []
    for split in SPLITS:
        clips = corpus.split(split)
        clips = clips.take(np.isnan(clips.start))
        words = [os.fsencode(Path(word).name) + b"/" for word in clips.folders]
        entries = (words[word] + name for word, name in zip(plain(clips.folder), clips.names, strict=True))
        written.append(_write(folder / f"{split}_list.txt", sorted(map(_line, entries))))
    written.append(_write(folder / "categories.txt", [os.fsencode(label) for label in corpus.labels]))
    return written


def _line(entry: bytes) -> bytes:
    """An entry as a line: itself, or a JSON string where reading the line back would give something else."""
    safe = entry == entry.strip(b" \t\r") and b"\n" not in entry and not entry.startswith(b'"')
    return entry if safe else json.dumps(os.fsdecode(entry)).encode()


def _write(path: Path, lines: list[bytes]) -> Path:
    with atomic(path) as temporary:
        temporary.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
