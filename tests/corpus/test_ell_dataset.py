"""ELL's dataset files: there and back, and what is none."""

import io
import random

import numpy as np
import pytest

from kws.corpus.ell_dataset import EllDataset, read_ell_dataset
from kws.support.errors import KwsError


@pytest.fixture
def dataset() -> EllDataset:
    features = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    return EllDataset(features, ("yes", "no", "_null_", "yes", "no"), ("_null_", "no", "yes"), 8000, 256, 0)


def test_there_and_back(tmp_path, dataset):
    dataset.write(tmp_path / "a.npz")
    read = read_ell_dataset(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.features, dataset.features)
    assert (read.labels, read.valid_classes) == (dataset.labels, dataset.valid_classes)
    assert (read.sample_rate, read.hop, read.shift) == (8000, 256, 0)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:  # what ELL's loader looks for
        assert file["features"].shape == (5, 12)
        np.testing.assert_array_equal(file["features"][1], dataset.features[1].ravel())
        assert file["labels"].tolist() == ["yes", "no", "<null>", "yes", "no"]
        assert file["parameters"].tolist() == [8000, 256, 4, 3, 0]


def test_an_older_file(tmp_path):
    """Without the list of classes, in double precision, parameters as floats."""
    np.savez(
        tmp_path / "a.npz", features=np.ones((2, 6)), labels=np.array(["b", "a"]), parameters=[16000.0, 512, 3, 2, 1]
    )
    read = read_ell_dataset(tmp_path / "a.npz")
    assert read.features.shape == (2, 2, 3)
    assert read.features.dtype == np.float32
    assert read.valid_classes == ("a", "b")
    assert read.shift == 1


def test_wrong_values(tmp_path, dataset):
    with pytest.raises(ValueError, match="5 rows"):
        EllDataset(dataset.features, ("yes",), ("yes",), 8000, 256).write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="not among"):
        EllDataset(dataset.features, dataset.labels, ("yes",), 8000, 256).write(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


GOOD = {"features": np.ones((2, 6)), "labels": np.array(["a", "b"]), "parameters": np.array([8000, 256, 3, 2, 0])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "labels missing"),
        ({"features": None, "parameters": None}, "features, parameters missing"),
        ({"labels": np.array(["a", {}], object)}, "Python objects"),
        ({"labels": np.array(["a"])}, "do not fit"),
        ({"labels": np.array([1, 2])}, "words belong"),
        ({"features": np.ones((2, 7))}, "do not fit"),
        ({"features": np.full((2, 6), np.nan)}, "NaN"),
        ({"features": np.full((2, 6), "x")}, "numbers"),
        ({"parameters": np.array([8000, 256])}, "five numbers"),
        ({"parameters": np.array(["a"] * 5)}, "five numbers"),
        ({"parameters": np.array([8000, 256, -3, -2, 0])}, "do not fit"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, change, message):
    entries = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    np.savez(tmp_path / "a.npz", **entries)
    with pytest.raises(KwsError, match=message):
        read_ell_dataset(tmp_path / "a.npz")


def test_no_such_file(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    for path in (tmp_path / "none.npz", tmp_path, tmp_path / "a.npy"):
        with pytest.raises(KwsError, match=str(path)):
            read_ell_dataset(path)


def test_damaged_files_are_named(tmp_path, dataset):
    buffer, rng = io.BytesIO(), random.Random(1)
    np.savez(buffer, **GOOD)
    path = tmp_path / "a.npz"
    for _ in range(500):
        data = bytearray(buffer.getvalue())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data if rng.random() < 0.7 else data[: rng.randrange(len(data))])
        try:
            assert read_ell_dataset(path).features.shape[0] == 2
        except KwsError as error:
            assert str(path) in str(error)
