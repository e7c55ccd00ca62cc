from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightpool_core.selection import components as module
from lightpool_core.selection.components import Components
from lightpool_core.selection.products import Products
from tests.strategies import KINDS, distance_matrix, distances, off_length, unit_vectors


def plain_components(close: np.ndarray) -> list[int]:
    """The first sample of each one's component, by walking from sample to sample."""
    first = [-1] * len(close)
    for start in range(len(close)):
        waiting = [start] if first[start] < 0 else []
        while waiting:
            row = waiting.pop()
            if first[row] < 0:
                first[row] = start
                waiting += np.flatnonzero(close[row]).tolist()
    return first


@pytest.fixture(params=["all", "in cells"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of looking for pairs."""
    monkeypatch.setattr(module, "_WORTH_CELLS", 1 if request.param == "in cells" else 10**9)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of which some hundred samples are many."""
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 50)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 130)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 300)


def near(embeddings: np.ndarray, min_distance: float, *, coarse: bool = False) -> list[int]:
    joined = Components(len(embeddings))
    joined.join_near(embeddings, min_distance, Products("cpu", coarse=coarse))
    return joined.first.tolist()


@pytest.mark.usefixtures("search")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 60), st.integers(1, 8), st.sampled_from(KINDS), distances(), st.integers(0, 2**32 - 1), st.booleans()
)
def test_components_are_those_of_the_plain_distances(
    n: int, dim: int, kind: str, distance: float, seed: int, coarse: bool
) -> None:
    rows = unit_vectors(n, dim, kind, seed)
    assert near(rows, distance, coarse=coarse) == plain_components(distance_matrix(rows, rows) < distance)


@pytest.mark.usefixtures("search", "small_blocks")
@pytest.mark.parametrize("kind", ["spread", "clusters", "duplicates", "walk", "jitter 1e-6"])
@pytest.mark.parametrize("coarse", [False, True])
def test_blocks_are_compared_with_each_other(kind: str, coarse: bool) -> None:
    rows = off_length(unit_vectors(700, 6, kind))
    distance = 1e-5 if kind.startswith("jitter") else 0.05
    assert near(rows, distance, coarse=coarse) == plain_components(distance_matrix(rows, rows) < distance)


@pytest.mark.usefixtures("search", "small_blocks")
@pytest.mark.parametrize("kind", ["clusters", "walk"])
@pytest.mark.parametrize("too_many", [0, 10**9])
def test_long_embeddings_are_compared_by_their_prefixes(
    kind: str, too_many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOO_MANY", too_many)
    rows = unit_vectors(600, 160, kind)
    assert near(rows, 0.3) == plain_components(distance_matrix(rows, rows) < 0.3)


@pytest.mark.usefixtures("search")
def test_at_exactly_the_distance_samples_stay_apart() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert near(rows, float(np.sqrt(2))) == [0, 1, 2, 3]
    assert near(rows, float(np.nextafter(np.sqrt(2), 2))) == [0, 0, 0, 0]


@pytest.mark.usefixtures("search")
def test_thousands_of_equal_samples_are_one_component() -> None:
    rows = np.repeat(unit_vectors(2, 16), 6000, axis=0)
    assert near(rows, 0.1) == [0] * 6000 + [6000] * 6000


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60))
def test_joining_all_at_once_is_joining_one_by_one(pairs: list[tuple[int, int]]) -> None:
    close = np.eye(30, dtype=bool)
    one_by_one, at_once = Components(30), Components(30)
    for i, j in pairs:
        close[i, j] = close[j, i] = True
        one_by_one.join(np.array([i]), np.array([j]))
    at_once.join(*np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
    assert one_by_one.first.tolist() == at_once.first.tolist() == plain_components(close)


def test_a_group_is_joined_and_no_group_is_not() -> None:
    joined = Components(6)
    joined.join_groups(["a", None, "b", "a", None, "b"])
    assert joined.first.tolist() == [0, 1, 2, 0, 4, 2]
    joined.join_groups([1, 1, 2, 3, 4, 5])
    assert joined.first.tolist() == [0, 0, 2, 0, 4, 2]
