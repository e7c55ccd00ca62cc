from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import hnswlib
import numpy as np
import pytest

from lightpool_core.arrays import Embeddings
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.hnsw import NeighbourIndex, cached_index
from lightpool_core.selection.in_order import in_order
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from tests.strategies import distance_matrix, unit_vectors

ROWS = unit_vectors(400, 8, "clusters")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_it_serves(rows: Embeddings, folder: Path) -> None:
    """Its answers are rows, mostly the nearest, and what lies on disk covers all rows."""
    index = cached_index(rows, folder)
    assert index.graph.get_current_count() == len(rows)
    found = index.neighbours(rows)
    assert found.dtype == np.int64
    assert ((found >= 0) & (found < len(rows))).all()
    assert (np.linalg.norm(rows[found] - rows, axis=1) < 1e-3).mean() > 0.9
    assert json.loads((folder / "rows.json").read_text())["count"] == len(rows)
    assert sorted(files(folder)) == ["rows.hnsw", "rows.json"]


def test_an_index_is_made_and_then_loaded_as_it_lies(tmp_path: Path) -> None:
    assert_it_serves(ROWS, tmp_path / "index")
    before = files(tmp_path / "index")
    assert_it_serves(ROWS, tmp_path / "index")
    assert files(tmp_path / "index") == before


def test_a_single_row_and_exact_duplicates_can_be_indexed(tmp_path: Path) -> None:
    assert cached_index(ROWS[:1], tmp_path).neighbours(ROWS[:5]).tolist() == [0] * 5


def test_a_grown_pool_catches_up(tmp_path: Path) -> None:
    cached_index(ROWS[:100], tmp_path)
    assert_it_serves(ROWS, tmp_path)


def test_a_pool_that_went_back_gets_an_index_of_its_own(tmp_path: Path) -> None:
    cached_index(ROWS, tmp_path)
    assert_it_serves(ROWS[:100].copy(), tmp_path)


def test_rows_of_a_larger_array_can_be_indexed(tmp_path: Path) -> None:
    assert_it_serves(np.concatenate([ROWS, ROWS])[100:300], tmp_path)
    assert_it_serves(np.asfortranarray(ROWS), tmp_path)


def cut_graph(folder: Path) -> None:
    content = (folder / "rows.hnsw").read_bytes()
    (folder / "rows.hnsw").write_bytes(content[: len(content) // 2])


def flip_graph(folder: Path) -> None:
    content = bytearray((folder / "rows.hnsw").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / "rows.hnsw").write_bytes(bytes(content))


def without_graph(folder: Path) -> None:
    (folder / "rows.hnsw").unlink()


def without_header(folder: Path) -> None:
    (folder / "rows.json").unlink()


def cut_header(folder: Path) -> None:
    (folder / "rows.json").write_text((folder / "rows.json").read_text()[:20])


def header_of_another_kind(folder: Path) -> None:
    (folder / "rows.json").write_text("[1, 2]")


def header_not_in_unicode(folder: Path) -> None:
    (folder / "rows.json").write_bytes(b"\xff\xfe{")


def changed(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        header = json.loads((folder / "rows.json").read_text())
        (folder / "rows.json").write_text(json.dumps({**header, **values}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        cut_graph,
        flip_graph,
        without_graph,
        without_header,
        cut_header,
        header_of_another_kind,
        header_not_in_unicode,
        changed(format=0),
        changed(space="ip"),
        changed(dim=7),
        changed(count=10**9),
        changed(count=0),
        changed(count=-1),
        changed(count="400"),
        changed(count=True),
        changed(count=399.5),
        changed(rows=""),
    ],
)
def test_whatever_does_not_fit_is_built_anew(damage: Callable[[Path], None], tmp_path: Path) -> None:
    cached_index(ROWS, tmp_path)
    damage(tmp_path)
    assert_it_serves(ROWS, tmp_path)


@pytest.mark.parametrize("other", [unit_vectors(400, 8, seed=9), unit_vectors(400, 5, seed=9)])
def test_an_index_over_other_rows_of_the_same_count_is_replaced(other: Embeddings, tmp_path: Path) -> None:
    cached_index(other, tmp_path)
    assert_it_serves(ROWS, tmp_path)


def test_an_index_whose_graph_was_swapped_is_replaced(tmp_path: Path) -> None:
    cached_index(ROWS, tmp_path / "a")
    cached_index(unit_vectors(400, 8, seed=9), tmp_path / "b")
    (tmp_path / "b" / "rows.hnsw").replace(tmp_path / "a" / "rows.hnsw")
    assert_it_serves(ROWS, tmp_path / "a")


def test_a_witness_is_never_wrong(tmp_path: Path) -> None:
    queries = unit_vectors(300, 8, "clusters", seed=5)
    near = distance_matrix(queries, ROWS).min(axis=1)
    proven = ArrayView(ROWS, cached_index(ROWS, tmp_path)).proven_closer(queries, 0.5)
    assert (near[proven] < 0.5).all()
    assert proven.sum() >= 0.9 * (near < 0.5).sum()


@pytest.mark.parametrize("kind", ["spread", "clusters", "duplicates"])
@pytest.mark.parametrize("distance", [None, 0.05, 0.6])
def test_results_with_an_index_are_those_without(kind: str, distance: float | None, tmp_path: Path) -> None:
    pool, candidates = unit_vectors(500, 8, kind, seed=1), unit_vectors(200, 8, kind, seed=2)
    candidates[:50] = pool[:50]
    plain, indexed = ArrayView(pool), ArrayView(pool, cached_index(pool, tmp_path))
    stop, order = Stop(min_distance=distance), np.random.default_rng(0).permutation(200)
    for choose in (farthest_first, lambda rows, view, stop: in_order(rows, order, view, stop)):
        expected, found = choose(candidates, plain, stop), choose(candidates, indexed, stop)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_thousands_of_exact_duplicates_first_change_no_result(tmp_path: Path) -> None:
    pool = np.concatenate([np.repeat(unit_vectors(1, 8), 5000, axis=0), unit_vectors(300, 8, seed=1)])
    candidates = np.concatenate([pool[4990:5200], unit_vectors(50, 8, seed=2)])
    indexed = ArrayView(pool, cached_index(pool, tmp_path))
    expected = farthest_first(candidates, ArrayView(pool), Stop(min_distance=0.1))
    found = farthest_first(candidates, indexed, Stop(min_distance=0.1))
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert found.indices.min() >= 210


def test_what_the_index_misses_is_found_exactly() -> None:
    """The worst index there is: it always answers with the same row."""
    pool, candidates = unit_vectors(50, 8), unit_vectors(60, 8, seed=1)
    graph = hnswlib.Index(space="l2", dim=8)
    graph.init_index(max_elements=1)
    graph.add_items(pool[:1])
    for distance in (0.1, 0.7, 1.0):
        expected = farthest_first(candidates, ArrayView(pool), Stop(min_distance=distance))
        found = farthest_first(candidates, ArrayView(pool, NeighbourIndex(graph)), Stop(min_distance=distance))
        np.testing.assert_array_equal(found.indices, expected.indices)
