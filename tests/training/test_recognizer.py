"""A speech recogniser as a teacher: what it hears, how its head learns, and trainings beside it."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from torch.nn import functional as F

from kws.corpus.espeak import Espeak
from kws.spotter import Spotter
from kws.support.errors import KwsError
from kws.training import recognizer
from kws.training.module import SpotterModule
from kws.training.recognizer import Encoder, Head, Recognizer, learn
from tests.scripts import call, tone_corpus

try:
    recognizer.weights_file()
except KwsError as error:
    missing = str(error)
else:
    missing = ""
needs_weights = pytest.mark.skipif(bool(missing), reason=missing)


WORDS, VOICES = ("computer", "yellow", "seven"), ("gmw/en-US+f3", "gmw/en-GB-x-rp+m3")


@pytest.fixture(scope="module")
def spoken():
    """(6, 16000) at 16 kHz: each word by each voice."""
    clips = torch.zeros(len(WORDS) * len(VOICES), 16000)
    with Espeak() as espeak:
        for clip, (word, voice) in zip(clips, itertools.product(WORDS, VOICES), strict=True):
            samples = torch.from_numpy(espeak.speak(word, voice)).float() / 32768
            heard = torchaudio.functional.resample(samples, espeak.sample_rate, 16000)[:16000]
            clip[: len(heard)] = heard
    return clips


@needs_weights
def test_frames_are_the_mean_of_two_of_the_encoders(spoken):
    encoder = Encoder(16000)
    inputs = {"input_values": spoken.numpy(), "attention_mask": np.ones(spoken.shape, np.int64)}
    published = torch.from_numpy(encoder.session.run(None, inputs)[0])
    frames = encoder(spoken)
    assert published.shape == (6, 40, 288) and frames.shape == (6, 20, 288)
    torch.testing.assert_close(frames, published.reshape(6, 20, 2, 288).mean(2))


@needs_weights
def test_a_word_is_more_like_itself_by_another_voice_than_like_other_words(spoken):
    heard = Encoder(16000)(spoken).flatten(1)
    alike = F.cosine_similarity(heard[:, None] - heard.mean(0), heard - heard.mean(0), dim=2)
    same = alike[::2, 1::2].diagonal()
    other = alike[::2, 1::2][~torch.eye(3, dtype=torch.bool)]
    assert same.min() > other.max()


@needs_weights
def test_clips_of_another_rate_and_short_ones(spoken):
    """Of half the rate it hears the same words; what is shorter than it takes is longer by silence."""
    heard = Encoder(16000)(spoken).flatten(1)
    slow = Encoder(8000)(torchaudio.functional.resample(spoken, 16000, 8000)).flatten(1)
    alike = F.cosine_similarity(heard[:, None] - heard.mean(0), slow - slow.mean(0), dim=2)
    assert alike.argmax(1).tolist() == list(range(6))
    short = spoken[:, 4000:4800]
    torch.testing.assert_close(Encoder(16000)(short), Encoder(16000)(F.pad(short, (0, 2400))))


def frames_of(labels, clips=240, length=9):
    """Frames of noise, to one of which is added what stands for the clip's label."""
    random = torch.Generator().manual_seed(1)
    answers = torch.arange(clips) % labels
    frames = torch.randn(clips, length, 288, generator=random)
    places = torch.randint(length, (clips,), generator=random)
    frames[torch.arange(clips), places] += 2 * torch.randn(labels, 288, generator=random)[answers]
    return frames.half(), answers


def test_a_head_finds_what_is_anywhere_in_a_clip():
    torch.manual_seed(0)
    head, (frames, labels) = Head(4), frames_of(4, 336)
    learn(head, frames[:256], labels[:256], torch.zeros(256, dtype=torch.bool), torch.zeros(4, dtype=torch.bool), 1)
    head.eval()
    assert (head(frames[256:].float()).argmax(1) == labels[256:]).float().mean() > 0.9
    again = Head(4)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.eval()(frames.float()), head(frames.float()))


def test_recordings_of_other_words_say_nothing_of_a_typed_one():
    """With recordings alone its weights only shrink, as AdamW shrinks what has no gradient."""
    torch.manual_seed(0)
    head, (frames, labels) = Head(3), frames_of(2)
    before = head.layers[-1].weight.detach().clone()
    everything = torch.ones(len(labels), dtype=torch.bool)
    learn(head, frames, labels, everything, torch.tensor([False, False, True]), 1)
    steps = recognizer.LEAST_STEPS  # a multiple of the two batches of a pass
    sgd = torch.optim.SGD([torch.zeros(1)], recognizer.LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        sgd, recognizer.LEARNING_RATE, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    shrunk = before[2].clone()
    for _ in range(steps):
        shrunk *= 1 - schedule.get_last_lr()[0] * recognizer.WEIGHT_DECAY
        sgd.step()
        schedule.step()
    torch.testing.assert_close(head.layers[-1].weight.detach()[2], shrunk)
    assert (head.layers[-1].weight.detach()[:2] - before[:2]).abs().mean() > 1e-3


def test_what_is_not_installed_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(KwsError, match=r"training\.teachers=\[moonshine\].*pip install 'kws\[teacher\]'"):
        recognizer.weights_file()
    (tmp_path / recognizer.FILE).parent.mkdir(parents=True)
    (tmp_path / recognizer.FILE).write_bytes(b"another model")
    found = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    with pytest.raises(KwsError, match=r"encoder_model\.ort is not there or holds other weights"):
        recognizer.weights_file()


SETTINGS = [
    "data=folder", "data.batch_size=8", "model.hidden_size=6", "augment=noisy", "export=[]", "trainer.max_epochs=2",
    "callbacks.samples.clips=0", "training.teachers=[moonshine]",
]  # fmt: skip


@needs_weights
def test_a_training_that_is_cut_off_keeps_what_its_teacher_knows(tmp_path, monkeypatch):
    """The teacher learns once; the resumed run ends as one that nobody disturbed."""
    corpus = tone_corpus(tmp_path / "corpus", clips=12)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    learned = []
    of_the_class = Recognizer.hear
    monkeypatch.setattr(Recognizer, "hear", lambda self, data: learned.append(1) or of_the_class(self, data))
    whole = call("train", f"data.root={corpus}", *SETTINGS, f"hydra.run.dir={tmp_path / 'whole'}")
    assert whole.status == 0 and len(learned) == 1, whole.err
    results = json.loads((Path(whole.last_line) / "results.json").read_text())
    assert results["training"]["epochs"] == 2

    step, steps = SpotterModule.training_step, []

    def cut_off(self, *arguments):
        steps.append(1)
        if len(steps) == 5:  # three are an epoch
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SpotterModule, "training_step", cut_off)
        assert call("train", f"data.root={corpus}", *SETTINGS, f"hydra.run.dir={tmp_path / 'cut'}").status != 0
    resumed = call("train", f"resume={tmp_path / 'cut'}")
    assert resumed.status == 0 and len(learned) == 2, resumed.err  # not once more
    weights = [Spotter.load(tmp_path / name / "spotter.ckpt").state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not any("head" in name for name in weights[0])  # the spotter is the student alone
