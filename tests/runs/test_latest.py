"""``last``: the newest run below outputs."""

import os

import pytest

from kws.runs.latest import find
from kws.support.errors import KwsError


def test_last_is_the_newest_that_is_finished_or_begun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KwsError, match="no run in outputs/"):
        find("last")
    for age, name in enumerate(("c", "multirun/sweep/a", "b")):
        run = tmp_path / "outputs" / name
        run.mkdir(parents=True)
        for mark in (".composition.yaml", "spotter.ckpt"):
            if (name, mark) != ("b", "spotter.ckpt"):
                (run / mark).write_text("")
                os.utime(run / mark, (1000 + age, 1000 + age))
    assert find("last").as_posix() == "outputs/multirun/sweep/a"
    assert find("last", begun=True).as_posix() == "outputs/b"
    assert find("some/where").as_posix() == "some/where"
