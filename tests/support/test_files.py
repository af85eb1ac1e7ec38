"""What killed processes left half-written is cleared away; what is being written stays."""

import os
import signal

import pytest

from kws.support import files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def killed_while_writing(folder):
    child = os.fork()
    if child == 0:
        try:
            with files.atomic(folder / "x.npy") as path, files.atomic_folder(folder / "y") as inner:
                path.write_bytes(b"half")
                (inner / "z").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list(folder.iterdir())) >= 2


def test_remains_go_and_everything_else_stays(tmp_path):
    (tmp_path / ".hidden.tmp").write_bytes(b"somebody's")
    (tmp_path / "result.tmp").write_bytes(b"somebody's")
    with files.atomic(tmp_path / "living.onnx") as living, files.atomic_folder(tmp_path / "folder") as folder:
        living.write_bytes(b"whole")
        killed_while_writing(tmp_path)
        files.clear_remains(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            [".hidden.tmp", "result.tmp", living.name, folder.name]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden.tmp", "folder", "living.onnx", "result.tmp"]
    assert (tmp_path / "living.onnx").read_bytes() == b"whole"


def test_a_folder_that_is_not_there_has_none(tmp_path):
    files.clear_remains(tmp_path / "absent")
