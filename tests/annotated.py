"""Candidates and pools of which something is known, and strategies over it as a config gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightpool_core.annotations import Annotations, Predictions
from lightpool_core.arrays import Embeddings
from lightpool_core.candidates import Candidates, Query
from lightpool_core.selection.combined import combined
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.selection.strategies import Strategy
from lightpool_core.selection.strategy_config import parsed_strategies
from tests.strategies import candidates_of, unit_vectors

EMBEDDINGS = {"type": "EMBEDDINGS"}


def column(values: Sequence[Any]) -> np.ndarray:
    """As annotations hold it: numbers as float64, everything else as objects."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return np.array(values, dtype=np.float64 if numbers else object)


def predicted(categories: Sequence[str], rows: Sequence[Sequence[float]]) -> Predictions:
    """Objects of each category in each picture, and the shares that these make."""
    counts = np.array(rows, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    return Predictions(tuple(categories), counts, np.divide(counts, totals, out=counts * 0, where=totals > 0))


def annotated(
    n: int,
    metadata: Mapping[str, Sequence[Any]] | None = None,
    scores: Mapping[str, Sequence[float]] | None = None,
    predictions: Mapping[str, Predictions] | None = None,
    *,
    embeddings: Embeddings | None = None,
    labels: Sequence[int] | None = None,
    queries: Mapping[Query, Embeddings] | None = None,
) -> Candidates:
    """`n` candidates, at random places unless `embeddings` say where."""
    plain = candidates_of(unit_vectors(n, 4, seed=5) if embeddings is None else embeddings)
    return dataclasses.replace(
        plain,
        labels=np.zeros(n, np.int64) if labels is None else np.array(labels, dtype=np.int64),
        annotations=Annotations(
            {name: column(values) for name, values in (metadata or {}).items()},
            {name: column(values) for name, values in (scores or {}).items()},
            predictions or {},
        ),
        queries=queries or {},
    )


def pool_of(candidates: Candidates) -> ArrayView:
    """A pool that holds what `candidates` are."""
    return ArrayView(candidates.embeddings, refs=candidates.refs, annotations=candidates.annotations)


def nothing(dim: int = 4) -> ArrayView:
    """An empty pool."""
    return ArrayView(np.empty((0, dim), np.float32))


def strategies(*pairs: tuple[Mapping[str, Any], Mapping[str, Any]]) -> tuple[Strategy, ...]:
    """Pairs of an input and a strategy, as in a selection config."""
    return parsed_strategies([{"input": dict(given), "strategy": dict(wanted)} for given, wanted in pairs])


def chosen(
    candidates: Candidates,
    *pairs: tuple[Mapping[str, Any], Mapping[str, Any]],
    stop: Stop | int | None = None,
    pool: ArrayView | None = None,
    seed: int = 0,
) -> Selection:
    """What is chosen by pairs of an input and a strategy; `stop` may be a count."""
    conditions = stop if isinstance(stop, Stop) else Stop(stop)
    view = nothing(candidates.embeddings.shape[1]) if pool is None else pool
    rng = np.random.default_rng(seed)
    return combined(strategies(*pairs), candidates, view, conditions, rng, device="cpu")
