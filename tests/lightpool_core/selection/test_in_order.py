from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings
from lightpool_core.selection import in_order as module
from lightpool_core.selection.in_order import in_order
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from tests.strategies import counts, distance_matrix, distances, problems, squares_to, stops, unit_vectors

Problem = tuple[Embeddings, Embeddings]


def shuffled(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n)


def one_by_one(candidates: Embeddings, order: np.ndarray, pool: Embeddings, stop: Stop) -> tuple[list, list]:
    picks: list[int] = []
    distances: list[float] = []
    for row in order:
        kept = np.concatenate([pool, candidates[picks]])
        near = float(np.sqrt(squares_to(kept, candidates[row]).min(initial=np.inf)))
        if len(picks) < stop.count(len(candidates)) and near >= (stop.min_distance or 0):
            picks.append(int(row))
            distances.append(near)
    return picks, np.array(distances, dtype=np.float32).tolist()


def equals_a_walk(found: Selection, candidates: Embeddings, order: np.ndarray, pool: Embeddings, stop: Stop) -> None:
    assert (found.indices.tolist(), found.distances.tolist()) == one_by_one(candidates, order, pool, stop)


@settings(deadline=None, max_examples=50)
@given(problems(), stops(), st.integers(0, 99))
def test_no_two_kept_are_closer_than_min_distance(problem: Problem, stop: Stop, seed: int) -> None:
    candidates, pool = problem
    picks = in_order(candidates, shuffled(len(candidates), seed), ArrayView(pool), stop).indices
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
    order = shuffled(len(candidates))
    picks = in_order(candidates, order, ArrayView(pool), Stop(min_distance=distance)).indices
    rejected = np.setdiff1d(order, picks)
    if len(rejected):
        kept = np.concatenate([pool, candidates[picks]])
        assert distance_matrix(candidates[rejected], kept).min(axis=1).max() < distance


@settings(deadline=None, max_examples=50)
@given(problems(), stops(), counts())
def test_fewer_samples_are_a_prefix(problem: Problem, stop: Stop, fewer: float) -> None:
    candidates, pool = problem
    order = shuffled(len(candidates))
    longer = in_order(candidates, order, ArrayView(pool), Stop(min_distance=stop.min_distance)).indices
    shorter = in_order(candidates, order, ArrayView(pool), Stop(fewer, stop.min_distance)).indices
    n = min(Stop(fewer).count(len(candidates)), len(longer))
    np.testing.assert_array_equal(shorter, longer[:n])


@settings(deadline=None, max_examples=50)
@given(problems(), st.none() | distances())
def test_the_picks_keep_the_given_order(problem: Problem, distance: float | None) -> None:
    candidates, pool = problem
    order = shuffled(len(candidates))
    picks = in_order(candidates, order, ArrayView(pool), Stop(min_distance=distance)).indices
    places = np.argsort(order)[picks]
    assert (np.diff(places) > 0).all()


@settings(deadline=None, max_examples=60)
@given(problems(), stops(), st.integers(1, 50), st.integers(0, 99))
def test_it_equals_a_walk_one_by_one(problem: Problem, stop: Stop, block: int, seed: int) -> None:
    candidates, pool = problem
    order = shuffled(len(candidates), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = in_order(candidates, order, ArrayView(pool), stop)
    equals_a_walk(found, candidates, order, pool, stop)


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
    order, exactly = shuffled(len(candidates)), float(data.draw(st.sampled_from(occurring.tolist())))
    for distance in (exactly, float(np.nextafter(exactly, 2))):
        stop = Stop(min_distance=distance)
        equals_a_walk(in_order(candidates, order, ArrayView(pool), stop), candidates, order, pool, stop)


def test_it_equals_a_walk_one_by_one_over_more_than_a_block() -> None:
    candidates, pool = unit_vectors(700, 4, "clusters"), unit_vectors(9, 4, seed=1)
    order = shuffled(len(candidates))
    for stop in (Stop(min_distance=0.1), Stop(40), Stop(60, 0.05)):
        equals_a_walk(in_order(candidates, order, ArrayView(pool), stop), candidates, order, pool, stop)


def test_the_first_of_an_empty_pool_has_an_infinite_distance() -> None:
    found = in_order(unit_vectors(3, 2), np.arange(3), ArrayView(np.empty((0, 2), np.float32)), Stop())
    assert found.indices.tolist() == [0, 1, 2]
    assert np.isinf(found.distances).tolist() == [True, False, False]


def test_a_candidate_at_exactly_min_distance_is_kept() -> None:
    corners = np.eye(3, dtype=np.float32)
    stop = Stop(min_distance=float(np.sqrt(2)))
    assert len(in_order(corners, np.arange(3), ArrayView(corners[:0]), stop).indices) == 3
    assert len(in_order(corners[1:], np.arange(2), ArrayView(corners[:1]), stop).indices) == 2


def test_exact_duplicates_of_the_pool_are_refused() -> None:
    rows = unit_vectors(30, 64)
    assert len(in_order(rows, np.arange(30), ArrayView(rows), Stop(min_distance=1e-5)).indices) == 0
