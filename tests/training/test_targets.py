"""What a clip is compared with: its label, another clip's by its share, teachers' posteriors."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

from kws.data import Batch
from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError
from kws.training.module import Mixed, SpotterModule
from kws.training.teachers import Teachers
from tests.scripts import call, tone_corpus

LABELS = ["a", "b", "c"]


def spotter(seed=0, hidden_size=6, labels=LABELS, **featurizer):
    torch.manual_seed(seed)
    made = Featurizer(**featurizer)
    return Spotter(made, RecurrentClassifier(made.num_features, len(labels), hidden_size=hidden_size), labels).eval()


def module(student=None, **settings):
    made = SpotterModule(student or spotter(), torch.optim.SGD, **settings)
    made.log = lambda *_, **__: None
    return made


def batch(clips=32, seed=1):
    waveforms = 0.3 * torch.randn(clips, 8000, generator=torch.Generator().manual_seed(seed))
    return Batch(Featurizer()(waveforms), waveforms, torch.arange(clips) % 3)


def test_a_mixed_clip_is_compared_with_both_labels_by_their_shares():
    trained = module(label_smoothing=0.1)
    scores = torch.log_softmax(torch.randn(3, 3), dim=1)
    mixed = Mixed(torch.tensor([0.9, 0.5, 1.0]), torch.tensor([1, 2, 0]))
    labels = torch.tensor([2, 0, 1])
    target = 0.9 * (
        mixed.share[:, None] * torch.eye(3)[labels] + (1 - mixed.share)[:, None] * torch.eye(3)[labels[[1, 2, 0]]]
    )
    expected = nn.functional.cross_entropy(scores, target + 0.1 / 3)
    torch.testing.assert_close(trained.loss(scores, labels, mixed), expected)


def test_features_are_mixed_as_the_labels_are(monkeypatch):
    trained = module(mixup=0.2)
    clips = batch(2)
    monkeypatch.setattr(trained, "mix", lambda count: Mixed(torch.tensor([0.7, 1.0]), torch.tensor([1, 0])))
    loss = trained.training_step(clips, 0)
    blend = 0.7 * clips.features[0] + 0.3 * clips.features[1]
    scores = trained.spotter.classify(torch.stack([blend, clips.features[1]]))
    torch.testing.assert_close(loss, (-0.7 * scores[0, 0] - 0.3 * scores[0, 1] - scores[1, 1]) / 2)


def test_recordings_of_other_words_say_nothing_of_a_word_that_nobody_recorded():
    """Cross entropy over the other labels alone, and no gradient for the word; a clip by a voice is as ever."""
    trained, clips = module(), batch(4)
    trained.unrecorded = torch.tensor([False, False, True])
    heard, readout = [], trained.spotter.classifier.readout

    def noted(frames):
        heard.append(readout(frames))
        heard[-1].retain_grad()
        return heard[-1]

    trained.spotter.classifier.readout = noted
    clips = clips._replace(labels=torch.tensor([0, 1, 2, 0]), recorded=torch.tensor([True, True, False, False]))
    loss = trained.training_step(clips, 0)
    loss.backward()
    scores = heard[0].detach()
    first = nn.functional.cross_entropy(scores[:2, :2], clips.labels[:2], reduction="sum")
    expected = (first + nn.functional.cross_entropy(scores[2:], clips.labels[2:], reduction="sum")) / 4
    torch.testing.assert_close(loss.detach(), expected)
    assert heard[0].grad[:2, 2].tolist() == [0, 0] and heard[0].grad[2:, 2].abs().min() > 0.01
    mixed = Mixed(torch.tensor([0.7, 0.8, 1.0, 1.0]), torch.tensor([1, 3, 2, 0]))
    kept = trained.without_unrecorded(scores, clips.recorded, mixed)
    assert kept[0, 2] < -29 and torch.allclose(kept[1:], scores[1:])  # the second is mixed with a clip by a voice


def test_shares_follow_the_beta_distribution():
    torch.manual_seed(0)
    mixed = module(mixup=0.4).mix(20000)
    assert sorted(mixed.partner.tolist()) == list(range(20000))
    # max(x, 1 - x) of x ~ Beta(α, α) has the distribution function 2 I_s(α, α) - 1.
    for share in (0.6, 0.8, 0.95):
        expected = 2 * scipy.special.betainc(0.4, 0.4, share) - 1
        assert (mixed.share <= share).double().mean().item() == pytest.approx(expected, abs=0.015)
    assert module().mix(8) is None


def test_the_mean_of_softened_teachers(tmp_path):
    """With a student's features and with others, against the formula by scipy."""
    first, second = spotter(1), spotter(2, hop_size=128, num_filters=20)
    first.save(tmp_path / "first.ckpt")
    second.save(tmp_path / "second.ckpt")
    waveforms = batch(5).waveforms
    found = Teachers([tmp_path / "first.ckpt", tmp_path / "second.ckpt"], spotter())(waveforms, 3.0)
    with torch.no_grad():
        scores = [teacher(waveforms).double().numpy() for teacher in (first, second)]
    np.testing.assert_allclose(
        found, np.mean([scipy.special.softmax(s / 3, axis=1) for s in scores], axis=0), atol=1e-6
    )


