"""Exact Euclidean distances between unit vectors.

Decisions rest on products in float64: d² = |a|² + |b|² - 2ab is then right to about 1e-13, so a distance
of 1e-5 or more compares correctly with any min_distance. Q: queries. M: rows. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lightpool_core.arrays import Embeddings, ExactDistances, Mask, Rows, Vectors
from lightpool_core.selection.hnsw import NeighbourIndex

Float = TypeVar("Float", bound=np.floating[Any])

_BLOCK = 4096


def squared_distances(a: Vectors, b: Vectors) -> ExactDistances:
    """(Q, M) squared distances between the rows of `a` (Q, D) and of `b` (M, D), never below 0."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    squares = (wide_a**2).sum(axis=1)[:, None] + (wide_b**2).sum(axis=1)[None, :]
    return np.asarray(np.maximum(squares - 2.0 * (wide_a @ wide_b.T), 0.0))


def nearest(queries: Vectors, blocks: Iterable[Vectors]) -> tuple[ExactDistances, Rows]:
    """For each query the distance (Q,) to the nearest of all rows in `blocks`, and that row's number (Q,).

    Infinite and -1 where there is no row.
    """
    best = np.full(len(queries), np.inf)
    rows = np.full(len(queries), -1, dtype=np.int64)
    start = 0
    for block in blocks:
        for at in range(0, len(queries), _BLOCK):
            part = slice(at, at + _BLOCK)
            squares = squared_distances(queries[part], block)
            column = squares.argmin(axis=1)
            value = squares[np.arange(len(column)), column]
            closer = value < best[part]
            best[part][closer] = value[closer]
            rows[part][closer] = start + column[closer]
        start += len(block)
    return np.sqrt(best), rows


def in_blocks(rows: npt.NDArray[Float], size: int = _BLOCK) -> Iterator[npt.NDArray[Float]]:
    """`rows` (M, D) as consecutive views of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass(frozen=True)
class ArrayView:
    """A PoolView over rows in memory (or in a memory map), with an optional index that speeds up rejections."""

    rows: Embeddings
    index: NeighbourIndex | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    def nearest(self, queries: Embeddings) -> tuple[ExactDistances, Rows]:
        """See PoolView."""
        return nearest(queries, self.blocks())

    def proven_closer(self, queries: Embeddings, distance: float) -> Mask:
        """See PoolView: what the index finds is a witness only after its distance was computed exactly."""
        if self.index is None or not len(queries):
            return np.zeros(len(queries), dtype=bool)
        witnesses = self.rows[self.index.neighbours(queries)].astype(np.float64)
        squares = ((queries.astype(np.float64) - witnesses) ** 2).sum(axis=1)
        return np.asarray(squares < distance**2)

    def blocks(self) -> Iterator[Embeddings]:
        """See PoolView."""
        return in_blocks(self.rows)
