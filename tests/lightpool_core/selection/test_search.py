from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection import cells as cells_module
from lightpool_core.selection import exact
from lightpool_core.selection import search as module
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.products import Products
from lightpool_core.selection.search import near_in_cells, nearest_in_cells, nearest_of_all
from tests.strategies import KINDS, off_length, squares_to, unit_vectors

Knobs = dict[tuple[Any, str], Any]
KNOBS = {
    (cells_module, "_PREFIX"): st.sampled_from([2, 5, 128]),
    (cells_module, "_LEAF"): st.sampled_from([1, 8, 20, 60]),
    (cells_module, "_SMALL_LEAF"): st.sampled_from([1, 3, 60]),
    (cells_module, "_BLOCK"): st.integers(32, 60),
    (module, "_QUERIES_AT_ONCE"): st.sampled_from([3, 1024]),
    (module, "_ENTRIES"): st.sampled_from([1, 50, 50_000_000]),
    (module, "_PAIRS_AT_ONCE"): st.sampled_from([5, 100_000]),
    (module, "_FEW"): st.sampled_from([0, 1 / 8, 1 / 2, 1]),
    (module, "_ROWS_AT_ONCE"): st.sampled_from([7, 4096]),
    (module, "_PAIR"): st.sampled_from([1 / 400, 1]),
    (module, "_LOAD"): st.sampled_from([0, 200]),
    (module, "_USELESS"): st.sampled_from([0.02, 0.1, 1]),
    (exact, "_TOO_MANY"): st.sampled_from([3, 256]),
}
"""Sizes from which the search takes another way: small ones, so that few rows take every way."""
SMALL: Knobs = {
    (cells_module, "_PREFIX"): 24,
    (cells_module, "_LEAF"): 8,
    (cells_module, "_BLOCK"): 64,
    (module, "_FEW"): 1 / 8,
}


def brute_force(queries: Embeddings, rows: Embeddings, bounds: np.ndarray) -> tuple[list[float], list[int]]:
    squares, found = [], []
    for query, bound in zip(queries, bounds, strict=True):
        plain = squares_to(rows, query)
        reached = len(plain) > 0 and plain.min() <= bound
        squares.append(plain.min() if reached else np.inf)
        found.append(int(plain.argmin()) if reached else -1)
    return squares, found


def equals_brute_force(
    queries: Embeddings, rows: Embeddings, cells: Cells, bounds: np.ndarray, *, coarse: bool = False
) -> None:
    expected = brute_force(queries, rows, bounds)
    products = Products("cpu", coarse=coarse)
    squares, found = nearest_in_cells(queries, rows, cells, products, bounds)
    assert (squares.tolist(), found.tolist()) == expected
    squares, found = nearest_of_all(queries, rows, products, bounds)
    assert (squares.tolist(), found.tolist()) == expected


def queries_for(rows: Embeddings, n: int, seed: int) -> Embeddings:
    """Rows themselves, close by, opposite to them and anywhere."""
    rng = np.random.default_rng(seed)
    some = rows[rng.integers(0, len(rows), n)]
    near = some + rng.choice([0, 1e-6, 0.01, 0.3], (n, 1)) * rng.normal(size=some.shape) / np.sqrt(rows.shape[1])
    near *= np.where(rng.random((n, 1)) < 0.2, -1, 1)
    queries = unit_rows(near)
    return off_length(queries, seed) if seed % 2 else queries


