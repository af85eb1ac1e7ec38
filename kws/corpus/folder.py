"""A folder of recordings laid out as Speech Commands is: `<word>/<clip>.wav`, `_background_noise_/`, two lists."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kws.audio import EXTENSIONS
from kws.corpus.base import SPLITS, Clip, Corpus, Refusal, speaker_of, which_set
from kws.corpus.lists import key, read_list
from kws.errors import KwsError

NOISE_FOLDER = "_background_noise_"
_ENDINGS = ", ".join(EXTENSIONS)


class FolderCorpus:
    """One's own recordings, or any corpus unpacked on disk.

    root        the folder that holds one folder per word
    words       the keywords, in the order of the class index; None: every folder that does not start with `_`
    name        what to call the corpus; None: the folder's name
    lists       the folder with `validation_list.txt`, `testing_list.txt` and perhaps `training_list.txt`; None: root.
                A clip on a list is in its split. What is on none is training, or left out where there is a training
                list. A split without a list is drawn by the dataset's hash rule: by speaker where names carry one
                (`<speaker>_nohash_<n>`), else by file name, in either case without the ending.
    validation_percentage, testing_percentage   shares for the hash rule
    required_splits   splits that must have clips
    """

    def __init__(
        self,
        root: str | os.PathLike,
        words: Sequence[str] | None = None,
        name: str | None = None,
        lists: str | os.PathLike | None = None,
        validation_percentage: float = 10.0,
        testing_percentage: float = 10.0,
        required_splits: Sequence[str] = SPLITS,
    ):
        self.root = Path(root)
        self.name = name or self.root.resolve().name
        self.words = None if words is None else _check_words(words)
        self.lists = self.root if lists is None else Path(lists)
        self.validation_percentage = float(validation_percentage)
        self.testing_percentage = float(testing_percentage)
        self.required_splits = tuple(required_splits)
        for share, option in ((validation_percentage, "validation"), (testing_percentage, "testing")):
            if not 0 <= share <= 100:
                raise KwsError(f"{option}_percentage is {share}; give a percentage from 0 to 100")

    def prepare(self) -> None:
        """Nothing to make or to download."""

    def scan(self) -> Corpus:
        """Find the clips. Reads names and lists, not audio. Raises KwsError when there is nothing to train on."""
        tree, found = Tree(self.root), Findings()
        labels = self.words or tuple(label for label in tree.labels if not label.startswith("_"))
        clips = []
        for label in labels:
            files = tree.recordings(label, found)
            if not files and self.words:
                there = [name for name in tree.labels if not name.startswith("_")]
                raise KwsError(
                    f"{self.root}: the word {label!r} has no clips; put {_ENDINGS} files into {self.root / label}, or "
                    f"choose other words ({_some(there)})"
                )
            clips += [Clip(path, label, speaker_of(path.name), "training") for path in files]
        if not clips:
            raise KwsError(
                f"{self.root}: no clips; it should hold one folder per word with {_ENDINGS} files in it, as Speech "
                "Commands does"
            )
        labels = tuple(label for label in labels if any(clip.label == label for clip in clips))
        clips = self._split(clips, found)
        self._check_splits(clips)
        noise = tree.recordings(NOISE_FOLDER, found)
        return Corpus(
            name=self.name,
            root=self.root,
            labels=labels,
            clips=tuple(sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.label, os.fsencode(clip.path)))),
            noise=tuple(noise),
            refused=tuple(found.refused),
            notes=tuple(found.notes),
        )

    def _split(self, clips: list[Clip], found: "Findings") -> list[Clip]:
        """Put every clip into its split, by the lists that there are and the hash rule for the others."""
        if not self.lists.is_dir():
            raise KwsError(f"{self.lists}: the folder of the lists does not exist; correct `lists` or leave it out")
        keys = [key(f"{clip.path.parent.name}/{clip.path.name}") for clip in clips]
        present = set(keys)
        words = {name.split("/", 1)[0] for name in present}
        listed: dict[str, dict[str, str]] = {}
        for split in SPLITS:
            path = self.lists / f"{split}_list.txt"
            if not os.path.lexists(path):
                continue
            entries, refused, repeated = read_list(path)
            found.refused += refused
            if repeated:
                found.notes.append(f"{path.name} names {repeated} clips more than once")
            # A list of the whole corpus may well name words that this folder, or `words`, leaves out.
            missing = [name for name in entries if name not in present and name.split("/", 1)[0] in words]
            found.refused += [Refusal(entries[name], f"named in {path.name}, but not there") for name in missing]
            if entries and present.isdisjoint(entries):
                raise KwsError(f"{path}: none of the {len(entries)} clips it names is in {self.root}; is it another's?")
            listed[split] = entries
        both = listed.get("validation", {}).keys() & listed.get("testing", {}).keys() & present
        found.refused += [Refusal(name, "on both evaluation lists; kept for testing only") for name in sorted(both)]
        placed = []
        for name, clip in zip(keys, clips, strict=True):
            split = self._split_of(name, clip.path, listed)
            if split:
                placed.append(Clip(clip.path, clip.label, clip.speaker, split))
        if len(placed) < len(clips):
            found.notes.append(f"{len(clips) - len(placed)} clips are on no list and were left out")
        return placed

    def _split_of(self, name: str, path: Path, listed: dict[str, dict[str, str]]) -> str | None:
        for split in ("testing", "validation", "training"):
            if name in listed.get(split, ()):
                return split
        if "training" in listed:
            return None
        # Not by the whole name: a corpus that is re-encoded as FLAC keeps its splits.
        drawn = which_set(path.stem, self.validation_percentage, self.testing_percentage)
        return "training" if drawn in listed else drawn

    def _check_splits(self, clips: list[Clip]) -> None:
        counts = Counter(clip.split for clip in clips)
        for split in self.required_splits:
            if not counts[split]:
                raise KwsError(
                    f"{self.root}: no clips for {split} among {len(clips)}; record more, raise {split}_percentage, or "
                    f"name some in {self.lists / f'{split}_list.txt'}"
                )


class Findings:
    """What scanning collects on its way: refusals, and sentences for a report."""

    def __init__(self):
        self.refused: list[Refusal] = []
        self.notes: list[str] = []


class Tree:
    """The folders of a corpus by their label. Raises KwsError when the root is missing, no folder, or empty."""

    def __init__(self, root: Path):
        self.folders: dict[str, list[Path]] = {}
        try:
            entries = sorted(os.scandir(root), key=lambda entry: os.fsencode(entry.name))
        except FileNotFoundError as error:
            raise KwsError(f"{root}: the folder does not exist; set the root to where the recordings are") from error
        except OSError as error:
            raise KwsError(f"{root}: cannot be read as a folder ({error.strerror}); correct the root") from error
        if not entries:
            raise KwsError(f"{root}: the folder is empty; put one folder of recordings per word into it")
        for entry in entries:
            if not entry.name.startswith(".") and os.path.isdir(entry.path):  # noqa: PTH112 - False for a symlink loop
                self.folders.setdefault(label_of(entry.name), []).append(Path(entry.path))

    @property
    def labels(self) -> list[str]:
        """Every folder's label, sorted."""
        return sorted(self.folders)

    def recordings(self, label: str, found: Findings) -> list[Path]:
        """The recordings of one label, sorted by name; what has another ending is counted in a note."""
        paths = []
        for folder in self.folders.get(label, ()):
            try:
                names = sorted(os.fsencode(name) for name in os.listdir(folder))  # noqa: PTH208 - names will do
            except OSError as error:
                raise KwsError(f"{folder}: cannot be read ({error.strerror}); change its permissions") from error
            names = [os.fsdecode(name) for name in names if not name.startswith(b".")]
            audio = [name for name in names if name.lower().endswith(EXTENSIONS)]
            paths += [folder / name for name in audio]
            if other := [name for name in names if not name.lower().endswith((*EXTENSIONS, ".md", ".txt"))]:
                found.notes.append(f"{label_of(folder.name)}: {len(other)} files are not {_ENDINGS} ({_some(other)})")
        return paths


def label_of(folder: str) -> str:
    """The label for a folder's name: the name itself, with whatever cannot be printed as an escape.

    A label goes into tables, file metadata and pictures, none of which can hold a line break or a stray byte.
    """
    name = unicodedata.normalize("NFC", folder)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _check_words(words: Sequence[str]) -> tuple[str, ...]:
    for word in words:
        if not isinstance(word, str):
            raise KwsError(
                f"words holds {word!r}, which is no text; write it in quotes (YAML reads a bare yes as true)"
            )
        if word.startswith("_"):
            raise KwsError(f"words holds {word!r}; folders that start with an underscore are never keywords")
    labels = tuple(label_of(word) for word in words)
    if not labels:
        raise KwsError("words is empty; name at least one word, or leave it out to take them all")
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        raise KwsError(f"words names {_some(repeated)} more than once; name each word once")
    return labels


def _some(names: Sequence[str], count: int = 8) -> str:
    """The first few of many names, for a sentence."""
    names = [label_of(name) for name in names]
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
