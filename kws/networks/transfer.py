"""Weights of one network into another of the same form that tells other labels apart."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kws.networks.classifier import Classifier


def transfer(source: Classifier, known: Sequence[str], target: Classifier, labels: Sequence[str]) -> None:
    """Copy all weights of `source`; where they are of labels, those of the labels that both have.

    Which axes are of labels is found by making the network with one label more: so the rows of the readout are found,
    and the units of a last layer that has as many as there are labels, its gates one after the other. What is new stays
    as it was drawn.

    Args:
        source: the network that has learned.
        known: its labels, in the order of its outputs.
        target: of the same class and sizes, for `labels`.
        labels: in the order of the target's outputs.
    """
    shared = [label for label in labels if label in known]
    axes = label_axes(target)
    with torch.no_grad():
        weights = source.state_dict()
        for name, tensor in target.state_dict().items():
            if name not in axes:
                tensor.copy_(weights[name])
                continue
            places = {label: (labels.index(label), known.index(label)) for label in shared}
            sides = [
                side(tensor.shape, axes[name], len(labels), [new for new, _ in places.values()]),
                side(weights[name].shape, axes[name], len(known), [old for _, old in places.values()]),
            ]
            tensor[sides[0]] = weights[name][sides[1]].to(tensor)


def label_axes(classifier: Classifier) -> dict[str, dict[int, int]]:
    """The axes of each weight that grow with the number of labels, and how many blocks of labels lie along them."""
    settings = dict(classifier.settings)
    more = {**settings, "num_classes": settings["num_classes"] + 1}
    with torch.device("meta"):  # shapes alone; draws no random numbers
        one, other = (type(classifier)(**choice).state_dict() for choice in (settings, more))
    grown = {
        name: {axis: b - a for axis, (a, b) in enumerate(zip(one[name].shape, tensor.shape, strict=True)) if a != b}
        for name, tensor in other.items()
    }
    return {name: axes for name, axes in grown.items() if axes}


def side(shape: Sequence[int], axes: dict[int, int], labels: int, chosen: Sequence[int]) -> tuple[Tensor, ...]:
    """Indices of a weight's entries that are of the `chosen` labels, for every axis."""
    indices = [
        torch.tensor([block * labels + label for block in range(axes[axis]) for label in chosen], dtype=torch.long)
        if axis in axes
        else torch.arange(size)
        for axis, size in enumerate(shape)
    ]
    return torch.meshgrid(*indices, indexing="ij")
