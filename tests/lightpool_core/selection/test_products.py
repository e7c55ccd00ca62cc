from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection import products as module
from lightpool_core.selection.products import Contenders, Products
from tests.strategies import KINDS, off_length, problems, squares_to, unit_vectors

Problem = tuple[Embeddings, Embeddings]


def squares_between(queries: Embeddings, rows: Embeddings) -> np.ndarray:
    return np.stack([squares_to(rows, query) for query in queries]) if len(queries) else np.empty((0, len(rows)))


def contenders(queries: Embeddings, rows: Embeddings, bounds: np.ndarray, *, coarse: bool = False) -> Contenders:
    products = Products("cpu", coarse=coarse)
    return products.contenders(queries, products.load(rows), bounds)


def leaves_in_the_nearest(found: Contenders, squares: np.ndarray, bounds: np.ndarray) -> None:
    assert (np.diff(found.queries) >= 0).all()
    pairs = set(zip(found.queries.tolist(), found.rows.tolist(), strict=True))
    assert len(pairs) == len(found.queries)
    for query, row in zip(*(squares <= np.minimum(bounds, squares.min(axis=1))[:, None]).nonzero(), strict=True):
        assert (query, row) in pairs


def tells_products_within_its_margin(found: Contenders, squares: np.ndarray) -> None:
    true = 1 - squares[found.queries, found.rows] / 2
    assert np.abs(found.dots - true).max(initial=0) <= found.margin


