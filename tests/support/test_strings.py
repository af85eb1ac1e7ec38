"""Columns of strings: the same as lists of bytes, in a fraction of their memory."""

import random

import numpy as np
import pytest

from kws.support import strings
from kws.support.strings import Strings


@pytest.fixture(params=[7, 1 << 16])
def many(request, monkeypatch):
    """Some bytes of any kind, with blocks of a few and of all of them."""
    monkeypatch.setattr(strings, "BLOCK", request.param)
    draw = random.Random(1)
    return [bytes(draw.choices(range(1, 256), k=draw.choice((0, 1, 7, 8, 9, 30)))) for _ in range(500)]


def test_a_sequence_of_bytes(many):
    found = Strings.of(many)
    assert list(found) == many
    assert (len(found), found[0], found[499], found[-1]) == (500, many[0], many[499], many[499])
    with pytest.raises(IndexError):
        found[500]
    part = found.part(100, 300)
    assert list(part) == many[100:300]
    assert part == Strings.of(many[100:300]) and part != found
    assert list(Strings.joined([part, found, Strings.of([])])) == many[100:300] + many
    chosen = np.random.default_rng(0).permutation(200)
    assert list(part.take(chosen)) == [many[100 + i] for i in chosen]
    assert list(part.take(chosen[:0])) == list(Strings.of([])) == list(Strings.joined([])) == []


def test_sorted_as_bytes_are(many):
    """Equal ones stay in the order that is given."""
    backwards = np.arange(500)[::-1]
    expected = sorted(range(500), key=lambda row: (many[row], -row))
    assert Strings.of(many).order(backwards).tolist() == expected


def test_hashes_follow_from_the_bytes_alone(many):
    found = Strings.of(many)
    hashes = found.hashes()
    assert len(np.unique(hashes)) == len(set(many))
    np.testing.assert_array_equal(found.part(100, 300).hashes(), hashes[100:300])
    np.testing.assert_array_equal(found.take(np.arange(500)[::-1]).hashes(), hashes[::-1])
    assert Strings.of([b"ab"]).hashes() != Strings.of([b"ba"]).hashes()


def test_eight_bytes_a_string_beside_its_own(many):
    assert Strings.of(many).nbytes == sum(map(len, many)) + 8 * 501
