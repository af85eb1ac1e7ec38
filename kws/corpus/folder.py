"""A folder of recordings laid out as Speech Commands is: `<word>/<clip>.wav`, `_background_noise_/`, two lists."""

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from kws.corpus import selection
from kws.corpus.audio import EXTENSIONS, USUAL
from kws.corpus.base import Corpus, Refusal, by_reason, printable, set_of, speaker_in, which_set
from kws.corpus.clips import SPLITS, ClipTable
from kws.corpus.lists import key, read_list
from kws.corpus.memory import Memory, Seen, files_below
from kws.corpus.running_speech import RunningSpeech
from kws.support.errors import KwsError
from kws.support.strings import StringsBuilder, plain

NOISE_FOLDER = "_background_noise_"
BESIDE = (".md", ".txt", ".csv", ".tsv", ".json", ".lab")  # what may lie beside recordings and is none
_USUAL = {ending[1:].encode() for ending in EXTENSIONS}
_DOT = ord(".")


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
    bad_list    a list of clips to leave out
    max_files_per_word   at most so many training clips of each word, spread over the speakers
    unknown_share   clips of the words that `words` leaves out, as the label `_unknown_`, in each split; relative to
                the mean number of clips of a keyword there (1.0: as many as a keyword has; 0: none; inf: all there are)
    unknown_labels   each of these words as a label of its own, `_bed_`, rather than all as one
    silence_share   the same for pieces of the background recordings, as the label `_silence_`
    silence_seconds   length of such a piece
    null_label  the label (`_null_`) for clips in the other folders that start with `_`; None: they are ignored
    noise       the folder with the background recordings; None: `_background_noise_` in root
    negatives   folders with long recordings in which no keyword is said; cut into pieces, `_unknown_` in training
    running_speech   who speaks more of these on this machine, or None
    seed        of every choice above
    required_splits   splits that must have clips
    memory      a folder in which what was found is remembered, so that the next scan only looks whether anything has
                changed (`kws.corpus.memory`); None: every scan reads all names again
    """

    def __init__(
        self,
        root: str | os.PathLike,
        words: Sequence[str] | None = None,
        name: str | None = None,
        lists: str | os.PathLike | None = None,
        validation_percentage: float = 10.0,
        testing_percentage: float = 10.0,
        bad_list: str | os.PathLike | None = None,
        max_files_per_word: int | None = None,
        unknown_share: float = 0.0,
        unknown_labels: bool = False,
        silence_share: float = 0.0,
        silence_seconds: float = 1.0,
        null_label: str | None = None,
        noise: str | os.PathLike | None = None,
        negatives: Sequence[str | os.PathLike] = (),
        running_speech: RunningSpeech | None = None,
        seed: int = 1,
        required_splits: Sequence[str] = SPLITS,
        memory: str | os.PathLike | None = None,
    ):
        self.root = Path(root)
        self.name = name or self.root.resolve().name
        self.words = None if words is None else _check_words(words)
        self.lists = self.root if lists is None else Path(lists)
        self.percentages = {"validation": validation_percentage, "testing": testing_percentage}
        self.bad_list = None if bad_list is None else Path(bad_list)
        self.max_files_per_word = max_files_per_word
        self.unknown_share, self.silence_share = unknown_share, silence_share
        self.unknown_labels = unknown_labels
        self.silence_seconds = silence_seconds
        self.null_label = null_label
        self.noise = None if noise is None else Path(noise)
        self.negatives = [Path(folder) for folder in negatives or ()]
        self.running_speech = running_speech
        self.seed = seed
        self.required_splits = tuple(required_splits)
        self.memory = memory
        self._check_options()

    def prepare(self) -> None:
        """Nothing to make or to download."""

    def scan(self) -> Corpus:
        """Find the clips. Reads names and lists, not audio. Raises KwsError when there is nothing to train on."""
        if self.memory is None:
            return self._look(Findings())
        memory, found = Memory(self.memory, self.name, self._settings()), Findings()
        corpus = memory.recall()
        if corpus is None or not self._spoken(corpus.keywords) <= memory.trees:
            corpus = self._look(found)
            memory.remember(corpus, found.seen)
        return corpus

    def _settings(self) -> list:
        """What the clips follow from, beside what lies on disk and what is spoken for them."""
        paths = (self.root, self.root.resolve(), self.lists, self.bad_list, self.noise, *self.negatives)
        choices = (
            self.words, self.percentages, self.max_files_per_word, self.unknown_share, self.unknown_labels,
            self.silence_share, self.silence_seconds, self.null_label, self.seed, self.required_splits,
        )  # fmt: skip
        return [*map(str, paths), *choices, soundfile.__libsndfile_version__]

    def _spoken(self, keywords: Sequence[str]) -> set[str]:
        """The folder of running speech without these words, which is made where it is missing."""
        spoken = None if self.running_speech is None else self.running_speech.prepare(keywords)
        return set() if spoken is None else {str(spoken)}

    def _look(self, found: "Findings") -> Corpus:
        return self._choose(*self._find(found), found)

    def _find(self, found: "Findings") -> tuple[Sequence[str], ClipTable, list[Path]]:
        """The keywords, every clip that may be wanted in its split, and the background recordings."""
        tree = Tree(self.root, found)
        words = [label for label in tree.labels if not label.startswith("_")]
        keywords = self.words or tuple(words)
        collected = Collected()
        self._collect_keywords(keywords, words, tree, found, collected)
        nulls = [label for label in tree.labels if label.startswith("_") and label != NOISE_FOLDER]
        if nulls and not self.null_label:
            found.notes.append(f"{_some(nulls)} left out; data.null_label=_null_ takes what is in folders with a _")
        if self.null_label:
            for label in nulls:
                collected.add(tree.recordings(label, found), self.null_label)
        if self.unknown_share:
            others = set(words).difference(keywords)
            for word in words:
                if word in others:
                    collected.add(tree.recordings(word, found), word)
        clips = self._split(self._without_bad(collected.table(), found), found)
        return keywords, clips, self._noise(found)

    def _noise(self, found: "Findings") -> list[Path]:
        """The background recordings: those of `noise`, or what lies beside the clips."""
        if self.noise is not None:
            return _noise_files(self.noise, found)
        beside = self.root / NOISE_FOLDER
        if beside.is_dir():
            return _paths([(beside, _recordings(beside, found))])
        found.seen.plain.append(str(beside))  # no folder yet; tables do not list the root
        return []

    def _choose(self, keywords: Sequence[str], clips: ClipTable, noise: list[Path], found: "Findings") -> Corpus:
        """The corpus that the options make of what was found. A label with a `_` is one that the source wants."""
        wanted = clips.labelled({*keywords, *(label for label in clips.labels if label.startswith("_"))})
        rest, clips = clips.take(~wanted), clips.take(wanted)
        self._refuse_missing(keywords, clips, found)
        if self.max_files_per_word is not None:
            before = len(clips)
            clips = selection.limit_per_word(clips, self.max_files_per_word, self.seed)
            if before > len(clips):
                found.notes.append(f"data.max_files_per_word leaves out {before - len(clips)} clips")
        unknown = self._unknown(clips, keywords, rest, found)
        silence = self._silence(clips, keywords, noise, found)
        clips = ClipTable.joined([clips, unknown, silence, self._negatives(keywords, found)])
        self._check_splits(clips)
        special = sorted({label for _, label in clips.counts() if label.startswith("_")})
        return Corpus(
            name=self.name,
            root=self.root,
            labels=(*special, *keywords),
            clips=clips.sorted(),
            noise=tuple(noise),
            refused=tuple(found.refused),
            notes=tuple(found.notes),
            # Augmentation must not train on the very noise that the silence of the evaluation splits is cut from.
            noise_share=selection.STRETCHES["training"][1] if self.silence_share else 1.0,
        )

    def _collect_keywords(
        self, keywords: Sequence[str], words: list[str], tree: "Tree", found: "Findings", collected: "Collected"
    ) -> None:
        for word in keywords:
            files = tree.recordings(word, found)
            if not any(names for _, names in files) and (self.words or self.required_splits) and words:
                inside = found.below(tree.folders.get(word, ()))
                raise KwsError(
                    f"{self.root}: the word {word!r} has no clips{f' ({inside})' if inside else ''}; put recordings "
                    f"({USUAL}) directly into {self.root / word}, or choose other data.words ({_some(words)})"
                )
            collected.add(files, word)
        if not collected.count:
            raise KwsError(
                f"{self.root}: no clips; data.root should hold one folder per word with recordings ({USUAL}) in it, as "
                "Speech Commands does"
            )

    def _refuse_missing(self, keywords: Sequence[str], clips: ClipTable, found: "Findings") -> None:
        """Every word needs clips to train on; where it lacks some to evaluate on, that is noted."""
        there = clips.counts()
        for split in SPLITS:
            without = [word for word in keywords if (split, word) not in there]
            if without and split == "training" and split in self.required_splits and len(without) < len(keywords):
                raise KwsError(
                    f"{self.root}: no clips of {_some(without)} are left for training; correct the lists and "
                    "data.bad_list, or choose other data.words"
                )
            if without:
                found.notes.append(f"no clips of {_some(without)} for {split}")

    def _without_bad(self, clips: ClipTable, found: "Findings") -> ClipTable:
        if self.bad_list is None:
            return clips
        found.seen.list(self.bad_list)
        bad, refused, _ = read_list(self.bad_list)
        found.refused += refused
        good = clips.take(np.fromiter((name not in bad for name in _keys(clips)), bool, len(clips)))
        found.notes.append(f"{self.bad_list.name} leaves out {len(clips) - len(good)} clips")
        return good

    def _unknown(self, clips: ClipTable, keywords: Sequence[str], rest: ClipTable, found: "Findings") -> ClipTable:
        if not self.unknown_share:
            return ClipTable.of(())
        if not len(rest):
            raise KwsError(
                f"{self.root}: no words are left over for {selection.UNKNOWN}; name the keywords in data.words, or set "
                "data.unknown_share=0"
            )
        if math.isinf(self.unknown_share):
            counts = {split: len(rest.in_split(split)) for split in SPLITS}
        else:
            counts = selection.wanted(clips, keywords, self.unknown_share)
        chosen, notes = selection.unknown(rest, counts, self.seed, self.unknown_labels)
        found.notes += notes
        return chosen

    def _silence(self, clips: ClipTable, keywords: Sequence[str], noise: list[Path], found: "Findings") -> ClipTable:
        if not self.silence_share:
            return ClipTable.of(())
        counts = selection.wanted(clips, keywords, self.silence_share)
        found.seen.measured += map(str, noise)
        pieces, refused = selection.silence(noise, counts, self.silence_seconds, self.seed)
        found.refused += refused
        if not pieces:
            raise KwsError(
                f"{self.noise or self.root / NOISE_FOLDER}: no recordings to cut {selection.SILENCE} from; put some of "
                f"at least {5 * self.silence_seconds:g} s there, or set data.silence_share=0"
            )
        return ClipTable.of(pieces)

    def _negatives(self, keywords: Sequence[str], found: "Findings") -> ClipTable:
        folders = [*self.negatives, *map(Path, self._spoken(keywords))]
        paths = [path for folder in folders for path in _long_recordings(folder, found)]
        found.seen.measured += map(str, paths)
        pieces, refused = selection.pieces(paths, self.silence_seconds)
        found.refused += refused
        if folders:
            found.notes.append(f"{selection.UNKNOWN}: {len(pieces)} pieces of long recordings for training")
        return pieces

    def _split(self, clips: ClipTable, found: "Findings") -> ClipTable:
        """Put every clip into its split, by the lists that there are and the hash rule for the others."""
        if not self.lists.is_dir():
            raise KwsError(f"{self.lists}: the folder of the lists does not exist; correct data.lists or leave it out")
        listed: dict[str, dict[str, str]] = {}
        notes: dict[str, list[str]] = {}
        for split in SPLITS:
            path = self.lists / f"{split}_list.txt"
            found.seen.list(path)
            if os.path.lexists(path):
                listed[split], refused, repeated = read_list(path)
                found.refused += refused
                notes[split] = [f"{path.name} names {repeated} clips more than once"] if repeated else []
        splits, there = self._places(clips, listed)
        words = {key(Path(clips.folders[code]).name) for code in np.unique(clips.folder)}
        for split, entries in listed.items():
            path = self.lists / f"{split}_list.txt"
            # A list of the whole corpus may well name words that this folder, or `words`, leaves out.
            missing = [name for name in entries if name not in there and name.split("/", 1)[0] in words]
            present = sum(name in there for name in entries)
            found.notes += notes[split]
            if others := len(entries) - len(missing) - present:
                found.notes.append(f"{path.name} names {others} clips of other words")
            found.refused += [Refusal(entries[name], f"named in {path.name}, but not there") for name in missing]
            if entries and not present:
                raise KwsError(f"{path}: none of the {len(entries)} clips it names is in {self.root}; is it another's?")
        both = listed.get("validation", {}).keys() & listed.get("testing", {}).keys() & there
        found.refused += [
            Refusal(listed["testing"][name], "on both evaluation lists; kept for testing only") for name in sorted(both)
        ]
        placed = replace(clips, split=splits).take(splits >= 0)
        if len(placed) < len(clips):
            found.notes.append(f"{len(clips) - len(placed)} clips are on no list and were left out")
        return placed

    def _places(self, clips: ClipTable, listed: dict[str, dict[str, str]]) -> tuple[np.ndarray, set[str]]:
        """(N,) the split of each clip, -1 for none; and what the lists name that is there."""
        splits, there = np.full(len(clips), -1, np.int8), set()
        lists = [(SPLITS.index(split), listed[split]) for split in reversed(SPLITS) if listed.get(split)]
        for row, name in enumerate(_keys(clips) if lists else ()):
            for code, entries in lists:
                if name in entries:
                    there.add(name)
                    splits[row] = max(splits[row], code)  # who is on both evaluation lists is tested on
        if "training" not in listed:
            drawn = {split: SPLITS.index("training" if split in listed else split) for split in SPLITS}
            left, codes, last, code = np.flatnonzero(splits < 0), bytearray(), None, 0
            # Not by the whole name: a corpus that is re-encoded as FLAC keeps its splits.
            for speaker, own in zip(clips.speakers.take(left), plain(clips.split[left]), strict=True):
                if (speaker, own) != last:  # clips of a speaker follow each other
                    last = speaker, own
                    code = drawn[SPLITS[own] if own >= 0 else set_of(speaker, *self.percentages.values())]
                codes.append(code)
            splits[left] = np.frombuffer(codes, np.int8)
        return splits, there

    def _drawn(self, name: str) -> str:
        """The split of a speaker, or of a clip without one, by the hash rule."""
        return which_set(name, self.percentages["validation"], self.percentages["testing"])

    def _check_splits(self, clips: ClipTable) -> None:
        for split in self.required_splits:
            if not len(clips.in_split(split)):
                raise KwsError(
                    f"{self.root}: no clips for {split} among {len(clips)}; record more, change "
                    f"data.validation_percentage and data.testing_percentage, or {self._naming(split)}"
                )

    def _naming(self, split: str) -> str:
        """How to say that clips are in a split, for a sentence."""
        return f"name some in {self.lists / f'{split}_list.txt'}"

    def _check_options(self) -> None:
        for split, share in self.percentages.items():
            if not 0 <= share <= 100:
                raise KwsError(f"data.{split}_percentage is {share}; give a percentage from 0 to 100")
        if sum(self.percentages.values()) >= 100:
            raise KwsError(
                "data.validation_percentage and data.testing_percentage leave nothing for training; lower them"
            )
        for option in ("unknown_share", "silence_share"):
            most = math.inf if option == "unknown_share" else 100
            if not 0 <= getattr(self, option) <= most:
                raise KwsError(
                    f"data.{option} is {getattr(self, option)}; give 0 for none, 1 for as many as a keyword has"
                )
        if self.max_files_per_word is not None and self.max_files_per_word < 1:
            raise KwsError(f"data.max_files_per_word is {self.max_files_per_word}; give at least 1, or null for all")
        if not self.silence_seconds > 0:
            raise KwsError(f"data.seconds is {self.silence_seconds}; give a length in seconds, such as 1.0")
        if self.null_label is not None and not self.null_label.startswith("_"):
            raise KwsError(f"data.null_label is {self.null_label!r}; it is no keyword, so start it with an underscore")


class Findings:
    """What scanning collects on its way: refusals, sentences for a report, and what it has looked at."""

    def __init__(self):
        self.seen = Seen()
        self.refused: list[Refusal] = []
        self.notes: list[str] = []

    def refuse(self, path: str | Path, reason: str) -> None:
        """A recording, or what could be one, is left out."""
        self.refused.append(Refusal(str(path), reason))

    def below(self, folders: Iterable[Path]) -> str:
        """What has been left out below some folders, for a sentence; empty for nothing."""
        places = tuple(f"{printable(str(folder))}{os.sep}" for folder in folders)
        rows = by_reason(refusal for refusal in self.refused if refusal.path.startswith(places))
        return "; ".join(f"{row['count']} left out: {row['reason']}" for row in rows)


class Tree:
    """The folders of a corpus by their label. Raises KwsError when the root is missing, no folder, or empty."""

    def __init__(self, root: Path, found: Findings):
        self.folders: dict[str, list[Path]] = {}
        try:
            entries = list(os.scandir(root))
        except FileNotFoundError as error:
            raise KwsError(f"{root}: the folder does not exist; set data.root to where the recordings are") from error
        except OSError as error:
            raise KwsError(f"{root}: cannot be read as a folder ({error.strerror}); correct data.root") from error
        if not entries:
            raise KwsError(f"{root}: the folder is empty; put one folder of recordings per word into it")
        found.seen.folder(root, [os.fsencode(entry.name) for entry in entries])
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            listed = entry.name.endswith("_list.txt")
            if not (entry.name.startswith(".") or listed) and os.path.isdir(entry.path):  # noqa: PTH112 - False for a loop
                if entry.is_symlink() and root.resolve().is_relative_to(Path(entry.path).resolve()):
                    found.refuse(entry.path, "a link that leads back up")
                    found.seen.unsure = True
                    continue
                self.folders.setdefault(label_of(entry.name), []).append(Path(entry.path))
                continue
            if not (entry.name.startswith(".") or listed):
                found.seen.plain.append(entry.path)
            if entry.name.lower().endswith(EXTENSIONS):
                found.refuse(entry.path, "lies beside the words' folders, not in one")

    @property
    def labels(self) -> list[str]:
        """Every folder's label, sorted."""
        return sorted(self.folders)

    def recordings(self, label: str, found: Findings) -> list["Found"]:
        """The recordings of one label, folder by folder."""
        return [(folder, _recordings(folder, found)) for folder in self.folders.get(label, ())]


