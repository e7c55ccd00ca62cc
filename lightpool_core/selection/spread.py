"""The diversity of the chosen: the sum of squared distances of each to the nearest other one.

A sum of what is there, so that it can be weighed against other sums; see `objectives`. K: chosen. D: dimension.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.selection.exact import squares_of_pairs


class Spread:
    """Grows by one pick after the other, up to `wanted` of dimension `dim`."""

    def __init__(self, wanted: int, dim: int, margin: float) -> None:
        self.total = 0.0
        self._rows = np.empty((wanted, dim), dtype=np.float32)
        self._nearest: ExactDistances = np.empty(wanted)
        self._floor = np.empty(wanted, dtype=np.float32)
        """Of dot products: below it, none is nearer."""
        self._margin = margin
        self._n = 0

    def add(self, embedding: Embeddings, square: float) -> None:
        """A pick (D,), at the squared distance `square` from what was kept; infinite where nothing was."""
        n = self._n
        others, nearest = self._rows[:n], self._nearest[:n]
        if n:
            close = np.flatnonzero(others @ embedding >= self._floor[:n])
            self._bring_near(close, embedding)
        self._rows[n], self._nearest[n] = embedding, square
        self._floor[n] = 1.0 - min(square, 5.0) / 2 - self._margin
        self._n = n + 1
        known = np.isfinite(nearest) if n else np.empty(0, bool)
        self.total = float(nearest[known].sum()) + (square if np.isfinite(square) else 0.0)

    def _bring_near(self, close: Rows, embedding: Embeddings) -> None:
        """Lower the distances of the picks `close` to the new one's."""
        squares = squares_of_pairs(self._rows, embedding[None], close, np.zeros(len(close), np.int64))
        nearer = squares < self._nearest[close]
        self._nearest[close[nearer]] = squares[nearer]
        self._floor[close[nearer]] = 1.0 - squares[nearer] / 2 - self._margin
