"""Batches: every clip once an epoch, in an order that seed and epoch decide, shared out between processes."""

import numpy as np
import pytest
import torch

from kws.corpus import FolderCorpus
from kws.corpus.clips import SPLITS
from kws.corpus.coloured_noise import stand_ins
from kws.data import SpeechDataModule
from kws.data.augment import Augment, BackgroundNoise
from kws.data.module import ClipBatches, SplitDataset
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError
from tests.recordings import tone, write
from tests.scripts import tone_corpus


def indices(batches):
    return [clip for _, batch in batches for clip in batch.tolist()]


def test_every_clip_once_an_epoch():
    batches = ClipBatches(103, 16, seed=1, shuffle=True)
    assert len(batches) == len(list(batches)) == 7
    assert sorted(indices(batches)) == list(range(103))


def test_seed_and_epoch_decide():
    batches = ClipBatches(103, 16, seed=1, shuffle=True)
    first = list(batches)
    assert [d for d, _ in first] == [d for d, _ in batches]
    assert indices(first) == indices(batches)
    batches.set_epoch(1)
    assert indices(first) != indices(batches)
    assert not {d for d, _ in first} & {d for d, _ in batches}  # every batch draws its own augmentation
    assert indices(first) != indices(ClipBatches(103, 16, seed=2, shuffle=True))


def test_neighbouring_lanes_do_not_hold_neighbouring_clips():
    """With clips sorted by word, a lane must not see the same words batch after batch."""
    batches = [batch for _, batch in ClipBatches(1280, 128, seed=3, shuffle=True)]
    lanes = np.stack(batches)  # (10 batches, 128 lanes)
    assert abs(np.corrcoef(lanes[:-1].ravel(), lanes[1:].ravel())[0, 1]) < 0.1


def test_evaluation_is_in_order():
    assert indices(ClipBatches(103, 16, seed=1, shuffle=False)) == list(range(103))


@pytest.mark.parametrize("clips", [96, 103, 3])
def test_processes_share_the_clips(clips):
    parts = [indices(ClipBatches(clips, 16, 1, shuffle=False, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(clips))
    training = [ClipBatches(clips, 16, 1, shuffle=True, rank=rank, world_size=2) for rank in range(2)]
    assert len(training[0]) == len(training[1])  # gradients are averaged step by step
    # Together they take the steps of one process with batches of twice the size.
    alone = [batch for _, batch in ClipBatches(clips, 32, 1, shuffle=True)]
    for step, first, second in zip(alone, *([b for _, b in part] for part in training), strict=True):
        assert sorted([*first, *second]) == sorted(step)
        assert min(len(first), len(second)) >= 1
    draws = [[draw for draw, _ in part] for part in training]
    assert not set(draws[0]) & set(draws[1])


def test_batches_are_slices_of_the_arrays():
    features = np.arange(10 * 3 * 2, dtype=np.float32).reshape(10, 3, 2)
    dataset = SplitDataset(features, None, np.arange(10))
    batch = dataset[(7, np.array([4, 1]))]
    np.testing.assert_array_equal(batch.features.numpy(), features[[4, 1]])
    assert batch.labels.tolist() == [4, 1]
    assert batch.waveforms is None
    assert batch.draw == 7


def test_of_a_pool_each_epoch_draws_some_the_likelier_the_heavier():
    pool, weights = np.arange(100, 1100), np.ones(1000)
    weights[:50] = 200.0
    batches = ClipBatches(1100, 16, seed=1, shuffle=True, pool=pool, drawn=150, weights=weights)
    epochs = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        epochs.append(indices(batches))
        assert len(epochs[-1]) == len(set(epochs[-1])) == 250
        assert sum(len(batch) for _, batch in batches) == 250
        assert len(list(batches)) == len(batches)
        assert set(range(100)) < set(epochs[-1])
        assert len(set(epochs[-1]) & set(range(100, 150))) > 40
    assert set(epochs[0]) != set(epochs[1])
    weights[:] = 1.0  # as a callback does between epochs
    assert len(set(indices(batches)) & set(range(100, 150))) < 20


def test_a_corpus_without_background_recordings_is_augmented_with_coloured_noise(tmp_path):
    first, again = stand_ins(8000, 2.0), stand_ins(8000, 2.0)
    assert [len(sound) for sound in first] == [16000] * 4
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    levels = [20 * np.log10(np.sqrt(np.mean((sound / 32768.0) ** 2))) for sound in first]
    np.testing.assert_allclose(levels, 20 * np.log10(0.08), atol=0.2)
    source = FolderCorpus(tone_corpus(tmp_path / "tones"))
    loud = Augment(8000, [BackgroundNoise(-10, -10, 1.0)])
    data = SpeechDataModule(source, Featurizer(8000, 256, 256), loud, cache_dir=tmp_path / "cache", batch_size=16)
    data.prepare_data()
    batch = next(iter(data.train_dataloader()))
    plain = batch.waveforms.float() / 32768
    changed = loud.waveforms(plain, torch.Generator().manual_seed(0))
    assert ((changed - plain).std(dim=1) > 2 * plain.std(dim=1)).all()


def test_every_word_comes_as_often_in_an_epoch_however_few_clips_it_has():
    groups = [(np.array([0, 1]), 7), (np.arange(2, 30), 7), (np.array([30, 31, 32]), 3)]
    sampler = ClipBatches(33, 5, seed=1, shuffle=True, groups=groups)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches = [indices for _, indices in sampler]
        assert len(batches) == len(sampler) == 4
        drawn = np.bincount(np.concatenate(batches), minlength=33)
        assert sorted(drawn[:2]) == [3, 4]
        assert drawn[2:30].sum() == 7
        assert drawn[2:30].max() == 1
        assert drawn[30:].tolist() == [1, 1, 1]
        epochs.append(drawn)
    assert not np.array_equal(epochs[0], epochs[1])
    sampler.set_epoch(0)
    assert np.array_equal(np.bincount(np.concatenate([indices for _, indices in sampler]), minlength=33), epochs[0])


def test_the_length_may_be_the_sources_own(tmp_path):
    source = FolderCorpus(tone_corpus(tmp_path / "tones", clips=8))
    with pytest.raises(KwsError, match=r"data\.seconds is null"):
        SpeechDataModule(source, Featurizer(8000), seconds=None, cache_dir=tmp_path)
    source.seconds = 1.4
    data = SpeechDataModule(source, Featurizer(8000), seconds=None, cache_dir=tmp_path)
    data.prepare_data()
    assert data.waveforms.splits["training"].samples.shape[1] == 1.4 * 8000


def test_clips_are_followed_by_silence(tmp_path):
    source = FolderCorpus(tone_corpus(tmp_path / "tones", clips=8))
    write(tmp_path / "tones" / "low" / "long_nohash_0.wav", tone(2.0))
    made = []
    for tail in (0.0, 0.25):
        data = SpeechDataModule(source, Featurizer(8000, 256, 256), tail=tail, cache_dir=tmp_path / "cache")
        data.prepare_data()
        assert data.seconds == data.content["seconds"] == 1.0 + tail
        made.append(data)
    for split in SPLITS:
        plain, longer = (data.waveforms.splits[split].samples for data in made)
        np.testing.assert_array_equal(longer[:, :8000], plain)
        assert longer.shape[1] == 10000
        assert not longer[:, 8000:].any()
        features = made[1].split_features(split)
        assert features.shape[1] == 10000 // 256
    for tail in (-0.1, 1.5):
        with pytest.raises(KwsError, match=f"data.tail={tail}"):
            SpeechDataModule(source, Featurizer(8000), tail=tail, cache_dir=tmp_path)
