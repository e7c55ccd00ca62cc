from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.media.source import SampleRef
from lightpool_core.selection import exact
from lightpool_core.selection import greedy as module
from lightpool_core.selection import kept as kept_module
from lightpool_core.selection import kinds as kinds_module
from lightpool_core.selection import products as products_module
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.greedy import Goals, greedy
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.objectives import Sum
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from tests.plain_greedy import Bounds, Wanted, assert_greedy
from tests.strategies import counts, distance_matrix, distances, problems, stops, unit_vectors

Problem = tuple[Embeddings, Embeddings]
NONE = np.empty((0, 3), np.float32)
STRENGTHS = st.sampled_from([1.0, 0.5, 2.0, 7.0])
SIGNED = st.one_of(STRENGTHS, STRENGTHS.map(lambda strength: -strength))
KNOBS = {
    (module, "_BLOCK"): st.integers(1, 40),
    (module, "_LEADERS"): st.integers(1, 8),
    (kinds_module, "_MANY"): st.sampled_from([1, 2, 512]),
    (kept_module, "_EARLY"): st.integers(1, 8),
    (kept_module, "_LATE"): st.integers(1, 8),
    (kept_module, "_PAIRS"): st.sampled_from([1, 40, 1000]),
    (products_module, "_QUERIES_AT_ONCE"): st.sampled_from([2, 5, 50]),
    (products_module, "_ROWS_AT_ONCE"): st.sampled_from([2, 5, 50]),
    (products_module, "_FEW"): st.integers(0, 4),
    (exact, "_TOO_MANY"): st.sampled_from([1, 5, 256]),
}
"""Sizes from which the search takes another way: small ones, so that few candidates take every way."""


class CoarseProducts(Products):
    """bfloat16 first, as on hardware that is fast in it."""

    def __init__(self, device: str = "auto") -> None:
        super().__init__(device, coarse=True)


@dataclass(frozen=True)
class Asked:
    """A selection to make."""

    candidates: Embeddings
    pool: Embeddings
    stop: Stop
    wanted: Wanted
    bounds: Bounds = field(default_factory=Bounds)

    def selection(self, **other: Any) -> Selection:
        asked = replace(self, **other)
        limits = asked.bounds.limits(len(asked.candidates))
        kept = greedy(asked.candidates, ArrayView(asked.pool), asked.stop, asked.wanted.goals, limits, device="cpu")
        return kept.picks.selection

    def check(self) -> Selection:
        found = self.selection()
        assert_greedy(found, self.candidates, self.pool, self.stop, self.wanted, self.bounds)
        return found


