"""python train.py finetune=RUN: what comes over, what may contradict it, few clips, words that are kept, resuming."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from kws.spotter import Spotter
from kws.spotters import named
from kws.training.finetune import follow_rate
from tests.scripts import TONES, call, tone_corpus

CLIPS_ONLY = ("streaming.modes=[]", "detection.hours=0", "runtimes=[]")
QUICK = ("augment=none", "training=default", "export=[]", "callbacks.samples.clips=0", "trainer.precision=32-true")
FEW = ("data.clips_per_word=12", "data.batch_size=8", "optimizer.lr=0.02", "trainer.max_epochs=4")
STILL = ("optimizer.lr=0", "trainer.max_epochs=1")  # nothing is learned


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus and a run on it: two GRU layers of 12 units at 8 kHz."""
    folder = tmp_path_factory.mktemp("finetune")
    root = tone_corpus(folder / "recordings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KWS_CACHE", str(folder / "cache"))
        settings = ("model.hidden_size=12", "featurizer.hamming=true", "vad=ell", "decoder.refractory=0.7")
        learned = ("trainer.max_epochs=12", "data.batch_size=8", "optimizer.lr=0.02")
        done = call(
            "train", "data=folder", f"data.root={root}", *QUICK, *settings, *learned, f"hydra.run.dir={folder / 'run'}"
        )
    assert done.status == 0, done.err
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(place / "cache"))
    return tmp_path


def recorded(folder: Path, clips: int, words=("ee", "oo"), rate: int = 8000) -> Path:
    """Tones between those of the corpus, by so many speakers, on no list."""
    random = np.random.default_rng(1)
    pitches = {"ee": 1500.0, "oo": 520.0, **TONES}
    for word in words:
        (folder / word).mkdir(parents=True)
        for speaker in range(clips):
            time = np.arange(rate) / rate
            tone = np.sin(2 * np.pi * pitches[word] * (1 + 0.03 * random.normal()) * time) * (np.abs(time - 0.5) < 0.3)
            samples = 0.3 * tone + 0.02 * random.normal(size=rate)
            soundfile.write(folder / word / f"person{speaker}_nohash_0.wav", samples, rate, subtype="PCM_16")
    return folder


def tuned(origin, root, *overrides, run="tuned"):
    done = call(
        "train", f"finetune={origin}", "data=folder", f"data.root={root}", *QUICK, *overrides, f"hydra.run.dir={run}"
    )
    assert done.status == 0, done.err
    return done, Path(run)


def results(run):
    return json.loads((run / "results.json").read_text())


def test_without_learning_it_is_the_same_spotter(here, place):
    _, run = tuned(place / "run", place / "recordings", *STILL)
    before, after = (Spotter.load(folder / "spotter.ckpt") for folder in (place / "run", run))
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor), name
    assert results(run)["test"] == results(place / "run")["test"]
    assert results(run)["test"]["accuracy"] >= 0.9  # where a fresh network is at a third
    settings = {key: value for key, value in before.settings.items() if key != "about"}
    assert {key: value for key, value in after.settings.items() if key != "about"} == settings
    assert settings["vad"]["tau_up"] == 1.54
    assert settings["decoder"]["refractory"] == 0.7
    assert settings["featurizer"]["hamming"]
    about = after.about["finetuned"]
    assert (about["run"], about["new"], about["dropped"]) == (str(place / "run"), [], [])
    assert about["known"] == list(before.labels)
    assert about["about"]["corpus_fingerprint"] == results(place / "run")["corpus"]["fingerprint"]
    assert results(run)["finetuned"] == about


def test_shared_words_keep_their_rows_and_new_ones_begin_anew(here, place):
    root = recorded(here / "mine", 12, ("ee", "mid", "high"))
    _, run = tuned(place / "run", root, *STILL)
    before, after = (Spotter.load(folder / "spotter.ckpt") for folder in (place / "run", run))
    assert after.labels == ("ee", "high", "mid")
    for word in ("high", "mid"):
        rows = (spotter.classifier.linear.weight[spotter.labels.index(word)] for spotter in (before, after))
        assert torch.equal(*rows)
    assert torch.equal(before.normalization.mean, after.normalization.mean)
    assert results(run)["finetuned"]["dropped"] == ["low"]
    assert results(run)["finetuned"]["new"] == ["ee"]


def test_free_settings_may_be_named(here, place):
    root = place / "recordings"
    _, run = tuned(
        place / "run", root, "model.dropout=0.3", "vad=off", "decoder.smoothing=0.3", "data.sample_rate=8000", *STILL
    )
    spotter = Spotter.load(run / "spotter.ckpt")
    assert spotter.classifier.settings["dropout"] == 0.3
    assert spotter.classifier.settings["hidden_size"] == 12
    assert spotter.vad is None
    assert (spotter.decoder.settings["smoothing"], spotter.decoder.settings["refractory"]) == (0.3, 0.7)


