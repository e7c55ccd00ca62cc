from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, Rows, unit_rows
from lightpool_core.selection import exact
from lightpool_core.selection import farthest_first as module
from lightpool_core.selection import kept as kept_module
from lightpool_core.selection import picks as picks_module
from lightpool_core.selection import products as products_module
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.hnsw import NeighbourIndex
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.picks import Picks
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from tests.strategies import (
    counts,
    distance_matrix,
    distances,
    problems,
    stops,
    textbook_greedy,
    unit_vectors,
)

Problem = tuple[Embeddings, Embeddings]
KNOBS = {
    (module, "_BLOCK"): st.integers(1, 40),
    (module, "_SHARE"): st.integers(1, 16),
    (module, "_LEADERS"): st.integers(1, 8),
    (kept_module, "_EARLY"): st.integers(1, 8),
    (kept_module, "_LATE"): st.integers(1, 8),
    (kept_module, "_PAIRS"): st.sampled_from([1, 40, 1000]),
    (picks_module, "_AT_ONCE"): st.sampled_from([2, 5, 50]),
    (picks_module, "_SAMPLE"): st.integers(1, 8),
    (picks_module, "_DENSE"): st.sampled_from([0.05, 0.1, 0.5, 1.0]),
    (picks_module, "_PAIRS_AT_MOST"): st.sampled_from([3, 30, 1000]),
    (products_module, "_QUERIES_AT_ONCE"): st.sampled_from([2, 5, 50]),
    (products_module, "_ROWS_AT_ONCE"): st.sampled_from([2, 5, 50]),
    (products_module, "_FEW"): st.integers(0, 4),
    (exact, "_PAIRS_AT_ONCE"): st.sampled_from([3, 50]),
    (exact, "_TOO_MANY"): st.sampled_from([1, 5, 256]),
}
"""Sizes from which the search takes another way: small ones, so that few candidates take every way."""


class CoarseProducts(Products):
    """bfloat16 first, as on hardware that is fast in it."""

    def __init__(self, device: str = "auto") -> None:
        super().__init__(device, coarse=True)


def equals_the_textbook(found: Selection, candidates: Embeddings, pool: Embeddings, stop: Stop) -> None:
    picks, gained = textbook_greedy(candidates, pool, stop)
    assert found.indices.tolist() == picks
    assert found.distances.tolist() == np.array(gained, dtype=np.float32).tolist()


def on_circle(*degrees: float) -> Embeddings:
    angles = np.radians(degrees)
    return unit_rows(np.column_stack([np.cos(angles), np.sin(angles)]))


