"""What a user does wrong, and what the scripts say: one sentence, exit status 1, no traceback."""

from pathlib import Path

import pytest

from tests.scripts import call, tone_corpus

CLIPS_ONLY = ("streaming.modes=[]", "detection.hours=0", "runtimes=[]")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tone_corpus(tmp_path_factory.mktemp("corpus"), clips=8)


@pytest.fixture
def here(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(corpus.parent / "cache"))
    return tmp_path


def refused(done, *named):
    assert done.status == 1
    assert "Traceback" not in done.err + done.out
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.err
    for text in named:
        assert text in lines[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["modle=gru"], ["'modle'", "Did you mean model"]),
        (["model.hidden_sise=3"], ["'model.hidden_sise'", "model.hidden_size"]),
        (["model=gruu"], ["gruu", "gru, gru1"]),
        (["trainer.limit_train_batches=2"], ["'trainer.limit_train_batches'", "+trainer.limit_train_batches"]),
        (["data=folder"], ["data.root is not set"]),
        (["data=folder", "data.root=absent"], ["absent", "does not exist"]),
        (["optimizer.lr=fast"], ["optimizer.lr='fast'", "number"]),
        (["threads=0"], ["threads=0"]),
        (["calibration.among_words=0"], ["calibration.among_words=0", "null for the target"]),
        (["resume=absent"], ["resume=absent", "no run was started"]),
        (["model.hidden_size=["], ["["]),
        (["experiment=absent"], ["absent"]),
    ],
)
def test_train_names_what_is_wrong(here, arguments, named):
    refused(call("train", *arguments), *named)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("data.words=[high,absent]", ["absent"]),
        ("model.readout=first", ["model.readout='first'"]),
        ("model.hidden_size=-1", ["model.hidden_size=-1"]),
        ("training.state=flow", ["training.state='flow'"]),
        ("training.label_smoothing=1.5", ["training.label_smoothing=1.5"]),
        ("training.mixup=-1", ["training.mixup=-1"]),
        ("training.teacher_share=2", ["training.teacher_share=2"]),
        ("training.temperature=0", ["training.temperature=0"]),
        ("training.teachers=[absent]", ["absent", "no such directory"]),
        ("featurizer.hop_size=9999", ["featurizer.hop_size=9999"]),
        ("featurizer.sample_rate=16000", ["data.sample_rate=8000", "16000"]),
        ("data.batch_size=0", ["data.batch_size=0"]),
        ("data.sample_rate=100", ["100"]),
        ("data.seconds=0.001", ["data.seconds=0.001"]),
        ("optimizer.lr=-1", ["optimizer", "-1"]),
        ("trainer.max_epochs=many", ["trainer.max_epochs='many'"]),
        ("trainer.precision=bf17", ["error: trainer: ", "'bf17'", "trainer.*"]),
        ("trainer.accumulate_grad_batches=0", ["trainer.accumulate_grad_batches=0"]),
        ("trainer.accelerator=tpu", ["error: trainer: ", "trainer.*"]),
    ],
)
def test_settings_that_cannot_be(here, corpus, override, named):
    refused(call("train", "data=folder", f"data.root={corpus}", override), *named)


def test_an_empty_folder(here):
    Path("empty").mkdir()
    refused(call("train", "data=folder", "data.root=empty"), "empty")


def test_unreadable_clips_are_listed_and_counted(here, tmp_path):
    root = tone_corpus(tmp_path / "broken", clips=40)
    (root / "low" / "00000002_nohash_0.wav").write_bytes(b"RIFF but no more")
    done = call("train", "data=folder", f"data.root={root}", "debug=fast", "export=[]", "data.batch_size=4")
    assert done.status == 0, done.err
    assert "00000002_nohash_0.wav" in done.out
    assert "recordings left out" in done.out
    for number in (3, 6, 7):
        (root / "mid" / f"{number:08x}_nohash_0.wav").write_bytes(b"")
    refused(call("train", "data=folder", f"data.root={root}", "debug=fast"), "max_broken_share")
    assert call(
        "train", "data=folder", f"data.root={root}", "debug=fast", "export=[]", "data.max_broken_share=0.5",
        "data.batch_size=4",
    ).status == 0  # fmt: skip


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        ("evaluate", [], ["run is not set"]),
        ("export", [], ["run is not set"]),
        ("evaluate", ["run=absent"], ["run=absent"]),
        ("export", ["run=absent"], ["run=absent"]),
        ("evaluate", ["run=.", "splitt=testing"], ["splitt", "split"]),
    ],
)
def test_evaluate_and_export_name_what_is_wrong(here, script, arguments, named):
    refused(call(script, *arguments), *named)


def test_a_checkpoint_of_another_shape(here, corpus):
    small = ("data=folder", f"data.root={corpus}", "debug=fast", "export=[]", "data.batch_size=4")
    done = call("train", *small)
    run = Path(done.last_line)
    refused(
        call("train", f"resume={run}", "model.hidden_size=20", "trainer.max_epochs=2"),
        "model.hidden_size 128, now it is 20",
    )
    refused(call("train", f"resume={run}", "model=lstm"), "model cannot be chosen anew")
    (run / "spotter.ckpt").write_bytes(b"nothing")
    refused(call("evaluate", f"run={run}"), "spotter.ckpt", "damaged")
    (run / "spotter.ckpt").unlink()
    refused(call("evaluate", f"run={run}"), "has not finished")


def test_a_spotter_alone_needs_a_corpus(here, corpus):
    small = ("data=folder", f"data.root={corpus}", "debug=fast", "export=[]", "data.batch_size=4")
    run = Path(call("train", *small).last_line)
    Path("alone").mkdir()
    (run / "spotter.ckpt").rename("alone/spotter.ckpt")
    refused(call("evaluate", "run=alone/spotter.ckpt"), "data=")
    done = call("evaluate", "run=alone/spotter.ckpt", "data=folder", f"data.root={corpus}", *CLIPS_ONLY)
    assert done.status == 0, done.err


def test_a_traceback_is_shown_when_asked_for(here, monkeypatch):
    monkeypatch.setenv("KWS_TRACEBACK", "1")
    with pytest.raises(Exception, match="does not exist"):
        call("train", "data=folder", "data.root=absent")
