"""Changes to a model that exists, whoever wrote it: what ELL's ``add_vad.py`` does, and a little more."""

from collections.abc import Mapping
from typing import Any

from kws.ell import build
from kws.ell import nodes as n
from kws.ell.model import Model, ModelBuilder
from kws.support.errors import KwsError

# What ELL's tools take when they are not told otherwise; seconds and factors.
ELL_DEFAULTS = {
    "tau_up": 1.54,
    "tau_down": 0.074326,
    "large_input": 2.400160,
    "gain_att": 0.002885,
    "threshold_up": 3.552713,
    "threshold_down": 0.931252,
    "level_threshold": 0.007885,
}

PLACEMENTS = ("raw", "normalized")


def add_vad(model: Model, settings: Mapping[str, Any], placement: str = "raw") -> Model:
    """`model` with one VAD that resets every recurrent layer. `model` itself stays as it is.

    Args:
        model: a recurrent classifier.
        settings: `build.VAD_KEYS`. Where the model has a VAD, those left out stay as they are.
        placement: what a new VAD hears. ``raw``: the features before any normalisation, which its thresholds are made
            for; ``normalized``: the first recurrent layer's own input, where ELL's ``add_vad.py`` puts it. A VAD that
            is there already keeps its place.

    Raises:
        KwsError: nothing in the model can be reset, or settings are missing or unknown.
    """
    if placement not in PLACEMENTS:
        raise KwsError(f"placement={placement!r} is unknown; choose {' or '.join(PLACEMENTS)}.")
    model = model.copy()
    if not model.recurrent:
        raise KwsError(
            "The model has no recurrent layer (GRU, LSTM or FastGRNN), so there is no state that a VAD could reset."
        )
    first = model.recurrent[0]
    sizes = model.sizes()
    if model.vad is not None:
        signal = change(model, settings).output
    else:
        source = first.input if placement == "normalized" else raw_features(model, first)
        producer = model.node(source)
        builder = ModelBuilder(_next_id(model))
        signal = build.add_vad(builder, source, sizes[producer.id], settings)
        at = model.nodes.index(producer) + 1
        model.nodes[at:at] = builder.nodes
    for node in model.recurrent:
        node.reset_trigger = signal
    _drop_unused_constants(model)
    model.sizes()
    return model


def change(model: Model, settings: Mapping[str, Any]) -> n.VadNode:
    """Set the given `settings` of the VAD in `model`, in place; the node."""
    node = model.vad
    if node is None:
        raise KwsError("The model has no VAD.")
    present = {key: getattr(node.vad, key) for key in build.VAD_KEYS}
    node.vad = build.vad_settings(present | dict(settings), node.vad.window_size)
    return node


def raw_features(model: Model, node: n.RecurrentNode) -> str:
    """The source of `node`'s input before normalisation: back over arithmetic with constants."""
    source = node.input
    while True:
        producer = model.node(source)
        if isinstance(producer, n.ReinterpretLayoutNode):
            source = producer.input
        elif isinstance(producer, n.BinaryOperationNode):
            varying = [s for s in (producer.input1, producer.input2) if not _is_constant(model, s)]
            if len(varying) != 1:
                return source
            source = varying[0]
        else:
            return source


def _is_constant(model: Model, source: str) -> bool:
    producer = model.node(source)
    while isinstance(producer, n.ReinterpretLayoutNode):
        producer = model.node(producer.input)
    return isinstance(producer, n.ConstantNode)


def _next_id(model: Model) -> int:
    """An id from which on all numbers are free."""
    return max([999, *(int(node.id) for node in model.nodes if node.id.isascii() and node.id.isdigit())]) + 1


def _drop_unused_constants(model: Model) -> None:
    """Remove the triggers that nothing listens to any more."""
    heard = {source for node in model.nodes for _, _, source in node.ports()}
    model.nodes = [node for node in model.nodes if not isinstance(node, n.IntegerConstantNode) or node.output in heard]
