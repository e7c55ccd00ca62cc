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
from lightpool_core.selection.counts import Counts
from lightpool_core.selection.density import similarity, typicality
from lightpool_core.selection.greedy import Goals
from lightpool_core.selection.inputs import OTHER, classes, kept_counts, numbers, passing
from lightpool_core.selection.objectives import Balance, Sum
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
    counts: Counts
    """(N, C)"""
    target: ExactDistances
    """(C,)"""
    kept: ExactDistances
    """(C,) of the pool."""

    def balance(self, strategy: Strategy) -> Balance:
        return Balance(*self.counts.distinct(), self.target, self.kept, strategy.strength)


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
    counts = found.kept + found.counts.by_category(chosen)
    shares = counts / counts.sum() if counts.sum() > 0 else counts
    names = found.counts.categories
    targets = dict(zip(names, found.target.tolist(), strict=True))
    return Achieved(str(strategy), dict(zip(names, shares.tolist(), strict=True)), targets)


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
    kept = {name: count for name, count in kept_counts(strategy, pool.annotations).items() if count}
    counts = classes(strategy, candidates).times(weight)
    more = sorted(kept.keys() - set(counts.categories))
    counts = counts.recast((*counts.categories, *more), range(len(counts.categories)))
    if strategy.distribution == "TARGET":
        counts = _as_targeted(strategy, counts)
        target = np.array([strategy.target.get(name, 0.0) for name in counts.categories])
    elif strategy.distribution == "UNIFORM":
        target = np.ones(len(counts.categories))
    else:
        target = counts.by_category()
    total = target.sum()
    if not total > 0:
        raise SettingsError(f"{strategy.place}: {strategy.input} is unknown for all candidates; nothing to balance")
    held = np.zeros(len(target))
    place = {name: i for i, name in enumerate(counts.categories)}
    for name, count in kept.items():
        held[place.get(name, -1)] += count  # the last is OTHER
    return _Classes(counts, target / total, held)


def _as_targeted(strategy: Strategy, counts: Counts) -> Counts:
    """The categories of the target first, then one for all that it does not mention, if there are any."""
    wanted = {name: i for i, name in enumerate(strategy.target)}
    others = [name for name in counts.categories if name not in wanted]
    if len(others) == len(counts.categories):
        have = ", ".join(others[:10]) or "nothing"
        raise SettingsError(
            f"{strategy.place}.strategy.target: none of {', '.join(wanted)} occurs in {strategy.input}; it has {have}"
        )
    columns = [wanted.get(name, len(wanted)) for name in counts.categories]
    return counts.recast((*wanted, *([OTHER] if others else [])), columns)
