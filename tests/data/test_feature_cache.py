"""Cached features: made once, made again where they were damaged, and a full disk said in a sentence."""

import os

import numpy as np
import pytest

from kws.data.feature_cache import cached_features
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError

SAMPLES = np.random.default_rng(0).integers(-9000, 9000, (5, 8000)).astype(np.int16)


@pytest.fixture
def made(tmp_path):
    features = np.array(cached_features(SAMPLES, Featurizer(), tmp_path, "key"))
    (path,) = tmp_path.iterdir()
    return path, features


def test_made_once(made, tmp_path):
    path, features = made
    before = path.stat()
    again = cached_features(SAMPLES, Featurizer(), tmp_path, "key")
    assert np.array_equal(again, features)
    assert again.dtype == np.float32
    assert path.stat().st_ino == before.st_ino
    cached_features(SAMPLES, Featurizer(hamming=True), tmp_path, "key")
    cached_features(SAMPLES, Featurizer(), tmp_path, "other")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "shape", "dtype", "pickle"])
def test_a_damaged_file_is_made_again(made, tmp_path, damage, caplog):
    path, features = made
    whole = path.read_bytes()
    if damage == "shape":
        np.save(path, features[:3])
    elif damage == "dtype":
        np.save(path, features.astype(np.float64))
    elif damage == "pickle":
        np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    else:
        path.write_bytes({"cut": whole[:-100], "empty": b"", "header": b"x" + whole[1:]}[damage])
    assert np.array_equal(cached_features(SAMPLES, Featurizer(), tmp_path, "key"), features)
    assert "damaged" in caplog.text
    assert path.read_bytes() == whole


def test_no_clips(tmp_path):
    assert cached_features(SAMPLES[:0], Featurizer(), tmp_path, "none").shape == (0, 31, 40)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_full_disk_is_named_and_nothing_stays(tmp_path):
    """A limit on the size of files stands for the disk: an ordinary write fails alike on both."""
    import resource

    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            cached_features(SAMPLES, Featurizer(), tmp_path / "cache", "key")
        except KwsError as error:
            status = 0 if str(tmp_path / "cache") in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".0123.abcdefgh.tmp.npy").write_bytes(bytes(1000))
    cached_features(SAMPLES, Featurizer(), tmp_path, "key")
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