@settings(deadline=None, max_examples=50)
@given(problems(), stops())
def test_no_two_kept_are_closer_than_min_distance(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    picks = farthest_first(candidates, ArrayView(pool), stop).indices
    assert len(np.unique(picks)) == len(picks) <= stop.count(len(candidates))
    if stop.min_distance is None or not len(picks):
        return
    among = distance_matrix(candidates[picks], candidates[picks])[np.triu_indices(len(picks), 1)]
    assert among.min(initial=np.inf) >= stop.min_distance
    assert distance_matrix(candidates[picks], pool).min(initial=np.inf) >= stop.min_distance


@settings(deadline=None, max_examples=50)
@given(problems(), distances())
def test_every_rejected_candidate_has_a_kept_neighbour_closer_than_min_distance(
    problem: Problem, distance: float
) -> None:
    candidates, pool = problem
    picks = farthest_first(candidates, ArrayView(pool), Stop(min_distance=distance)).indices
    rejected = np.setdiff1d(np.arange(len(candidates)), picks)
    kept = np.concatenate([pool, candidates[picks]])
    if len(rejected):
        assert distance_matrix(candidates[rejected], kept).min(axis=1).max() < distance


@settings(deadline=None, max_examples=50)
@given(problems(), stops(), counts())
def test_fewer_samples_are_a_prefix(problem: Problem, stop: Stop, fewer: float) -> None:
    candidates, pool = problem
    longer = farthest_first(candidates, ArrayView(pool), Stop(min_distance=stop.min_distance))
    shorter = farthest_first(candidates, ArrayView(pool), Stop(fewer, stop.min_distance))
    n = min(Stop(fewer).count(len(candidates)), len(longer.indices))
    np.testing.assert_array_equal(shorter.indices, longer.indices[:n])
    np.testing.assert_array_equal(shorter.distances, longer.distances[:n])


@settings(deadline=None, max_examples=50)
@given(problems(), stops())
def test_distances_never_grow_along_the_picks(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    found = farthest_first(candidates, ArrayView(pool), stop).distances
    assert found.dtype == np.float32
    assert (found[1:] <= found[:-1]).all()
    assert np.isinf(found).sum() == (1 if len(found) and not len(pool) else 0)


@settings(deadline=None, max_examples=80)
@given(problems(), stops())
def test_it_picks_what_the_textbook_picks(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    equals_the_textbook(farthest_first(candidates, ArrayView(pool), stop), candidates, pool, stop)


@settings(deadline=None, max_examples=100)
@given(problems(most=60), stops(), st.booleans(), st.fixed_dictionaries(KNOBS))
def test_it_picks_what_the_textbook_picks_whichever_way_it_takes(
    problem: Problem, stop: Stop, coarse: bool, knobs: dict[tuple[Any, str], Any]
) -> None:
    candidates, pool = problem
    with pytest.MonkeyPatch.context() as patch:
        for (where, name), value in knobs.items():
            patch.setattr(where, name, value)
        if coarse:
            patch.setattr(module, "Products", CoarseProducts)
        found = farthest_first(candidates, ArrayView(pool), stop)
    equals_the_textbook(found, candidates, pool, stop)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Rows | slice]]:
    """What the picks said to matter, call by call."""
    answers: list[Rows | slice] = []
    plain = Picks.that_matter

    def that_matter(self: Picks, nearest: Rows, first: int) -> Rows | slice:
        answers.append(plain(self, nearest, first))
        return answers[-1]

    monkeypatch.setattr(Picks, "that_matter", that_matter)
    return answers


@pytest.mark.parametrize(
    ("kind", "n", "dim", "n_samples", "coarse"),
    [
        ("walk", 4000, 64, 700, False),
        ("walk", 2000, 256, 200, False),
        ("walk", 2500, 64, 500, True),
        ("clusters", 3000, 64, 700, False),
        ("jitter 1e-4", 2500, 64, 500, True),
    ],
)
def test_thousands_are_picked_from_as_by_the_textbook_and_most_picks_need_no_look(
    kind: str, n: int, dim: int, n_samples: int, coarse: bool, asked: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEADERS", 64)
    monkeypatch.setattr(kept_module, "_LATE", 32)
    if coarse:
        monkeypatch.setattr(module, "Products", CoarseProducts)
    candidates, none = unit_vectors(n, dim, kind), np.empty((0, dim), np.float32)
    found = farthest_first(candidates, ArrayView(none), Stop(n_samples))
    equals_the_textbook(found, candidates, none, Stop(n_samples))
    assert any(not isinstance(answer, slice) for answer in asked)


@pytest.mark.parametrize(
    ("kind", "pool_kind", "dim", "stop"),
    [
        ("walk", "walk", 64, Stop(300)),
        ("walk", "spread", 128, Stop(min_distance=0.6)),
        ("clusters", "clusters", 100, Stop(400, 0.1)),
        ("grid", "grid", 6, Stop()),
        ("jitter 1e-6", "jitter 1e-6", 64, Stop(500)),
        ("duplicates", "duplicates", 64, Stop(700)),
    ],
)
def test_beside_a_pool_thousands_are_picked_from_as_by_the_textbook(
    kind: str, pool_kind: str, dim: int, stop: Stop
) -> None:
    candidates, pool = unit_vectors(2000, dim, kind), unit_vectors(300, dim, pool_kind, seed=1)
    pool[:100] = candidates[500:600]
    equals_the_textbook(farthest_first(candidates, ArrayView(pool), stop), candidates, pool, stop)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_from_bfloat16_and_from_float32_get_along(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two picks that products found, the one found more coarsely may be the nearer one all the same."""
    monkeypatch.setattr(module, "Products", CoarseProducts)
    for where, name, value in ((module, "_BLOCK", 8), (module, "_LEADERS", 4), (products_module, "_FEW", 1)):
        monkeypatch.setattr(where, name, value)
    candidates, none = unit_vectors(150, 3, "walk", seed), np.empty((0, 3), np.float32)
    equals_the_textbook(farthest_first(candidates, ArrayView(none), Stop()), candidates, none, Stop())


class PoorView(ArrayView):
    """A pool that always proposes its first row."""

    def near(self, queries: Embeddings) -> tuple[np.ndarray, Rows]:
        return distance_matrix(queries, self.rows[:1])[:, 0], np.zeros(len(queries), dtype=np.int64)


@settings(deadline=None, max_examples=60)
@given(problems(), stops())
def test_a_pool_that_proposes_poorly_changes_no_pick(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    if len(pool):
        equals_the_textbook(farthest_first(candidates, PoorView(pool), stop), candidates, pool, stop)


@settings(deadline=None, max_examples=60)
@given(problems(), st.data())
def test_min_distance_at_exactly_a_distance_that_occurs_keeps_what_is_at_it(
    problem: Problem, data: st.DataObject
) -> None:
    candidates, pool = problem
    occurring = np.unique(distance_matrix(candidates, np.concatenate([candidates, pool])))
    occurring = occurring[(occurring >= 1e-5) & (occurring <= 2)]
    if not len(occurring):
        return
    exactly = float(data.draw(st.sampled_from(occurring.tolist())))
    for distance in (exactly, float(np.nextafter(exactly, 2))):
        stop = Stop(min_distance=distance)
        equals_the_textbook(farthest_first(candidates, ArrayView(pool), stop), candidates, pool, stop)


@settings(deadline=None, max_examples=40)
@given(problems(most=60), stops())
def test_however_the_pool_is_searched_the_picks_are_the_same(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    if not len(pool):
        return
    cells = Cells.over(pool)
    views = ArrayView(pool), ArrayView(pool, given_cells=cells), ArrayView(pool, NeighbourIndex.over(cells), cells)
    for view in views:
        equals_the_textbook(farthest_first(candidates, view, stop), candidates, pool, stop)


def test_ties_between_a_distance_to_the_pool_and_one_to_a_pick_go_to_the_lower_index() -> None:
    """The root of 2, squared, is more than 2: no such square may decide."""
    axes = np.eye(5, dtype=np.float32)
    half = unit_rows([[1.0, 0, 1, 0, 0], [0, 1, 1, 0, 0]])
    candidates, pool = np.concatenate([half, -axes[:3], axes[3:]]), axes[:2]
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(candidates))
        equals_the_textbook(farthest_first(candidates[order], ArrayView(pool), Stop()), candidates[order], pool, Stop())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(3, 40), st.sampled_from([0, 7]), st.none() | st.floats(0.05, 1))
def test_the_order_of_candidates_changes_nothing_where_all_distances_differ(
    seed: int, n: int, n_pool: int, distance: float | None
) -> None:
    candidates, pool = unit_vectors(n, 6, "spread", seed), ArrayView(unit_vectors(n_pool, 6, "spread", seed + 1))
    order = np.random.default_rng(seed).permutation(n)
    stop = Stop(n // 2, distance)
    plain = farthest_first(candidates, pool, stop)
    shuffled = farthest_first(candidates[order], pool, stop)
    np.testing.assert_array_equal(np.sort(order[shuffled.indices]), np.sort(plain.indices))


def test_a_candidate_at_exactly_min_distance_is_kept() -> None:
    corners = np.eye(4, dtype=np.float32)
    exactly = float(np.sqrt(2))
    alone = farthest_first(corners, ArrayView(corners[:0]), Stop(min_distance=exactly))
    beside = farthest_first(corners[1:], ArrayView(corners[:1]), Stop(min_distance=exactly))
    assert sorted(alone.indices.tolist()) == [0, 1, 2, 3]
    assert sorted(beside.indices.tolist()) == [0, 1, 2]
    above = float(np.nextafter(exactly, 2))
    assert len(farthest_first(corners, ArrayView(corners[:0]), Stop(min_distance=above)).indices) == 1


def test_opposite_vectors_are_kept_at_the_largest_distance_there_is() -> None:
    poles = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    found = farthest_first(poles, ArrayView(poles[:0]), Stop(min_distance=2))
    assert len(found.indices) == 2
    assert found.distances[1] == 2


def test_exact_duplicates_are_kept_once_at_any_distance_above_zero() -> None:
    rows = np.repeat(unit_vectors(3, 5), 4, axis=0)
    found = farthest_first(rows, ArrayView(rows[:0]), Stop(min_distance=1e-5))
    assert sorted(found.indices // 4) == [0, 1, 2]
    assert len(farthest_first(rows, ArrayView(rows[:0]), Stop(min_distance=0.0)).indices) == 12


def test_nothing_of_the_pool_is_chosen_again() -> None:
    rows = unit_vectors(20, 512, seed=3)
    assert len(farthest_first(rows, ArrayView(rows), Stop(min_distance=1e-5)).indices) == 0


def test_the_farthest_from_the_pool_comes_first() -> None:
    found = farthest_first(on_circle(10, 170, 90), ArrayView(on_circle(0)), Stop())
    assert found.indices.tolist() == [1, 2, 0]


def test_with_an_empty_pool_the_first_is_farthest_from_the_mean_of_all() -> None:
    found = farthest_first(on_circle(0, 1, 2, 90), ArrayView(on_circle()[:0].reshape(0, 2)), Stop(2))
    assert found.indices.tolist() == [3, 0]


def test_ties_go_to_the_lower_index() -> None:
    corners = np.eye(4, dtype=np.float32)
    found = farthest_first(corners[1:], ArrayView(corners[:1]), Stop())
    assert found.indices.tolist() == [0, 1, 2]


def test_without_candidates_nothing_is_chosen() -> None:
    none = np.empty((0, 3), np.float32)
    found = farthest_first(none, ArrayView(none), Stop(min_distance=0.1))
    assert found.indices.dtype == np.int64
    assert len(found.indices) == len(found.distances) == 0


def test_the_first_is_the_farthest_from_the_mean_even_where_float32_cannot_tell() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1e-5, 1e-4):
        rows = unit_rows(rng.normal(size=64) + rng.normal(scale=scale, size=(300, 64)))
        equals_the_textbook(farthest_first(rows, ArrayView(rows[:0]), Stop(1)), rows, rows[:0], Stop(1))


def test_one_pole_of_many_near_duplicates_does_not_end_the_search_early() -> None:
    """Rounding in float32 may rank a near-duplicate above one that is far enough."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=512)
    rows = unit_rows(centre + rng.normal(scale=1e-5, size=(300, 512)))
    distance = 1e-5
    picks = farthest_first(rows, ArrayView(rows[:0]), Stop(min_distance=distance)).indices
    rejected = np.setdiff1d(np.arange(len(rows)), picks)
    among = distance_matrix(rows[picks], rows[picks])[np.triu_indices(len(picks), 1)]
    assert among.min(initial=np.inf) >= distance
    if len(rejected):
        assert distance_matrix(rows[rejected], rows[picks]).min(axis=1).max() < distance
