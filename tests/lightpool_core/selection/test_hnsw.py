from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightpool_core.arrays import Embeddings
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.hnsw import NeighbourIndex
from lightpool_core.selection.in_order import in_order
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from tests.strategies import KINDS, distance_matrix, textbook_greedy, unit_vectors

ROWS = unit_vectors(400, 8, "clusters")


def assert_it_serves(index: NeighbourIndex, rows: Embeddings, cells: Cells) -> None:
    """Its answers are rows, mostly the nearest."""
    assert len(index) == len(rows)
    found = index.neighbours(cells.prefixes_of(rows))
    assert found.dtype == np.int64
    assert found.shape == (len(rows), min(2, len(rows)))
    assert ((found >= 0) & (found < len(rows))).all()
    own = np.linalg.norm(rows[found] - rows[:, None], axis=2).min(axis=1)
    assert (own < 1e-3).mean() > 0.9


@pytest.mark.parametrize("dim", [3, 64, 100, 200])
def test_it_proposes_near_rows_by_their_prefixes(dim: int) -> None:
    rows = unit_vectors(500, dim, "walk")
    cells = Cells.over(rows)
    assert_it_serves(NeighbourIndex.over(cells), rows, cells)


def test_a_grown_index_proposes_new_rows_too() -> None:
    cells = Cells.over(ROWS[:100])
    index = NeighbourIndex.over(cells)
    for n in (101, 250, 400):
        cells = cells.extended(ROWS[:n])
        index = index.caught_up(cells)
        assert_it_serves(index, ROWS[:n], cells)


@pytest.mark.parametrize("dim", [8, 200])
def test_what_was_saved_is_loaded_and_grows(dim: int, tmp_path: Path) -> None:
    rows = unit_vectors(400, dim, "clusters")
    cells = Cells.over(rows[:300])
    index = NeighbourIndex.over(cells)
    index.save(tmp_path / "graph")
    again = NeighbourIndex.load(tmp_path / "graph", cells, 300)
    prefixes = cells.prefixes_of(rows)
    np.testing.assert_array_equal(again.neighbours(prefixes), index.neighbours(prefixes))
    longer = cells.extended(rows)
    assert_it_serves(again.caught_up(longer), rows, longer)


def test_a_file_that_holds_other_rows_or_nothing_is_refused(tmp_path: Path) -> None:
    cells = Cells.over(ROWS)
    NeighbourIndex.over(cells).save(tmp_path / "graph")
    with pytest.raises(ValueError, match="holds 400 rows, not 399"):
        NeighbourIndex.load(tmp_path / "graph", cells, 399)
    content = (tmp_path / "graph").read_bytes()
    for damaged in (b"", content[:50], content[:-1], content + b"more"):
        (tmp_path / "graph").write_bytes(damaged)
        with pytest.raises((ValueError, RuntimeError)):
            NeighbourIndex.load(tmp_path / "graph", cells, 400)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_rows_can_be_indexed(n: int) -> None:
    cells = Cells.over(ROWS[:n])
    found = NeighbourIndex.over(cells).neighbours(cells.prefixes_of(ROWS[:5]))
    assert found.shape == (5, min(2, n))
    assert set(found.ravel().tolist()) <= set(range(n))


def test_many_duplicates_can_be_indexed_and_asked_for() -> None:
    same = np.repeat(unit_vectors(1, 8), 4000, axis=0)
    rows = np.concatenate([same, unit_vectors(50, 8, seed=1), same])
    cells = Cells.over(rows[:3000])
    index = NeighbourIndex.over(cells)
    for n in (4020, len(rows)):
        cells = cells.extended(rows[:n])
        index = index.caught_up(cells)
        found = index.neighbours(cells.prefixes_of(rows[3990:4100]))
        assert ((found >= 0) & (found < n)).all()


def test_what_it_proposes_proves_most_rejections() -> None:
    queries = unit_vectors(300, 8, "clusters", seed=5)
    queries[::2] = ROWS[:150]
    cells = Cells.over(ROWS)
    proposed, _ = ArrayView(ROWS, NeighbourIndex.over(cells), cells).near(queries)
    true = distance_matrix(queries, ROWS).min(axis=1)
    assert (proposed >= true).all()
    assert (proposed < 0.5).sum() >= 0.95 * (true < 0.5).sum() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [None, 0.6])
def test_picks_with_an_index_are_those_without(kind: str, distance: float | None) -> None:
    pool, candidates = unit_vectors(500, 8, kind, seed=1), unit_vectors(200, 8, kind, seed=2)
    candidates[:50] = pool[:50]
    cells = Cells.over(pool)
    plain, indexed = ArrayView(pool), ArrayView(pool, NeighbourIndex.over(cells), cells)
    stop, order = Stop(min_distance=distance), np.random.default_rng(0).permutation(200)
    for choose in (farthest_first, lambda rows, view, stop: in_order(rows, order, view, stop)):
        expected, found = choose(candidates, plain, stop), choose(candidates, indexed, stop)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_thousands_of_exact_duplicates_first_change_no_pick() -> None:
    pool = np.concatenate([np.repeat(unit_vectors(1, 8), 5000, axis=0), unit_vectors(300, 8, seed=1)])
    candidates = np.concatenate([pool[4990:5200], unit_vectors(50, 8, seed=2)])
    cells = Cells.over(pool)
    found = farthest_first(candidates, ArrayView(pool, NeighbourIndex.over(cells), cells), Stop(min_distance=0.1))
    picks, _ = textbook_greedy(candidates, pool, Stop(min_distance=0.1))
    assert found.indices.tolist() == picks
    assert found.indices.min() >= 210
