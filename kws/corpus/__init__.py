"""Corpora: which clips, words, speakers and splits there are. `python -m kws.corpus ROOT` reports on one."""

from kws.corpus.base import SPLITS, Clip, Corpus, Refusal, which_set
from kws.corpus.embedded import EmbeddedCorpus
from kws.corpus.finetuning import FinetuningCorpus
from kws.corpus.folder import FolderCorpus
from kws.corpus.lists import write_lists
from kws.corpus.manifest import ManifestCorpus
from kws.corpus.mswc import MswcCorpus
from kws.corpus.speech_commands import SpeechCommandsCorpus
from kws.corpus.spoken import SpokenCorpus
from kws.corpus.typed import TypedCorpus

__all__ = [
    "SPLITS",
    "Clip",
    "Corpus",
    "EmbeddedCorpus",
    "FinetuningCorpus",
    "FolderCorpus",
    "ManifestCorpus",
    "MswcCorpus",
    "Refusal",
    "SpeechCommandsCorpus",
    "SpokenCorpus",
    "TypedCorpus",
    "which_set",
    "write_lists",
]
