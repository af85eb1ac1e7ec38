"""A folder of recordings laid out as Speech Commands is: `<word>/<clip>.wav`, `_background_noise_/`, two lists."""

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kws.corpus import selection
from kws.corpus.audio import EXTENSIONS, USUAL
from kws.corpus.base import SPLITS, Clip, Corpus, Refusal, by_reason, printable, speaker_of, which_set
from kws.corpus.lists import key, read_list
from kws.corpus.running_speech import RunningSpeech
from kws.support.errors import KwsError

NOISE_FOLDER = "_background_noise_"
BESIDE = (".md", ".txt", ".csv", ".tsv", ".json", ".lab")  # what may lie beside recordings and is none


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
        self._check_options()

    def prepare(self) -> None:
        """Nothing to make or to download."""

    def scan(self) -> Corpus:
        """Find the clips. Reads names and lists, not audio. Raises KwsError when there is nothing to train on."""
        found = Findings()
        return self._choose(*self._find(found), found)

    def _find(self, found: "Findings") -> tuple[Sequence[str], list[Clip], list[Path]]:
        """The keywords, every clip that may be wanted in its split, and the background recordings."""
        tree = Tree(self.root, found)
        words = [label for label in tree.labels if not label.startswith("_")]
        keywords = self.words or tuple(words)
        clips = self._keyword_clips(keywords, words, tree, found)
        nulls = [label for label in tree.labels if label.startswith("_") and label != NOISE_FOLDER]
        if nulls and not self.null_label:
            found.notes.append(f"{_some(nulls)} left out; data.null_label=_null_ takes what is in folders with a _")
        if self.null_label:
            clips += _clips([path for label in nulls for path in tree.recordings(label, found)], self.null_label)
        if self.unknown_share:
            for word in words:
                if word not in keywords:
                    clips += _clips(tree.recordings(word, found), word)
        clips = self._split(self._without_bad(clips, found), found)
        return keywords, clips, self._noise(found)

    def _noise(self, found: "Findings") -> list[Path]:
        """The background recordings: those of `noise`, or what lies beside the clips."""
        if self.noise is not None:
            return _noise_files(self.noise, found)
        beside = self.root / NOISE_FOLDER
        return _recordings(beside, found) if beside.is_dir() else []

    def _choose(self, keywords: Sequence[str], clips: list[Clip], noise: list[Path], found: "Findings") -> Corpus:
        """The corpus that the options make of what was found. A label with a `_` is one that the source wants."""
        rest = [clip for clip in clips if clip.label not in keywords and not clip.label.startswith("_")]
        clips = [clip for clip in clips if clip.label in keywords or clip.label.startswith("_")]
        self._refuse_missing(keywords, clips, found)
        if self.max_files_per_word is not None:
            before = len(clips)
            clips = selection.limit_per_word(clips, self.max_files_per_word, self.seed)
            if before > len(clips):
                found.notes.append(f"data.max_files_per_word leaves out {before - len(clips)} clips")
        extra = self._unknown(clips, keywords, rest, found) + self._silence(clips, keywords, noise, found)
        extra += self._negatives(keywords, found)
        clips += extra
        self._check_splits(clips)
        special = sorted({clip.label for clip in clips if clip.label.startswith("_")})
        return Corpus(
            name=self.name,
            root=self.root,
            labels=(*special, *keywords),
            clips=tuple(sorted(clips, key=_order)),
            noise=tuple(noise),
            refused=tuple(found.refused),
            notes=tuple(found.notes),
            # Augmentation must not train on the very noise that the silence of the evaluation splits is cut from.
            noise_share=selection.STRETCHES["training"][1] if self.silence_share else 1.0,
        )

    def _keyword_clips(self, keywords: Sequence[str], words: list[str], tree: "Tree", found: "Findings") -> list[Clip]:
        clips = []
        for word in keywords:
            files = tree.recordings(word, found)
            if not files and (self.words or self.required_splits) and words:
                inside = found.below(tree.folders.get(word, ()))
                raise KwsError(
                    f"{self.root}: the word {word!r} has no clips{f' ({inside})' if inside else ''}; put recordings "
                    f"({USUAL}) directly into {self.root / word}, or choose other data.words ({_some(words)})"
                )
            clips += _clips(files, word)
        if not clips:
            raise KwsError(
                f"{self.root}: no clips; data.root should hold one folder per word with recordings ({USUAL}) in it, as "
                "Speech Commands does"
            )
        return clips

    def _refuse_missing(self, keywords: Sequence[str], clips: list[Clip], found: "Findings") -> None:
        """Every word needs clips to train on; where it lacks some to evaluate on, that is noted."""
        there = {(clip.split, clip.label) for clip in clips}
        for split in SPLITS:
            without = [word for word in keywords if (split, word) not in there]
            if without and split == "training" and split in self.required_splits and len(without) < len(keywords):
                raise KwsError(
                    f"{self.root}: no clips of {_some(without)} are left for training; correct the lists and "
                    "data.bad_list, or choose other data.words"
                )
            if without:
                found.notes.append(f"no clips of {_some(without)} for {split}")

    def _without_bad(self, clips: list[Clip], found: "Findings") -> list[Clip]:
        if self.bad_list is None:
            return clips
        bad, refused, _ = read_list(self.bad_list)
        found.refused += refused
        good = [clip for clip in clips if _key(clip) not in bad]
        found.notes.append(f"{self.bad_list.name} leaves out {len(clips) - len(good)} clips")
        return good

    def _unknown(self, clips: list[Clip], keywords: Sequence[str], rest: list[Clip], found: "Findings") -> list[Clip]:
        if not self.unknown_share:
            return []
        if not rest:
            raise KwsError(
                f"{self.root}: no words are left over for {selection.UNKNOWN}; name the keywords in data.words, or set "
                "data.unknown_share=0"
            )
        if math.isinf(self.unknown_share):
            counts = Counter(clip.split for clip in rest)
        else:
            counts = selection.wanted(clips, keywords, self.unknown_share)
        chosen, notes = selection.unknown(rest, counts, self.seed, self.unknown_labels)
        found.notes += notes
        return chosen

    def _silence(self, clips: list[Clip], keywords: Sequence[str], noise: list[Path], found: "Findings") -> list[Clip]:
        if not self.silence_share:
            return []
        counts = selection.wanted(clips, keywords, self.silence_share)
        pieces, refused = selection.silence(noise, counts, self.silence_seconds, self.seed)
        found.refused += refused
        if not pieces:
            raise KwsError(
                f"{self.noise or self.root / NOISE_FOLDER}: no recordings to cut {selection.SILENCE} from; put some of "
                f"at least {5 * self.silence_seconds:g} s there, or set data.silence_share=0"
            )
        return pieces

    def _negatives(self, keywords: Sequence[str], found: "Findings") -> list[Clip]:
        folders = list(self.negatives)
        if self.running_speech is not None and (spoken := self.running_speech.prepare(keywords)) is not None:
            folders.append(spoken)
        paths = [path for folder in folders for path in _long_recordings(folder, found)]
        pieces, refused = selection.pieces(paths, self.silence_seconds)
        found.refused += refused
        if folders:
            found.notes.append(f"{selection.UNKNOWN}: {len(pieces)} pieces of long recordings for training")
        return pieces

    def _split(self, clips: list[Clip], found: "Findings") -> list[Clip]:
        """Put every clip into its split, by the lists that there are and the hash rule for the others."""
        if not self.lists.is_dir():
            raise KwsError(f"{self.lists}: the folder of the lists does not exist; correct data.lists or leave it out")
        keys = [_key(clip) for clip in clips]
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
            if others := len(entries) - len(missing) - len(present & entries.keys()):
                found.notes.append(f"{path.name} names {others} clips of other words")
            found.refused += [Refusal(entries[name], f"named in {path.name}, but not there") for name in missing]
            if entries and present.isdisjoint(entries):
                raise KwsError(f"{path}: none of the {len(entries)} clips it names is in {self.root}; is it another's?")
            listed[split] = entries
        both = listed.get("validation", {}).keys() & listed.get("testing", {}).keys() & present
        found.refused += [
            Refusal(listed["testing"][name], "on both evaluation lists; kept for testing only") for name in sorted(both)
        ]
        placed = []
        for name, clip in zip(keys, clips, strict=True):
            split = self._split_of(name, clip, listed)
            if split:
                placed.append(replace(clip, split=split))
        if len(placed) < len(clips):
            found.notes.append(f"{len(clips) - len(placed)} clips are on no list and were left out")
        return placed

    def _split_of(self, name: str, clip: Clip, listed: dict[str, dict[str, str]]) -> str | None:
        for split in ("testing", "validation", "training"):
            if name in listed.get(split, ()):
                return split
        if "training" in listed:
            return None
        # Not by the whole name: a corpus that is re-encoded as FLAC keeps its splits.
        drawn = clip.split or self._drawn(clip.path.stem)
        return "training" if drawn in listed else drawn

    def _drawn(self, name: str) -> str:
        """The split of a speaker, or of a clip without one, by the hash rule."""
        return which_set(name, self.percentages["validation"], self.percentages["testing"])

    def _check_splits(self, clips: list[Clip]) -> None:
        counts = Counter(clip.split for clip in clips)
        for split in self.required_splits:
            if not counts[split]:
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
    """What scanning collects on its way: refusals, and sentences for a report."""

    def __init__(self):
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
            entries = sorted(os.scandir(root), key=lambda entry: os.fsencode(entry.name))
        except FileNotFoundError as error:
            raise KwsError(f"{root}: the folder does not exist; set data.root to where the recordings are") from error
        except OSError as error:
            raise KwsError(f"{root}: cannot be read as a folder ({error.strerror}); correct data.root") from error
        if not entries:
            raise KwsError(f"{root}: the folder is empty; put one folder of recordings per word into it")
        for entry in entries:
            listed = entry.name.endswith("_list.txt")
            if not (entry.name.startswith(".") or listed) and os.path.isdir(entry.path):  # noqa: PTH112 - False for a loop
                if entry.is_symlink() and root.resolve().is_relative_to(Path(entry.path).resolve()):
                    found.refuse(entry.path, "a link that leads back up")
                    continue
                self.folders.setdefault(label_of(entry.name), []).append(Path(entry.path))
            elif entry.name.lower().endswith(EXTENSIONS):
                found.refuse(entry.path, "lies beside the words' folders, not in one")

    @property
    def labels(self) -> list[str]:
        """Every folder's label, sorted."""
        return sorted(self.folders)

    def recordings(self, label: str, found: Findings) -> list[Path]:
        """The recordings of one label, sorted by name."""
        return [path for folder in self.folders.get(label, ()) for path in _recordings(folder, found)]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _recordings(folder: Path, found: Findings) -> list[Path]:
    """The recordings in one folder, sorted by name; whatever else may be one is refused."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted((os.fsencode(entry.name), _is_folder(entry)) for entry in scan)
    except OSError as error:
        raise KwsError(f"{folder}: cannot be read ({error.strerror}); correct the path or its permissions") from error
    kept: dict[str, str] = {}
    for name, is_folder in ((os.fsdecode(name), is_folder) for name, is_folder in entries):
        ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - for speed
        if is_folder and ending not in EXTENSIONS:
            for inner, _, files in os.walk(folder / name):
                for file in sorted(files):
                    if file.lower().endswith(EXTENSIONS):
                        found.refuse(Path(inner, file), "lies a level deeper than <word>/<clip>")
        elif name.startswith("."):
            if ending in EXTENSIONS and not name.startswith("._"):  # those are what macOS remembers of a file
                found.refuse(folder / name, "a hidden file")
        elif ending in EXTENSIONS:
            earlier = kept.setdefault(name[: -len(ending)], name)
            if earlier != name:
                found.refuse(folder / name, "the same clip in another format")
        elif ending not in BESIDE:
            found.refuse(folder / name, f"no recording by its name ({ending or 'without an ending'})")
    return [folder / name for name in kept.values()]


def _noise_files(folder: Path, found: Findings) -> list[Path]:
    paths = _recordings(folder, found)
    if not paths:
        raise KwsError(f"{folder}: no background recordings; put some ({USUAL}) there, or leave data.noise out")
    return paths


def _long_recordings(folder: Path, found: Findings) -> list[Path]:
    if not folder.is_dir():
        raise KwsError(f"data.negatives: {folder} is no folder; name one with long recordings in it")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    paths = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not paths:
        raise KwsError(f"data.negatives: {folder} holds no recording ({USUAL})")
    for path in files:
        if path.suffix.lower() not in (*EXTENSIONS, *BESIDE):
            found.refuse(path, f"no recording by its name ({path.suffix.lower() or 'without an ending'})")
    return paths


def _clips(paths: Sequence[Path], label: str) -> list[Clip]:
    """Clips that are in no split yet."""
    return [Clip(path, label, speaker_of(path.name), "") for path in paths]


def _key(clip: Clip) -> str:
    return key(f"{clip.path.parent.name}/{clip.path.name}")


def _order(clip: Clip) -> tuple:
    return SPLITS.index(clip.split), clip.label, os.fsencode(clip.path), clip.start or 0.0


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
