from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings
from lightpool_core.selection import reasons as module
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.reasons import Reasons, explain
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from lightpool_plugins.samplers.diversity import Diversity
from lightpool_plugins.samplers.random import Random
from tests.strategies import candidates_of, distance_matrix, problems, stops, unit_vectors

Problem = tuple[Embeddings, Embeddings]


def agrees_with_brute_force(reasons: Reasons, embeddings: Embeddings, selection: Selection, pool: Embeddings) -> None:
    picks = {int(row): rank for rank, row in enumerate(selection.indices)}
    kept = np.concatenate([pool, embeddings[selection.indices]])
    table = distance_matrix(embeddings, kept)
    for row in range(len(embeddings)):
        if row in picks:
            assert reasons.ranks[row] == picks[row] + 1
            assert reasons.distances[row] == selection.distances[picks[row]]
            assert reasons.nearest[row] == -1
        elif len(kept):
            assert reasons.ranks[row] == 0
            assert reasons.distances[row] == pytest.approx(table[row].min(), abs=1e-6)
            assert table[row, reasons.nearest[row]] == pytest.approx(table[row].min(), abs=1e-6)
        else:
            assert (reasons.ranks[row], reasons.distances[row], reasons.nearest[row]) == (0, np.inf, -1)


@settings(deadline=None, max_examples=60)
@given(problems(), st.integers(0, 2**32 - 1))
def test_any_choice_is_explained_as_by_brute_force(problem: Problem, seed: int) -> None:
    embeddings, pool = problem
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(embeddings))[: rng.integers(0, len(embeddings) + 1)]
    selection = Selection(order, rng.random(len(order), dtype=np.float32))
    agrees_with_brute_force(explain(embeddings, selection, ArrayView(pool)), embeddings, selection, pool)


@settings(deadline=None, max_examples=60)
@given(problems(), stops(), st.sampled_from([Diversity(), Random()]))
def test_the_rejected_are_closer_than_min_distance_unless_there_are_enough(
    problem: Problem, stop: Stop, sampler: Diversity | Random
) -> None:
    embeddings, pool = problem
    candidates, view = candidates_of(embeddings), ArrayView(pool)
    selection = sampler.select(candidates, view, stop, np.random.default_rng(0))
    reasons = explain(embeddings, selection, view)
    agrees_with_brute_force(reasons, embeddings, selection, pool)
    rejected = reasons.distances[reasons.ranks == 0]
    if len(selection.indices) < stop.count(len(embeddings)):
        assert stop.min_distance is not None
        assert (rejected < stop.min_distance + 1e-6).all()


def test_of_equally_near_samples_the_first_pick_is_named() -> None:
    twins = np.repeat(unit_vectors(1, 4), 5, axis=0)
    selection = Selection(np.array([3, 1]), np.zeros(2, np.float32))
    reasons = explain(twins, selection, ArrayView(twins[:2]))
    assert reasons.ranks.tolist() == [0, 2, 0, 1, 0]
    assert reasons.nearest.tolist() == [2, -1, 2, -1, 2]
    assert reasons.distances[[0, 2, 4]] == pytest.approx(0, abs=1e-6)


def test_many_candidates_are_explained_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, pool = unit_vectors(50, 4), unit_vectors(20, 4, seed=1)
    selection = Selection(np.arange(0, 50, 5), np.ones(10, np.float32))
    whole = explain(embeddings, selection, ArrayView(pool))
    monkeypatch.setattr(module, "_BLOCK", 7)
    counted = Counted()
    parts = explain(embeddings, selection, ArrayView(pool), progress=counted)
    np.testing.assert_array_equal(parts.nearest, whole.nearest)
    np.testing.assert_allclose(parts.distances, whole.distances, atol=1e-12)
    assert (counted.name, counted.total, counted.done) == ("explaining", 40, 40)


class Counted:
    """A progress that remembers its only stage."""

    def __init__(self) -> None:
        self.name, self.total, self.done = "", 0, 0

    def stage(self, name: str, total: int | None = None) -> Counted:
        self.name, self.total = name, total or 0
        return self

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, n: int = 1) -> None:
        self.done += n
