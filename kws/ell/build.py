"""ELL models from plain numbers: featurizer, classifier with or without a VAD, VAD alone.

The structure follows what ELL's ``make_featurizer.py``, ``make_vad.py`` and its ONNX importer write.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kws.ell import metadata as meta
from kws.ell import nodes as n
from kws.ell.model import Model, ModelBuilder
from kws.ell.properties import floats
from kws.errors import KwsError

PRE_EMPHASIS = 0.97

# PyTorch's order of gates, as positions of ELL's gates: z r n out of r z n; ELL's i f c o is PyTorch's i f g o.
GATES = {"gru": (1, 0, 2), "lstm": (0, 1, 2, 3)}
RECURRENT = {"gru": n.GRUNode, "lstm": n.LSTMNode}

VAD_KEYS = (
    "sample_rate",
    "frame_duration",
    "tau_up",
    "tau_down",
    "large_input",
    "gain_att",
    "threshold_up",
    "threshold_down",
    "level_threshold",
)


def featurizer(settings: Mapping[str, Any]) -> Model:
    """The featurizer that ``kws.featurizer.Featurizer(**settings)`` is.

    It takes one hop of samples per call. With ``auto_scale`` off the samples are raw 16-bit values: the file is the
    same, only the metadata that makes ELL's audio tools scale their input is absent.

    Raises:
        KwsError: settings that ELL has no node for, naming the key.
    """
    window, hop = settings["window_size"], settings["hop_size"]
    rate, filters = settings["sample_rate"], settings["num_filters"]
    points = settings.get("fft_size") or 1 << (window - 1).bit_length()
    kind = settings.get("filterbank", "mel")
    if points & (points - 1) or points < window:
        raise KwsError(
            f"featurizer.fft_size={points} has no ELL form: it must be a power of two and at least "
            f"featurizer.window_size={window}; leave it null to have it follow the window."
        )
    if hop > window:
        raise KwsError(f"featurizer.hop_size={hop} is larger than featurizer.window_size={window}.")
    if kind not in ("mel", "linear"):
        raise KwsError(f"featurizer.filterbank={kind!r} is unknown; choose mel or linear.")

    builder = ModelBuilder()
    scale = {"auto_scale": "True"} if settings.get("auto_scale", True) else {}
    x = builder.add(n.InputNode, "samples", metadata=scale, layout=n.MemoryLayout.of(hop))
    if settings.get("pre_emphasis"):
        emphasis = n.IIRFilter(b=floats([1, -PRE_EMPHASIS]), a=floats([]))
        x = builder.add(n.IIRFilterNode, "pre-emphasis", metadata={"iir": "true"}, input=x, filter=emphasis)
    x = builder.add(n.BufferNode, "window", metadata={"window_size": str(window)}, input=x, window_size=window)
    if settings.get("hamming"):
        x = builder.add(n.HammingWindowNode, "hamming", input=x)
    x = builder.add(n.FFTNode, "spectrum", input=x, fft_size=points)
    size = points // 2 + 1
    if settings.get("power_spectrum"):
        x = builder.add(n.UnaryOperationNode, "square", input=x, operation="square")
        divisor = _constant(builder, "fft size", np.full(size, points))
        x = _binary(builder, "power", "divide", x, divisor, (size,))

    facts = {
        "num_filters": str(filters),
        "filterbank_type": kind,
        "filterbank_size": str(filters),
        "sample_rate": str(rate),
    }
    whole = {"window_size": size, "rate": _real(rate), "num_filters": filters, "begin": 0, "end": filters, "offset": 0}
    if kind == "mel":
        bank = n.MelFilters(**whole, fft_size=points)
        x = builder.add(n.MelFilterBankNode, "filterbank", metadata=facts, input=x, filters=bank)
    else:
        bank = n.LinearFilters(**whole)
        x = builder.add(n.LinearFilterBankNode, "filterbank", metadata=facts, input=x, filters=bank)
    size = filters
    if settings.get("log", True):
        delta = _constant(builder, "log delta", np.full(size, settings.get("log_delta", 1.0)))
        x = _binary(builder, "plus delta", "add", x, delta, (size,))
        x = builder.add(n.UnaryOperationNode, "log", metadata={"log": "true"}, input=x, operation="log")
    if settings.get("dct"):
        size = settings["dct"]
        x = builder.add(n.DCTNode, "cepstra", metadata={"dct": "true"}, input=x, num_filters=size)
    x = builder.add(n.OutputNode, "features", input=x, layout=n.MemoryLayout.of(size))
    return builder.model(x)


def vad(settings: Mapping[str, Any], num_features: int) -> Model:
    """The voice activity detector alone: `num_features` raw features to 0.0 or 1.0.

    Args:
        settings: `VAD_KEYS`; Hz, seconds and factors.
        num_features: features per frame.
    """
    builder = ModelBuilder()
    x = builder.add(n.InputNode, "features", layout=n.MemoryLayout.of(num_features))
    x = builder.add(n.VadNode, "voice activity", input=x, vad=vad_settings(settings, num_features))
    x = builder.add(n.TypeCastNode, "as float", input=x)
    x = builder.add(n.OutputNode, "signal", input=x, layout=n.MemoryLayout.of(1))
    return builder.model(x)


def classifier(
    layers: Sequence[Mapping[str, Any]],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    *,
    labels: Sequence[str] = (),
    mean: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
    vad: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Model:
    """A recurrent classifier: one feature vector per call to the probabilities of the classes.

    Args:
        layers: per layer ``cell`` (gru or lstm) and, in PyTorch's gate order and shapes, ``weight_ih``
            (gates · H, inputs), ``weight_hh`` (gates · H, H), ``bias_ih`` and ``bias_hh`` (gates · H,).
        output_weight: (C, H) of the linear layer.
        output_bias: (C,).
        labels: names of the classes, in order.
        mean, deviation: (F,) of the normalisation (x - mean) / deviation in front; both or none.
        vad: settings of the VAD that resets the layers (see `vad`), or None for a trigger that never fires. It hears
            the features before the normalisation, which its thresholds are made for.
        metadata: further plain facts for whoever finds the file.
    """
    checked = [check_layer(index, layer) for index, layer in enumerate(layers)]
    if not checked:
        raise KwsError("A classifier needs at least one recurrent layer.")
    output_weight, output_bias = np.asarray(output_weight), np.asarray(output_bias)
    features = checked[0]["weight_ih"].shape[1]
    classes = len(output_weight)
    if labels and len(labels) != classes:
        raise KwsError(f"There are {len(labels)} labels for {classes} classes.")

    builder = ModelBuilder()
    shape = (1, features, 1)
    facts = meta.encode_facts(metadata or {})
    raw = builder.add(n.InputNode, "features", metadata=facts, layout=n.MemoryLayout.of(*shape))
    trigger = add_vad(builder, raw, features, vad) if vad is not None else None
    x = raw
    if mean is not None and deviation is not None:
        if not np.all(np.asarray(deviation) > 0):
            raise KwsError("The standard deviation of the normalisation must be above 0 for every feature.")
        x = add_elementwise(builder, x, "mean", "subtract", mean, shape)
        x = add_elementwise(builder, x, "deviation", "divide", deviation, shape)
    for index, layer in enumerate(checked, start=1):
        x = _recurrent(builder, x, f"{layer['cell']} {index}", layer, trigger or builder.trigger(f"no reset {index}"))
    x = add_softmax(builder, add_bias(builder, add_linear(builder, x, output_weight), output_bias), classes)
    x = builder.add(
        n.OutputNode,
        "probabilities",
        metadata=meta.encode_labels(labels) if labels else None,
        input=x,
        layout=n.MemoryLayout.of(1, 1, classes),
    )
    return builder.model(x)


# --- pieces, shared with the importer and the editor -----------------------------------------------------------------


def vad_settings(settings: Mapping[str, Any], num_features: int) -> n.VoiceActivityDetector:
    """`settings` as ELL's object; names what is missing or unknown."""
    missing = [key for key in VAD_KEYS if key not in settings]
    unknown = [key for key in settings if key not in VAD_KEYS and key != "num_features"]
    if missing:
        raise KwsError(f"The VAD settings lack {', '.join(missing)}.")
    if unknown:
        raise KwsError(f"The VAD has no setting {', '.join(unknown)}; it has {', '.join(VAD_KEYS)}.")
    if settings.get("num_features", num_features) != num_features:
        raise KwsError(f"The VAD is set for {settings['num_features']} features, but gets {num_features}.")
    return n.VoiceActivityDetector(num_features, **{key: _real(settings[key]) for key in VAD_KEYS})


