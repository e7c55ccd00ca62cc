from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lightpool_core import Curve
from lightpool_core.arrays import Embeddings
from lightpool_core.errors import SettingsError
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from tests.strategies import distances, problems

Problem = tuple[Embeddings, Embeddings]


def ranked(problem: Problem, stop: Stop | None = None) -> Curve:
    candidates, pool = problem
    found = farthest_first(candidates, ArrayView(pool), stop or Stop())
    return Curve(found.distances, len(candidates), len(pool))


def kept(problem: Problem, stop: Stop) -> int:
    candidates, pool = problem
    return len(farthest_first(candidates, ArrayView(pool), stop).indices)


def curve_of(*distances: float, candidates: int | None = None) -> Curve:
    return Curve(np.array(distances, dtype=np.float32), len(distances) if candidates is None else candidates)


@settings(deadline=None, max_examples=100)
@given(problems(), distances())
def test_it_tells_what_a_min_distance_keeps(problem: Problem, distance: float) -> None:
    curve = ranked(problem)
    assume(not np.isclose(curve.distances, distance, rtol=0, atol=1e-6).any())
    assert curve.kept(distance) == kept(problem, Stop(min_distance=distance))


@settings(deadline=None, max_examples=100)
@given(problems(), st.data())
def test_the_distance_of_a_count_keeps_that_many_and_more_only_at_the_same_distance(
    problem: Problem, data: st.DataObject
) -> None:
    curve = ranked(problem)
    assume(curve.ranked)
    n = data.draw(st.integers(1, curve.ranked))
    distance = curve.distance(n)
    assert kept(problem, Stop(n, distance)) == n
    more = kept(problem, Stop(min_distance=distance))
    # Opposite vectors may be 2 apart in float32 alone.
    assert curve.kept(distance) == more or distance == 2
    assert more == n or curve.distances[more - 1] >= min(curve.distances[n - 1], 2) - 1e-5


@settings(deadline=None, max_examples=100)
@given(problems(), distances(), st.integers(1, 40), distances())
def test_a_condition_ends_the_curve_and_changes_nothing_before(
    problem: Problem, least: float, most: int, distance: float
) -> None:
    whole, curve = ranked(problem), ranked(problem, Stop(most, least))
    assert curve.ranked <= most
    assert curve.kept(distance) == min(whole.kept(distance), curve.ranked)


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(5, 40))
def test_points_fall_from_all_to_the_fewest(problem: Problem, n: int) -> None:
    curve = ranked(problem)
    points = curve.points(n)
    assert len(points) <= n
    counts = [point.kept for point in points]
    assert counts == sorted(set(counts), reverse=True)
    assert [point.min_distance for point in points] == sorted(point.min_distance for point in points)
    assert counts == [curve.kept(point.min_distance) for point in points]
    if curve.ranked:
        assert counts[0] == curve.ranked
        assert counts[-1] == curve.kept(2.0)


@settings(deadline=None)
@given(st.integers(30, 3000), st.integers(0, 1000), st.floats(0.001, 0.5))
def test_no_two_neighbouring_points_hide_more_than_a_tenth(n: int, seed: int, spread: float) -> None:
    drawn = np.abs(np.random.default_rng(seed).normal(0.6, spread, n)) % 2
    counts = [point.kept for point in curve_of(np.inf, *np.sort(drawn)[::-1]).points(40)]
    assert max(np.subtract(counts[:-1], counts[1:])) <= n / 10 + 1


def test_points_lie_on_distances_that_one_would_type() -> None:
    curve = curve_of(np.inf, 1.32, 0.91, 0.44, 0.43, 0.415, 0.41, 0.2, 0.0)
    assert [(point.min_distance, point.kept) for point in curve.points()] == [
        (0, 9), (0.2, 8), (0.41, 7), (0.415, 6), (0.43, 5), (0.44, 4), (0.9, 3), (1.3, 2), (1.4, 1),
    ]  # fmt: skip


def test_a_curve_that_ended_early_begins_at_its_end() -> None:
    points = curve_of(np.inf, 1.2, 0.6543214, candidates=50).points()
    assert [(point.min_distance, point.kept) for point in points] == [(0.654321, 3), (1.2, 2), (1.3, 1)]


def test_copies_are_told_apart_at_any_distance() -> None:
    curve = curve_of(np.inf, 1.0, *[0.0] * 50)
    assert curve.kept(0) == 52
    assert curve.kept(1e-5) == 2
    assert curve.distance(52) == 0
    assert curve.points()[0].kept == 52


def test_the_first_of_an_empty_pool_is_kept_at_any_distance() -> None:
    assert curve_of(np.inf).distance(1) == 2
    assert [(point.min_distance, point.kept) for point in curve_of(np.inf).points()] == [(0, 1)]


def test_a_tie_is_kept_together() -> None:
    curve = curve_of(np.inf, *[float(np.sqrt(2))] * 3)
    assert curve.kept(float(np.sqrt(2))) == 4
    assert curve.kept(curve.distance(2)) == 4
    assert curve.distance(2) == 1.414213


@pytest.mark.parametrize("n", [0, -1, 3])
def test_a_count_outside_of_the_curve_is_refused(n: int) -> None:
    with pytest.raises(SettingsError, match="from 1 to 2"):
        curve_of(np.inf, 1.0).distance(n)


def test_distances_that_grow_are_refused() -> None:
    with pytest.raises(SettingsError, match="sampler diversity"):
        curve_of(0.5, 0.6)


def test_a_machine_is_given_every_step() -> None:
    curve = curve_of(np.inf, 1.25, 0.5, candidates=7)
    assert json.loads(curve.to_json()) == curve.to_dict()
    assert curve.to_dict() == {
        "candidates": 7, "kept_before": 0, "n_samples": [1, 2, 3], "min_distance": [2.0, 1.249999, 0.499999],
    }  # fmt: skip


def test_of_nothing_there_are_no_points() -> None:
    assert curve_of().points() == []
    assert curve_of().kept(0) == 0
