"""Greedy selection by several objectives, the plain way: everything is scored after every pick, in float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightpool_core.arrays import Embeddings
from lightpool_core.selection.counts import Counts
from lightpool_core.selection.greedy import Goals
from lightpool_core.selection.limits import Limits, Quota, Spacing
from lightpool_core.selection.objectives import Balance, Sum
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from tests.strategies import distance_matrix, squares_to

TOLERANCE = 1e-9
"""Between scores that differ by rounding only, at strength 1."""
LEAST = 1e-300


def distinct(table: np.ndarray) -> tuple[Counts, np.ndarray]:
    """The distinct rows of a full table (N, C), and which of them each row is."""
    return Counts.of_table(tuple(map(str, range(table.shape[1]))), table).distinct()


def full(counts: Counts) -> np.ndarray:
    """`counts` as a full table (N, C)."""
    table = np.zeros((counts.n, len(counts.categories)))
    table[counts.rows, counts.columns] = counts.values
    return table


@dataclass(frozen=True)
class Wanted:
    """What the chosen are to be, in plain numbers."""

    sums: tuple[tuple[np.ndarray, float], ...] = ()
    """Values (N,) and a strength."""
    balances: tuple[tuple[np.ndarray, np.ndarray, np.ndarray, float], ...] = ()
    """Rows (N, C), target (C,), counts of the pool (C,), strength."""
    diversity: float = 0.0

    @property
    def goals(self) -> Goals:
        """The same for the engine."""
        balances = [Balance(*distinct(rows), target, kept, strength) for rows, target, kept, strength in self.balances]
        return Goals([Sum(values, strength) for values, strength in self.sums], balances, self.diversity)

    @property
    def tolerance(self) -> float:
        """Of a score."""
        strengths = [abs(entry[-1]) for entry in (*self.sums, *self.balances)]
        return TOLERANCE * max(1.0, abs(self.diversity), *strengths)

    @property
    def is_one_value(self) -> bool:
        return not self.balances and len(self.sums) + (self.diversity != 0) <= 1


@dataclass(frozen=True)
class Bounds:
    """Limits beside distance, in plain numbers."""

    groups: tuple[tuple[list[Any], list[Any], int], ...] = ()
    """Of the candidates, of the pool, and how many of each."""
    spacing: tuple[Any, Any, float] | None = None
    """Refs of the candidates, of the pool, and seconds."""
    barred: frozenset[int] = field(default_factory=frozenset)

    def limits(self, n: int) -> Limits:
        """The same for the engine."""
        limits = Limits(np.array([row not in self.barred for row in range(n)], dtype=bool))
        for groups, kept, most in self.groups:
            limits.quotas.append(Quota.of(groups, kept, most))
            limits.allowed[limits.quotas[-1].full()] = False
        if self.spacing:
            refs, kept, seconds = self.spacing
            limits.spacing = Spacing(refs, seconds)
            limits.allowed[limits.spacing.near(kept)] = False
        return limits

    def allow(self, row: int, picks: list[int]) -> bool:
        """Whether candidate `row` may follow `picks`."""
        if row in self.barred:
            return False
        for groups, kept, most in self.groups:
            name = groups[row]
            taken = [*kept, *(groups[pick] for pick in picks)]
            if name is not None and taken.count(name) >= most:
                return False
        if not self.spacing:
            return True
        refs, in_pool, seconds = self.spacing
        others = [*in_pool, *(refs[pick] for pick in picks)]
        return not any(_close_in_time(refs[row], other, seconds) for other in others)


def _close_in_time(a: Any, b: Any, seconds: float) -> bool:
    return None not in {a.time, b.time} and a.source == b.source and abs(a.time - b.time) < seconds - 1e-6


class Plain:
    """What is known of all candidates after some picks."""

    def __init__(self, candidates: Embeddings, pool: Embeddings, wanted: Wanted) -> None:
        self.picks: list[int] = []
        self.near = distance_matrix(candidates, pool).min(axis=1, initial=np.inf)
        """(N,) distance to the nearest kept."""
        self._of_picks = np.empty(0)
        """Squared distance of each pick to the nearest other kept."""
        self._candidates = candidates
        self._wanted = wanted
        self._totals = [0.0 for _ in wanted.sums]
        self._counts = [kept for _, _, kept, _ in wanted.balances]
        self.nothing_kept = not len(pool)

    def pick(self, row: int) -> None:
        """Candidate `row` is chosen."""
        wanted, alone = self._wanted, self._wanted.is_one_value
        squares = squares_to(self._candidates, self._candidates[row])
        self._of_picks = np.append(np.minimum(self._of_picks, squares[self.picks]), self.near[row] ** 2)
        self.near = np.minimum(self.near, np.sqrt(squares))
        self._totals = [0.0 if alone else t + v[row] for t, (v, _) in zip(self._totals, wanted.sums, strict=True)]
        self._counts = [c + rows[row] for c, (rows, *_) in zip(self._counts, wanted.balances, strict=True)]
        self.picks.append(row)
        self.nothing_kept = False

    def scores(self) -> np.ndarray:
        """(N,) strength × log of each objective with the candidate added, summed."""
        wanted = self._wanted
        scores = np.zeros(len(self._candidates))
        for total, (values, strength) in zip(self._totals, wanted.sums, strict=True):
            scores += strength * np.log(np.maximum(total + values, LEAST))
        for counts, (rows, target, _, strength) in zip(self._counts, wanted.balances, strict=True):
            scores -= strength * np.log(cross_entropies(counts + rows, target))
        if wanted.diversity and not self.nothing_kept:
            spread = 0.0 if wanted.is_one_value else self._of_picks[np.isfinite(self._of_picks)].sum()
            scores += wanted.diversity * np.log(np.maximum(spread + self.near**2, LEAST))
        return scores

    def farthest_from_mean(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that are farthest from the mean of them, all that are so but for rounding."""
        mean = self._candidates[rows].sum(axis=0, dtype=np.float64) / len(rows)
        squares = squares_to(self._candidates[rows], mean)
        return np.asarray(rows[squares >= squares.max() - 1e-12])


