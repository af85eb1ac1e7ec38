"""Words and paths with brackets and dollar signs, on the console and in pictures; and a picture that fails."""

import io

import numpy as np
import pytest

from kws.runs import pictures, summary
from kws.support.errors import KwsError
from kws.support.pair_counts import PairCounts
from kws.support.pictures import plain, without_harm

ODD = ["[red]", "a[/]b", "$x$", "$100", "\\alpha", "^_{", ":smile:", "_unknown_"]


def test_words_are_printed_as_they_are_written(tmp_path):
    part = {"accuracy": 0.5, "interval": [0.4, 0.6], "clips": 4, "per_word": dict.fromkeys(ODD[:3], 0.5)}
    results = {
        "choices": {"model": "gru"}, "corpus": {"name": "[blue] $1 :smile:", "refused": []}, "test": part,
        "validation": part, "parameters": 3, "training": {"epochs": 1, "seconds": 2.0}, "parity": {}, "native": {},
        "exports": {}, "streams": True,
    }  # fmt: skip
    console = summary.make_console()
    console.file = io.StringIO()
    summary.show_run(results, tmp_path, console)
    for word in (*ODD[:3], "[blue] $1 :smile:"):
        assert word in console.file.getvalue()


def test_words_are_drawn_as_they_are_written():
    counts = PairCounts.dense(np.eye(len(ODD), dtype=int))
    figure = pictures.confusion(counts, ODD, "test split of $a$ [b]")
    figure.savefig(io.BytesIO(), format="png")
    pictures.features(np.zeros((4, 3)), 0.03, "$x (clean)$").savefig(io.BytesIO(), format="png")
    assert plain("$x$ and $") == r"\$x\$ and \$"


def test_a_picture_that_fails_is_said_and_stops_nothing(capsys):
    with without_harm("confusion.png"):
        raise ValueError("no\nfont")
    assert capsys.readouterr().out == "confusion.png is left out (ValueError: no font).\n"
    with pytest.raises(KwsError, match="a mistake"), without_harm("vad.png"):
        raise KwsError("a mistake of the user's")
    with pytest.raises(KeyboardInterrupt), without_harm("vad.png"):
        raise KeyboardInterrupt
