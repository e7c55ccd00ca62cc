"""Farthest-first traversal: always the candidate that is farthest from everything kept.

Gonzalez, Clustering to minimize the maximum intercluster distance, 1985; conditioned on a pool as in
Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Rows
from lightpool_core.selection.neighbours import in_blocks, nearest, squared_distances
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop


def farthest_first(embeddings: Embeddings, pool: PoolView, stop: Stop) -> Selection:
    """Choose among `embeddings` (N, D) unit rows, greedily and exactly; ties go to the lower index.

    With an empty pool the first pick is the candidate farthest from the mean of all, so that the choice
    does not hang on the order. Fewer n_samples give a prefix; distances never grow along the picks.
    """
    rows = _not_rejected(embeddings, pool, stop.min_distance)
    search = _Search(embeddings[rows], pool)
    closest = 0.0 if stop.min_distance is None else stop.min_distance
    picks: list[int] = []
    distances: list[float] = []
    while len(picks) < min(stop.count(len(embeddings)), len(rows)):
        if search.may_be_closer(closest):
            search.narrow(closest)
        if search.is_empty:
            break
        best = search.farthest()
        distance = search.exact_distance(best)
        if distance >= closest:
            picks.append(best)
            distances.append(distance)
            search.keep(best)
        elif search.certainly_closer(closest):
            break
        else:
            search.discard(best)
    # Computed distances may grow by a rounding error where the true ones stay equal.
    falling = np.minimum.accumulate(np.array(distances, dtype=np.float32))
    return Selection(rows[np.array(picks, dtype=np.int64)], falling)


def _not_rejected(embeddings: Embeddings, pool: PoolView, min_distance: float | None) -> Rows:
    if min_distance is None or not len(pool):
        return np.arange(len(embeddings))
    return np.flatnonzero(~pool.proven_closer(embeddings, min_distance))


class _Search:
    """Squared distance of every candidate to the nearest kept, brought up to date pick by pick.

    Float32 finds who may be farthest, and float64 over the picks says how far that one truly is. Once the
    farthest are so close to min_distance that rounding matters, all that is left is computed in float64.
    """

    def __init__(self, embeddings: Embeddings, pool: PoolView) -> None:
        self._embeddings = embeddings
        self._rows = np.arange(len(embeddings))
        self._pool = pool
        self._picks = np.zeros((64, embeddings.shape[1]))
        self._n_picks = 0
        self._in_pool, _ = pool.nearest(embeddings)
        squares = self._in_pool**2 if len(pool) else _from_the_mean(embeddings)
        self._squares: ExactDistances | Distances = squares.astype(np.float32)
        # What float32 products of D terms can be off by, to first order, doubled for the norms.
        self._margin = 4.0 * (embeddings.shape[1] + 4) * 2.0**-24

    @property
    def is_empty(self) -> bool:
        return not len(self._rows)

    def farthest(self) -> int:
        return int(self._rows[self._squares.argmax()])

    def exact_distance(self, row: int) -> float:
        """From `row` to the nearest kept."""
        picks = self._picks[: self._n_picks]
        squares = ((picks - self._embeddings[row]) ** 2).sum(axis=1)
        return min(float(np.sqrt(squares.min(initial=np.inf))), float(self._in_pool[row]))

    def may_be_closer(self, distance: float) -> bool:
        """True if float32 cannot tell any more whether the farthest is closer than `distance`."""
        started = self._n_picks or len(self._pool)
        unsure = self._squares.dtype == np.float32 and self._squares.max(initial=0) < distance**2 + self._margin
        return bool(started and unsure and len(self._rows))

    def certainly_closer(self, distance: float) -> bool:
        """True if every candidate is closer than `distance`, whatever the rounding errors."""
        return bool(self._squares.max() < distance**2 - self._margin)

    def narrow(self, distance: float) -> None:
        """From here on in float64, among those alone that may be `distance` away."""
        self._rows = self._rows[self._squares >= distance**2 - self._margin]
        self._embeddings_left = self._embeddings[self._rows].astype(np.float64)
        self._norms_left = (self._embeddings_left**2).sum(axis=1)
        kept, _ = nearest(self._embeddings_left, in_blocks(self._picks[: self._n_picks]))
        self._squares = np.minimum(kept, self._in_pool[self._rows]) ** 2
        self._margin = 1e-12

    def discard(self, row: int) -> None:
        self._squares[np.searchsorted(self._rows, row)] = -np.inf

    def keep(self, row: int) -> None:
        if not self._n_picks and not len(self._pool):
            self._squares[:] = np.inf  # the distance from the mean chose the first and has done its work
        if self._n_picks == len(self._picks):
            self._picks = np.concatenate([self._picks, np.zeros_like(self._picks)])
        self._picks[self._n_picks] = self._embeddings[row]
        self._n_picks += 1
        if self._squares.dtype == np.float32:
            products = self._embeddings @ self._embeddings[row]
            np.minimum(self._squares, 2.0 - 2.0 * products, out=self._squares)
        else:
            kept = self._embeddings[row].astype(np.float64)
            exact = self._norms_left + kept @ kept - 2.0 * (self._embeddings_left @ kept)
            np.minimum(self._squares, exact, out=self._squares)
        self.discard(row)


def _from_the_mean(embeddings: Embeddings) -> npt.NDArray[np.float64]:
    if not len(embeddings):
        return np.zeros(0)
    mean = embeddings.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return np.asarray(squared_distances(embeddings, mean)[:, 0])
