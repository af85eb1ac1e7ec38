"""Files of tensors from anywhere: no code, no more than their size, and every kind of damage in a sentence."""

import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from kws.support import tensors
from kws.support.errors import KwsError

CONTENT = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}, "settings": {"size": 3, "name": "x", "none": None}}


class Attack:
    def __reduce__(self):
        return os.mkdir, (str(Path("attacked").resolve()),)


def refused(path):
    with pytest.raises(KwsError) as error:
        tensors.load(path)
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_is_written_is_read(tmp_path):
    tensors.save(CONTENT | {"earlier": np.arange(3.0)}, tmp_path / "x.ckpt")
    found = tensors.load(tmp_path / "x.ckpt")
    assert torch.equal(found["weights"]["a"], CONTENT["weights"]["a"])
    assert found["settings"] == CONTENT["settings"]
    assert found["earlier"].tolist() == [0, 1, 2], "arrays of numbers, which earlier checkpoints hold"


def test_no_code_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("x.ckpt")
    for content in (Attack(), {"a": [Attack()]}, np.array([Attack()], object), torch.nn.Linear(2, 2)):
        torch.save(content, path)
        refused(path)
        torch.save(content, path, _use_new_zipfile_serialization=False)
        refused(path)
    path.write_bytes(pickle.dumps(Attack()))
    refused(path)
    assert not Path("attacked").exists()


def test_damage_of_every_kind_is_named(tmp_path):
    path = tmp_path / "x.ckpt"
    tensors.save(CONTENT, path)
    whole = path.read_bytes()
    refused(tmp_path / "absent.ckpt")
    refused(tmp_path)
    draw = random.Random(1)
    numbers = whole.index(torch.arange(6.0).numpy().tobytes())
    cases = [b"", b"PK", whole[: len(whole) // 2], whole[10:], b"\x80\x02}." * 10]
    for at in (numbers + 5, *(draw.randrange(len(whole)) for _ in range(60))):
        cases.append(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
    unchanged = 0
    for case in cases:
        path.write_bytes(case)
        try:
            found = tensors.load(path)
        except KwsError as error:
            assert str(path) in str(error)
        else:
            unchanged += 1
            assert torch.equal(found["weights"]["a"], CONTENT["weights"]["a"])
            assert found["settings"] == CONTENT["settings"]
    assert unchanged < len(cases) / 2
    path.write_bytes(cases[5])
    refused(path)


def test_a_file_that_would_be_larger_than_itself_is_not_read(tmp_path):
    path = tmp_path / "x.ckpt"
    torch.save(torch.zeros(1 << 20), path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    refused(tmp_path / "bomb.ckpt")


def test_the_first_tensor_that_is_not_finite_is_named():
    weights = {"a": torch.ones(2), "b": torch.tensor([1.0, float("inf")]), "c": torch.tensor([1, 2])}
    assert tensors.not_finite(weights) == "b"
    assert tensors.not_finite({"a": torch.ones(2), "c": torch.tensor([1, 2])}) is None
