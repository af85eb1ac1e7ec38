"""Recurrent networks: against their equations in NumPy, and against themselves in the other gear."""

import numpy as np
import pytest
import torch

from kws.networks import Normalization, RecurrentClassifier
from kws.support.errors import KwsError


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, h, w, r, b, c):
    """Cho et al. (2014) with the reset gate after the matrix product, gates stacked r, z, n."""
    size = h.shape[-1]
    from_x, from_h = x @ w.T + b, h @ r.T + c
    reset = sigmoid(from_x[:, :size] + from_h[:, :size])
    update = sigmoid(from_x[:, size : 2 * size] + from_h[:, size : 2 * size])
    new = np.tanh(from_x[:, 2 * size :] + reset * from_h[:, 2 * size :])
    return (1 - update) * new + update * h


def lstm(x, h, memory, w, r, b, c):
    """Hochreiter and Schmidhuber (1997) with a forget gate, gates stacked i, f, g, o."""
    i, f, g, o = np.split(x @ w.T + b + h @ r.T + c, 4, axis=-1)
    memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(memory), memory


def by_hand(network, features):
    """The network's forward in float64 NumPy."""
    x = features.double().numpy()
    for layer in network.layers:
        weights = [p.detach().double().numpy() for p in layer.parameters()]  # W, R, b, c
        h = np.zeros((len(x), layer.hidden_size))
        memory, outputs = h, []
        for frame in x.swapaxes(0, 1):
            if network.cell == "gru":
                h = gru(frame, h, *weights)
            else:
                h, memory = lstm(frame, h, memory, *weights)
            outputs.append(h)
        x = np.stack(outputs, 1)
    scores = x @ network.linear.weight.detach().double().numpy().T + network.linear.bias.detach().double().numpy()
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def network(cell, layers, **more):
    torch.manual_seed(0)
    return RecurrentClassifier(12, 5, cell=cell, hidden_size=9, num_layers=layers, **more).eval()


@pytest.fixture
def features():
    return torch.randn(4, 11, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_forward_equals_the_equations(cell, layers, features):
    net = network(cell, layers, last_hidden_size="classes" if layers == 3 else None)
    np.testing.assert_allclose(net(features).numpy(), by_hand(net, features), atol=2e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_stream_equals_whole_clip(cell, layers, features):
    net = network(cell, layers)
    state, outputs = net.initial_state(4), []
    for frame in features.unbind(1):
        output, state = net.step(frame, state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), net(features), rtol=0, atol=1e-6)


@torch.no_grad()
def test_streams_of_a_batch_do_not_touch_each_other(features):
    net = network("lstm", 2)
    torch.testing.assert_close(net(features)[2:3], net(features[2:3]), rtol=0, atol=1e-6)


def test_the_third_layer_has_as_many_units_as_labels():
    assert network("gru", 3, last_hidden_size="classes").state_sizes == [9, 9, 5]
    assert network("lstm", 2, last_hidden_size=4).state_sizes == [9, 9, 4, 4]


def test_readout():
    frames = torch.log_softmax(torch.randn(2, 6, 5), -1)
    torch.testing.assert_close(network("gru", 1, readout="last").readout(frames), frames[:, 5])
    torch.testing.assert_close(network("gru", 1, readout="mean").readout(frames), frames.sum(1) / 6)
    best = network("gru", 1, readout="best").readout(frames)
    peaks = frames.numpy().max(1)  # each label's best frame
    expected = peaks - np.log(np.exp(peaks).sum(-1, keepdims=True))
    np.testing.assert_allclose(best.numpy(), expected, atol=1e-6)


def test_silence_is_judged_by_its_worst_frame():
    resting = network("gru", 1, readout="best")
    resting.resting = 2
    frames = torch.randn(4, 6, 5).log_softmax(-1)
    scores = frames.numpy().max(1)
    scores[:, 2] = frames.numpy()[:, :, 2].min(1)
    expected = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    np.testing.assert_allclose(resting.readout(frames).numpy(), expected, atol=1e-6)


def test_probabilities_sum_to_one(features):
    torch.testing.assert_close(network("gru", 2)(features).exp().sum(-1), torch.ones(4, 11))


def test_gradient_against_finite_differences():
    net = network("gru", 1).double()
    x = torch.randn(1, 3, 12, dtype=torch.double, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def loss(features):
        state = tuple(torch.zeros(1, 9, dtype=torch.double) for _ in net.state_sizes)
        return net.stream(features, state)[0][:, -1, 0]

    assert torch.autograd.gradcheck(loss, (x,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"cell": "rnn"}, "'rnn'"), ({"readout": "max"}, "'max'"), ({"hidden_size": 0}, "hidden_size=0")],
)
def test_unknown_settings_are_named(settings, named):
    with pytest.raises(KwsError, match=named):
        RecurrentClassifier(12, 5, **settings)


def test_normalization_measures_mean_and_deviation():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 7, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor(
        [0.0, 2.0, 7.0]
    )
    normalization = Normalization(3)
    normalization.measure(features.split(16))
    frames = features.reshape(-1, 3)
    torch.testing.assert_close(normalization.mean, frames.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalization.deviation[:2], frames[:, :2].std(0, correction=0), rtol=1e-5, atol=0)
    assert normalization.deviation[2] == 1.0  # never changes
    assert torch.isfinite(normalization(features)).all()
