from __future__ import annotations

import numpy as np
import pytest

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection import density as module
from lightpool_core.selection.density import similarity, typicality
from tests.strategies import KINDS, distance_matrix, unit_vectors


def plain_typicality(rows: Embeddings, k: int) -> np.ndarray:
    among = distance_matrix(rows, rows)
    np.fill_diagonal(among, np.inf)
    nearest = np.sort(among, axis=1)[:, : min(k, len(rows) - 1)]
    return np.asarray(np.exp(-nearest / nearest.mean()).mean(axis=1))


def crowds(n: int, dim: int, spread: float) -> Embeddings:
    """Five crowds of near-duplicates, so near that float32 cannot tell who is nearest."""
    rng = np.random.default_rng(0)
    centres = unit_rows(rng.normal(size=(5, dim)))
    return unit_rows(centres[rng.integers(0, 5, n)] + rng.normal(scale=spread / dim**0.5, size=(n, dim)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3, 20, 299, 1000])
def test_typicality_is_that_of_the_nearest_others(kind: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 70)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 90)
    rows = unit_vectors(300, 8, kind)
    np.testing.assert_allclose(typicality(rows, k, "cpu"), plain_typicality(rows, k), rtol=1e-12)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4, 1e-6])
def test_typicality_is_exact_in_crowds_of_near_duplicates(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 10_000)
    rows = crowds(600, 64, spread)
    np.testing.assert_allclose(typicality(rows, 10, "cpu"), plain_typicality(rows, 10), rtol=1e-9)


def test_one_alone_and_equals_are_as_typical_as_can_be() -> None:
    assert typicality(unit_vectors(1, 3), 20, "cpu").tolist() == [1]
    assert typicality(np.repeat(unit_vectors(1, 3), 40, axis=0), 20, "cpu").tolist() == [1] * 40
    assert len(typicality(unit_vectors(0, 3), 20, "cpu")) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_similarity_falls_with_the_distance_to_the_nearest_query(kind: str) -> None:
    rows, queries = unit_vectors(200, 6, kind), unit_vectors(7, 6, kind, seed=1)
    nearest = distance_matrix(rows, queries).min(axis=1)
    np.testing.assert_allclose(similarity(rows, queries, "cpu"), np.exp(-nearest / nearest.mean()), rtol=1e-12)


def test_what_all_are_queries_is_as_similar_as_can_be() -> None:
    rows = unit_vectors(5, 3)
    assert similarity(rows, rows, "cpu").tolist() == [1] * 5
    assert len(similarity(rows[:0], rows, "cpu")) == 0
