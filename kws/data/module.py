"""Batches of a corpus for Lightning: slices of memory-mapped arrays, never gathered clip by clip."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kws.corpus import Corpus
from kws.corpus.base import Refusal, by_reason, digest_of, encoded
from kws.corpus.coloured_noise import stand_ins
from kws.corpus.selection import is_other_speech
from kws.data.cache import Waveforms, WaveformSplit, waveforms
from kws.data.feature_cache import SplitFeatures, cached_features
from kws.spotter.featurizer import INT16_SCALE, Featurizer
from kws.spotter.runtime import clips_at_once
from kws.support.errors import KwsError
from kws.support.strings import plain

if TYPE_CHECKING:
    from kws.data.augment import Augment


RARE = 5  # times fewer clips than the most frequent label has


class Batch(NamedTuple):
    """B clips of one split: raw features, or waveforms that are to be augmented and featurized on the device."""

    features: Tensor | None  # (B, T, F) float32
    waveforms: Tensor | None  # (B, S) int16; augmented, float32, where features are there too
    labels: Tensor  # (B,) int64
    draw: int = 0  # seed of whatever is drawn at random for this batch
    recorded: Tensor | None = None  # (B,) bool, see `Corpus.recorded`; None where every label has recordings


class ClipBatches(Sampler):
    """Batches of clip indices, in an order that depends on seed and epoch alone, so that a resumed run repeats it.

    Yields (seed of the batch, indices). Distributed over processes, every one takes its part of each batch, which
    together hold `batch_size` × `world_size` clips: the same steps as one process with batches of that size takes.

    With a `pool`, indices of some of the clips, each epoch has all others and `drawn` of these, the likelier the higher
    their `weights`, (P,), which may change between epochs.

    With `shares`, (N,), as many of the other clips are drawn as there are, each as often as its share says, to the
    nearest whole number: one below 1 comes in some epochs, one above 1 several times in each.
    With `groups`, (indices, count) each, an epoch has `count` clips of every group, drawn anew: a small group's clips
    again and again, each as often as the others to within one.
    """

    def __init__(
        self,
        clips: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        pool: np.ndarray | None = None,
        drawn: int = 0,
        weights: np.ndarray | None = None,
        shares: np.ndarray | None = None,
        groups: list[tuple[np.ndarray, int]] | None = None,
    ):
        self.pool, self.weights, self.shares, self.groups = pool, weights, shares, groups
        self.drawn = 0 if pool is None else min(drawn, len(pool))
        self.others = np.arange(clips) if pool is None else np.setdiff1d(np.arange(clips), pool)
        self.clips = len(self.others) + self.drawn if groups is None else sum(count for _, count in groups)
        self.batch_size = batch_size * world_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        batches = -(-self.clips // self.batch_size)
        # No process may be left without a clip: the others would wait for it.
        left = self.clips - (batches - 1) * self.batch_size
        return batches - 1 if self.shuffle and batches > 1 and left < self.world_size else batches

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        random = np.random.default_rng([self.seed, self.epoch])
        chosen = self.others
        if self.shares is not None:
            edges = np.cumsum(self.shares[self.others])
            at = (np.arange(len(self.others)) + random.random()) * edges[-1] / len(self.others)
            chosen = self.others[np.minimum(np.searchsorted(edges, at), len(self.others) - 1)]
        if self.pool is not None:
            share = self.weights / self.weights.sum()
            chosen = np.concatenate([chosen, random.choice(self.pool, self.drawn, replace=False, p=share)])
        if self.groups is not None:
            chosen = np.concatenate([drawn_from(indices, count, random) for indices, count in self.groups])
        order = chosen[random.permutation(self.clips)] if self.shuffle else chosen
        batches = -(-self.clips // self.batch_size)
        draws = random.integers(2**62, size=batches)
        edges = np.minimum(np.arange(batches + 1) * self.batch_size, self.clips)
        if not self.shuffle and self.world_size > 1:  # as many clips in the last batch as in the others
            edges = np.linspace(0, self.clips, batches + 1).astype(int)
        for number in range(len(self)):
            # Left in drawn order: where the state is carried from batch to batch, clips sorted by word would put the
            # same words into the same lane, and the state would give them away.
            indices = order[edges[number] : edges[number + 1]]
            yield int(draws[number]) + self.rank, indices[self.rank :: self.world_size]


def drawn_from(indices: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of some indices, (count,): each as often as the others to within one."""
    whole, rest = divmod(count, len(indices))
    return np.concatenate([np.tile(indices, whole), random.choice(indices, rest, replace=False)])


