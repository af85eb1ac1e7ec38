"""Training in bfloat16: who does, and that what is measured is computed in full."""

import pytest
import torch

from kws.networks import CRNNClassifier, FastGRNNClassifier, RecurrentClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support import environment
from kws.support.environment import fast_precision
from kws.training.module import SpotterModule


@pytest.mark.parametrize(
    ("capabilities", "gpu", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False, "avx2": True}, False, "bf16-mixed"),
        ({"avx512_bf16": True}, True, "32-true"),
        ({"avx512_bf16": False, "avx512_f": True}, False, "32-true"),
        ({}, False, "32-true"),
    ],
)
def test_bfloat16_only_where_a_processor_has_it_and_computes(monkeypatch, capabilities, gpu, expected):
    monkeypatch.setattr(environment.torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(environment.torch.cuda, "is_available", lambda: gpu)
    assert fast_precision() == expected


@pytest.mark.parametrize("network", [RecurrentClassifier, CRNNClassifier, FastGRNNClassifier])
@torch.no_grad()
def test_clips_are_judged_in_full_precision(network):
    torch.manual_seed(0)
    spotter = Spotter(Featurizer(), network(40, 3, hidden_size=6), ["a", "b", "c"]).eval()
    module = SpotterModule(spotter, torch.optim.SGD)
    features = torch.randn(5, 9, 40)
    with torch.autocast("cpu", torch.bfloat16):
        found, coarse = module.classify(features), spotter.classify(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, spotter.classify(features))
    assert not torch.equal(found, coarse)  # autocast does reach the linear layer, at least
    torch.testing.assert_close(found, coarse.float(), atol=0.03, rtol=0)


def test_a_fastgrnn_keeps_its_state_in_full_precision():
    torch.manual_seed(0)
    layer = FastGRNNClassifier(40, 3, hidden_size=6).layers[0]
    x, h = torch.randn(2, 7, 40), torch.zeros(2, 6)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, state = layer(x, h)
    assert torch.equal(outputs, layer(x, h)[0])
    assert state.dtype == torch.float32
