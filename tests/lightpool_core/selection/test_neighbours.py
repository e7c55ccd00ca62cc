from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.errors import SettingsError
from lightpool_core.selection import neighbours as module
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.hnsw import NeighbourIndex
from lightpool_core.selection.neighbours import ArrayView
from tests.strategies import KINDS, assert_exact, distance_matrix, problems, squares_to, unit_vectors

Problem = tuple[Embeddings, Embeddings]


@dataclass(frozen=True)
class RandomProposals:
    """The worst index there is: it proposes any rows."""

    n_rows: int
    columns: int = 2

    def neighbours(self, prefixes: Embeddings) -> Rows:
        return np.random.default_rng(0).integers(0, self.n_rows, (len(prefixes), self.columns))


class NoProposals:
    """An index in pieces, which has nothing to propose."""

    def neighbours(self, prefixes: Embeddings) -> None:
        return None


def views(rows: Embeddings) -> list[ArrayView]:
    """Every way to look at the same rows."""
    if not len(rows):
        return [ArrayView(rows)]
    cells = Cells.over(rows)
    poor = RandomProposals(len(rows)), RandomProposals(len(rows), 1), NoProposals()
    return [ArrayView(rows), *(ArrayView(rows, index, cells) for index in (None, NeighbourIndex.over(cells), *poor))]


@settings(deadline=None, max_examples=60)
@given(problems(dims=st.sampled_from([1, 2, 5, 30, 200])))
def test_the_nearest_is_the_lowest_row_at_the_smallest_distance(problem: Problem) -> None:
    queries, rows = problem
    for view in views(rows):
        assert_exact(view, view.rows, queries)


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from([0.0, 1e-9, 0.2, 1.0, 2.0, 9.0, np.inf]), st.integers(0, 99))
def test_within_a_distance_only_what_is_closer_is_found(problem: Problem, within: float, seed: int) -> None:
    queries, rows = problem
    rng = np.random.default_rng(seed)
    for view in views(rows):
        assert_exact(view, view.rows, queries, within)
        assert_exact(view, view.rows, queries, rng.choice([0, 0.1, within, 1.5, np.inf], len(queries)))


@settings(deadline=None, max_examples=60)
@given(problems())
def test_a_row_at_exactly_the_distance_is_not_closer_than_it(problem: Problem) -> None:
    queries, rows = problem
    if not len(rows):
        return
    exactly = distance_matrix(queries, rows).min(axis=1)
    for view in views(rows):
        assert view.nearest(queries, exactly)[1].tolist() == [-1] * len(queries)
        assert_exact(view, view.rows, queries, exactly)
        above = np.nextafter(exactly, 9)
        np.testing.assert_array_equal(view.nearest(queries, above)[0], exactly)
        assert_exact(view, view.rows, queries, above)


@settings(deadline=None, max_examples=40)
@given(problems())
def test_a_proposal_is_a_row_with_its_true_distance(problem: Problem) -> None:
    queries, rows = problem
    for view in views(rows):
        distances, found = view.near(queries)
        assert (distances.dtype, found.dtype) == (np.float64, np.int64)
        if len(rows):
            own = [np.sqrt(squares_to(rows[[row]], query)[0]) for query, row in zip(queries, found, strict=True)]
            assert distances.tolist() == own
        else:
            assert np.isinf(distances).all()
            assert (found == -1).all()


def test_many_rows_are_sorted_into_cells_when_they_are_first_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit_vectors(600, 150, "walk")
    assert ArrayView(rows, device="cpu").cells is None
    monkeypatch.setattr(module, "_WORTH_CELLS", 600)
    view = ArrayView(rows, device="cpu")
    assert "cells" not in vars(view)
    assert_exact(view, view.rows, unit_vectors(20, 150, "walk", seed=1), 1.0)
    assert view.cells is view.cells is not None
    assert ArrayView(rows[:599], device="cpu").cells is None


@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_rows_are_searched_in_cells(kind: str) -> None:
    rows = unit_vectors(17_000, 24, kind)
    view = ArrayView(rows, device="cpu")
    assert view.cells is not None
    queries = np.concatenate([rows[::1700], unit_vectors(10, 24, kind, seed=1), -rows[:2]])
    for within in (None, 0.3):
        assert_exact(view, view.rows, queries, within)


def test_more_queries_and_rows_than_a_block_change_nothing() -> None:
    queries, rows = unit_vectors(4100, 2), unit_vectors(4200, 2, seed=1)
    distances, found = ArrayView(rows).nearest(queries)
    for start in range(0, 4100, 500):
        plain = distance_matrix(queries[start : start + 3], rows)
        np.testing.assert_array_equal(found[start : start + 3], plain.argmin(axis=1))
        np.testing.assert_array_equal(distances[start : start + 3], plain.min(axis=1))


@pytest.mark.parametrize("dim", [8, 150])
def test_thousands_of_exact_duplicates_first_change_nothing(dim: int) -> None:
    rows = np.concatenate([np.repeat(unit_vectors(1, dim), 3000, axis=0), unit_vectors(200, dim, seed=1)])
    queries = np.concatenate([rows[2995:3005], unit_vectors(6, dim, seed=2)])
    for view in views(rows):
        assert_exact(view, view.rows, queries)
        assert_exact(view, view.rows, queries, 0.1)


def test_blocks_are_all_rows_in_order() -> None:
    rows = unit_vectors(9000, 2)
    blocks = list(ArrayView(rows).blocks())
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), rows)


def test_a_view_knows_its_size() -> None:
    view = ArrayView(np.empty((0, 5), np.float32))
    assert (len(view), view.dim) == (0, 5)


def test_rows_in_a_memory_map_are_searched_where_they_lie(tmp_path) -> None:
    rows = unit_vectors(700, 16, "clusters")
    rows.tofile(tmp_path / "rows")
    for view in views(np.memmap(tmp_path / "rows", np.float32, "r", shape=(700, 16))):
        assert_exact(view, view.rows, rows[::20])


def test_a_device_that_is_not_there_is_refused() -> None:
    view = ArrayView(unit_vectors(3, 2), device="nowhere")
    with pytest.raises(SettingsError, match="nowhere"):
        view.nearest(unit_vectors(1, 2))