@settings(deadline=None, max_examples=100)
@given(problems(), st.booleans(), st.booleans(), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_the_nearest_within_bounds_is_always_a_contender(
    problem: Problem, coarse: bool, exactly: bool, at_once: int, few: int, seed: int
) -> None:
    queries, rows = off_length(problem[0], seed), off_length(problem[1], seed + 1)
    if not len(rows):
        rows = unit_vectors(1, queries.shape[1])
    squares = squares_between(queries, rows)
    rng = np.random.default_rng(seed)
    chosen = squares[np.arange(len(queries)), rng.integers(0, len(rows), len(queries))]
    bounds = chosen if exactly else rng.choice([0, 1e-9, 0.01, 0.5, 2, 4, 5, np.inf], len(queries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_QUERIES_AT_ONCE", at_once)
        patch.setattr(module, "_ROWS_AT_ONCE", 10 - at_once)
        patch.setattr(module, "_FEW", few)
        found = contenders(queries, rows, bounds, coarse=coarse)
    leaves_in_the_nearest(found, squares, bounds)
    tells_products_within_its_margin(found, squares)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [32, 300, 2048])
def test_the_nearest_of_many_is_a_contender(dim: int, kind: str, coarse: bool) -> None:
    queries, rows = unit_vectors(20, dim, kind), unit_vectors(300, dim, kind)
    squares = squares_between(queries, rows)
    for bounds in (np.full(20, 5.0), squares.min(axis=1), squares[:, 7]):
        found = contenders(queries, rows, bounds, coarse=coarse)
        leaves_in_the_nearest(found, squares, bounds)
        tells_products_within_its_margin(found, squares)


def hard_to_round(dim: int) -> Iterator[Embeddings]:
    """Rows of equal coordinates just beside the middle between two numbers of bfloat16, and such as cancel out."""
    power = 2.0 ** np.floor(np.log2(dim**-0.5))
    for bits in (8, 12, 24):  # of bfloat16, TF32 and float32
        for beside in (1 - 2.0**-8, 1 + 2.0**-8):
            value = power * (1 + 2.0**-bits * beside)
            n = min(dim - 1, int(value**-2))
            row = np.zeros(dim)
            row[:n], row[n] = value, np.sqrt(max(0.0, 1 - n * value**2))
            signs = np.where(np.arange(dim) % 2, -1, 1)
            yield off_length(unit_rows(np.stack([row, -row, row * signs, row[::-1], np.roll(row, 1)])))
    yield unit_rows(np.outer([1, 1, 1], np.ones(dim)))
    yield unit_rows(np.outer([1, -1, 1], np.geomspace(1e-3, 1, dim)))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("dim", [2, 8, 64, 256, 300, 2048])
def test_rows_that_are_hard_to_round_stay_within_the_margin(dim: int, coarse: bool) -> None:
    for rows in hard_to_round(dim):
        squares = squares_between(rows, rows)
        loaded = torch.from_numpy(rows).bfloat16() if coarse else torch.from_numpy(rows)
        error = np.abs((loaded @ loaded.T).float().numpy() - (1 - squares / 2)).max()
        assert error <= Products("cpu").margin(dim, coarse=coarse)
        for bound in (1e-9, 0.001, 0.01):
            bounds = np.full(len(rows), bound)
            leaves_in_the_nearest(contenders(rows, rows, bounds, coarse=coarse), squares, bounds)


def test_the_margin_of_bfloat16_is_needed() -> None:
    """Two factors that are rounded down by almost as much as bfloat16 can."""
    errors = []
    for rows in hard_to_round(64):
        coarse = torch.from_numpy(rows).bfloat16()
        errors.append(np.abs(np.diag((coarse @ coarse.T).float().numpy()) - 1).max())
    assert max(errors) > 0.6 * Products("cpu").margin(64, coarse=True)


def test_products_among_themselves_are_within_the_margin() -> None:
    rows = off_length(unit_vectors(200, 300, "clusters"))
    dots = Products("cpu").among_themselves(rows)
    assert dots.shape == (200, 200)
    assert np.abs(dots - (1 - squares_between(rows, rows) / 2)).max() <= Products("cpu").margin(300)


def test_clear_cases_leave_one_contender_in_and_impossible_ones_none() -> None:
    queries, rows = unit_vectors(200, 64), unit_vectors(300, 64, seed=1)
    squares = squares_between(queries, rows)
    assert len(contenders(queries, rows, np.full(200, 5.0)).queries) < 210
    assert len(contenders(queries, rows, squares.min(axis=1) - 0.01).queries) == 0
    assert len(contenders(queries[:0], rows, np.empty(0)).queries) == 0


def test_what_bfloat16_leaves_in_too_much_of_is_multiplied_again() -> None:
    rows = unit_vectors(400, 64, "jitter 1e-4")
    bounds = np.full(400, 5.0)
    fine, coarse = contenders(rows, rows, bounds), contenders(rows, rows, bounds, coarse=True)
    assert coarse.margin == fine.margin
    np.testing.assert_array_equal(coarse.rows, fine.rows)
    spread = contenders(rows[::50], unit_vectors(400, 64), np.full(8, 5.0), coarse=True)
    assert spread.margin == Products("cpu").margin(64, coarse=True)


def test_one_products_serves_many_calls_of_all_sizes() -> None:
    """Its memory is used again, also by smaller calls after larger ones."""
    products = Products("cpu")
    for n, m in ((50, 90), (3, 4), (90, 200), (1, 1)):
        queries, rows = unit_vectors(n, 16), unit_vectors(m, 16, seed=1)
        found = products.contenders(queries, products.load(rows), np.full(n, 5.0))
        again = products.contenders(queries[:1], products.load(rows[:1]), np.full(1, 5.0))
        leaves_in_the_nearest(found, squares_between(queries, rows), np.full(n, 5.0))
        assert again.rows.tolist() == [0]


def test_a_memory_map_that_cannot_be_written_to_can_be_loaded() -> None:
    rows = unit_vectors(5, 3)
    rows.setflags(write=False)
    np.testing.assert_array_equal(Products("cpu").load(rows).numpy(), rows)


@pytest.fixture
def somebody_allows_less_than_float32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("somebody_allows_less_than_float32")
def test_where_torch_may_multiply_coarsely_the_margin_is_coarse() -> None:
    assert Products("cpu").margin(64) == Products("cpu").margin(64, coarse=True)
    rows = next(hard_to_round(64))
    bounds = np.full(len(rows), 1e-9)
    leaves_in_the_nearest(contenders(rows, rows, bounds), squares_between(rows, rows), bounds)
