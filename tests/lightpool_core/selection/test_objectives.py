from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.selection import spread as module
from lightpool_core.selection.objectives import Balance, Sum, log_growth
from lightpool_core.selection.products import float32_margin
from lightpool_core.selection.spread import Spread
from tests.plain_greedy import distinct
from tests.strategies import KINDS, distance_matrix, unit_vectors

TOTALS = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
STRENGTHS = st.sampled_from([-2.0, -0.5, 0.5, 1.0, 3.0])


def all_of(n: int) -> np.ndarray:
    return np.arange(n)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), STRENGTHS)
def test_no_sum_grows_by_more_than_it_says(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    one = Sum(rng.random(12) * (rng.random(12) < 0.7), strength)
    for row in rng.integers(0, 12, 6).tolist():
        before = one.logs(all_of(12))
        one.mark()
        assert one.growth() == 0
        one.take(row)
        assert (one.logs(all_of(12)) - before).max() <= one.growth() + 1e-12


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), STRENGTHS)
def test_no_balance_grows_by_more_than_it_says(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (12, 3)).astype(np.float64)
    balance = Balance(*distinct(rows), rng.dirichlet(np.ones(3)), np.zeros(3), strength)
    for row in rng.integers(0, 12, 6).tolist():
        before = balance.logs(all_of(12))
        balance.mark()
        assert balance.growth() == 0
        balance.take(row)
        assert (balance.logs(all_of(12)) - before).max() <= balance.growth() + 1e-12


@settings(deadline=None, max_examples=200)
@given(TOTALS, TOTALS, st.floats(0, 5), st.floats(0, 5), STRENGTHS, st.floats(0, 1))
def test_growth_is_greatest_at_one_end_of_the_values(
    before: float, now: float, low: float, high: float, strength: float, between: float
) -> None:
    low, high = sorted((low, high))
    value = low + between * (high - low)
    logs = [np.log(max(total + value, 1e-300)) for total in (before, now)]
    assert strength * (logs[1] - logs[0]) <= log_growth(before, now, (low, high), strength) + 1e-9


def test_the_logarithm_of_a_sum_is_that_with_the_candidate() -> None:
    one = Sum(np.array([1.0, 0.0, 3.0]), 2.0)
    one.take(2)
    np.testing.assert_allclose(one.logs(np.array([0, 1])), 2 * np.log([4, 3]))
    assert np.isfinite(Sum(np.zeros(2)).logs(np.array([0, 1]))).all()


def test_balance_is_best_where_the_shares_are_the_target() -> None:
    rows, which = distinct(np.array([[1.0, 0], [0, 1], [1, 1]]))
    balance = Balance(rows, which, np.array([0.25, 0.75]), np.array([1.0, 2.0]))
    logs = balance.logs(all_of(3))
    assert logs.argmax() == 1
    entropy = -(0.25 * np.log(0.25 + 1e-10) + 0.75 * np.log(0.75 + 1e-10))
    assert logs[1] == pytest.approx(-np.log(entropy))


def test_balance_has_finite_logarithms_at_all_extremes() -> None:
    rows, which = distinct(np.array([[0.0, 0], [1, 0], [0, 1]]))
    for target in ([1.0, 0.0], [0.5, 0.5]):
        for strength in (1.0, -1.0):
            balance = Balance(rows, which, np.array(target), np.zeros(2), strength)
            assert np.isfinite(balance.logs(all_of(3))).all()


def test_ties_among_classes_are_ties_to_the_last_digit() -> None:
    """Whatever the order in which a sum over classes is made."""
    for c in range(2, 30):
        balance = Balance(*distinct(np.eye(c)), np.ones(c) / c, np.zeros(c))
        assert np.ptp(balance.logs(all_of(c))) == 0


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), STRENGTHS, st.sampled_from([2, 3, 40]))
def test_a_balance_is_the_entropy_of_the_target_over_the_cross_entropy(seed: int, strength: float, c: int) -> None:
    """As worked out from full tables, whatever is in a candidate: nothing, one category, many, in any amounts."""
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((12, c)) < 0.4, rng.integers(1, 4, (12, c)) * rng.choice([1.0, 0.3]), 0.0)
    target, counts = rng.dirichlet(np.ones(c)), rng.integers(0, 2, c).astype(float)
    balance = Balance(*distinct(table), target, counts, strength)
    for row in (0, 5, 5):
        after = counts + table
        shares = after / np.maximum(after.sum(axis=1, keepdims=True), 1e-9)
        entropies = -(np.log(shares + 1e-10) @ target)
        np.testing.assert_allclose(
            balance.logs(all_of(12)), -strength * np.log(np.maximum(entropies, 1e-12)), atol=1e-6
        )
        balance.take(row)
        counts = counts + table[row]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_pool", [0, 5])
@pytest.mark.parametrize("dim", [6, 200])
def test_the_spread_is_the_sum_of_squared_distances_to_the_nearest_other(
    kind: str, n_pool: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MANY", 20)  # from here on prefixes rule out most picks
    rows, pool = unit_vectors(40, dim, kind), unit_vectors(n_pool, dim, kind, seed=1)
    spread = Spread(40, dim, float32_margin(dim))
    assert spread.total == 0
    for i, row in enumerate(rows):
        kept = np.concatenate([pool, rows[:i]])
        near = distance_matrix(row[None], kept).min(initial=np.inf)
        spread.add(row, float(near**2))
        others = distance_matrix(rows[: i + 1], np.concatenate([pool, rows[: i + 1]]))
        others[np.arange(i + 1), n_pool + np.arange(i + 1)] = np.inf
        nearest = others.min(axis=1)
        assert spread.total == pytest.approx((nearest[np.isfinite(nearest)] ** 2).sum(), abs=1e-12)