def add_vad(builder: ModelBuilder, source: str, num_features: int, settings: Mapping[str, Any]) -> str:
    """A VAD that listens to `source`, through a flat view as in ELL's ``add_vad.py``; returns its signal."""
    flat = builder.add(
        n.ReinterpretLayoutNode, "raw features", input=source, output_layout=n.MemoryLayout.of(num_features)
    )
    return builder.add(n.VadNode, "voice activity", input=flat, vad=vad_settings(settings, num_features))


def add_recurrent(
    builder: ModelBuilder, source: str, name: str, cell: str, weights: Sequence[np.ndarray], trigger: str
) -> str:
    """A recurrent layer whose `weights` (input, hidden, input bias, hidden bias) are in ELL's gate order."""
    names = ("input weights", "hidden weights", "input bias", "hidden bias")
    sources = [_constant(builder, f"{name} {what}", w) for what, w in zip(names, weights, strict=True)]
    return builder.add(
        RECURRENT[cell],
        name,
        input=source,
        reset_trigger=trigger,
        hidden_units=int(weights[1].shape[1]),
        input_weights=sources[0],
        hidden_weights=sources[1],
        input_bias=sources[2],
        hidden_bias=sources[3],
    )


def add_linear(builder: ModelBuilder, source: str, weight: np.ndarray, name: str = "linear") -> str:
    """A fully connected layer, weight (C, H), without bias."""
    classes, width = weight.shape
    return builder.add(
        n.FullyConnectedNode,
        name,
        input=source,
        **_shapes((1, width, 1), (1, 1, classes)),
        layer=n.FullyConnectedLayer(output_shape=[1, 1, classes], rows=classes, columns=width, weights=floats(weight)),
    )