Found = tuple[Path, list[bytes]]
"""A folder, and the names of the recordings in it, sorted."""


class Collected:
    """Clips that are in no split yet, gathered folder by folder."""

    def __init__(self):
        self.count = 0
        self.folders: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.rows: list[tuple[int, int, int]] = []  # of each folder: its code, its label's, and how many clips
        self.names, self.speakers = StringsBuilder(), StringsBuilder()

    def add(self, files: Sequence[Found], label: str) -> None:
        """The recordings of a label."""
        for folder, names in files:
            if names:
                code = self.folders.setdefault(str(folder), len(self.folders))
                self.rows.append((code, self.labels.setdefault(label, len(self.labels)), len(names)))
                self.names.extend(names)
                self.speakers.extend([speaker_in(name) for name in names])
                self.count += len(names)

    def table(self) -> ClipTable:
        """All of them."""
        folder, label, counts = np.array(self.rows, np.int32).reshape(-1, 3).T
        nothing = np.full(self.count, np.nan)
        return ClipTable(
            folders=tuple(self.folders),
            labels=tuple(self.labels),
            folder=np.repeat(folder, counts),
            names=self.names.built(),
            label=np.repeat(label, counts),
            speakers=self.speakers.built(),
            split=np.full(self.count, -1, np.int8),
            start=nothing,
            duration=nothing,
        )


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _recordings(folder: Path, found: Findings) -> list[bytes]:
    """The names of the recordings in one folder, sorted; whatever else may be one is refused."""
    try:
        with os.scandir(os.fsencode(folder)) as scan:
            entries = [(entry.name, _is_folder(entry)) for entry in scan]
    except OSError as error:
        raise KwsError(f"{folder}: cannot be read ({error.strerror}); correct the path or its permissions") from error
    found.seen.folder(folder, [name for name, _ in entries])
    kept: dict[bytes, bytes] = {}
    for name, is_folder in sorted(entries):
        base, _, ending = name.rpartition(b".")
        if ending in _USUAL and name[0] != _DOT:  # most are; the rest of this loop takes its time
            if kept.setdefault(base, name) != name:
                found.refuse(folder / os.fsdecode(name), "the same clip in another format")
            continue
        found.seen.times(folder)
        ending = os.fsdecode(os.path.splitext(name)[1].lower())  # noqa: PTH122 - as above
        if is_folder and ending not in EXTENSIONS:
            for inner, _, files in os.walk(folder / os.fsdecode(name)):
                found.seen.times(inner)
                for file in sorted(files):
                    if file.lower().endswith(EXTENSIONS):
                        found.refuse(Path(inner, file), "lies a level deeper than <word>/<clip>")
        elif name.startswith(b"."):
            if ending in EXTENSIONS and not name.startswith(b"._"):  # those are what macOS remembers of a file
                found.refuse(folder / os.fsdecode(name), "a hidden file")
        elif ending in EXTENSIONS:
            if kept.setdefault(base, name) != name:
                found.refuse(folder / os.fsdecode(name), "the same clip in another format")
        elif ending not in BESIDE:
            reason = f"no recording by its name ({ending or 'without an ending'})"
            found.refuse(folder / os.fsdecode(name), reason)
    return list(kept.values())


