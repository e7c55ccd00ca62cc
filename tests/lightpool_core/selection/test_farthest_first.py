from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from tests.strategies import counts, distance_matrix, distances, problems, stops, unit_vectors

Problem = tuple[Embeddings, Embeddings]


def textbook(candidates: Embeddings, pool: Embeddings, stop: Stop) -> list[float]:
    """Distances along the picks of Gonzalez' algorithm, spelled out."""
    wide, kept = candidates.astype(np.float64), [*pool.astype(np.float64)]
    left, gained = list(range(len(wide))), []
    while left and len(gained) < stop.count(len(wide)):
        if kept:
            near = [min(np.linalg.norm(wide[i] - k) for k in kept) for i in left]
        else:
            near = [float(np.linalg.norm(wide[i] - wide.mean(axis=0))) for i in left]
        at = int(np.argmax(near))
        if kept and stop.min_distance is not None and near[at] < stop.min_distance:
            break
        gained.append(near[at] if kept else np.inf)
        kept.append(wide[left.pop(at)])
    return gained


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


@settings(deadline=None, max_examples=50)
@given(problems(), stops())
def test_it_is_the_textbook_algorithm(problem: Problem, stop: Stop) -> None:
    candidates, pool = problem
    found = farthest_first(candidates, ArrayView(pool), Stop(stop.n_samples))
    picks = candidates[found.indices]
    told = found.distances
    for i in range(len(picks)):
        # Each pick is as far as any candidate could have been, and its distance is the true one.
        kept = np.concatenate([pool, picks[:i]])
        if len(kept):
            near = distance_matrix(candidates, kept).min(axis=1)
            np.testing.assert_allclose(told[i], near.max(), atol=1e-3)
            np.testing.assert_allclose(distance_matrix(picks[i : i + 1], kept).min(), told[i], atol=1e-3)


@pytest.mark.parametrize("min_distance", [None, 0.2, 0.6])
@pytest.mark.parametrize("n_pool", [0, 15])
@pytest.mark.parametrize("kind", ["spread", "clusters"])
def test_distances_equal_those_of_the_textbook(kind: str, n_pool: int, min_distance: float | None) -> None:
    for seed in range(4):
        candidates, pool = unit_vectors(40, 8, kind, seed), unit_vectors(n_pool, 8, "spread", seed + 50)
        stop = Stop(min_distance=min_distance)
        found = farthest_first(candidates, ArrayView(pool), stop).distances
        np.testing.assert_allclose(found, textbook(candidates, pool, stop), atol=1e-5)


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
