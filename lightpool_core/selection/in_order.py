"""Selection in a given order: each candidate joins unless it is too close to what is kept."""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.selection.exact import squared_distances, squares_of_pairs
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.search import nearest_of_all
from lightpool_core.selection.stop import Stop

_BLOCK = 512
_ROUNDING = 2e-6
"""Of a distance through products in float64: they rule out, differences decide."""


def in_order(
    embeddings: Embeddings,
    order: Rows,
    pool: PoolView,
    stop: Stop,
    limits: Limits | None = None,
    *,
    device: str = "auto",
) -> Selection:
    """Walk through `embeddings` (N, D) in `order` (N,) and keep what `stop` and `limits` allow."""
    limits = limits or Limits(np.ones(len(embeddings), dtype=bool))
    wanted = stop.count(len(embeddings))
    closest = -1.0 if stop.min_distance is None else stop.min_distance
    products = Products(device)
    picks: list[int] = []
    distances: list[float] = []
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        rows = embeddings[block]
        squares, _ = nearest_of_all(rows, embeddings[picks], products, np.full(len(rows), np.inf))
        kept = np.sqrt(squares)
        in_pool, _ = pool.nearest(rows, within=kept)
        distance = np.minimum(kept, in_pool)
        about = np.sqrt(squared_distances(rows, rows))
        for i, row in enumerate(block):
            if len(picks) == wanted:
                return _selection(picks, distances)
            if distance[i] >= closest and limits.allowed[row]:
                limits.take(int(row))
                picks.append(int(row))
                distances.append(float(distance[i]))
                closer = np.flatnonzero(about[i] <= distance + _ROUNDING)
                exact = np.sqrt(squares_of_pairs(rows, rows, closer, np.full(len(closer), i)))
                distance[closer] = np.minimum(distance[closer], exact)
    return _selection(picks, distances)


def _selection(picks: list[int], distances: list[float]) -> Selection:
    return Selection(np.array(picks, dtype=np.int64), np.array(distances, dtype=np.float32))