def test_the_length_of_a_clip_follows_unless_it_is_named():
    origin = SimpleNamespace(
        spotter=SimpleNamespace(sample_rate=8000), settings=OmegaConf.create({"data": {"seconds": 1.5, "tail": 0.25}})
    )
    for given, expected in (((), (1.5, 0.25)), (("data.tail",), (1.5, 0.5)), (("data.seconds",), (1.0, 0.25))):
        config = OmegaConf.create({"data": {"sample_rate": 16000, "seconds": 1.0, "tail": 0.5}})
        follow_rate(config, origin, given)
        assert (config.data.sample_rate, config.data.seconds, config.data.tail) == (8000, *expected)
    del origin.settings.data.tail  # a run of before there were any
    follow_rate(config, origin, ())
    assert (config.data.seconds, config.data.tail) == (1.5, 0.0)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("data.sample_rate=16000", ["data.sample_rate=16000 contradicts", "at 8000 Hz"]),
        ("model=lstm", ["model.cell=lstm contradicts", "has gru"]),
        ("model=crnn", ["a CRNNClassifier contradicts", "is a RecurrentClassifier"]),
        ("model.hidden_size=20", ["model.hidden_size=20 contradicts", "has 12"]),
        ("featurizer=fine", ["featurizer.hop_size=128 contradicts", "has 256"]),
        ("featurizer.hamming=false", ["featurizer.hamming=False contradicts", "has True"]),
        ("finetuning.keep=[absent]", ["finetuning.keep names 'absent'", "high, low, mid"]),
        ("finetuning={keep: true, root: absent}", ["finetuning.root=absent is no folder"]),
        ("finetuning.rehearsal=0", ["finetuning.rehearsal=0"]),
    ],
)
def test_contradictions_are_named(here, place, override, named):
    overrides = (
        ["finetuning.keep=true", "finetuning.root=absent"] if override.startswith("finetuning={") else [override]
    )
    done = call(
        "train", f"finetune={place / 'run'}", "data=folder", f"data.root={place / 'recordings'}", *QUICK, *overrides
    )
    assert done.status == 1
    for text in named:
        assert text in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_what_cannot_be_gone_on_from(here, place):
    done = call("train", "finetune=absent", "data=folder", f"data.root={place / 'recordings'}")
    assert done.status == 1
    assert "finetune=absent: there is no such run directory" in done.err
    assert "commands_small" in done.err
    Path("broken.ckpt").write_bytes(b"nothing")
    done = call("train", "finetune=broken.ckpt", "data=folder", f"data.root={place / 'recordings'}")
    assert "finetune=broken.ckpt" in done.err
    assert "damaged" in done.err


@pytest.mark.parametrize("clips", [1, 5, 20])
def test_a_few_clips_of_new_words(here, place, clips):
    root = recorded(here / "mine", clips)
    done, run = tuned(place / "run", root, *FEW)
    result = results(run)
    assert result["corpus"]["labels"] == ["ee", "oo"]
    assert result["training"]["steps"] == 4 * 3  # 2 · 12 clips an epoch however few there are
    assert result["training"]["accuracy"] > 0.8
    training = result["corpus"]["clips"]["training"]
    assert training == 2 * clips if clips < 10 else clips < training < 2 * clips
    stand_in = [note for note in result["corpus"]["notes"] if "stand in" in note]
    assert len(stand_in) == (2 if clips < 10 else 0)
    assert all(note in done.out for note in stand_in)
    # Heard right by people who recorded nothing.
    others = recorded(here / "others", 30)
    done = call("evaluate", f"run={run}", "data=folder", f"data.root={others}", "split=training", *CLIPS_ONLY)
    assert done.status == 0, done.err
    assert json.loads(Path(done.last_line).read_text())["clips"]["accuracy"] > (0.6 if clips == 1 else 0.8)


def test_the_old_words_stay_and_are_rehearsed(here, place):
    root = recorded(here / "mine", 5)
    done, run = tuned(place / "run", root, "finetuning.keep=true", *FEW)
    result = results(run)
    assert result["corpus"]["labels"] == ["high", "low", "mid", "ee", "oo"]
    assert result["test"]["per_word"]["high"] is not None
    assert np.mean([result["test"]["per_word"][word] for word in TONES]) > 0.8
    assert result["finetuned"]["rehearsed"]
    assert "36 training clips of recordings rehearse high, low, mid" in done.out
    # Evaluated, exported and gone on from like any run.
    assert call("evaluate", f"run={run}", *CLIPS_ONLY).status == 0
    done = call("export", f"run={run}", "export=[onnx]")
    assert done.status == 0, done.err
    _, third = tuned(run, recorded(here / "more", 5, ("ee",)), "finetuning.keep=[mid,ee]", *STILL, run="third")
    assert results(third)["corpus"]["labels"] == ["mid", "ee"]
    assert Spotter.load(third / "spotter.ckpt").about["finetuned"]["about"]["finetuned"]["run"] == str(place / "run")


