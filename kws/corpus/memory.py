"""What a scan found, remembered: the next one looks whether anything has changed, and reads the rest from a file.

A scan follows from the names in some folders, from the content of the lists, and from the length of the recordings of
which pieces are cut. `Seen` gathers these on the way; when all of it is the same, so is what was found.

* Names are compared as they are listed, folder by folder; the times of folders are not relied on for them.
* Of a folder that holds more than recordings the times must be the same too, for what is no recording may have become a
  folder. Files that became folders, or folders files, are noticed by that.
* Recordings of which pieces are cut are known by size, inode and the kernel's time of change.

What is inside the clips is none of this: the cache of waveforms looks at every one of them.
"""

import contextlib
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kws.corpus.base import Corpus, Refusal
from kws.corpus.clips import ClipTable
from kws.support.content import SETTLED, Files, look_at
from kws.support.files import atomic
from kws.support.strings import Strings

FORMAT = 1  # raise it when the same folders would give other clips, or the same clips another file
COLUMNS = ("folder", "label", "split", "start", "duration")


class Seen:
    """What a scan has looked at.

    Attributes:
        folders: listed, with what they held.
        mixed: folders whose times count.
        plain: what is no folder.
        absent: files that something names and that are not there.
        lists: files that were read whole, or were not there.
        trees: folders searched to the bottom.
        measured: recordings whose length was asked for.
        unsure: something was seen that cannot be looked at again.
    """

    def __init__(self):
        self.begun = time.time()
        self.listing = hashlib.blake2b(digest_size=16)
        self.folders: list[str] = []
        self.mixed: dict[str, list[int]] = {}
        self.plain: list[str] = []
        self.absent: list[str] = []
        self.lists: dict[str, str | None] = {}
        self.trees: dict[str, str] = {}
        self.measured: list[str] = []
        self.unsure = False

    def folder(self, folder: str | os.PathLike, names: Sequence[bytes]) -> None:
        """A folder was listed: the names in it, in the order in which the system gives them."""
        self.folders.append(os.fspath(folder))
        self.listing.update(b"%d;" % len(names) + b"/".join(names))

    def times(self, folder: str | os.PathLike) -> None:
        """What lies in a folder matters beside its name."""
        self.mixed.setdefault(os.fspath(folder), _times(folder))

    def list(self, path: Path) -> None:
        """A list is about to be read, if it is there."""
        self.lists[os.fspath(path)] = _content(path)

    def tree(self, folder: Path, files: Iterable[Path]) -> None:
        """A folder was searched to the bottom: the files in it, sorted."""
        self.trees[os.fspath(folder)] = _names(files)

    def facts(self) -> dict[str, Any] | None:
        """All of it for a file; None where it cannot be relied on: what changes again could keep its times."""
        identity = look_at(Files.of(map(Path, self.measured)))
        latest = [*identity[:, 2:].view(np.int64).ravel().tolist(), *(max(row[1:]) for row in self.mixed.values())]
        if self.unsure or max(latest, default=0) > (self.begun - SETTLED) * 1e9:
            return None
        return {
            "folders": self.folders,
            "listing": self.listing.hexdigest(),
            "mixed": self.mixed,
            "plain": self.plain,
            "absent": self.absent,
            "lists": self.lists,
            "trees": self.trees,
            "measured": self.measured,
            "identity": identity.tolist(),
        }


def unchanged(facts: dict[str, Any]) -> bool:
    """Whether everything is as it was seen. Raises OSError where some of it is gone."""
    again = Seen()
    return (
        all(_content(Path(path)) == content for path, content in facts["lists"].items())
        and not any(os.path.isdir(path) for path in facts["plain"])  # noqa: PTH112 - False for a loop
        and not any(os.path.isfile(path) for path in facts["absent"])  # noqa: PTH113 - as above
        and all(_times(folder) == times for folder, times in facts["mixed"].items())
        and look_at(Files.of(map(Path, facts["measured"]))).tolist() == facts["identity"]
        and all(_names(files_below(Path(folder))) == names for folder, names in facts["trees"].items())
        and all(again.folder(folder, os.listdir(os.fsencode(folder))) is None for folder in facts["folders"])  # noqa: PTH208
        and again.listing.hexdigest() == facts["listing"]
    )


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder that is not hidden, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _times(folder: str | os.PathLike) -> list[int]:
    status = os.stat(folder)  # noqa: PTH116 - of many
    return [status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _content(path: Path) -> str | None:
    if not os.path.lexists(path):
        return None
    with contextlib.suppress(OSError):
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return "unreadable"


def _names(files: Iterable[Path]) -> str:
    return hashlib.blake2b(b"\0".join(os.fsencode(path) for path in files), digest_size=16).hexdigest()


class Memory:
    """The last scan with some settings.

    Args:
        directory: where scans are remembered.
        name: of the corpus.
        settings: whatever else the clips follow from.
    """

    def __init__(self, directory: str | os.PathLike, name: str, settings: Any):
        key = hashlib.blake2b(json.dumps([FORMAT, name, settings], sort_keys=True).encode(), digest_size=8).hexdigest()
        self.path = Path(directory) / f"scan-{key}.npz"
        self.trees: frozenset[str] = frozenset()

    def recall(self) -> Corpus | None:
        """What was found last time, if nothing has changed since; `trees` are then those that were searched."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                facts = json.loads(file["facts"].tobytes())
                if not unchanged(facts["seen"]):
                    return None
                corpus = _corpus(facts, file)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        self.trees = frozenset(facts["seen"]["trees"])
        return corpus

    def remember(self, corpus: Corpus, seen: Seen) -> None:
        """Keep it for the next time; where nothing can be written, the next time takes as long as this."""
        with contextlib.suppress(OSError):
            if (facts := seen.facts()) is None:
                self.path.unlink(missing_ok=True)
                return
            clips = corpus.clips
            described = {
                "seen": facts,
                "fingerprint": corpus.fingerprint(),
                "name": corpus.name,
                "root": str(corpus.root),
                "labels": corpus.labels,
                "noise": [str(path) for path in corpus.noise],
                "refused": [[refusal.path, refusal.reason] for refusal in corpus.refused],
                "notes": corpus.notes,
                "noise_share": corpus.noise_share,
                "folders": clips.folders,
                "clip_labels": clips.labels,
            }
            columns = {name: getattr(clips, name) for name in COLUMNS}
            for name in ("names", "speakers"):
                strings = getattr(clips, name)
                columns |= {name: strings.data, f"{name}_edges": strings.edges}
            with atomic(self.path) as temporary:
                # ASCII: paths may hold bytes that are no text
                np.savez(temporary, facts=np.frombuffer(json.dumps(described).encode("ascii"), np.uint8), **columns)


def _corpus(facts: dict[str, Any], file: Any) -> Corpus:
    clips = ClipTable(
        folders=tuple(facts["folders"]),
        labels=tuple(facts["clip_labels"]),
        **{name: file[name] for name in COLUMNS},
        **{name: Strings(file[name], file[f"{name}_edges"]) for name in ("names", "speakers")},
    )
    return Corpus.recalled(
        facts["fingerprint"],
        name=facts["name"],
        root=Path(facts["root"]),
        labels=tuple(facts["labels"]),
        clips=clips,
        noise=tuple(map(Path, facts["noise"])),
        refused=tuple(Refusal(*row) for row in facts["refused"]),
        notes=tuple(facts["notes"]),
        noise_share=facts["noise_share"],
    )