class SplitDataset(Dataset):
    """A split as a map from a whole batch of indices to a `Batch`."""

    def __init__(
        self,
        features: np.ndarray | None,
        samples: np.ndarray | None,
        labels: np.ndarray,
        recorded: np.ndarray | None = None,
    ):
        self.features = features
        self.samples = samples
        self.labels = labels
        self.recorded = recorded

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw_and_indices: tuple[int, np.ndarray]) -> Batch:
        draw, indices = draw_and_indices
        return Batch(
            features=None if self.features is None else torch.from_numpy(self.features[indices]),
            waveforms=None if self.samples is None else torch.from_numpy(self.samples[indices]),
            labels=torch.from_numpy(self.labels[indices]),
            recorded=None if self.recorded is None else torch.from_numpy(self.recorded[indices]),
            draw=draw,
        )


class SpeechDataModule(pl.LightningDataModule):
    """The splits of a corpus, decoded once, featurized once where nothing is augmented.

    Args:
        source: what `data=` chose: ``prepare()`` makes or downloads the corpus, ``scan()`` lists its clips.
        featurizer: features of validation, test and unaugmented training clips are computed once and kept.
        augment: what happens to training clips, fresh each epoch.
        sample_rate: Hz.
        seconds: length of a clip; None for the source's own.
        tail: seconds of silence after each, in which a causal network hears out a word that ends with its recording.
        batch_size: clips per training step.
        evaluation_batch_size: clips per step in validation; fewer where there are thousands of labels.
        limit_clips: train on a seeded choice of this many clips only.
        max_broken_share: more unreadable clips than this share stop the run.
        workers: threads that decode; None for one per core.
        engine: what decodes: ``threads``, or ``ray`` for a Ray cluster.
        cache_dir: where decoded waveforms and features are kept.
        seed: decides the order of the clips and every augmentation.
        balance: 0 trains on every clip once an epoch; 1 draws every label equally often, whatever its number of clips;
            between them, a label comes as often as its number of clips to the power of 1 - balance.
        negatives_per_epoch: of the pieces of long recordings only so many are trained on in each epoch, drawn anew;
            None for all of them.
        clips_per_word: an epoch has so many training clips of every word, fewer ones again and again, of more so many
            drawn anew; of a label that is no word as many as there are, up to twice that. None for each clip once.

    Attributes:
        seconds: length of a clip with its tail.
        negatives: training clips that are such pieces, indices; none where all are trained on.
        negative_weights: how likely each is to be drawn.
        keep_waveforms: whether training batches bring what was augmented along with its features.
    """

    def __init__(
        self,
        source,
        featurizer: Featurizer,
        augment: "Augment | None" = None,
        sample_rate: int = 8000,
        seconds: float | None = 1.0,
        batch_size: int = 128,
        evaluation_batch_size: int = 512,
        limit_clips: int | None = None,
        max_broken_share: float = 0.01,
        workers: int | None = None,
        cache_dir: str | Path = "cache",
        seed: int = 1,
        negatives_per_epoch: int | None = None,
        balance: float = 0.0,
        clips_per_word: int | None = None,
        engine: str = "threads",
        tail: float = 0.0,
    ):
        super().__init__()
        if featurizer.sample_rate != sample_rate:
            raise KwsError(
                f"data.sample_rate={sample_rate} but the featurizer is made for {featurizer.sample_rate} Hz; "
                "set data.sample_rate alone and let the featurizer follow."
            )
        if batch_size < 1:
            raise KwsError(f"data.batch_size={batch_size} must be at least 1.")
        if seconds is None:
            seconds = getattr(source, "seconds", None)
        if seconds is None:
            raise KwsError(
                "data.seconds is null, but these recordings say no length of their own; set data.seconds=1.0."
            )
        if seconds * sample_rate < featurizer.hop_size:
            raise KwsError(f"data.seconds={seconds} is shorter than one hop of the featurizer; make it longer.")
        if not 0 <= tail <= seconds:
            raise KwsError(f"data.tail={tail} must lie between 0 and data.seconds={seconds}, as seconds of silence.")
        self.source = source
        self.featurizer = featurizer
        self.augment = augment if augment and augment.active else None
        if self.augment is not None:
            self.augment.set_featurizer(featurizer)
        self.keep_waveforms = False
        self.sample_rate = sample_rate
        self.seconds, self.tail = seconds + tail, tail
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.limit_clips = limit_clips
        self.max_broken_share = max_broken_share
        self.workers, self.engine = workers, engine
        self.cache_dir = Path(cache_dir)
        self.seed = seed
        if negatives_per_epoch is not None and negatives_per_epoch < 1:
            raise KwsError(f"data.negatives_per_epoch={negatives_per_epoch} must be at least 1, or null for all.")
        if clips_per_word is not None and clips_per_word < 1:
            raise KwsError(f"data.clips_per_word={clips_per_word} must be at least 1, or null for each clip once.")
        if clips_per_word is not None and negatives_per_epoch is not None:
            raise KwsError("data.clips_per_word draws the clips of every label; set data.negatives_per_epoch=null.")
        self.clips_per_word = clips_per_word
        self.negatives_per_epoch = negatives_per_epoch
        if not 0 <= balance <= 1:
            raise KwsError(
                f"data.balance={balance} must lie between 0, clips as they are, and 1, every label as often."
            )
        self.balance = balance
        self.negatives = self.negative_weights = None
        self.corpus: Corpus | None = None
        self.waveforms: Waveforms | None = None
        self.features: dict[str, SplitFeatures] = {}

    def prepare_data(self) -> None:
        """Make or download the corpus and decode it, once per machine."""
        self.source.prepare()
        self._open()

    def _open(self) -> None:
        if self.waveforms is None:
            self.corpus = self.source.scan()
            self.waveforms = waveforms(
                self.corpus,
                self.sample_rate,
                seconds=self.seconds - self.tail,
                tail=self.tail,
                directory=self.cache_dir / "waveforms",
                workers=self.workers,
                max_broken_share=self.max_broken_share,
                progress=True,
                engine=self.engine,
            )
            if self.augment is not None:
                self.augment.set_noise(self.waveforms.noise or stand_ins(self.sample_rate))
            if self.negatives_per_epoch is not None:
                self.negatives = self._pieces_of_long_recordings()
                self.negative_weights = np.ones(len(self.negatives))

    def _pieces_of_long_recordings(self) -> np.ndarray:
        """Indices of training clips that are other speech and share their recording with others."""
        training = self.waveforms.splits["training"]
        other = np.array([is_other_speech(label) for label in self.labels])
        pieces = np.flatnonzero(~np.isnan(training.clips.start) & other[training.labels])
        paths = list(training.clips.take(pieces).paths())
        counts = Counter(paths)
        return pieces[[counts[path] > 1 for path in paths]]

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """What was left out, by the scan and by the decoder."""
        return tuple(dict.fromkeys((*self.corpus.refused, *self.waveforms.refused)))

    def findings(self) -> list[str]:
        """Sentences on what is not trained on, or hardly, for whoever is about to."""
        sentences = []
        for row in by_reason(self.refused):
            more = row["count"] - len(row["examples"])
            names = ", ".join(map(repr, row["examples"])) + (f" and {more} more" if more else "")
            sentences.append(f"left out {row['count']}: {row['reason']} ({names})")
        sentences += self.corpus.notes
        if self.waveforms.silent:
            counts = ", ".join(f"{label}: {count}" for label, count in self.waveforms.silent.items())
            sentences.append(f"clips for training that are silent from end to end: {counts}")
        counts = np.bincount(self.clip_labels("training"), minlength=len(self.labels))
        rare, frequent = int(counts.argmin()), int(counts.argmax())
        if counts[rare] * RARE < counts[frequent] and not self.balance:
            sentences.append(
                f"{self.labels[rare]} has {counts[rare]} clips for training, {self.labels[frequent]} has "
                f"{counts[frequent]}; data.balance=1 draws every label as often"
            )
        return sentences

    @cached_property
    def content(self) -> dict[str, Any]:
        """What tells these clips from others: how many, how long, and a digest of their names, labels and order."""
        splits = self.waveforms.splits
        return {
            "clips": {split: len(clips) for split, clips in splits.items()},
            "seconds": self.seconds,
            "digest": digest_of(row for split, clips in splits.items() for row in self._rows(split, clips)),
        }

    def _rows(self, split: str, content: WaveformSplit) -> Iterator[bytes]:
        """Split, label, folder and file of each clip, `encoded`."""
        clips = content.clips
        first = [encoded((split, label))[2:] for label in self.labels]
        # The name of a folder that has none, the working directory, is left out.
        folders = [encoded(Path(folder).parts[-1:]) for folder in clips.folders]
        for label, folder, name in zip(plain(content.labels), plain(clips.folder), clips.names, strict=True):
            fields = folders[folder]
            yield b"%d;%b%b%d:%b" % (3 + int(fields[:1]), first[label], fields[2:], len(name), name)

    def groups(self, labels: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """What an epoch has of each label of the training clips' `labels`, (N,), where `clips_per_word` is set."""
        counts = np.bincount(labels, minlength=len(self.labels))
        places = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        return [
            (place, min(len(place), 2 * self.clips_per_word) if label.startswith("_") else self.clips_per_word)
            for label, place in zip(self.labels, places, strict=True)
            if len(place)
        ]

    def setup(self, stage: str | None = None) -> None:
        """Open the splits. `stage` makes no difference: memory maps cost nothing until they are read."""
        self._open()

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of their index."""
        return self.corpus.labels

    def split_features(self, split: str) -> SplitFeatures:
        """Raw features of a split's clips as they are, computed once and kept on disk."""
        if split not in self.features:
            self.features[split] = cached_features(
                self.waveforms.splits[split].samples,
                self.featurizer,
                directory=self.cache_dir / "features",
                key=f"{self.waveforms.key}/{split}",
            )
        return self.features[split]

    def clip_labels(self, split: str) -> np.ndarray:
        """(N,) class indices of a split's clips."""
        return self.waveforms.splits[split].labels

    def loader(self, split: str, training: bool = False, alone: bool = False) -> DataLoader:
        """Batches of a split: shuffled and augmented for training, in order and as they are otherwise.

        Where several processes train, each has its part of them, unless it shall go through them `alone`.
        """
        augmented = training and (self.augment is not None or self.keep_waveforms)
        features = None if augmented else self.split_features(split)
        samples = self.waveforms.splits[split].samples if augmented else None
        labels, recorded = self.clip_labels(split), None
        shares = np.ones(len(labels))
        if training and self.corpus.unrecorded:
            clips = self.waveforms.splits[split].clips
            recorded, shares = self.corpus.recorded(clips), self.corpus.shares(clips)
        if training and self.limit_clips is not None:
            chosen = np.sort(np.random.default_rng(self.seed).permutation(len(labels))[: self.limit_clips])
            features, samples, labels, recorded, shares = (
                None if array is None else array[chosen] for array in (features, samples, labels, recorded, shares)
            )
        dataset = SplitDataset(features, samples, labels, recorded)
        drawn = {}
        if training and self.limit_clips is None and self.negatives is not None and len(self.negatives):
            drawn = {"pool": self.negatives, "drawn": self.negatives_per_epoch, "weights": self.negative_weights}
        if training and self.balance:
            shares = shares * (np.maximum(np.bincount(labels), 1) ** -float(self.balance))[labels]
        if training and (self.balance or (shares != shares[0]).any()):
            drawn["shares"] = shares
        if training and self.clips_per_word is not None:
            drawn = {"groups": self.groups(labels)}
        frames = round(self.seconds * self.sample_rate) // self.featurizer.hop_size
        sampler = ClipBatches(
            len(dataset),
            self.batch_size if training else clips_at_once(frames, len(self.labels), self.evaluation_batch_size),
            self.seed,
            shuffle=training,
            rank=self.trainer.global_rank if self.trainer and not alone else 0,
            world_size=self.trainer.world_size if self.trainer and not alone else 1,
            **drawn,
        )
        # batch_size=None: the sampler hands over whole batches, and nothing is collated.
        return DataLoader(dataset, batch_size=None, sampler=sampler)

    def train_dataloader(self) -> DataLoader:
        """Shuffled batches of the training split."""
        return self.loader("training", training=True)

    def val_dataloader(self) -> DataLoader:
        """The validation split in order."""
        return self.loader("validation")

    def test_dataloader(self) -> DataLoader:
        """The test split in order."""
        return self.loader("testing")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """On the device: augment waveforms, featurize them, mask features."""
        if batch.waveforms is None:
            return batch
        with torch.no_grad():
            samples, features = self._augmented(batch)
        return batch._replace(features=features, waveforms=samples if self.keep_waveforms else None)

    @torch.no_grad()
    def with_and_without_noise(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) of a training batch's waveforms, augmented, and the same without background noise.

        Nothing of them is hidden: behind a mask there is no noise.
        """
        return self._augmented(batch, masks=False)[1], self._augmented(batch, noise=False, masks=False)[1]

    def _augmented(self, batch: Batch, noise: bool = True, masks: bool = True) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) and features (B, T, F) of a batch, augmented alike with background noise and without."""
        generator = torch.Generator(batch.waveforms.device).manual_seed(int(batch.draw))
        samples = batch.waveforms.float() / INT16_SCALE
        if self.augment is not None:
            samples = self.augment.waveforms(samples, generator, noise)
        features = self.featurizer.to(samples.device)(samples)
        if self.augment is not None:
            features = self.augment.features(features, generator, masks)
        return samples, features
