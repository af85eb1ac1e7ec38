"""What a run says before it trains: what is left out, what is silent, what is rare; and one class alone is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from kws.data.module import ClipBatches
from kws.spotter.featurizer import Featurizer
from kws.training.pauses import Pauses
from tests.scripts import call, tone_corpus

SHORT = ("debug=fast", "data.batch_size=8", "model.hidden_size=4", "export=[]", "hydra.run.dir=run")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tone_corpus(tmp_path / "corpus", clips=24)


def train(corpus, *overrides):
    return call("train", "data=folder", f"data.root={corpus}", *SHORT, *overrides)


def refused(done, *named):
    assert done.status == 1
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.err
    for text in named:
        assert text in lines[0]


def test_what_is_left_out_is_shown_before_training_and_stored(corpus):
    (corpus / "mid" / "a.docx").write_bytes(b"x")
    (corpus / "mid" / "deep").mkdir()
    for name in ("b", "c"):
        (corpus / "mid" / "deep" / f"{name}.wav").write_bytes(b"x")
    for number in (2, 3):
        soundfile.write(corpus / "low" / f"{number:08x}_nohash_0.wav", np.zeros(8000), 8000)
    done = train(corpus)
    assert done.status == 0, done.err
    said = done.out[: done.out.index("epoch")]
    assert "left out 2: lies a level deeper than <word>/<clip> ('" in said
    assert "left out 1: no recording by its name (.docx)" in said
    assert "silent from end to end: low: 2" in said
    stored = json.loads(Path("run/results.json").read_text())["corpus"]
    assert {row["reason"]: row["count"] for row in stored["left_out"]} == {
        "lies a level deeper than <word>/<clip>": 2, "no recording by its name (.docx)": 1,
    }  # fmt: skip
    assert stored["silent"] == {"low": 2}
    assert len(stored["refused"]) == 3


def test_a_class_that_cannot_be_decoded_stops_the_run(corpus):
    for path in (corpus / "mid").iterdir():
        path.write_bytes(b"no sound")
    refused(train(corpus, "data.max_broken_share=1"), "clips of mid", "not readable as audio", "data.words")


def test_one_class_alone_is_refused(corpus):
    refused(train(corpus, "data.words=[mid]"), "'mid' is the only class", "data.unknown_share")
    assert train(corpus, "data.words=[mid]", "data.unknown_share=1").status == 0


def test_a_rare_word_is_named_and_can_be_drawn_as_often(corpus):
    for path in list((corpus / "mid").iterdir())[:]:
        if int(path.name[:8], 16) % 4 > 1 and int(path.name[:8], 16) > 4:
            path.unlink()
    done = train(corpus)
    assert done.status == 0, done.err
    assert "mid has 2 clips for training, high has 12; data.balance=1 draws every label as often" in done.out
    done = train(corpus, "data.balance=1", "hydra.run.dir=balanced")
    assert done.status == 0, done.err
    assert "data.balance=1 draws" not in done.out
    refused(train(corpus, "data.balance=2", "hydra.run.dir=other"), "data.balance=2")


def test_balanced_draws_hear_every_label_as_often():
    labels = np.array([0] * 380 + [1] * 12 + [2] * 8)
    for balance, expected in ((1.0, [400 / 3] * 3), (0.5, np.sqrt([380, 12, 8]) / np.sqrt([380, 12, 8]).sum() * 400)):
        shares = (np.bincount(labels) ** -balance)[labels]
        batches = ClipBatches(len(labels), 32, seed=1, shuffle=True, shares=shares)
        epochs = []
        for epoch in range(3):
            batches.set_epoch(epoch)
            drawn = np.concatenate([indices for _, indices in batches])
            assert len(drawn) == len(labels)
            assert np.abs(np.bincount(labels[drawn]) - expected).max() <= 1
            assert len(np.unique(drawn[labels[drawn] == 1])) == 12, "all of the rare ones"
            epochs.append(drawn)
        assert not np.array_equal(epochs[0], epochs[1])
        heard = np.unique(np.concatenate(epochs))
        assert len(heard) > 200, "the frequent ones change from epoch to epoch"
        again = ClipBatches(len(labels), 32, seed=1, shuffle=True, shares=shares)
        assert np.array_equal(np.concatenate([indices for _, indices in again]), epochs[0])


def test_without_balance_the_order_is_what_it_was():
    torch.manual_seed(0)
    batches = ClipBatches(100, 32, seed=1, shuffle=True)
    drawn = np.concatenate([indices for _, indices in batches])
    random = np.random.default_rng([1, 0])
    assert np.array_equal(drawn, np.arange(100)[random.permutation(100)])


def test_background_recordings_too_short_for_a_pause_are_named(capsys):
    recordings = [np.ones(seconds * 8000, np.int16) for seconds in (1, 2, 5)]
    assert len(Pauses(Featurizer(), recordings, 3.0).noise) == 5 * 8000
    assert "2 of 3 background recordings are shorter" in capsys.readouterr().out
    Pauses(Featurizer(), recordings, 0.5)
    assert capsys.readouterr().out == ""