def test_without_their_recordings_the_old_words_stay_unrehearsed(here, place):
    shutil.copy(place / "run" / "spotter.ckpt", "alone.ckpt")
    root = recorded(here / "mine", 5)
    done, run = tuned("alone.ckpt", root, "finetuning.keep=true", *FEW)
    assert "nothing rehearses them" in done.out
    result = results(run)
    assert result["corpus"]["labels"] == ["high", "low", "mid", "ee", "oo"]
    assert result["test"]["per_word"]["high"] is None
    assert not result["finetuned"]["rehearsed"]
    done, run = tuned(
        "alone.ckpt", root, "finetuning.keep=true", f"finetuning.root={place / 'recordings'}", *STILL, run="b"
    )
    assert "nothing rehearses them" not in done.out
    assert results(run)["corpus"]["clips"]["training"] == 36 + 10


def test_all_labels_may_go(here):
    root = recorded(here / "mine", 2)
    short = ("finetuning.keep=false", "data.clips_per_word=8", "trainer.max_epochs=1")
    done, run = tuned("commands_small", root, *short)
    assert Spotter.load(run / "spotter.ckpt").labels == ("ee", "oo")
    assert "nothing rehearses" not in done.out


def test_recordings_that_were_moved_are_said_to_be_missing(here, place):
    origin = shutil.copytree(place / "run", here / "origin")
    config = (origin / "config.yaml").read_text()
    (origin / "config.yaml").write_text(config.replace(str(place / "recordings"), str(here / "gone")))
    root = recorded(here / "mine", 3)
    done, _ = tuned(origin, root, "finetuning.keep=true", *STILL)
    assert "nothing rehearses them" in done.out
    done, _ = tuned(origin, root, "finetuning.keep=true", f"finetuning.root={place / 'recordings'}", *STILL, run="b")
    assert "nothing rehearses them" not in done.out
    (origin / "config.yaml").write_text(config.replace("kws.corpus.FolderCorpus", "os.system"))
    done = call("train", f"finetune={origin}", "finetuning.keep=true", "data=folder", f"data.root={root}")
    assert "names _target_: os.system" in done.err


def test_resumed_it_goes_on_from_itself(here, place):
    """To the figures of a run that nobody interrupted, and without a look at the run before it."""
    origin = shutil.copytree(place / "run", here / "origin")
    root = recorded(here / "mine", 5)
    settings = (
        "augment=strong",
        "scheduler=constant",
        "data.clips_per_word=12",
        "data.batch_size=8",
        "finetuning.keep=true",
    )
    settings += ("augment.waveform=[]",)
    _, whole = tuned(origin, root, *settings, "trainer.max_epochs=4", run="whole")
    _, part = tuned(origin, root, *settings, "trainer.max_epochs=2", run="part")
    shutil.rmtree(origin)
    done = call("train", "resume=part", "trainer.max_epochs=4")
    assert done.status == 0, done.err
    assert results(part)["test"] == results(whole)["test"]
    assert results(part)["finetuned"] == results(whole)["finetuned"]
    weights = Spotter.load(part / "spotter.ckpt").state_dict()
    for name, tensor in Spotter.load(whole / "spotter.ckpt").state_dict().items():
        assert torch.equal(weights[name], tensor), name
    done = call("train", "resume=part", f"finetune={place / 'run'}")
    assert done.status == 1
    assert "finetune cannot be chosen anew" in done.err


def test_a_spotter_that_comes_along(here):
    root = recorded(here / "mine", 2)
    short = ("data.clips_per_word=8", "trainer.max_epochs=1", "calibrate=true", "calibration.hours=0.05")
    done, run = tuned("commands_small", root, *short, "calibration.false_alarms_per_hour=2000")
    spotter, bundled = Spotter.load(run / "spotter.ckpt"), Spotter.load(named("commands_small"))
    assert spotter.labels == ("_silence_", "_unknown_", "ee", "oo")  # it is still a detector
    assert "_silence_, _unknown_ stay" in done.out
    assert spotter.featurizer.settings == bundled.featurizer.settings
    assert spotter.classifier.settings == {**bundled.classifier.settings, "num_classes": 4}
    assert results(run)["corpus"]["sample_rate"] == 16000
    assert results(run)["finetuned"]["run"] == "commands_small"
    assert results(run)["calibration"]
    assert "commands_small" in done.out
    done = call("export", f"run={run}", "export=[onnx,ell]")  # as the defaults have it; ELL cannot hold this one
    assert done.status == 0, done.err
    assert "No Ell files: A classifier needs at least one recurrent layer" in done.out
