"""The selection that several strategies ask for together, and how far it meets each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lightpool_core.candidates import Candidates
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.farthest_first import traversed
from lightpool_core.selection.goals import Plan, achieved, plan_of
from lightpool_core.selection.greedy import greedy
from lightpool_core.selection.inputs import classes, numbers
from lightpool_core.selection.kept import Kept
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.selection.strategies import Strategy


def combined(
    strategies: Sequence[Strategy],
    candidates: Candidates,
    pool: PoolView,
    stop: Stop,
    rng: np.random.Generator,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Selection:
    """Choose one after the other what is best for all of `strategies`; thresholds first of all.

    Raises SettingsError naming the place in the config where a strategy does not fit the candidates.
    """
    if not len(candidates):  # of which nothing is known, and nothing need be
        return Selection(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    closest = max((strategy.min_distance or 0.0 for strategy in strategies), default=0.0)
    if closest > (stop.min_distance or 0.0):
        stop = dataclasses.replace(stop, min_distance=closest)
    plan = plan_of(strategies, candidates, pool, rng, device, weight=stop.weight)
    limits = Limits.of(candidates, pool, stop)
    limits.allowed &= plan.passed
    stop = dataclasses.replace(stop, n_samples=stop.count(len(candidates)))
    kept = _kept(plan, limits, candidates, pool, stop, device=device, progress=progress)
    selection = kept.picks.selection
    radius = kept.radius(np.flatnonzero(plan.passed & (kept.bounds > 0))) if plan.diversity else None
    return dataclasses.replace(selection, achieved=achieved(plan, selection, radius))


def check_inputs(strategies: Sequence[Strategy], candidates: Candidates) -> None:
    """Raise SettingsError, naming the place, for what a strategy looks at and no column of `candidates` holds.

    They need not have rows: of none, whatever is known is right.
    """
    for strategy in strategies:
        if strategy.type == "BALANCE":
            classes(strategy, candidates)
        elif strategy.type in ("WEIGHTS", "THRESHOLD"):
            numbers(strategy, candidates, np.random.default_rng(0))


def _kept(
    plan: Plan,
    limits: Limits,
    candidates: Candidates,
    pool: PoolView,
    stop: Stop,
    *,
    device: str,
    progress: Progress,
) -> Kept:
    goals = plan.goals
    only_diverse = goals.diversity > 0 and goals.is_one_value and not stop.has_limits
    if only_diverse and plan.passed.all():
        return traversed(candidates.embeddings, pool, stop, device=device, progress=progress)
    return greedy(candidates.embeddings, pool, stop, goals, limits, device=device, progress=progress)
