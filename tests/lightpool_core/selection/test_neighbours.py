from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from lightpool_core.arrays import Embeddings
from lightpool_core.selection.neighbours import ArrayView, in_blocks, nearest, squared_distances
from tests.strategies import distance_matrix, problems, unit_vectors

Problem = tuple[Embeddings, Embeddings]


@settings(deadline=None, max_examples=50)
@given(problems())
def test_squared_distances_are_those_of_the_differences(problem: Problem) -> None:
    a, b = problem
    squares = squared_distances(a, b)
    assert squares.shape == (len(a), len(b))
    assert squares.min(initial=0) >= 0
    np.testing.assert_allclose(squares, distance_matrix(a, b) ** 2, atol=1e-13)


@settings(deadline=None, max_examples=50)
@given(problems())
def test_nearest_is_exact_and_names_a_row_at_that_distance(problem: Problem) -> None:
    queries, rows = problem
    distances, found = nearest(queries, in_blocks(rows, 7))
    if not len(rows):
        assert np.isinf(distances).all()
        assert (found == -1).all()
        return
    table = distance_matrix(queries, rows)
    np.testing.assert_allclose(distances, table.min(axis=1, initial=np.inf), atol=1e-6)
    np.testing.assert_allclose(table[np.arange(len(queries)), found], table.min(axis=1, initial=np.inf), atol=1e-6)


def test_the_first_of_equally_near_rows_is_named_across_blocks() -> None:
    rows = np.repeat(unit_vectors(1, 4), 10, axis=0)
    _, found = nearest(rows[:2], in_blocks(rows, 3))
    assert found.tolist() == [0, 0]


def test_more_queries_and_rows_than_a_block_change_nothing() -> None:
    queries, rows = unit_vectors(4100, 2), unit_vectors(4200, 2, seed=1)
    distances, found = ArrayView(rows).nearest(queries)
    whole = squared_distances(queries, rows)
    np.testing.assert_array_equal(found, whole.argmin(axis=1))
    np.testing.assert_array_equal(distances, np.sqrt(whole.min(axis=1)))


def test_blocks_are_all_rows_in_order() -> None:
    rows = unit_vectors(9000, 2)
    blocks = list(ArrayView(rows).blocks())
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), rows)
    assert list(in_blocks(rows[:0])) == []


def test_a_view_knows_its_size() -> None:
    view = ArrayView(np.empty((0, 5), np.float32))
    assert (len(view), view.dim) == (0, 5)


@pytest.mark.parametrize("n_queries", [0, 3])
def test_without_an_index_nothing_is_proven(n_queries: int) -> None:
    rows = unit_vectors(5, 3)
    assert ArrayView(rows).proven_closer(rows[:n_queries], 2.0).tolist() == [False] * n_queries
