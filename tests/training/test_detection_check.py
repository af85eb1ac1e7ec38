"""What is logged after an epoch is what a decoder would have missed on the validation stream."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kws.evaluation.detection.detection import DetectionSettings
from kws.evaluation.detection.thresholds import choose, curve, hear_lanes
from kws.networks import DilatedClassifier
from kws.spotter import Spotter
from kws.spotter.decoder import Decoder
from kws.spotter.featurizer import Featurizer
from kws.spotter.runtime import TorchRuntime
from kws.training.detection_check import DetectionCheck
from kws.training.module import SpotterModule

LABELS = ["_unknown_", "yes", "no"]


@pytest.mark.parametrize("target", [500.0, 0.0])
def test_the_validation_stream_is_missed_by_so_much(target):
    torch.manual_seed(0)
    front = Featurizer()
    spotter = Spotter(front, DilatedClassifier(40, 3, width=8, stacks=1), LABELS)
    spotter.normalization.measure([torch.randn(4, 9, 40)])
    module = SpotterModule(spotter, torch.optim.SGD, detection_seconds=0.1)
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: value})
    clips = (3000 * np.random.default_rng(1).standard_normal((12, 8000))).astype(np.int16)
    clips[:, :2000] = clips[:, 6000:] = 0
    split = SimpleNamespace(samples=clips, labels=np.arange(12) % 3)
    waveforms = SimpleNamespace(splits={"validation": split}, noise=[])
    trainer = SimpleNamespace(datamodule=SimpleNamespace(waveforms=waveforms))
    callback = DetectionCheck(hours=0.05, target=target)
    module.train()
    callback.on_validation_epoch_end(trainer, module)
    assert spotter.training
    first = logged["validation/missed"]
    callback.on_validation_epoch_end(trainer, module)  # from the features that it has kept
    assert logged["validation/missed"] == first

    spotter.eval()
    runtime, decoder = TorchRuntime(spotter), Decoder(LABELS, front.hop_seconds, smoothing=0.1)
    settings = DetectionSettings(hours=0.05)
    stream = settings.stream(clips, split.labels, runtime, [], seed_offset=1)
    expected = curve(decoder, hear_lanes(runtime, decoder, stream), settings.rules.tolerance)
    threshold = choose(expected, target)
    assert first == pytest.approx(expected.miss_rate[expected.thresholds == threshold][0])