def add_bias(builder: ModelBuilder, source: str, bias: np.ndarray, name: str = "bias") -> str:
    """Adds `bias` (C,)."""
    shape = (1, 1, len(bias))
    layer = n.BiasLayer(output_shape=list(shape), bias=floats(bias))
    return builder.add(n.BiasNode, name, input=source, **_shapes(shape, shape), layer=layer)


def add_softmax(builder: ModelBuilder, source: str, classes: int, name: str = "softmax") -> str:
    """Scores to probabilities."""
    shape = (1, 1, classes)
    layer = n.SoftmaxLayer(output_shape=list(shape))
    return builder.add(n.SoftmaxNode, name, input=source, **_shapes(shape, shape), layer=layer)


def add_elementwise(
    builder: ModelBuilder, source: str, name: str, operation: str, values: np.ndarray, shape: Sequence[int]
) -> str:
    """`source` and a constant of the same size, element by element."""
    flat = _constant(builder, name, values)
    layout = n.MemoryLayout.of(*shape)
    constant = builder.add(n.ReinterpretLayoutNode, f"{name} as input", input=flat, output_layout=layout)
    return _binary(builder, f"{operation} {name}", operation, source, constant, shape)


def _real(value: float) -> float:
    """`value` as it will be read back from the file, so that model and file compute the same."""
    return float(f"{float(value):.9g}")


def _constant(builder: ModelBuilder, name: str, values: np.ndarray) -> str:
    values = floats(values)
    return builder.add(n.ConstantNode, name, values=values, layout=n.MemoryLayout.of(len(values)))


def _binary(builder: ModelBuilder, name: str, operation: str, a: str, b: str, shape: Sequence[int]) -> str:
    layouts = [n.MemoryLayout.of(*shape) for _ in range(3)]
    return builder.add(
        n.BinaryOperationNode,
        name,
        input1=a,
        input2=b,
        input_layout1=layouts[0],
        input_layout2=layouts[1],
        operation=operation,
        output_layout=layouts[2],
    )


def _shapes(inputs: Sequence[int], outputs: Sequence[int]) -> dict[str, Any]:
    return {
        "input_layout": n.MemoryLayout.of(*inputs),
        "output_layout": n.MemoryLayout.of(*outputs),
        "input_shape": list(inputs),
    }


def check_layer(index: int, layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` with arrays, and its shapes checked."""
    cell = layer.get("cell")
    if cell not in GATES:
        raise KwsError(f"Layer {index + 1} is a {cell!r}; an .ell file is available for {' and '.join(GATES)}.")
    arrays = {key: np.asarray(layer[key], np.float32) for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    hidden = arrays["weight_hh"].shape[1]
    rows = len(GATES[cell]) * hidden
    expected = {"weight_ih": (rows, arrays["weight_ih"].shape[1]), "weight_hh": (rows, hidden)}
    for key, array in arrays.items():
        if array.shape != expected.get(key, (rows,)):
            raise KwsError(
                f"Layer {index + 1}: {key} has the shape {array.shape} where a {cell} of {hidden} units needs "
                f"{expected.get(key, (rows,))}."
            )
    return {"cell": cell, **arrays}


def _recurrent(builder: ModelBuilder, source: str, name: str, layer: Mapping[str, Any], trigger: str) -> str:
    order = GATES[layer["cell"]]
    weights = [
        np.concatenate([np.split(layer[key], len(order))[gate] for gate in order])
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return add_recurrent(builder, source, name, layer["cell"], weights, trigger)