def cross_entropies(counts: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of `target` (C,) and the shares of each row of `counts` (N, C)."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.where(totals > 0, totals, 1.0), 0.0)
    return np.asarray(np.maximum(-(np.log(shares + 1e-10) * target).sum(axis=1), LEAST))


def assert_greedy(
    found: Selection, candidates: Embeddings, pool: Embeddings, stop: Stop, wanted: Wanted, bounds: Bounds
) -> None:
    """Every pick is the best at its time, its distance is the true one, and nothing that fits is left over."""
    taken = found.indices.tolist()
    assert len(set(taken)) == len(taken) <= stop.count(len(candidates))
    plain = Plain(candidates, pool, wanted)
    for row, distance in zip(taken, found.distances, strict=True):
        eligible = _eligible(plain, stop, bounds)
        assert row in eligible, f"{row} after {plain.picks} is too close or beyond a limit"
        assert distance == np.float32(plain.near[row])
        scores = plain.scores()
        short = scores[eligible].max() - scores[row]
        assert short <= wanted.tolerance, f"{row} after {plain.picks} is {short} below the best"
        if plain.nothing_kept and np.ptp(scores[eligible]) <= wanted.tolerance:
            assert row in plain.farthest_from_mean(eligible) or np.ptp(scores[eligible])
        else:
            assert not _equals_before(row, eligible, plain, wanted), f"an equal comes before {row}"
        plain.pick(row)
    if len(taken) < stop.count(len(candidates)):
        assert not len(_eligible(plain, stop, bounds)), "it ends with candidates left"


def _eligible(plain: Plain, stop: Stop, bounds: Bounds) -> np.ndarray:
    far = plain.near >= (stop.min_distance or 0.0)
    far[plain.picks] = False
    rows = np.flatnonzero(far)
    return rows if bounds == Bounds() else rows[[bounds.allow(row, plain.picks) for row in rows.tolist()]]


def _equals_before(row: int, eligible: np.ndarray, plain: Plain, wanted: Wanted) -> bool:
    """Whether a candidate with the same score to the last digit, for it is the same in everything, comes before."""
    before = eligible[eligible < row]
    same = np.ones(len(before), dtype=bool)
    if wanted.diversity:
        same &= plain.near[before] == plain.near[row]
    for values, _ in wanted.sums:
        same &= values[before] == values[row]
    for rows, *_ in wanted.balances:
        same &= (rows[before] == rows[row]).all(axis=1)
    return bool(same.any())
