"""Digests of files: of their content, remembered as long as they stay as they are."""

import hashlib
import os
import time

import numpy as np
import pytest

from kws.support import content
from kws.support.content import RECORD, Files, Index, digests, look_at


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "SETTLED", -60.0)
    paths = [tmp_path / "a" / "x", tmp_path / "a" / "y", tmp_path / "b" / os.fsdecode(b"\xff x")]
    for number, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([number]) * (number + 1))
    return paths


@pytest.fixture
def read(monkeypatch):
    """The files that were read."""
    seen, digest = [], content._digest
    monkeypatch.setattr(content, "_digest", lambda path: seen.append(os.fsdecode(path)) or digest(path))
    return seen


def hexadecimal(found):
    return [row.tobytes().hex() for row in found.digest]


def expected(paths):
    return [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in paths]


def test_unchanged_files_are_not_read_again(paths, tmp_path, read):
    index = tmp_path / "index.bin"
    assert hexadecimal(digests(Files.of(paths), index)) == expected(paths)
    assert read == [str(path) for path in paths]
    # In another order, some of them, some twice.
    for some in (paths[::-1], paths[1:], [*paths, *paths]):
        assert hexadecimal(digests(Files.of(some), index)) == expected(some)
    assert len(read) == 3


def test_a_changed_file_is_appended(paths, tmp_path, read):
    index, files = tmp_path / "index.bin", Files.of(paths)
    digests(files, index)
    before = index.read_bytes()
    status = paths[1].stat()
    time.sleep(0.02)
    paths[1].write_bytes(b"zz")  # of the same size, and with its old time stamp
    os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    paths.append(tmp_path / "b" / "new")
    paths[-1].write_bytes(b"new")
    for _ in range(2):
        assert hexadecimal(digests(Files.of(paths), index)) == expected(paths)
    assert read[3:] == [str(paths[1]), str(paths[3])]
    assert index.read_bytes().startswith(before) and len(index.read_bytes()) == 5 * RECORD.itemsize


def test_files_that_just_changed_are_not_remembered(paths, tmp_path, read, monkeypatch):
    monkeypatch.setattr(content, "SETTLED", 2.0)
    for _ in range(2):
        digests(Files.of(paths), tmp_path / "index.bin")
    assert len(read) == 6


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "shifted", "text"])
def test_a_damaged_index_costs_time_only(paths, tmp_path, read, damage):
    index, files = tmp_path / "index.bin", Files.of(paths)
    digests(files, index)
    whole = index.read_bytes()
    flipped = bytearray(whole)
    flipped[70] ^= 1
    damaged = {"empty": b"", "cut": whole[:-5], "flipped": flipped, "shifted": b"x" + whole, "text": b"{}" * 100}[
        damage
    ]
    index.write_bytes(damaged)
    for _ in range(2):
        assert hexadecimal(digests(files, index)) == expected(paths)
    assert 4 <= len(read) <= 6
    assert len(Index(index).records) == 3


def test_what_is_out_of_date_does_not_grow_for_ever(paths, tmp_path):
    index = Index(tmp_path / "index.bin")
    path, numbers = np.arange(400, dtype=np.uint64), np.ones((400, 4), np.uint64)
    for turn in range(9):
        index.add(path, numbers * np.uint64(turn), numbers[:, :2])
        index = Index(tmp_path / "index.bin")
        assert index.find(path, numbers * np.uint64(turn)).all()
    assert len(index.records) <= 1800


def test_what_is_no_readable_file(paths, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    paths += [tmp_path / "a", tmp_path / "none", tmp_path / "loop"]
    found = digests(Files.of(paths), tmp_path / "index.bin")
    assert found.readable.tolist() == [True] * 3 + [False] * 3
    assert not found.digest[3:].any()
    assert digests(Files.of([]), tmp_path / "none" / "index.bin").digest.shape == (0, 2)


def test_two_processes_see_what_one_sees(paths, tmp_path, monkeypatch):
    paths.append(tmp_path / "none")
    monkeypatch.setattr(content, "MANY", 2)
    files = Files.of(paths)
    alone = look_at(files, workers=1)
    assert alone[:, 0].tolist() == [1, 2, 3, 2**64 - 1]
    assert alone[0].tolist()[1:] == [paths[0].stat().st_ino, paths[0].stat().st_mtime_ns, paths[0].stat().st_ctime_ns]
    np.testing.assert_array_equal(look_at(files, workers=2), alone)
    for broken in ("/bin/false", str(tmp_path / "none")):
        monkeypatch.setattr("sys.executable", broken)
        np.testing.assert_array_equal(look_at(files, workers=2), alone)


def test_an_index_knows_files_whose_folder_has_moved(paths, tmp_path, read):
    files = Files.of(paths)
    named = Files(files.beginnings, ("a/", "b/"), files.folder, files.names)
    digests(named, tmp_path / "index.bin")
    (tmp_path / "a").rename(tmp_path / "c")
    moved = Files((f"{tmp_path}/c/", files.beginnings[1]), named.known_as, files.folder, files.names)
    digests(moved, tmp_path / "index.bin")
    assert len(read) == 3