def some_bounds(queries: Embeddings, rows: Embeddings, seed: int) -> np.ndarray:
    """Squared distances to look within: none, anywhere, a distance that occurs, or the nearest itself."""
    rng = np.random.default_rng(seed)
    occurring = [squares_to(rows, query) for query in queries]
    choices = [[0, 1e-10, 0.04, 1, 2.5, 5, rng.choice(plain), plain.min(), plain.min() * 0.999] for plain in occurring]
    return np.array([rng.choice(options) for options in choices])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 250),
    st.integers(1, 12),
    st.integers(0, 30),
    st.integers(0, 100),
    st.integers(0, 999),
    st.booleans(),
    st.fixed_dictionaries(KNOBS),
)
def test_whichever_way_it_takes_the_search_equals_brute_force(
    kind: str,
    n: int,
    dim: int,
    n_queries: int,
    n_later: int,
    seed: int,
    coarse: bool,
    knobs: dict[tuple[Any, str], Any],
) -> None:
    rows = unit_vectors(n + n_later, dim, kind, seed)
    queries = np.concatenate([queries_for(rows, n_queries, seed), unit_vectors(n_queries // 4, dim, kind, seed + 1)])
    if seed % 2:
        rows = off_length(rows, seed)
    with pytest.MonkeyPatch.context() as patch:
        for (where, name), value in knobs.items():
            patch.setattr(where, name, value)
        cells = Cells.over(rows[:n]).extended(rows)
        equals_brute_force(queries, rows, cells, some_bounds(queries, rows, seed), coarse=coarse)
        squares, found = near_in_cells(queries, rows, cells)
    assert squares.tolist() == [squares_to(rows[[row]], query)[0] for query, row in zip(queries, found, strict=True)]


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the search took each of its ways."""
    taken: Counter[str] = Counter()
    for name in ("_look_at_leaves", "_look", "_multiply"):
        plain = getattr(module._Search, name)

        def counted(self: Any, mine: np.ndarray, *rest: Any, _plain: Any = plain, _name: str = name) -> None:
            taken[_name] += len(mine)
            taken["hopeless"] += int(self._hopeless[mine].sum()) if _name == "_look" else 0
            _plain(self, mine, *rest)

        monkeypatch.setattr(module._Search, name, counted)
    return taken


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 300])
def test_thousands_of_rows_are_searched_as_by_brute_force(kind: str, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for (where, name), value in SMALL.items():
        monkeypatch.setattr(where, name, value)
    rows = off_length(unit_vectors(1000, dim, kind))
    cells = Cells.over(rows[:800]).extended(rows)
    queries = np.concatenate([queries_for(rows, 10, 1), unit_vectors(3, dim, kind, seed=2), unit_vectors(2, dim)])
    for bounds in (np.full(15, 5.0), np.full(15, 0.04), some_bounds(queries, rows, 3)):
        equals_brute_force(queries, rows, cells, bounds)


def test_it_looks_at_leaves_where_few_are_open_and_at_blocks_where_many_are(
    ways: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for (where, name), value in SMALL.items():
        monkeypatch.setattr(where, name, value)
    rows = unit_vectors(3000, 40, "walk")
    queries, cells = rows[::100], Cells.over(rows)
    equals_brute_force(queries, rows, cells, np.full(30, 1e-4))
    assert ways["_look_at_leaves"] == 30
    assert ways["_look"] == 0
    equals_brute_force(queries, rows, cells, np.full(30, 1.0))
    assert ways["_look"] > 0


def test_queries_that_prefixes_tell_nothing_of_are_multiplied_in_full(
    ways: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for (where, name), value in SMALL.items():
        monkeypatch.setattr(where, name, value)
    rows, queries = unit_vectors(2000, 300), unit_vectors(30, 300, seed=1)
    equals_brute_force(queries, rows, Cells.over(rows), np.full(30, 5.0))
    assert ways["hopeless"] > 0
    assert ways["_multiply"] > 0


@pytest.mark.parametrize(("dim", "small"), [(2, False), (100, True), (200, False)])
def test_thousands_of_exact_duplicates_first_hide_nothing(
    dim: int, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (where, name), value in SMALL.items() if small else ():
        monkeypatch.setattr(where, name, value)
    same = unit_vectors(1, dim)
    rows = np.concatenate([np.repeat(same, 6000, axis=0), unit_vectors(40, dim, seed=1), same, -same, same])
    queries = np.concatenate([same, -same, unit_vectors(3, dim, seed=2), rows[6000:6005], queries_for(rows, 8, 3)])
    cells = Cells.over(rows)
    for bound in (1e-10, 5.0):
        equals_brute_force(queries, rows, cells, np.full(len(queries), bound))


def test_rows_that_are_all_equal_are_one_row() -> None:
    rows = np.repeat(unit_vectors(1, 30), 300, axis=0)
    queries = np.concatenate([rows[:2], -rows[:2], unit_vectors(3, 30, seed=1)])
    for bound in (0.0, 2.0, 5.0):
        equals_brute_force(queries, rows, Cells.over(rows), np.full(7, bound))


def test_a_single_row_and_no_queries_at_all_can_be_searched() -> None:
    row = unit_vectors(1, 200)
    equals_brute_force(np.concatenate([row, -row]), row, Cells.over(row), np.full(2, 5.0))
    equals_brute_force(row[:0], row, Cells.over(row), np.empty(0))


@pytest.mark.parametrize("aside", [0.05, 0.5, 1.2])
@pytest.mark.parametrize("dim", [16, 128, 200])
def test_the_lengths_of_rows_hide_no_row_at_the_edge_of_its_leaf(dim: int, aside: float) -> None:
    """Rows of length 1 + 1e-6 in an arc of 1e-3, and a query that only the last of them is near enough to."""
    rng = np.random.default_rng(0)
    pivot, along = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
    angles = np.concatenate([[0], rng.uniform(-1.3e-3, 1.3e-3, size=60), [aside]])
    rows = ((np.cos(angles)[:, None] * pivot + np.sin(angles)[:, None] * along) * (1 + 0.85e-6)).astype(np.float32)
    rows, query = rows[:-1], rows[-1:]
    bound = squares_to(rows, query[0]).min()
    equals_brute_force(query, rows, Cells.over(rows), np.array([bound]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 50))
def test_shares_are_cut_in_order_and_none_is_much_too_large(sizes: list[int], limit: int) -> None:
    cuts = list(module._shares(np.array(sizes, dtype=np.int64), limit))
    assert [i for start, end in cuts for i in range(start, end)] == list(range(len(sizes)))
    assert max((sum(sizes[start:end]) for start, end in cuts), default=0) <= limit + max(sizes, default=0)
