import xml.etree.ElementTree

import pytest

from kws.ell import archive, build, graph
from kws.program import drawing
from kws.support.errors import KwsError
from tests.ell.facts import VAD, Network, featurizer_steps
from tests.ell.vectors import FASTGRNNS


def with_vad():
    return build.classifier(**Network("gru", (6, 4)).facts(), vad=VAD)


def test_dot_shows_nodes_sizes_and_reset_wires():
    text = graph.dot(with_vad())
    assert text.startswith("digraph")
    assert "GRU 7 → 6, 270 weights" in text  # 3 · 6 · (7 + 6 + 2)
    assert "VAD of 7 features, 32 ms" in text
    assert "FullyConnected 4 → 5, 20 weights" in text
    resets = [line for line in text.split("\n") if 'label="reset"' in line]
    assert len(resets) == 2
    assert all(drawing.RESET_COLOUR in line for line in resets)


@pytest.mark.parametrize(("name", "weights"), [("full_vad", 67), ("lowrank_vad", 64)])
def test_a_fastgrnn_is_drawn_as_the_other_layers_are(name, weights):
    boxes = graph.boxes(archive.read(next(path for path in FASTGRNNS if path.parent.name == name)))
    assert len(boxes) == 8  # input, flat view, VAD, FastGRNN, linear, bias, softmax, output
    (box,) = (box for box in boxes if box.colour == drawing.STATEFUL)
    # 5 · 6 + 5 · 5, or the factors 2 · 6 + 5 · 2 + 3 · 5 + 5 · 3; then two biases, zeta, nu. No placeholders.
    assert box.lines[1] == f"FastGRNN 6 → 5, {weights} weights"
    assert [reset for _, reset in box.sources] == [False, True]


def test_constants_are_no_boxes_and_every_box_is_reached():
    boxes = graph.boxes(with_vad())
    assert len(boxes) == 11  # input, flat view, VAD, subtract, divide, 2 GRU, linear, bias, softmax, output
    assert [box.id for box in boxes if not box.sources] == [boxes[0].id]
    assert all(len(box.lines) <= 2 for box in boxes)


@pytest.mark.parametrize("model", [with_vad(), build.featurizer(featurizer_steps()), build.vad(VAD, 40)])
def test_svg_is_the_same_every_time_and_names_every_node(model, tmp_path):
    graph.write(model, tmp_path / "a.svg")
    graph.write(model, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    xml.etree.ElementTree.fromstring(text)
    for box in graph.boxes(model):
        assert box.lines[0] in text
    assert (drawing.RESET_COLOUR in text) == (model.vad is not None)


def test_png_and_dot_are_written(tmp_path):
    graph.write(with_vad(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    graph.write(with_vad(), tmp_path / "a.dot")
    assert (tmp_path / "a.dot").read_text() == graph.dot(with_vad())


def test_boxes_do_not_overlap():
    for model in (with_vad(), build.classifier(**Network("lstm", (6, 6, 5)).facts(normalized=False), vad=VAD)):
        place = drawing.places(graph.boxes(model))
        assert len(set(place.values())) == len(place)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(KwsError, match=r"\.dot, \.svg or \.png"):
        graph.write(with_vad(), tmp_path / "a.pdf")