def test_a_recogniser_is_one_of_the_teachers(tmp_path, monkeypatch):
    """Its logits are softened as a spotter's scores are."""
    logits = torch.randn(5, 3)
    recognizer = type("Recognizer", (), {"__init__": lambda *_: None, "__call__": lambda self, waveforms: logits})
    monkeypatch.setattr("kws.training.teachers.Recognizer", recognizer)
    other = spotter(1)
    other.save(tmp_path / "other.ckpt")
    waveforms = batch(5).waveforms
    found = Teachers([tmp_path / "other.ckpt", "moonshine"], spotter())(waveforms, 3.0)
    scores = [other(waveforms).detach().double().numpy(), logits.double().numpy()]
    np.testing.assert_allclose(
        found, np.mean([scipy.special.softmax(s / 3, axis=1) for s in scores], axis=0), atol=1e-6
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_with_a_teacher(tmp_path, share):
    teacher = spotter(7)
    teacher.save(tmp_path / "teacher.ckpt")
    trained = module(teachers=[tmp_path / "teacher.ckpt"], teacher_share=share, temperature=2.0)
    clips = batch()
    with torch.no_grad():
        ours, theirs = trained.spotter(clips.waveforms).double(), teacher(clips.waveforms).double()
    hard = -ours.gather(1, clips.labels[:, None]).mean().item()
    p, q = (scipy.special.softmax(scores.numpy() / 2, axis=1) for scores in (theirs, ours))
    soft = 4 * scipy.special.rel_entr(p, q).sum(1).mean()
    assert trained.training_step(clips, 0).item() == pytest.approx((1 - share) * hard + share * soft, rel=1e-4)


def test_a_teacher_speaks_of_typed_words_in_recordings_of_others(tmp_path):
    """Their labels say nothing of these; its posteriors do, and are compared with the student's of all labels."""
    teacher = spotter(7)
    teacher.save(tmp_path / "teacher.ckpt")
    trained = module(teachers=[tmp_path / "teacher.ckpt"], teacher_share=0.6, temperature=2.0)
    trained.unrecorded = torch.tensor([False, False, True])
    clips = batch(8)
    clips = clips._replace(labels=torch.arange(8) % 2, recorded=torch.ones(8, dtype=torch.bool))
    with torch.no_grad():
        ours, theirs = trained.spotter(clips.waveforms).double(), teacher(clips.waveforms).double()
    hard = nn.functional.cross_entropy(ours[:, :2], clips.labels).item()
    p, q = (scipy.special.softmax(scores.numpy() / 2, axis=1) for scores in (theirs, ours))
    soft = 4 * scipy.special.rel_entr(p, q).sum(1).mean()
    assert trained.training_step(clips, 0).item() == pytest.approx(0.4 * hard + 0.6 * soft, rel=1e-4)


def test_without_a_label_for_pauses_the_best_frame_is_no_answer_to_a_teacher(tmp_path, capsys):
    spotter(7).save(tmp_path / "teacher.ckpt")
    spotter(7, labels=["_silence_", "a", "b"]).save(tmp_path / "resting.ckpt")
    for labels, readout, teachers, said in (
        (LABELS, "best", ["teacher.ckpt"], True),
        (LABELS, "best", [], False),
        (LABELS, "last", ["teacher.ckpt"], False),
        (["_silence_", "a", "b"], "best", ["resting.ckpt"], False),
    ):
        student = spotter(labels=labels)
        student.classifier.readout_name = readout
        module(student, teachers=[tmp_path / name for name in teachers])
        assert ("Set data.silence_share=1" in capsys.readouterr().out) == said


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tmp_path):
    student = spotter()
    student.save(tmp_path / "teacher.ckpt")
    trained = module(student, teachers=[tmp_path / "teacher.ckpt"], teacher_share=1.0)
    trained.training_step(batch(), 0).backward()
    assert max(p.grad.abs().max().item() for p in student.classifier.parameters()) < 1e-6
    assert not any("teach" in name for name in trained.state_dict())  # checkpoints hold the student alone


def test_a_teacher_of_other_words_or_another_rate_is_refused(tmp_path):
    spotter(labels=["a", "c", "b"]).save(tmp_path / "words.ckpt")
    with pytest.raises(KwsError, match=r"training\.teachers: .*words\.ckpt has labels \('a', 'c', 'b'\)"):
        module(teachers=[tmp_path / "words.ckpt"])
    spotter(sample_rate=16000).save(tmp_path / "rate.ckpt")
    with pytest.raises(KwsError, match=r"rate\.ckpt has sample_rate 16000, .*8000"):
        module(teachers=[tmp_path / "rate.ckpt"])


def test_a_student_run_beside_its_teacher(tmp_path, monkeypatch):
    """From the command line: augmented or not, and the figures say who taught."""
    corpus = tone_corpus(tmp_path / "corpus", clips=8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    small = ("data=folder", f"data.root={corpus}", "trainer.max_epochs=2", "data.batch_size=8", "export=onnx")
    teacher = call("train", *small, "model.hidden_size=16")
    assert teacher.status == 0, teacher.err
    for extra in ((), ("augment=light", "training.mixup=0.2")):
        done = call("train", *small, "model.hidden_size=8", f"training.teachers=[{teacher.last_line}]", *extra)
        assert done.status == 0, done.err
        assert json.loads((Path(done.last_line) / "results.json").read_text())["test"]["clips"] > 0
