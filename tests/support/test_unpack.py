"""Archives that were cut, in which a bit has turned, or that would fill the disk: refused, and nothing stays."""

import io
import random
import tarfile

import pytest

from kws.support.errors import KwsError
from kws.support.unpack import unpack

CONTENT = {f"yes/{i}.wav": random.Random(i).randbytes(3000) for i in range(12)}


def archive(path, mode, members=CONTENT):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path.read_bytes()


def refused(path, folder):
    with pytest.raises(KwsError) as error:
        unpack(path, folder, progress=False)
    assert str(path) in str(error.value)
    assert not folder.exists()


@pytest.mark.parametrize(("mode", "ending"), [("w", ""), ("w:gz", ".gz"), ("w:bz2", ".bz2"), ("w:xz", ".xz")])
def test_every_cut_is_noticed(tmp_path, mode, ending):
    path = tmp_path / f"x.tar{ending}"
    whole = archive(path, mode)
    unpack(path, tmp_path / "whole", progress=False)
    assert {p.relative_to(tmp_path / "whole").as_posix(): p.read_bytes() for p in tmp_path.rglob("*.wav")} == CONTENT
    # The blocks of zeros behind the end of a plain archive may be missing, but for the first.
    end = len(whole) if ending else len(whole.rstrip(b"\0")) + 100
    for cut in sorted({0, 3584, 7168, *random.Random(1).sample(range(end), 25)}):
        path.write_bytes(whole[:cut])
        refused(path, tmp_path / "out")


@pytest.mark.parametrize(("mode", "ending"), [("w:gz", ".gz"), ("w:bz2", ".bz2"), ("w:xz", ".xz")])
def test_every_turned_bit_in_a_compressed_one_is_noticed(tmp_path, mode, ending):
    path = tmp_path / f"x.tar{ending}"
    whole = archive(path, mode)
    for at in random.Random(2).sample(range(10, len(whole)), 25):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :])
        refused(path, tmp_path / "out")


def test_a_damaged_header_does_not_pass_for_the_end(tmp_path):
    path = tmp_path / "x.tar"
    whole = archive(path, "w")
    second = whole.index(b"yes/1.wav")
    path.write_bytes(whole[:second] + b"Y" + whole[second + 1 :])
    refused(path, tmp_path / "out")


def test_more_than_the_disk_holds_is_not_begun(tmp_path):
    path = tmp_path / "x.tar"
    member = tarfile.TarInfo("yes/large.wav")
    member.size = 1 << 60
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(KwsError, match="the disk is full"):
        unpack(path, tmp_path / "out", progress=False)
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    refused(path, tmp_path / "out")
