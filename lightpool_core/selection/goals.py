"""Strategies and candidates → the goals of a greedy selection, and what became of each of them.

N: candidates. K: chosen. C: categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightpool_core.arrays import ExactDistances, Mask, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.errors import SettingsError
from lightpool_core.report import Achieved
from lightpool_core.selection.density import similarity, typicality
from lightpool_core.selection.greedy import Goals
from lightpool_core.selection.inputs import OTHER, classes, kept_counts, numbers, passing
from lightpool_core.selection.objectives import Balance, Sum, by_distinct_rows
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.strategies import Strategy


@dataclass
class Plan:
    """What strategies come to for some candidates."""

    passed: Mask
    """(N,) by all thresholds."""
    diversity: float = 0.0
    """Strength; 0 for none."""
    values: list[tuple[Strategy, ExactDistances]] = field(default_factory=list)
    """What is summed up: weights, similarity, typicality, lots, (N,) each."""
    balances: list[tuple[Strategy, _Classes]] = field(default_factory=list)
    thresholds: list[tuple[Strategy, int]] = field(default_factory=list)
    """With how many candidates pass."""

    @property
    def goals(self) -> Goals:
        """For `greedy`."""
        sums = [Sum(_at_least_0(values), strategy.strength) for strategy, values in self.values]
        return Goals(sums, [found.balance(strategy) for strategy, found in self.balances], self.diversity)


@dataclass(frozen=True)
class _Classes:
    categories: tuple[str, ...]
    rows: ExactDistances
    """(N, C)"""
    target: ExactDistances
    """(C,)"""
    kept: ExactDistances
    """(C,) of the pool."""

    def balance(self, strategy: Strategy) -> Balance:
        return Balance(*by_distinct_rows(self.rows), self.target, self.kept, strategy.strength)


def plan_of(
    strategies: Sequence[Strategy],
    candidates: Candidates,
    pool: PoolView,
    rng: np.random.Generator,
    device: str = "auto",
    *,
    weight: int = 1,
) -> Plan:
    """What `strategies` mean for `candidates`, of `weight` samples each, beside `pool`.

    Raises SettingsError naming the place in the config.
    """
    plan = Plan(np.ones(len(candidates), dtype=bool))
    for strategy in strategies:
        if strategy.type == "DIVERSITY":
            if plan.diversity:
                raise SettingsError(f"{strategy.place}: DIVERSITY is there twice; add the strengths up in one")
            plan.diversity = strategy.strength
        elif strategy.type == "BALANCE":
            plan.balances.append((strategy, _classes(strategy, candidates, pool, weight)))
        elif strategy.type == "THRESHOLD":
            mask = passing(strategy, numbers(strategy, candidates, rng))
            plan.passed &= mask
            plan.thresholds.append((strategy, int(mask.sum())))
        else:
            plan.values.append((strategy, _values(strategy, candidates, rng, device)))
    return plan


def achieved(plan: Plan, selection: Selection, radius: float | None) -> tuple[Achieved, ...]:
    """How far `selection` meets each objective of `plan`; `radius`, how far any candidate is from what is kept."""
    chosen = selection.indices
    found = [
        Achieved(str(strategy), {"passed": float(n), "candidates": float(len(plan.passed))})
        for strategy, n in plan.thresholds
    ]
    if plan.diversity:
        finite = selection.distances[np.isfinite(selection.distances)].astype(float)
        values = {"least distance": finite.min(), "mean distance": finite.mean()} if len(finite) else {}
        far = {} if radius is None or np.isinf(radius) else {"radius": radius}
        found.append(Achieved("DIVERSITY of EMBEDDINGS", values | far))
    for strategy, numbers_ in plan.values:
        means = {"mean": _mean(numbers_[chosen]), "mean of candidates": _mean(numbers_)}
        found.append(Achieved(str(strategy), means))
    return (*found, *(_shares(strategy, classes_, chosen) for strategy, classes_ in plan.balances))


def _shares(strategy: Strategy, found: _Classes, chosen: Rows) -> Achieved:
    counts = found.kept + found.rows[chosen].sum(axis=0)
    shares = counts / counts.sum() if counts.sum() > 0 else counts
    targets = dict(zip(found.categories, found.target.tolist(), strict=True))
    return Achieved(str(strategy), dict(zip(found.categories, shares.tolist(), strict=True)), targets)


def _mean(values: ExactDistances) -> float:
    return float(values.mean()) if len(values) else 0.0


def _values(strategy: Strategy, candidates: Candidates, rng: np.random.Generator, device: str) -> ExactDistances:
    if strategy.type == "TYPICALITY":
        return typicality(candidates.embeddings, strategy.n_neighbours, device)
    if strategy.type == "SIMILARITY":
        query = strategy.input.query
        if query is None or not len(candidates.queries.get(query, ())):
            raise SettingsError(f"{strategy.place}: nothing is known of what to look for; give images, samples or text")
        return similarity(candidates.embeddings, candidates.queries[query], device)
    return numbers(strategy, candidates, rng)


def _at_least_0(values: ExactDistances) -> ExactDistances:
    """`values`, moved up where some are negative: sums have logarithms then, and the order stays."""
    least = float(values.min(initial=0.0))
    return values - least if least < 0 else values


def _classes(strategy: Strategy, candidates: Candidates, pool: PoolView, weight: int) -> _Classes:
    """What `strategy` balances; each candidate counts as `weight` samples."""
    categories, rows = classes(strategy, candidates)
    kept = {name: count for name, count in kept_counts(strategy, pool.annotations).items() if count}
    more = tuple(sorted(kept.keys() - set(categories)))
    categories, rows = (*categories, *more), np.pad(rows * weight, ((0, 0), (0, len(more))))
    counts = np.array([kept.get(name, 0.0) for name in categories])
    if strategy.distribution == "TARGET":
        categories, rows, counts = _as_targeted(strategy, categories, rows, counts)
        target = np.array([strategy.target.get(name, 0.0) for name in categories])
    elif strategy.distribution == "UNIFORM":
        target = np.ones(len(categories))
    else:
        target = rows.sum(axis=0)
    total = target.sum()
    if not total > 0:
        raise SettingsError(f"{strategy.place}: {strategy.input} is unknown for all candidates; nothing to balance")
    return _Classes(categories, rows, target / total, counts)


def _as_targeted(
    strategy: Strategy, categories: tuple[str, ...], rows: ExactDistances, counts: ExactDistances
) -> tuple[tuple[str, ...], ExactDistances, ExactDistances]:
    """The categories of the target first, then one for all that it does not mention, if there are any."""
    wanted = tuple(strategy.target)
    if not set(wanted) & set(categories):
        have = ", ".join(categories[:10]) or "nothing"
        raise SettingsError(
            f"{strategy.place}.strategy.target: none of {', '.join(wanted)} occurs in {strategy.input}; it has {have}"
        )
    both = np.vstack([rows, counts])
    columns = [both[:, categories.index(name)] if name in categories else np.zeros(len(both)) for name in wanted]
    others = [i for i, name in enumerate(categories) if name not in wanted]
    if others:
        columns.append(both[:, others].sum(axis=1))
    found = np.column_stack(columns)
    return (*wanted, *([OTHER] if others else [])), found[:-1], found[-1]
