"""Confusion of many words: counted, written, read again and drawn without a matrix of all of them."""

import json

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from kws.evaluation import confusion
from kws.evaluation.clips import ClipMeter
from kws.evaluation.report import write_report
from kws.evaluation.stream.modes import share_of
from kws.runs import pictures, summary

MANY = 20_000


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(7, (2, 5), generator=generator) for _ in range(9)]


@pytest.mark.parametrize("together", [2, 256])
def test_counts_as_torchmetrics_does(batches, together, monkeypatch):
    monkeypatch.setattr(confusion, "TOGETHER", together)
    theirs, mine = MulticlassConfusionMatrix(7), confusion.PairMeter(7)
    for given, true in batches:
        theirs.update(given, true)
        mine.update(given, true)
        np.testing.assert_array_equal(mine.pairs().matrix(), theirs.compute().numpy())
    mine.reset()
    assert not len(mine.pairs().count)
    mine.update(torch.tensor([3, 3]), torch.tensor([2, 2]))
    assert mine.pairs().matrix()[2, 3] == 2


def test_what_is_written_is_read_again(batches):
    given, true = torch.cat(batches, dim=1).numpy()
    for size in (7, MANY):
        pairs = confusion.PairCounts.of(true, given, size)
        labels = [f"word{number}" for number in range(size)]
        facts = json.loads(json.dumps(confusion.described(pairs, labels)))
        again = confusion.read(facts["confusion"], size)
        for name in ("row", "column", "count"):
            np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
        word, taken_for, clips = facts["most_confused"][0]
        assert ((true == labels.index(word)) & (given == labels.index(taken_for))).sum() == clips


def test_twenty_thousand_words(tmp_path):
    """A matrix of them would be 3.2 GB."""
    labels = tuple(f"word{number}" for number in range(MANY))
    meter = ClipMeter(labels)
    true = torch.arange(MANY)
    given = torch.where(true < 50, (true + 1) % 50, true)
    for start in range(0, MANY, 500):
        chosen = slice(start, start + 500)
        meter.update(torch.nn.functional.one_hot(given[chosen], MANY).float(), true[chosen])
    results = meter.results()
    assert results["accuracy"] == (MANY - 50) / MANY
    assert results["per_word"]["word49"] == 0 and results["per_word"]["word50"] == 1
    assert len(json.dumps(results)) < 3e6
    pairs = confusion.read(results["confusion"], MANY)
    figure = pictures.confusion(pairs, labels, "test split")
    assert "the 60 words that are confused most, 19,940 are left out" in figure.axes[0].get_title()
    shown = {label.get_text() for label in figure.axes[0].get_xticklabels()}
    assert shown >= set(labels[:50]) and len(shown) == 60
    assert max(figure.get_size_inches()) < 30
    reset = {"definitions": {}, "per_word": {word: share_of(int(i > 40), 1) for i, word in enumerate(labels)}}
    evaluation = {"split": "testing", "corpus": {"name": "many"}, "left_out": {}, "clips": results}
    write_report(tmp_path / "report.html", {**evaluation, "streaming": {"definitions": {}, "reset": reset}}, {})
    text = (tmp_path / "report.html").read_text()
    assert "The 200 worst of 20,000 words" in text and "Confused most" in text
    assert len(text) < 1e5
    summary.show_evaluation(evaluation, tmp_path)


def test_tables_name_the_worst_first(capsys, tmp_path):
    labels = [f"word{number}" for number in range(70)]
    clips = {
        "accuracy": 0.5, "interval": [0.4, 0.6], "clips": 70, "clips_per_word": dict.fromkeys(labels, 1),
        "per_word": {word: number / 70 for number, word in enumerate(labels)},
    }  # fmt: skip
    left_out = {f"other{number}": 1 for number in range(100)}
    evaluation = {"split": "testing", "corpus": {"name": "many"}, "left_out": left_out, "clips": clips}
    summary.show_evaluation(evaluation, tmp_path)
    printed = capsys.readouterr().out
    assert "word59 " in printed and "word60 " not in printed and "10 more words" in printed
    assert "40 more" in printed and "other60" not in printed
