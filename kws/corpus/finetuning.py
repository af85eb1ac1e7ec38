"""What a trained spotter is fine-tuned on: new recordings, few or many, beside some of what it was trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kws.corpus import selection
from kws.corpus.base import Corpus
from kws.corpus.clips import SPLITS, ClipTable
from kws.corpus.folder import FolderCorpus
from kws.corpus.table_corpus import TableCorpus
from kws.support.errors import KwsError
from kws.support.strings import plain

HELD_BACK = 10
"""Training clips of every word from which on the hash rule may hold some back for the other splits."""
MOST_MINUTES = 20
"""Of running speech that is spoken anew, without the new words."""


class FinetuningCorpus:
    """The clips of one source, and some of another's to rehearse words that are to be kept.

    Where a word has fewer than `HELD_BACK` clips, or the hash rule would leave it without any to train on, all clips
    train that are on no list. A split that has no clip of the new words then has their training clips: its figures
    say how well these were learned, and a note says so.

    Args:
        new: source of what is learned.
        old: source of what is rehearsed; None for nothing.
        keep: labels that stay, in their order; with clips or without.
        rehearsal: training clips of each kept word at most, and so many times their number of every label that is no
            word. The other splits stay whole, so that what has been forgotten is seen there.
        seed: of the choice of clips to rehearse.
    """

    def __init__(self, new: Any, old: Any = None, keep: Sequence[str] = (), rehearsal: int = 200, seed: int = 1):
        if rehearsal < 1:
            raise KwsError(f"finetuning.rehearsal={rehearsal} must be at least 1.")
        self.new, self.old, self.keep = new, old, tuple(keep)
        self.rehearsal, self.seed = rehearsal, seed

    def prepare(self) -> None:
        """Make or download what is missing."""
        self.new.prepare()
        if self.old is not None:
            self.old.prepare()

    def scan(self) -> Corpus:
        """All clips. Raises KwsError when a new word has none to train on."""
        new, notes = self.learned()
        clips, noise, share = new.clips, dict.fromkeys(new.noise), new.noise_share
        name, refused = new.name, new.refused
        if self.old is not None:
            old = self.known(new.keywords)
            rehearsed, notes_of_old = self.rehearsed(old, new)
            clips += rehearsed
            notes += notes_of_old
            noise |= dict.fromkeys(old.noise)
            share = min(share, old.noise_share)
            name, refused = f"{new.name} and {old.name}", (*refused, *old.refused)
        together = dict.fromkeys((*self.keep, *new.labels))
        labels = (*sorted(x for x in together if x.startswith("_")), *(x for x in together if not x.startswith("_")))
        return Corpus(name, new.root, labels, clips, tuple(noise), tuple(refused), tuple(notes), share)

    def learned(self) -> tuple[Corpus, list[str]]:
        """The new clips in their splits, and what there is to say of it."""
        corpus = self.held_back()
        training = corpus.split("training")
        training = training.take(np.isnan(training.start) | training.labelled(corpus.keywords))
        counts = training.counts()
        for word in corpus.keywords:
            if ("training", word) not in counts:
                raise KwsError(
                    f"{corpus.root}: {word!r} has no clip to train on; record one, or take one off the lists."
                )
        notes, clips = list(corpus.notes), corpus.clips
        for split in ("validation", "testing"):
            if not corpus.split(split).labelled(corpus.keywords).any():
                stand_ins = np.full(len(training), SPLITS.index(split), np.int8)
                clips += replace(training, split=stand_ins)
                notes.append(
                    f"{split}: no recording of a new word is held back, so the {len(training)} that train stand in. "
                    "Its figures say how well they were learned, not how others will be heard."
                )
        return replace(corpus, clips=clips), notes

    def held_back(self) -> Corpus:
        """The new clips, by the hash rule where there are enough."""
        source = self.new
        if not isinstance(source, FolderCorpus):
            return source.scan()
        required, percentages = source.required_splits, source.percentages
        try:
            source.required_splits, source.percentages = (), dict.fromkeys(percentages, 0.0)
            every = source.scan()
            if min(trained(every).values()) < HELD_BACK:
                return every
            source.percentages = percentages
            some = source.scan()
            return some if min(trained(some).values()) else every
        finally:
            source.required_splits, source.percentages = required, percentages

    def known(self, words: Sequence[str]) -> Corpus:
        """The earlier corpus, its running speech and the other words of its tables without the new words."""
        source = self.old
        if isinstance(source, TableCorpus):  # whose folders do not say which word a clip holds
            source.never_others = frozenset(words)
        speech = getattr(source, "running_speech", None)
        if speech is None:
            return source.scan()
        try:
            other = any(map(selection.is_other_speech, self.keep))
            source.running_speech = WithoutWords(speech, words) if other else None
            return source.scan()
        finally:
            source.running_speech = speech

    def rehearsed(self, old: Corpus, new: Corpus) -> tuple[ClipTable, list[str]]:
        """Clips of the kept labels, none of them a new word or a clip that is there already; and notes."""
        words = set(new.keywords)
        whole = np.isnan(new.clips.start) | new.clips.labelled(words)
        there = set(_pieces(new.clips.take(whole)))
        clips = old.clips.take(old.clips.labelled(self.keep))
        clips = clips.take(np.array([piece not in there for piece in _pieces(clips)], bool))
        other = clips.labelled(filter(selection.is_other_speech, clips.labels))
        # The same word cannot be both.
        taken = other & np.array([Path(folder).name in words for folder in clips.folders], bool)[clips.folder]
        clips = clips.take(~taken)
        kept = [label for label in self.keep if not label.startswith("_")]
        spoken = clips.labelled(kept)
        limited = selection.limit_per_word(clips.take(spoken), self.rehearsal, self.seed)
        limited += selection.limit_per_word(clips.take(~spoken), self.rehearsal * max(len(kept), 1), self.seed)
        count = len(limited.in_split("training"))
        notes = [f"{count} training clips of {old.name} rehearse {', '.join(self.keep)}"]
        if taken.any():
            notes.append(
                f"{taken.sum()} clips of {old.name} that were other words are left out, for these are new words now"
            )
        return limited, notes


class WithoutWords:
    """Running speech that leaves out some more words.

    Args:
        speech: a `RunningSpeech`.
        words: what it must not say beside the keywords that it is told.
    """

    def __init__(self, speech: Any, words: Sequence[str]):
        self.speech, self.words = speech, tuple(words)

    def prepare(self, keywords: Sequence[str]) -> Any:
        """See `RunningSpeech.prepare`."""
        minutes = self.speech.minutes
        try:
            if set(self.words) - set(keywords):
                self.speech.minutes = min(minutes, MOST_MINUTES)
            return self.speech.prepare(tuple(dict.fromkeys((*keywords, *self.words))))
        finally:
            self.speech.minutes = minutes


def _pieces(clips: ClipTable) -> Iterator[tuple[str, str]]:
    """What tells each clip from others: its recording, and where it begins."""
    return zip(clips.paths(), map(repr, plain(clips.start)), strict=True)


def trained(corpus: Corpus) -> dict[str, int]:
    """Training clips of each word."""
    counts = corpus.clips.counts()
    return {word: counts.get(("training", word), 0) for word in corpus.keywords}


def is_there(source: Any) -> bool:
    """Whether a corpus can be read without a download. What this machine makes by itself, it makes again."""
    if isinstance(source, FinetuningCorpus):
        return is_there(source.new) and (source.old is None or is_there(source.old))
    return not isinstance(source, FolderCorpus) or source.root.is_dir()