def _paths(files: Iterable[Found]) -> list[Path]:
    return [folder / os.fsdecode(name) for folder, names in files for name in names]


def _noise_files(folder: Path, found: Findings) -> list[Path]:
    paths = _paths([(folder, _recordings(folder, found))])
    if not paths:
        raise KwsError(f"{folder}: no background recordings; put some ({USUAL}) there, or leave data.noise out")
    return paths


def _long_recordings(folder: Path, found: Findings) -> list[Path]:
    if not folder.is_dir():
        raise KwsError(f"data.negatives: {folder} is no folder; name one with long recordings in it")
    files = files_below(folder)
    found.seen.tree(folder, files)
    paths = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not paths:
        raise KwsError(f"data.negatives: {folder} holds no recording ({USUAL})")
    for path in files:
        if path.suffix.lower() not in (*EXTENSIONS, *BESIDE):
            found.refuse(path, f"no recording by its name ({path.suffix.lower() or 'without an ending'})")
    return paths


def _keys(clips: ClipTable) -> Iterator[str]:
    """What a line of a list and each clip have in common."""
    folders = [Path(folder).name for folder in clips.folders]
    return (
        key(f"{folders[folder]}/{os.fsdecode(name)}")
        for folder, name in zip(plain(clips.folder), clips.names, strict=True)
    )


def label_of(folder: str) -> str:
    """The label for a folder's name: printable, and in the one of Unicode's forms that people type."""
    return printable(unicodedata.normalize("NFC", folder))


def _check_words(words: Sequence[str]) -> tuple[str, ...]:
    for word in words:
        if not isinstance(word, str):
            raise KwsError(
                f"data.words holds {word!r}, which is no text; write it in quotes (YAML reads a bare yes as true)"
            )
        if word.startswith("_"):
            raise KwsError(f"data.words holds {word!r}; folders that start with an underscore are never keywords")
    labels = tuple(label_of(word) for word in words)
    if not labels:
        raise KwsError("data.words is empty; name at least one word, or leave it out to take them all")
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        raise KwsError(f"data.words names {_some(repeated)} more than once; name each word once")
    return labels


def _some(names: Sequence[str], count: int = 8) -> str:
    """The first few of many names, for a sentence."""
    names = [label_of(name) for name in names]
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
