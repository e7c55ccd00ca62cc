"""The diversity of the chosen: the sum of squared distances of each to the nearest other one.

A sum of what is there, so that it can be weighed against other sums; see `objectives`.
K: chosen. D: dimension. S: dimension of a prefix.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows, Vectors
from lightpool_core.selection.cells import ROUNDING, prefixes_along, principal_basis
from lightpool_core.selection.exact import squares_of_pairs

_MANY = 1024
"""Picks from which on prefixes rule out most of them; see `cells`."""


class Spread:
    """Grows by one pick after the other, up to `wanted` of dimension `dim`."""

    def __init__(self, wanted: int, dim: int, margin: float) -> None:
        self.total = 0.0
        self._rows = np.empty((wanted, dim), dtype=np.float32)
        self._basis: Vectors = np.empty((dim, 0))
        self._prefixes = self._rows
        self._nearest: ExactDistances = np.empty(wanted)
        self._floor = np.empty(wanted, dtype=np.float32)
        """Of dot products: below it, none is nearer."""
        self._margin = margin
        self._n = 0

    def add(self, embedding: Embeddings, square: float) -> None:
        """A pick (D,), at the squared distance `square` from what was kept; infinite where nothing was."""
        n = self._n
        prefix = prefixes_along(self._basis, embedding[None])[0]
        self._bring_near(self._close_to(embedding, prefix), embedding)
        self._rows[n], self._prefixes[n], self._nearest[n] = embedding, prefix, square
        self._floor[n] = 1.0 - min(square, 5.0) / 2 - self._margin
        self._n = n + 1
        nearest = self._nearest[: self._n]
        self.total = float(nearest[np.isfinite(nearest)].sum())
        if self._n == _MANY:
            self._begin_prefixes()

    def _begin_prefixes(self) -> None:
        """Know picks by their prefixes along the principal directions of those so far."""
        self._basis = principal_basis(self._rows[: self._n])
        prefixes = prefixes_along(self._basis, self._rows[: self._n])
        self._prefixes = np.empty((len(self._rows), prefixes.shape[1]), dtype=np.float32)
        self._prefixes[: self._n] = prefixes

    def _close_to(self, embedding: Embeddings, prefix: Embeddings) -> Rows:
        """The picks that the one with `embedding` (D,) and `prefix` (S,) may be nearer to than any so far."""
        floor = self._floor[: self._n]
        near = np.flatnonzero(self._prefixes[: self._n] @ prefix >= floor - ROUNDING)
        return near[self._rows[near] @ embedding >= floor[near]]

    def _bring_near(self, close: Rows, embedding: Embeddings) -> None:
        """Lower the distances of the picks `close` to the new one's."""
        squares = squares_of_pairs(self._rows, embedding[None], close, np.zeros(len(close), np.int64))
        nearer = squares < self._nearest[close]
        self._nearest[close[nearer]] = squares[nearer]
        self._floor[close[nearer]] = 1.0 - squares[nearer] / 2 - self._margin
