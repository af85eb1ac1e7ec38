"""What a network takes over from one that tells other labels apart."""

import pytest
import torch

from kws.networks import NETWORKS
from kws.networks.transfer import label_axes, transfer

KNOWN = ("_unknown_", "yes", "no", "up")
SHAPES = {
    "RecurrentClassifier": [{"hidden_size": 5}, {"hidden_size": 5, "cell": "lstm", "last_hidden_size": "classes"}],
    "FastGRNNClassifier": [{"hidden_size": 6, "last_hidden_size": "classes", "input_rank": 2, "hidden_rank": 2}],
    "CRNNClassifier": [{"channels": [2, 3], "kernel_frames": [3, 3], "kernel_filters": [3, 3], "hidden_size": 6}],
    "DilatedClassifier": [{"width": 6, "dilations": [1, 2]}],
    "BCResNet": [{}],
}
CASES = [(name, sizes) for name, all_sizes in SHAPES.items() for sizes in all_sizes]


@pytest.mark.parametrize(("name", "sizes"), CASES)
@pytest.mark.parametrize(
    "labels", [("_unknown_", "bed", "no", "cat", "yes"), KNOWN, KNOWN[::-1], ("bed", "cat", "dog", "six"), ("no", "up")]
)
def test_everything_but_the_new_labels_comes_over(name, sizes, labels):
    torch.manual_seed(1)
    source = NETWORKS[name](input_size=40, num_classes=len(KNOWN), **sizes)
    target = NETWORKS[name](input_size=40, num_classes=len(labels), **sizes)
    drawn = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    transfer(source, KNOWN, target, labels)
    old, new, axes = source.state_dict(), target.state_dict(), label_axes(target)
    assert axes
    for key, tensor in new.items():
        if key not in axes:
            assert torch.equal(tensor, old[key]), key
    head = [key for key in new if key.startswith(("linear.", "labels."))]  # rows of the readout
    for place, label in enumerate(labels):
        for key in head if sizes.get("last_hidden_size") is None else head[1:]:
            expected = old[key][KNOWN.index(label)] if label in KNOWN else drawn[key][place]
            assert torch.equal(new[key][place], expected), (key, label)


@pytest.mark.parametrize(("name", "sizes"), CASES)
def test_labels_in_another_order_are_the_same_network(name, sizes):
    torch.manual_seed(2)
    order = [2, 0, 3, 1]
    source = NETWORKS[name](input_size=40, num_classes=4, **sizes).eval()
    target = NETWORKS[name](input_size=40, num_classes=4, **sizes).eval()
    transfer(source, KNOWN, target, tuple(KNOWN[i] for i in order))
    features = torch.randn(2, 20, 40)
    torch.testing.assert_close(target(features), source(features)[..., order])
