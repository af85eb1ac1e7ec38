"""Words that are only typed beside words that were recorded: voices speak the first, and the second as well."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kws.corpus import selection
from kws.corpus.base import Corpus
from kws.corpus.clips import SPLITS, ClipTable
from kws.corpus.folder import FolderCorpus, label_of
from kws.support.errors import KwsError


class TypedCorpus:
    """Recordings of some words, and others that nobody has recorded; a source as `data=typed` chooses it.

    Voices speak every word, so that a synthetic clip is no sign of a typed word, and training does not learn from
    recordings of other words that a recording is no sign of one (`Corpus.unrecorded`). Typed words train and validate
    on voices; they are tested on recordings where the folder holds any, and on voices that do not train where it does
    not. All words of the folder may be typed, which leaves its recordings for the test alone; or none, and voices
    speak beside people.

    Args:
        recorded: the folder. Recordings of a typed word in it do not train, but for `recordings`, and never validate.
        spoken: makes the source of the voices from `words=`; a `SpokenCorpus` without them.
        typed: words to be spoken alone.
        recordings: of each typed word that train as well, at most; each by another speaker as long as there are any.
        speak_recorded: whether voices speak the recorded words too.
        seed: of the choice of these recordings.
    """

    def __init__(
        self,
        recorded: FolderCorpus,
        spoken: Callable[..., Any],
        typed: Sequence[str],
        recordings: int = 0,
        speak_recorded: bool = True,
        seed: int = 1,
    ):
        self.typed = tuple(label_of(word) for word in typed or ())
        if not self.typed and not speak_recorded:
            raise KwsError("data.typed is empty and data.speak_recorded is false; nothing is left for voices to speak")
        if recordings < 0:
            raise KwsError(f"data.recordings={recordings}; give 0 for none, or so many of each typed word")
        both = [word for word in recorded.words or () if word in self.typed]
        if both:
            raise KwsError(f"data.words and data.typed both name {', '.join(both)}; name each word once")
        self.recorded, self.recordings, self.seed = recorded, recordings, seed
        self.words = self._recorded_words()
        # Sorted, so that the same words are spoken once, whichever of them are typed.
        self.spoken = spoken(words=sorted([*(self.words if speak_recorded else ()), *self.typed]))

    @property
    def root(self) -> Path:
        """The folder of the recordings."""
        return self.recorded.root

    def prepare(self) -> None:
        """Have the words spoken, unless they are."""
        self.spoken.prepare()

    def scan(self) -> Corpus:
        """All clips; the typed words' labels come after the others."""
        folder, spoken = self._folder(), self.spoken.scan()
        recorded = folder.clips.take(~folder.clips.labelled(self.typed) | _in(folder.clips, "testing"))
        few = self._few(folder)
        tested = {label for _, label in recorded.in_split("testing").counts()}
        wanted = {*folder.labels, *self.typed} - {selection.SILENCE}
        evaluated = spoken.clips.labelled(self.typed) & (
            _in(spoken.clips, "validation") | ~spoken.clips.labelled(tested)
        )
        voices = spoken.clips.take(spoken.clips.labelled(wanted) & (_in(spoken.clips, "training") | evaluated))
        training, validation = (len(voices.in_split(split)) for split in ("training", "validation"))
        by_people, by_voices = (
            ", ".join(w for w in self.typed if (w in tested) == there) or "none" for there in (True, False)
        )
        notes = [f"{training} clips by voices for training, {validation} for validation"]
        if self.typed:
            notes[0] += f", beside {len(few)} recordings of typed words"
            notes.insert(
                0, f"typed: {', '.join(self.typed)}; tested on recordings: {by_people}; on voices: {by_voices}"
            )
        return Corpus(
            name=f"{folder.name} and voices",
            root=folder.root,
            labels=(*(label for label in folder.labels if label.startswith("_")), *self.words, *self.typed),
            clips=ClipTable.joined([recorded, few, voices]),
            noise=folder.noise or spoken.noise,
            refused=folder.refused,
            notes=(*folder.notes, *spoken.notes, *notes),
            noise_share=folder.noise_share if folder.noise else spoken.noise_share,
            unrecorded=self.typed,
        )

    def _folder(self) -> Corpus:
        """The recordings, those of typed words among them."""
        source = self.recorded
        words = source.words
        try:
            there = [word for word in self.typed if (self.root / word).is_dir()]
            source.words = (*self.words, *there)
            return source.scan()
        finally:
            source.words = words

    def _few(self, folder: Corpus) -> ClipTable:
        """Recordings of typed words that train."""
        if not self.recordings:
            return ClipTable.of(())
        training = folder.split("training")
        return selection.limit_per_word(training.take(training.labelled(self.typed)), self.recordings, self.seed)

    def _recorded_words(self) -> tuple[str, ...]:
        if self.recorded.words is not None:
            return self.recorded.words
        names = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir()) if self.root.is_dir() else []
        labels = [label_of(name) for name in names if not name.startswith(("_", "."))]
        words = tuple(label for label in dict.fromkeys(labels) if label not in self.typed)
        if not labels:
            raise KwsError(f"{self.root}: no folder of a recorded word; set data.root, or use data=spoken")
        return words


def _in(clips: ClipTable, split: str) -> np.ndarray:
    """(N,) bool: which clips are in a split."""
    return clips.split == SPLITS.index(split)
