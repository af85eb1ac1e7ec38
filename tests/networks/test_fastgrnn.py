"""FastGRNN: against its equations in NumPy, against itself in the other gear, and as it is stored."""

import numpy as np
import pytest
import torch

from kws.networks import FastGRNNClassifier
from kws.spotter import Spotter
from kws.spotter.featurizer import Featurizer
from kws.support.errors import KwsError

FORMS = [
    {},
    {"input_rank": 4, "hidden_rank": 3},
    {"input_rank": 4},
    {"hidden_rank": 3, "gate_nonlinearity": "hard_sigmoid"},
    {"gate_nonlinearity": "hard_sigmoid", "update_nonlinearity": "hard_tanh"},
]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


NONLINEARITIES = {
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
}


def fastgrnn(x, h, w, u, gate_bias, update_bias, zeta, nu, gate, update):
    """Kusupati et al. (2018), section 3.2."""
    z = gate(x @ w.T + h @ u.T + gate_bias)
    new = update(x @ w.T + h @ u.T + update_bias)
    return (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * new + z * h


def number(tensor):
    return tensor.detach().double().numpy()


def product(factors):
    """W of [W] or of [W1, W2]."""
    return number(factors[0]) if len(factors) == 1 else number(factors[1]) @ number(factors[0])


def by_hand(net, features):
    """The network's forward in float64 NumPy."""
    x = features.double().numpy()
    for layer in net.layers:
        weights = [product(layer.input_weights), product(layer.hidden_weights)]
        weights += [number(p) for p in (layer.gate_bias, layer.update_bias, layer.zeta, layer.nu)]
        h, outputs = np.zeros((len(x), layer.hidden_size)), []
        for frame in x.swapaxes(0, 1):
            h = fastgrnn(frame, h, *weights, NONLINEARITIES[layer.gate], NONLINEARITIES[layer.update])
            outputs.append(h)
        x = np.stack(outputs, 1)
    scores = x @ number(net.linear.weight).T + number(net.linear.bias)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def network(layers=2, **more):
    """With weights large enough to reach the flat parts of the nonlinearities, and biases that differ."""
    torch.manual_seed(0)
    net = FastGRNNClassifier(12, 5, hidden_size=9, num_layers=layers, **more).eval()
    with torch.no_grad():
        for p in net.parameters():
            p += 0.3 * torch.randn_like(p)
    return net


@pytest.fixture
def features():
    return torch.randn(4, 11, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("layers", [1, 3])
@torch.no_grad()
def test_forward_equals_the_equations(form, layers, features):
    net = network(layers, last_hidden_size="classes" if layers == 3 else None, **form)
    np.testing.assert_allclose(net(features).numpy(), by_hand(net, features), atol=3e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
@torch.no_grad()
def test_stream_equals_whole_clip(form, features):
    net = network(2, **form)
    state, outputs = net.initial_state(4), []
    for frame in features.unbind(1):
        output, state = net.step(frame, state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), net(features), rtol=0, atol=1e-6)
    torch.testing.assert_close(state, net.stream(features, net.initial_state(4))[1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_no_frames_change_nothing(features):
    net = network()
    _, state = net.stream(features, net.initial_state(4))
    outputs, after = net.stream(features[:, :0], state)
    assert outputs.shape == (4, 0, 5)
    assert all(torch.equal(a, b) for a, b in zip(after, state, strict=True))


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
def test_gradient_against_finite_differences(form):
    net = network(2, **form).double()
    x = torch.randn(2, 3, 12, dtype=torch.double, generator=torch.Generator().manual_seed(2))

    def loss(features, *_):
        state = tuple(torch.zeros(2, size, dtype=torch.double) for size in net.state_sizes)
        return net.stream(features, state)[0][:, -1, 0]

    inputs = (x.requires_grad_(), *net.layers.parameters())  # gradcheck changes the weights in place
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-6)


def test_a_low_rank_saves_weights_and_starts_as_large():
    torch.manual_seed(0)
    full = FastGRNNClassifier(40, 12)
    low = FastGRNNClassifier(40, 12, input_rank=16, hidden_rank=16)
    count = [sum(p.numel() for p in net.parameters()) for net in (full, low)]
    assert count == [56336, 17040]
    for net in (full, low):
        for layer in net.layers:
            for factors in (layer.input_weights, layer.hidden_weights):
                assert product(factors).std() == pytest.approx(0.1, rel=0.1)


@torch.no_grad()
def test_saved_and_loaded(tmp_path):
    front = Featurizer()
    spotter = Spotter(front, FastGRNNClassifier(40, 3, hidden_size=8, hidden_rank=2), ["yes", "no", "up"]).eval()
    spotter.save(tmp_path / "spotter.ckpt")
    again = Spotter.load(tmp_path / "spotter.ckpt")
    assert again.settings == spotter.settings
    assert again.settings["classifier"]["network"] == "FastGRNNClassifier"
    samples = torch.randn(2, 8000, generator=torch.Generator().manual_seed(3)) * 0.1
    assert torch.equal(again(samples), spotter(samples))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"gate_nonlinearity": "relu"}, "gate_nonlinearity='relu'"),
        ({"update_nonlinearity": "sigmoid"}, "update_nonlinearity='sigmoid'"),
        ({"input_rank": 0}, "input_rank=0"),
        ({"readout": "max"}, "'max'"),
        ({"hidden_size": 0}, "hidden_size=0"),
    ],
)
def test_unknown_settings_are_named(settings, named):
    with pytest.raises(KwsError, match=named):
        FastGRNNClassifier(12, 5, **settings)
