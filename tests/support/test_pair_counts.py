"""Counts of pairs: those of a matrix, and which classes of many are worth a look."""

import numpy as np

from kws.support.pair_counts import PairCounts


def test_as_a_matrix_has_them():
    random = np.random.default_rng(0)
    rows, columns = random.integers(7, size=(2, 300))
    matrix = np.zeros((7, 7), np.int64)
    np.add.at(matrix, (rows, columns), 1)
    pairs = PairCounts.of(rows, columns, 7)
    np.testing.assert_array_equal(pairs.matrix(), matrix)
    np.testing.assert_array_equal(pairs.matrix([5, 2]), matrix[np.ix_([5, 2], [5, 2])])
    np.testing.assert_array_equal(pairs.row_totals, matrix.sum(1))
    np.testing.assert_array_equal(pairs.diagonal, matrix.diagonal())
    for other in (PairCounts.dense(matrix.tolist()), PairCounts.of(pairs.row, pairs.column, 7, pairs.count)):
        np.testing.assert_array_equal(other.matrix(), matrix)
    worst = pairs.confused()
    assert (np.diff(pairs.count[worst]) <= 0).all()
    assert pairs.count[worst].sum() == matrix.sum() - matrix.trace()


def test_classes_that_matter():
    pairs = PairCounts.of([0, 3, 3, 5, 5, 5, 8], [0, 9, 9, 5, 5, 5, 1], 10_000)
    assert pairs.that_matter(2).tolist() == [3, 9]
    assert pairs.that_matter(4).tolist() == [1, 3, 8, 9]
    assert pairs.that_matter(6).tolist() == [0, 1, 2, 3, 8, 9]
    assert pairs.that_matter(10_000).tolist() == list(range(10_000))
    assert PairCounts.of([], np.zeros(0, np.int64), 5).that_matter(3).tolist() == [0, 1, 2]
