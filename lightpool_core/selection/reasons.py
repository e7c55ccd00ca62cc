"""Why each candidate was chosen or not: its rank, or the kept sample that stands for it.

N: candidates. M: rows in the pool. K: chosen. D: dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Selection

_BLOCK = 65_536
"""Candidates at a time: bounds the copies of their embeddings."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """What was decided by, for each of N candidates in their order.

    `ranks` (N,): 1 for the first pick; 0 for the not chosen. `distances` (N,), Euclidean: of a chosen one to the
    nearest kept at the moment of its pick; of another one to the nearest of all that are kept in the end, pool
    and chosen. Infinite where there was none. `nearest` (N,): that kept sample of the not chosen, as its row in
    the pool that the run leaves behind (the M rows of before, then the chosen in pick order); -1 for the chosen,
    and where nothing is kept. `sequences` (N,), where sequences were chosen: the candidate that each one's sequence
    begins with, -1 for what is in none; otherwise empty.
    """

    ranks: Rows
    distances: ExactDistances
    nearest: Rows
    sequences: Rows = field(default_factory=lambda: np.empty(0, np.int64))


def explain(
    embeddings: Embeddings,
    selection: Selection,
    pool: PoolView,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Reasons:
    """Reasons for what a sampler chose among `embeddings` (N, D), seen against the `pool` of before the run.

    Of a chosen and a sample of the pool at the same distance, the chosen one is named; of several chosen, the
    one that was picked first.
    """
    n = len(embeddings)
    reasons = Reasons(np.zeros(n, np.int64), np.full(n, np.inf), np.full(n, -1, np.int64))
    reasons.ranks[selection.indices] = np.arange(1, len(selection.indices) + 1)
    reasons.distances[selection.indices] = selection.distances
    chosen = ArrayView(embeddings[selection.indices], device=device)
    others = np.flatnonzero(reasons.ranks == 0)
    with progress.stage("explaining", len(others)) as stage:
        for start in range(0, len(others), _BLOCK):
            block = others[start : start + _BLOCK]
            reasons.distances[block], reasons.nearest[block] = _nearest_kept(embeddings[block], pool, chosen)
            stage.advance(len(block))
    return reasons


def _nearest_kept(queries: Embeddings, pool: PoolView, chosen: ArrayView) -> tuple[ExactDistances, Rows]:
    distances, picks = chosen.nearest(queries)
    nearest = np.where(picks < 0, -1, len(pool) + picks)
    in_pool, rows = pool.nearest(queries, within=distances)
    closer = rows >= 0
    distances[closer], nearest[closer] = in_pool[closer], rows[closer]
    return distances, nearest