@st.composite
def values(draw: st.DrawFn, n: int) -> np.ndarray:
    """(n,) at least 0: all different, few different ones, many zeros, of all magnitudes."""
    kind = draw(st.sampled_from(["any", "few", "zeros", "magnitudes", "same"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "few":
        return rng.integers(0, 3, n).astype(np.float64)
    if kind == "zeros":
        return rng.random(n) * (rng.random(n) < 0.2)
    if kind == "magnitudes":
        return np.asarray(10.0 ** rng.uniform(-6, 6, n))
    return np.ones(n) if kind == "same" else rng.random(n)


@st.composite
def balances(draw: st.DrawFn, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n, C), a target (C,), and counts of the pool (C,)."""
    rng, c = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["classes", "counts", "shares"]))
    if kind == "classes":
        rows = np.eye(c)[rng.choice(c, n, p=rng.dirichlet(np.ones(c)))]
        rows[rng.random(n) < 0.1] = 0.0  # nothing is known of some
    elif kind == "counts":
        rows = rng.integers(0, 4, (n, c)).astype(np.float64)
    else:
        rows = rng.dirichlet(np.ones(c), n)
    target = draw(st.sampled_from([np.ones(c) / c, rng.dirichlet(np.ones(c)), np.eye(c)[0]]))
    return rows, target, draw(st.sampled_from([np.zeros(c), rng.integers(0, 20, c).astype(np.float64)]))


@st.composite
def wishes(draw: st.DrawFn, n: int, signed: st.SearchStrategy[float] = SIGNED) -> Wanted:
    sums = [(draw(values(n)), draw(signed)) for _ in range(draw(st.integers(0, 2)))]
    found = [(*draw(balances(n)), draw(signed)) for _ in range(draw(st.integers(0, 2)))]
    return Wanted(tuple(sums), tuple(found), draw(st.one_of(st.just(0.0), signed)))


@st.composite
def limits(draw: st.DrawFn, n: int, n_pool: int) -> Bounds:
    """Quotas of one or two groupings, a spacing, and candidates that are barred from the beginning."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = tuple(
        (_groups(rng, n), _groups(rng, n_pool), draw(st.integers(1, 4))) for _ in range(draw(st.integers(0, 2)))
    )
    spacing = None
    if draw(st.booleans()):
        spacing = (_refs(rng, n), _refs(rng, n_pool), draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    barred = frozenset(np.flatnonzero(rng.random(n) < 0.2).tolist()) if draw(st.booleans()) else frozenset()
    return Bounds(groups, spacing, barred)


def _groups(rng: np.random.Generator, n: int) -> list[str | None]:
    return [None if i == 4 else "abcd"[i] for i in rng.integers(0, 5, n)]


def _refs(rng: np.random.Generator, n: int) -> tuple[SampleRef, ...]:
    """Frames of two videos, half a second apart, in any order, and pictures."""
    videos, frames = rng.integers(0, 3, n).tolist(), rng.permutation(n).tolist()
    return tuple(
        SampleRef(f"{i}.png", "picture") if video == 2 else SampleRef(f"{i}.png", f"{video}.mp4", frame, frame / 2)
        for i, (video, frame) in enumerate(zip(videos, frames, strict=True))
    )


@st.composite
def asked(draw: st.DrawFn, most: int = 40, signed: st.SearchStrategy[float] = SIGNED) -> Asked:
    candidates, pool = draw(problems(most))
    n = len(candidates)
    bounds = draw(st.one_of(st.just(Bounds()), limits(n, len(pool))))
    return Asked(candidates, pool, draw(stops()), draw(wishes(n, signed)), bounds)


@settings(deadline=None, max_examples=80)
@given(asked())
def test_it_picks_what_is_best_when_everything_is_looked_at_after_every_pick(asked: Asked) -> None:
    asked.check()


@settings(deadline=None, max_examples=150)
@given(asked(), st.booleans(), st.fixed_dictionaries(KNOBS))
def test_it_picks_what_is_best_whichever_way_it_takes(
    asked: Asked, coarse: bool, knobs: dict[tuple[Any, str], Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for (where, name), value in knobs.items():
            patch.setattr(where, name, value)
        if coarse:
            patch.setattr(module, "Products", CoarseProducts)
        found = asked.selection()
    assert_greedy(found, asked.candidates, asked.pool, asked.stop, asked.wanted, asked.bounds)


@settings(deadline=None, max_examples=60)
@given(asked(), counts(), st.fixed_dictionaries(KNOBS))
def test_fewer_samples_are_a_prefix(asked: Asked, fewer: float, knobs: dict[tuple[Any, str], Any]) -> None:
    longer = asked.selection(stop=replace(asked.stop, n_samples=None))
    with pytest.MonkeyPatch.context() as patch:
        for (where, name), value in knobs.items():
            patch.setattr(where, name, value)
        shorter = asked.selection(stop=replace(asked.stop, n_samples=fewer))
    n = min(Stop(fewer).count(len(asked.candidates)), len(longer.indices))
    np.testing.assert_array_equal(shorter.indices, longer.indices[:n])
    np.testing.assert_array_equal(shorter.distances, longer.distances[:n])


@settings(deadline=None, max_examples=80)
@given(asked(), distances())
def test_no_two_kept_are_too_close_and_every_rejected_one_is_or_is_beyond_a_limit(
    asked: Asked, distance: float
) -> None:
    stop = Stop(min_distance=distance)
    picks = asked.selection(stop=stop).indices
    among = distance_matrix(asked.candidates[picks], asked.candidates[picks])[np.triu_indices(len(picks), 1)]
    assert among.min(initial=np.inf) >= distance
    assert distance_matrix(asked.candidates[picks], asked.pool).min(initial=np.inf) >= distance
    kept = np.concatenate([asked.pool, asked.candidates[picks]])
    for row in np.setdiff1d(np.arange(len(asked.candidates)), picks).tolist():
        near = distance_matrix(asked.candidates[[row]], kept).min(initial=np.inf)
        assert near < distance or not asked.bounds.allow(row, picks.tolist())


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
    wanted = data.draw(wishes(len(candidates)))
    for distance in (exactly, float(np.nextafter(exactly, 2))):
        Asked(candidates, pool, Stop(min_distance=distance), wanted).check()


@settings(deadline=None, max_examples=60)
@given(problems(), stops(), STRENGTHS)
def test_diversity_alone_is_farthest_first_traversal(problem: Problem, stop: Stop, strength: float) -> None:
    candidates, pool = problem
    found = Asked(candidates, pool, stop, Wanted(diversity=strength)).selection()
    plain = farthest_first(candidates, ArrayView(pool), stop)
    np.testing.assert_array_equal(found.indices, plain.indices)
    np.testing.assert_array_equal(found.distances, plain.distances)


@settings(deadline=None, max_examples=60)
@given(problems(), st.data())
def test_one_value_alone_is_an_order_from_the_highest_to_the_lowest(problem: Problem, data: st.DataObject) -> None:
    candidates, pool = problem
    numbers = np.round(data.draw(values(len(candidates))), 3)
    n = data.draw(st.integers(0, 40))
    for strength, order in ((2.0, -numbers), (-0.5, numbers)):
        found = Asked(candidates, pool, Stop(n), Wanted(((numbers, strength),))).selection().indices
        wanted = np.argsort(order, kind="stable")[:n]
        if np.ptp(numbers) if len(numbers) else False:
            assert found.tolist() == wanted.tolist()
        elif len(pool):
            assert found.tolist() == list(range(min(n, len(candidates))))


@settings(deadline=None, max_examples=40)
@given(asked(most=40, signed=STRENGTHS))
def test_however_the_pool_is_searched_the_picks_are_the_same(asked: Asked) -> None:
    if not len(asked.pool):
        return
    found = asked.selection()
    view = ArrayView(asked.pool, given_cells=Cells.over(asked.pool))
    limits = asked.bounds.limits(len(asked.candidates))
    other = greedy(asked.candidates, view, asked.stop, asked.wanted.goals, limits).picks.selection
    np.testing.assert_array_equal(other.indices, found.indices)
    np.testing.assert_array_equal(other.distances, found.distances)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["spread", "clusters", "walk", "duplicates"])
def test_hundreds_are_picked_from_as_by_looking_at_everything(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 200)
    monkeypatch.setattr(module, "_LEADERS", 30)
    rng = np.random.default_rng(seed)
    n, candidates, pool = 600, unit_vectors(600, 16, kind, seed), unit_vectors(60, 16, "spread", seed + 9)
    classes = np.eye(5)[rng.choice(5, n, p=[0.6, 0.2, 0.1, 0.07, 0.03])]
    shares = rng.dirichlet(np.ones(3), n)  # more kinds than are told apart
    one, two = rng.random(n), rng.exponential(size=n)
    uniform = (classes, np.ones(5) / 5, np.zeros(5), 1.0)
    for wanted in (
        Wanted(((one, 1.0),), (uniform,), 1.0),
        Wanted(((one, 2.0), (two, -0.5)), (), 0.5),
        Wanted((), (uniform, (shares, np.array([0.2, 0.3, 0.5]), np.array([3.0, 0, 1]), 3.0)), 1.0),
    ):
        for kept in (pool, pool[:0]):
            found = Asked(candidates, kept, Stop(70), wanted).check()
            assert len(found.indices) == 70


def test_what_is_too_close_to_the_first_pick_is_skipped_to_the_last() -> None:
    """A whole block falls below min_distance at once."""
    rows = unit_rows([[1, 0, 0], [1, 0.01, 0], [1, 0, 0.01]])
    found = Asked(rows, NONE, Stop(min_distance=1.0), Wanted(diversity=1.0)).check()
    assert len(found.indices) == 1


def test_a_minimum_distance_skips_and_never_ends_the_choice_early() -> None:
    rows, weights = unit_vectors(300, 4, "clusters"), np.linspace(1, 0, 300)
    for strength in (0.2, 1.0, 5.0):
        wanted = Wanted(((weights, strength),), (), 1.0)
        picks = Asked(rows, np.empty((0, 4), np.float32), Stop(min_distance=0.3), wanted).check().indices
        rejected = np.setdiff1d(np.arange(300), picks)
        assert distance_matrix(rows[rejected], rows[picks]).min(axis=1).max() < 0.3


def test_equal_candidates_are_taken_in_their_order_also_where_sums_are_rounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A score that was taken apart and put together again may differ in its last digit."""
    monkeypatch.setattr(module, "_LEADERS", 3)
    rng = np.random.default_rng(0)
    for _ in range(30):
        value, row = rng.random(), unit_vectors(1, 3, seed=int(rng.integers(99)))
        rows, weights = np.repeat(row, 20, axis=0), np.full(20, value)
        classes, target = np.tile(np.eye(2), (10, 1)), rng.dirichlet(np.ones(2))
        wanted = Wanted(((weights, rng.random()),), ((classes, target, np.zeros(2), rng.random()),), 1.0)
        found = Asked(rows, unit_vectors(2, 3), Stop(), wanted).check().indices
        assert sorted(found.tolist()) == list(range(20))
        for parity in (0, 1):
            mine = found[found % 2 == parity]
            assert (np.diff(mine) > 0).all()


def test_classes_that_are_short_by_the_same_are_taken_in_the_order_of_the_candidates() -> None:
    """Sums of the same numbers in another order differ in the last digit, and may not decide."""
    for c in range(2, 12):
        classes = np.tile(np.eye(c)[::-1], (3, 1))
        wanted = Wanted((), ((classes, np.ones(c) / c, np.zeros(c), 1.0),))
        found = Asked(unit_vectors(3 * c, 3), unit_vectors(2, 3, seed=5), Stop(), wanted).selection()
        assert found.indices.tolist() == list(range(3 * c))


def test_where_all_are_equal_the_first_is_the_one_farthest_from_the_mean_of_what_is_allowed() -> None:
    angles = np.radians([0, 1, 2, 90, 200])
    rows = unit_rows(np.column_stack([np.cos(angles), np.sin(angles), np.zeros(5)]))
    classes = np.eye(5)
    for wanted in (Wanted(diversity=2.0), Wanted((), ((classes, np.ones(5) / 5, np.zeros(5), 1.0),), 1.0)):
        asked = Asked(rows, NONE, Stop(1), wanted)
        assert asked.check().indices.tolist() == [4]
        assert replace(asked, bounds=Bounds(barred=frozenset([4]))).check().indices.tolist() == [3]


def test_the_first_of_an_empty_pool_ignores_diversity_and_not_the_rest() -> None:
    rows = unit_vectors(30, 3)
    weights = np.arange(30.0)
    found = Asked(rows, NONE, Stop(1), Wanted(((weights, 0.01),), (), 100.0)).check()
    assert found.indices.tolist() == [29]
    assert np.isinf(found.distances).all()


@pytest.mark.parametrize("n", [2000, 60])
def test_the_opposite_of_diversity_stays_near_also_among_more_than_can_be_looked_at_at_once(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pick brings candidates nearer, and so above, that were not looked at."""
    if n < 100:
        monkeypatch.setattr(module, "_LEADERS", 4)
    rows = unit_vectors(n, 3, "clusters", seed=3)
    weights = np.random.default_rng(0).random(n)
    for wanted in (Wanted(diversity=-1.0), Wanted(((weights, 1.0),), (), -1.0)):
        Asked(rows, NONE, Stop(12), wanted).check()


def test_quotas_that_fill_up_while_picks_are_made_bind_at_once() -> None:
    rows, weights = unit_vectors(40, 4), np.linspace(2, 1, 40)
    groups = ["a"] * 10 + ["b"] * 10 + [None] * 20
    bounds = Bounds(((groups, ["a"], 3),))
    found = Asked(rows, unit_vectors(1, 4, seed=8), Stop(), Wanted(((weights, 1.0),)), bounds).check()
    assert found.indices.tolist() == [0, 1, 10, 11, 12, *range(20, 40)]


def test_without_candidates_or_with_none_allowed_nothing_is_chosen() -> None:
    balance = (np.empty((0, 2)), np.ones(2) / 2, np.zeros(2), 1.0)
    for wanted in (Wanted(), Wanted(diversity=1.0), Wanted((), (balance,))):
        for pool in (NONE, unit_vectors(3, 3)):
            assert len(Asked(NONE, pool, Stop(5, 0.1), wanted).check().indices) == 0
    rows = unit_vectors(4, 3)
    for pool in (NONE, unit_vectors(3, 3)):
        none = Asked(rows, pool, Stop(), Wanted(diversity=1.0), Bounds(barred=frozenset(range(4)))).check()
        assert none.indices.dtype == np.int64
        assert len(none.indices) == len(none.distances) == 0


def test_strengths_of_all_sizes_decide_as_if_everything_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEADERS", 5)
    monkeypatch.setattr(module, "_BLOCK", 20)
    rng = np.random.default_rng(1)
    rows, one, two = unit_vectors(120, 5), rng.random(120), rng.random(120)
    for strength in (1e-9, 1e-3, 1e3, 1e9):
        Asked(rows, rows[:0], Stop(40), Wanted(((one, strength), (two, 1.0)), (), strength)).check()


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[str, int]] = []

    class Stage:
        def __enter__(self) -> Stage:
            return self

        def __exit__(self, *_: object) -> None: ...

        def advance(self, n: int = 1) -> None:
            told.append(("advance", n))

    class Listener:
        def stage(self, name: str, total: int | None) -> Stage:
            told.append((name, total or 0))
            return Stage()

    rows = unit_vectors(30, 3)
    goals, bounds = Goals([Sum(np.ones(30), 1.0)], (), 1.0), Bounds()
    greedy(rows, ArrayView(NONE), Stop(20, 0.5), goals, bounds.limits(30), device="cpu", progress=Listener())  # type: ignore[arg-type]
    assert told[0] == ("selecting", 20)
    assert sum(n for name, n in told if name == "advance") == 20
