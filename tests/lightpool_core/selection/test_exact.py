from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection import exact
from lightpool_core.selection.exact import in_blocks, lowered, nearest_of_pairs, squared_distances, squares_of_pairs
from tests.strategies import distance_matrix, problems, squares_to, unit_vectors

Problem = tuple[Embeddings, Embeddings]


@settings(deadline=None, max_examples=50)
@given(problems())
def test_squared_distances_are_those_of_the_differences_but_for_the_last_digits(problem: Problem) -> None:
    a, b = problem
    squares = squared_distances(a, b)
    assert squares.shape == (len(a), len(b))
    assert squares.min(initial=0) >= 0
    np.testing.assert_allclose(squares, distance_matrix(a, b) ** 2, atol=1e-13)


@settings(deadline=None, max_examples=50)
@given(problems(), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_squares_of_pairs_are_those_of_the_differences_to_the_last_bit(problem: Problem, size: int, seed: int) -> None:
    a, b = problem
    rng = np.random.default_rng(seed)
    n = 30 if len(a) and len(b) else 0
    i, j = rng.integers(0, max(1, len(a)), n), rng.integers(0, max(1, len(b)), n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_PAIRS_AT_ONCE", size)
        squares = squares_of_pairs(a, b, i, j)
    assert squares.tolist() == [squares_to(a[p : p + 1], b[q])[0] for p, q in zip(i, j, strict=True)]


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_nearest_of_pairs_is_the_lowest_of_the_nearest(
    problem: Problem, too_many: int, through: bool, seed: int
) -> None:
    a, b = problem
    rng = np.random.default_rng(seed)
    paired = rng.random((len(a), len(b))) < rng.random()
    i, j = paired.nonzero()
    where = rng.permutation(len(b)) if through else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_TOO_MANY", too_many)
        patch.setattr(exact, "_PAIRS_AT_ONCE", 7)
        at, squares, to = nearest_of_pairs(a, b, i, j, where)
    assert at.tolist() == np.flatnonzero(paired.any(axis=1)).tolist()
    for query, square, partner in zip(at, squares, to, strict=True):
        mine = np.flatnonzero(paired[query])
        plain = squares_to(b if where is None else b[where], a[query])
        assert square == plain[partner]
        if len(mine) <= too_many:
            assert (square, partner) == (plain[mine].min(), mine[plain[mine].argmin()])
        else:  # where there are many, it may be one of the pairs of another query, if that is nearer
            assert square <= plain[mine].min()


def one_step_apart(n: int, dim: int) -> Embeddings:
    """Rows that differ in one coordinate, by what float32 can tell."""
    rows, rng = np.repeat(unit_vectors(1, dim), n, axis=0), np.random.default_rng(0)
    at = np.arange(n), rng.integers(0, dim, size=n)
    rows[at] = np.nextafter(rows[at], rng.choice([-2, 2], size=n).astype(np.float32))
    return rows


@pytest.mark.parametrize("dim", [3, 64, 300])
@pytest.mark.parametrize("kind", ["duplicates", "jitter 1e-6", "jitter 1e-8", "grid", "one step apart"])
def test_thousands_of_partners_change_nothing(kind: str, dim: int) -> None:
    """What products in float64 cannot tell apart, differences do."""
    b = one_step_apart(3000, dim) if kind == "one step apart" else unit_vectors(3000, dim, kind)
    a = np.concatenate([b[::300], unit_rows(b[:3] + np.float32(1e-6)), unit_vectors(3, dim, seed=1)])
    i, j = np.repeat(np.arange(len(a)), len(b)), np.tile(np.arange(len(b)), len(a))
    at, squares, to = nearest_of_pairs(a, b, i, j)
    plain = np.stack([squares_to(b, row) for row in a])
    assert at.tolist() == list(range(len(a)))
    assert squares.tolist() == plain.min(axis=1).tolist()
    assert to.tolist() == plain.argmin(axis=1).tolist()


def test_without_pairs_there_is_no_nearest() -> None:
    rows, none = unit_vectors(3, 2), np.empty(0, dtype=np.int64)
    assert [len(column) for column in nearest_of_pairs(rows, rows, none, none)] == [0, 0, 0]


def test_lower_squares_replace_higher_ones_and_lower_rows_equal_ones() -> None:
    squares, rows = np.array([1.0, 1.0, 1.0, 1.0, 1.0]), np.array([5, 5, 5, -1, 5])
    lowered(squares, rows, np.arange(5), np.array([0.5, 1.0, 1.0, 1.0, 2.0]), np.array([9, 3, 7, 8, 1]))
    assert squares.tolist() == [0.5, 1, 1, 1, 1]
    assert rows.tolist() == [9, 3, 5, 8, 5]


def test_blocks_are_all_rows_in_order() -> None:
    rows = unit_vectors(50, 2)
    blocks = list(in_blocks(rows, 7))
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(blocks), rows)
    assert all(np.shares_memory(block, rows) for block in blocks)
    assert list(in_blocks(rows[:0])) == []
