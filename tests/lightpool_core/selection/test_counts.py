from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.selection.counts import Counts
from tests.plain_greedy import full

TABLES = st.integers(0, 2**32 - 1).map(lambda seed: tables(np.random.default_rng(seed)))


def tables(rng: np.random.Generator) -> np.ndarray:
    n, c = rng.integers(0, 9), rng.integers(0, 5)
    return rng.integers(0, 3, (n, c)) * (rng.random((n, c)) < 0.5) * 0.5


def counts(table: np.ndarray) -> Counts:
    return Counts.of_table(tuple("abcdefgh"[: table.shape[1]]), table)


@settings(deadline=None)
@given(TABLES)
def test_a_sparse_table_is_the_full_one(table: np.ndarray) -> None:
    sparse = counts(table)
    np.testing.assert_array_equal(full(sparse), table)
    np.testing.assert_allclose(sparse.by_category(), table.sum(axis=0))
    np.testing.assert_allclose(sparse.by_sample(), table.sum(axis=1))
    some = np.arange(0, len(table), 2)
    np.testing.assert_allclose(sparse.by_category(some), table[some].sum(axis=0))
    np.testing.assert_array_equal(full(sparse.times(3)), table * 3)
    for sample, row in enumerate(table):
        pairs = sparse.row(sample)
        assert dict(zip(sparse.columns[pairs], sparse.values[pairs], strict=True)) == {
            i: v for i, v in enumerate(row) if v
        }


@settings(deadline=None)
@given(TABLES)
def test_distinct_rows_lead_back_to_all_rows(table: np.ndarray) -> None:
    distinct, which = counts(table).distinct()
    np.testing.assert_array_equal(full(distinct)[which], table)
    assert distinct.n == len({tuple(row) for row in table.tolist()})
    assert np.all(np.diff(distinct.rows) >= 0)


@settings(deadline=None)
@given(TABLES)
def test_categories_that_become_one_are_summed_up(table: np.ndarray) -> None:
    new = [i % 2 for i in range(table.shape[1])]
    merged = counts(table).recast(("even", "odd"), new)
    expected = np.column_stack([table[:, 0::2].sum(axis=1), table[:, 1::2].sum(axis=1)])
    np.testing.assert_allclose(full(merged), expected)


def test_names_are_sorted_categories_and_no_name_is_nothing() -> None:
    found = Counts.of_names(["b", None, "a", "b"])
    assert found.categories == ("a", "b")
    assert full(found).tolist() == [[0, 1], [0, 0], [1, 0], [0, 1]]
    assert Counts.of_names([None]).categories == ()


@pytest.mark.parametrize("n", [0, 3])
def test_of_nothing_there_is_one_distinct_row_at_most(n: int) -> None:
    distinct, which = Counts.of_names([None] * n).distinct()
    assert distinct.n == min(n, 1)
    assert which.tolist() == [0] * n
