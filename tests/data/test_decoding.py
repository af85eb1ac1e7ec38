"""Whatever decodes, the bytes are the same."""

import shutil
import sys
from pathlib import Path

import pytest

from kws.corpus import FolderCorpus
from kws.data import decoding
from kws.data.cache import waveforms
from kws.support.errors import KwsError
from tests.recordings import make_corpus, odd_name, tone, write


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Clips of several rates, a broken one, silence cut from noise, and a root relative to the working directory."""
    root = make_corpus(tmp_path / "data", takes=3, noise_seconds=8.0)
    write(root / "yes" / "long_nohash_0.wav", tone(3.0))
    write(odd_name(root / "no"), tone(1.0, 44100), 44100)
    (root / "no" / "0000000a_nohash_9.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)
    return FolderCorpus("data", silence_share=0.5).scan()


def build(corpus, directory, engine):
    options = {"workers": 1, "max_broken_share": 0.1, "progress": False}
    return waveforms(corpus, 8000, directory=directory, engine=engine, **options)


def test_in_order_and_never_far_ahead():
    running, most = set(), []

    def submit(piece):
        running.add(piece)
        most.append(len(running))
        return piece

    def result(job):
        running.discard(job)
        return job * job

    found = decoding.in_order(iter(range(20)), submit, result, running.discard, 3)
    assert [next(found) for _ in range(10)] == [n * n for n in range(10)]
    assert max(most) <= 4
    found.close()
    assert not running


def test_unknown_engines_and_a_missing_ray(corpus, tmp_path, monkeypatch):
    with pytest.raises(KwsError, match=r"data\.engine=spark is unknown; choose from threads, ray"):
        build(corpus, tmp_path / "cache", "spark")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KwsError, match=r"data\.engine=ray needs Ray: pip install 'kws\[ray\]'"):
        build(corpus, tmp_path / "cache", "ray")
    assert not list((tmp_path / "cache").glob("waveforms-*"))


def test_a_ray_started_here_gives_the_same_bytes(corpus, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'kws[ray]'")
    from kws.data import ray_decoding

    monkeypatch.setattr(ray_decoding, "CHUNK", 20)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(Path(decoding.__file__).parents[2]))
    try:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
        found = build(corpus, tmp_path / "ray", "ray")
    finally:
        ray.shutdown()
    expected = build(corpus, tmp_path / "threads", "threads")
    assert found.refused == expected.refused and len(found.refused) == 1
    assert found.folder.name == expected.folder.name
    names = sorted(path.name for path in expected.folder.iterdir())
    assert names == sorted(path.name for path in found.folder.iterdir())
    for name in names:
        assert (found.folder / name).read_bytes() == (expected.folder / name).read_bytes(), name


def test_machines_that_differ_are_refused(corpus):
    from kws.data.ray_decoding import _refuse_other, _same_here, made_with

    _refuse_other("other", made_with())
    with pytest.raises(KwsError, match=r"other has soxr 0\.1, this machine"):
        _refuse_other("other", {**made_with(), "soxr": "0.1"})
    good, broken = corpus.clips[0], next(clip for clip in corpus.clips if clip.path.name == "0000000a_nohash_9.wav")
    assert _same_here("other", broken, "whatever", 8000, 8000).path == str(broken.path)
    with pytest.raises(KwsError, match=r"can be read here but not on other \(does not exist\)"):
        _same_here("other", good, "does not exist", 8000, 8000)
    shutil.rmtree("data")
    assert "exist" in _same_here("other", good, "does not exist", 8000, 8000).reason
