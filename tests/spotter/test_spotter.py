"""The spotter: one road in two gears, and a file that holds it all."""

import resource
import time

import pytest
import torch

from kws.networks import RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.spotter.vad import VoiceActivityDetector
from kws.support.errors import KwsError


def make(cell="gru", vad=True, **featurizer):
    torch.manual_seed(0)
    front = Featurizer(**featurizer)
    spotter = Spotter(
        front,
        RecurrentClassifier(front.num_features, 3, cell=cell, hidden_size=8),
        ["yes", "no", "up"],
        vad=VoiceActivityDetector(front.num_features, front.hop_seconds) if vad else None,
        decoder={},
        about={"corpus": "none"},
    ).eval()
    spotter.normalization.measure([front(bursts(4))])
    return spotter


def bursts(streams, seconds=4):
    """Noise that swells and fades several times, so that voice begins and ends."""
    time = torch.arange(seconds * 8000) / 8000
    loud = (torch.sin(2 * torch.pi * 0.8 * time[None] + torch.arange(streams)[:, None]) > 0.5) * 0.3 + 0.001
    return torch.randn(streams, len(time), generator=torch.Generator().manual_seed(5)) * loud


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@torch.no_grad()
def test_stream_equals_hop_by_hop_with_resets(cell):
    spotter, samples = make(cell, hop_size=128), bursts(3)
    whole, end = spotter.stream(samples, spotter.initial_state(3))
    assert ((whole.signal[:, :-1] == 1) & (whole.signal[:, 1:] == 0)).sum() >= 4  # the state is reset several times
    state, signals, outputs = spotter.initial_state(3), [], []
    for hop in samples.split(128, dim=1):
        frames, state = spotter.step(hop, state)
        signals.append(frames.signal)
        outputs.append(frames.log_probabilities)
    assert torch.equal(torch.cat(signals, 1), whole.signal)
    torch.testing.assert_close(torch.cat(outputs, 1), whole.log_probabilities, rtol=0, atol=2e-6)
    for ours, theirs in zip(state.classifier, end.classifier, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


@torch.no_grad()
def test_after_voice_ends_the_network_starts_afresh():
    spotter, samples = make(), bursts(1)
    frames, _ = spotter.stream(samples, spotter.initial_state())
    signal = frames.signal[0]
    fall = int(((signal[:-1] == 1) & (signal[1:] == 0)).nonzero()[0]) + 1
    features = spotter.normalization(frames.features)
    afresh = spotter.classifier(features[:, fall + 1 :])
    before = spotter.classifier(features[:, : fall + 1])
    # The frame on which voice ends is still judged from the old state; the next one from zeros.
    torch.testing.assert_close(frames.log_probabilities[:, fall], before[:, fall], rtol=0, atol=2e-6)
    torch.testing.assert_close(frames.log_probabilities[:, fall + 1], afresh[:, 0], rtol=0, atol=2e-6)


@torch.no_grad()
def test_clip_equals_stream_without_detector():
    spotter, samples = make(vad=False), bursts(2)[:, :8000]
    frames, state = spotter.stream(samples[:, : 31 * 256], spotter.initial_state(2))
    assert frames.signal is None and state.vad is None
    torch.testing.assert_close(spotter(samples), spotter.classifier.readout(frames.log_probabilities))


@torch.no_grad()
def test_file_holds_everything(tmp_path):
    spotter = make("lstm", hop_size=128, hamming=True)
    spotter.save(tmp_path / "spotter.ckpt")
    again = Spotter.load(tmp_path / "spotter.ckpt")
    assert again.settings == spotter.settings
    assert not again.training
    samples = bursts(2)
    assert torch.equal(again(samples), spotter(samples))
    assert torch.equal(
        again.stream(samples, again.initial_state(2))[0].signal,
        spotter.stream(samples, spotter.initial_state(2))[0].signal,
    )


def test_files_that_are_no_spotter_are_named(tmp_path):
    with pytest.raises(KwsError, match="no spotter at"):
        Spotter.load(tmp_path / "absent.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(KwsError, match=r"text\.ckpt"):
        Spotter.load(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "lightning.ckpt")
    with pytest.raises(KwsError, match="not a spotter"):
        Spotter.load(tmp_path / "lightning.ckpt")


def test_damaged_weights_and_newer_versions_are_named(tmp_path):
    spotter = make()
    path = tmp_path / "spotter.ckpt"
    spotter.save(path)
    content = torch.load(path, weights_only=True)
    torch.save(content | {"version": 99}, path)
    with pytest.raises(KwsError, match="newer kws"):
        Spotter.load(path)
    content["settings"]["classifier"]["hidden_size"] = 16
    torch.save(content, path)
    with pytest.raises(KwsError, match="do not fit"):
        Spotter.load(path)
    spotter.save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(KwsError, match="damaged"):
        Spotter.load(path)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    spotter = make()
    spotter.save(tmp_path / "spotter.ckpt")
    before = (tmp_path / "spotter.ckpt").read_bytes()

    def fail(content, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        spotter.save(tmp_path / "spotter.ckpt")
    assert (tmp_path / "spotter.ckpt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["spotter.ckpt"]


def altered(path, where, value):
    content = torch.load(path, weights_only=True)
    *way, last = where.split(".")
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    torch.save(content, path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("settings.classifier.hidden_size", 1 << 19),
        ("settings.classifier.hidden_size", 1 << 40),
        ("settings.classifier.num_layers", 40_000),
        ("settings.classifier.hidden_size", "many"),
        ("settings.classifier.network", "os.system"),
        ("settings.classifier.num_classes", 1 << 20),
        ("settings.featurizer.window_size", 1 << 19),
        ("settings.featurizer.num_filters", 1 << 19),
        ("settings.featurizer.sample_rate", float("nan")),
        ("settings.featurizer.strange", 1),
        ("settings.decoder.smoothing", 1e5),
        ("settings.decoder.refractory", float("inf")),
        ("settings.labels", 3),
        ("settings.labels", ["only"]),
        ("settings.labels", [torch.zeros(2)]),
        ("settings.vad", {"num_features": 7}),
        ("settings.about", 4),
        ("settings", None),
        ("weights", {}),
        ("weights", [1, 2]),
        ("version", "new"),
    ],
)
def test_absurd_spotters_are_one_sentence_without_the_memory_for_them(tmp_path, where, value):
    path = tmp_path / "spotter.ckpt"
    make().save(path)
    altered(path, where, value)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(KwsError, match=r"spotter\.ckpt"):
        Spotter.load(path)
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kilobytes"


def test_weights_that_are_not_finite_are_neither_written_nor_read(tmp_path):
    spotter, path = make(), tmp_path / "spotter.ckpt"
    spotter.save(path)
    content = torch.load(path, weights_only=True)
    name = next(name for name in content["weights"] if name.startswith("classifier"))
    content["weights"][name][0] = float("nan")
    torch.save(content, path)
    with pytest.raises(KwsError, match=f"{name} are not finite"):
        Spotter.load(path)
    spotter.state_dict()[name][0] = float("inf")
    with pytest.raises(KwsError, match=f"{name} are not finite"):
        spotter.save(tmp_path / "other.ckpt")
    assert not (tmp_path / "other.ckpt").exists()
