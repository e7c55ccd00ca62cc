"""Squared Euclidean distances in float64: what decides.

Between differences they are right to the last digits; through products, d² = |a|² + |b|² - 2ab, to about 1e-13.
Q: queries. M: rows. P: pairs. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lightpool_core.arrays import ExactDistances, Mask, Rows, Vectors

Number = TypeVar("Number", bound=np.generic)

_BLOCK = 4096
_PAIRS_AT_ONCE = 256
_BEYOND = np.iinfo(np.int64).max
_TOO_MANY = 256
"""Pairs per query, from which products are cheaper than differences."""


def in_blocks(rows: npt.NDArray[Number], size: int = _BLOCK) -> Iterator[npt.NDArray[Number]]:
    """`rows` (M, ...) as consecutive views of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def squared_distances(a: Vectors, b: Vectors) -> ExactDistances:
    """(Q, M) squared distances between the rows of `a` (Q, D) and of `b` (M, D), through products, never below 0."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    squares = (wide_a**2).sum(axis=1)[:, None] + (wide_b**2).sum(axis=1)[None, :]
    return np.asarray(np.maximum(squares - 2.0 * (wide_a @ wide_b.T), 0.0))


def lowered(squares: ExactDistances, rows: Rows, at: Rows, new_squares: ExactDistances, new_rows: Rows) -> None:
    """Write `new_squares` and `new_rows` (P,) into `squares` and `rows` (Q,) where they are lower, at `at` (P,).

    Of equal squares the lower row wins; a row of -1 is none.
    """
    held, row = squares[at], rows[at]
    lower = (new_squares < held) | ((new_squares == held) & ((row < 0) | (new_rows < row)))
    squares[at[lower]], rows[at[lower]] = new_squares[lower], new_rows[lower]


def squares_of_pairs(a: Vectors, b: Vectors, i: Rows, j: Rows) -> ExactDistances:
    """(P,) squared distances between the rows `i` (P,) of `a` and `j` (P,) of `b`, from their differences."""
    squares = np.empty(len(i))
    for start in range(0, len(i), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        differences = a[i[part]].astype(np.float64)
        differences -= b[j[part]]
        squares[part] = np.einsum("pd,pd->p", differences, differences)
    return squares


def nearest_of_pairs(
    a: Vectors, b: Vectors, i: Rows, j: Rows, where: Rows | None = None
) -> tuple[Rows, ExactDistances, Rows]:
    """For each row of `a` that pairs name: which, its smallest squared distance, and the partner, (Q,) each.

    The pairs (P,) are sorted by `i`; a partner `j` is a row of `b`, or with `where` its row is `where[j]`.
    Of equally near partners the lowest wins.
    """
    queries, starts, counts = np.unique(i, return_index=True, return_counts=True)
    if not len(queries):
        return queries, np.empty(0), j
    crowded = counts > _TOO_MANY
    if crowded.any():
        i, j = _thinned(a, b, i, j, np.repeat(crowded, counts), where)
        starts = np.searchsorted(i, queries)
    squares = squares_of_pairs(a, b, i, j if where is None else where[j])
    smallest = np.minimum.reduceat(squares, starts)
    ties = squares == np.repeat(smallest, np.diff(starts, append=len(i)))
    return queries, smallest, np.minimum.reduceat(np.where(ties, j, _BEYOND), starts)


def _thinned(a: Vectors, b: Vectors, i: Rows, j: Rows, crowded: Mask, where: Rows | None) -> tuple[Rows, Rows]:
    """The pairs, but of those that are `crowded` only what products do not rule out."""
    rows, partners = np.unique(i[crowded]), np.unique(j[crowded])
    targets = b[partners if where is None else where[partners]]
    first = np.sort(np.unique(targets.view(f"V{targets[0].nbytes}"), return_index=True)[1])  # of equals the lowest
    partners, targets = partners[first], targets[first]
    error = (targets.shape[1] + 8) * 2.0**-50
    kept = [(i[~crowded], j[~crowded])]
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        part = rows[start : start + _PAIRS_AT_ONCE]
        squares = squared_distances(a[part], targets)
        near, to = (squares <= squares.min(axis=1)[:, None] + error).nonzero()
        kept.append((part[near], partners[to]))
    i, j = (np.concatenate(column) for column in zip(*kept, strict=True))
    order = np.argsort(i, kind="stable")
    return i[order], j[order]
