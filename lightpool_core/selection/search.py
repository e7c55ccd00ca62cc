"""The search for exact nearest neighbours: leaves and prefixes rule out, products thin out, float64 decides.

Q: queries. M: rows. L: leaves. B: blocks. D: dimension. S: dimension of a prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lightpool_core.arrays import Embeddings, ExactDistances, Mask, Rows
from lightpool_core.selection.cells import ROUNDING, Cells
from lightpool_core.selection.exact import in_blocks, lowered, nearest_of_pairs
from lightpool_core.selection.products import Products

_QUERIES_AT_ONCE = 1024
_WORKERS = 2
"""Searches side by side."""
_ENTRIES = 25_000_000
"""Queries times leaves at once."""
_PAIRS_AT_ONCE = 100_000
_FEW = 1 / 256
"""Share of the rows, and of the leaves, up to which they are looked at pair by pair."""
_ROWS_AT_ONCE = 4096
_PAIR = 1 / 400
"""Cost of a product in full, per pair, in units of the cost of deciding one pair."""
_LOAD = 200
"""Cost of gathering a row, in units of its product with one query."""
_USELESS = 0.1
"""Share of the rows that prefixes leave in, from which they are not worth their time."""
_ALL = 2.0
"""Squared distance of a right angle, from which on no leaf is ruled out."""


def near_in_cells(queries: Embeddings, rows: Embeddings, cells: Cells) -> tuple[ExactDistances, Rows]:
    """For each of `queries` (Q, D) a near one of `rows` (M, D), M > 0: its squared distance (Q,), and which (Q,).

    The row with the most similar prefix in the leaf with the most similar pivot.
    """
    squares, found = np.empty(len(queries)), np.empty(len(queries), dtype=np.int64)
    for part in in_blocks(np.arange(len(queries)), _QUERIES_AT_ONCE):
        prefixes = cells.prefixes_of(queries[part])
        leaf = (prefixes @ cells.pivots.T).argmax(axis=1)
        for number in np.unique(leaf):
            mine = np.flatnonzero(leaf == number)
            inside = slice(cells.leaves[number], cells.leaves[number + 1])
            best = (prefixes[mine] @ cells.prefixes[inside].T).argmax(axis=1)
            found[part[mine]] = cells.order[inside][best]
        _, squares[part], _ = nearest_of_pairs(queries[part], rows, np.arange(len(part)), found[part])
    return squares, found


def nearest_in_cells(
    queries: Embeddings, rows: Embeddings, cells: Cells, products: Products, bounds: ExactDistances
) -> tuple[ExactDistances, Rows]:
    """The nearest of `rows` (M, D) to each of `queries` (Q, D): its squared distance (Q,), and which (Q,).

    Only rows within `bounds` (Q,), squared distances, are found; infinite and -1 where there is none.
    """
    squares, found = np.full(len(queries), np.inf), np.full(len(queries), -1, dtype=np.int64)
    leaves = Leaves(cells)

    def look(part: Rows) -> None:
        search = _Search(queries[part], rows, cells, products, bounds[part])
        search.run(leaves)
        reached = search.found >= 0
        squares[part[reached]], found[part[reached]] = search.bounds[reached], search.found[reached]

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(look, in_blocks(np.arange(len(queries)), leaves.n_queries)))
    return squares, found


def nearest_of_all(
    queries: Embeddings, rows: Embeddings, products: Products, bounds: ExactDistances
) -> tuple[ExactDistances, Rows]:
    """As `nearest_in_cells`, by looking at every row."""
    bounds, found = bounds.copy(), np.full(len(queries), -1, dtype=np.int64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        loaded = products.load(block)
        for part in in_blocks(np.arange(len(queries)), _QUERIES_AT_ONCE):
            pairs = products.contenders(queries[part], loaded, bounds[part])
            at, squares, to = nearest_of_pairs(queries[part], block, pairs.queries, pairs.rows)
            lowered(bounds, found, part[at], squares, start + to)
    return np.where(found >= 0, bounds, np.inf), found


class Leaves:
    """Rules out leaves: the angle of query and pivot is at most that of the bound plus that of the leaf.

    cos(a + b) = cos a cos b - sin a sin b, so one product with two more columns tells.
    """

    def __init__(self, cells: Cells) -> None:
        cosine = np.clip(cells.cosines.astype(np.float64), 0.0, 1.0)
        self._pivots = np.column_stack([cells.pivots, cosine, np.sqrt(1.0 - cosine**2)]).astype(np.float32)
        self._wide = np.flatnonzero(cells.cosines < 0)
        self.n_queries = max(1, min(_QUERIES_AT_ONCE, _ENTRIES // len(cosine)))
        """At most so many at once."""

    def open_to(self, prefixes: Embeddings, bounds: ExactDistances, margin: float) -> Mask:
        """(Q, L) True where a leaf may hold a row within the bound."""
        cosine = 1.0 - np.minimum(bounds, _ALL) / 2
        queries = np.column_stack([prefixes, -cosine, np.sqrt(1.0 - cosine**2)]).astype(np.float32)
        mask: Mask = queries @ self._pivots.T >= -3 * margin
        mask[:, self._wide] = True
        mask[bounds >= _ALL] = True
        return mask


class _Search:
    """What is known of the neighbours of some queries, block by block."""

    def __init__(
        self, queries: Embeddings, rows: Embeddings, cells: Cells, products: Products, bounds: ExactDistances
    ) -> None:
        self.bounds = bounds.copy()
        """Squared distance to the nearest row found, or where none is how far to look."""
        self.found = np.full(len(queries), -1, dtype=np.int64)
        self._hopeless = np.zeros(len(queries), dtype=bool)
        """Queries so far from everything that prefixes rule nothing out."""
        self._queries = queries
        self._prefixes = cells.prefixes_of(queries)
        self._rows = rows
        self._cells = cells
        self._products = products
        self._margin = products.margin(self._prefixes.shape[1]) + ROUNDING

    def run(self, leaves: Leaves) -> None:
        """Look at every row that may be nearest."""
        cells = self._cells
        is_open = leaves.open_to(self._prefixes, self.bounds, self._margin)
        few = np.flatnonzero(is_open.sum(axis=1) <= is_open.shape[1] * _FEW)
        which, leaf = is_open[few].nonzero()
        n_rows = np.bincount(which, weights=np.diff(cells.leaves)[leaf], minlength=len(few))
        few = few[n_rows <= len(cells) * _FEW]
        for start, end in _shares(n_rows[n_rows <= len(cells) * _FEW], _PAIRS_AT_ONCE):
            self._look_at_leaves(few[start:end], is_open[few[start:end]])
        many = np.setdiff1d(np.arange(len(is_open)), few)
        if len(many):
            self._look_at_blocks(many, is_open[many])

    def _look_at_blocks(self, mine: Rows, is_open: Mask) -> None:
        """Compare the queries `mine` with the blocks that hold leaves open to them, many at once."""
        cells = self._cells
        open_blocks = np.logical_or.reduceat(is_open, cells.blocks[:-1], axis=1)
        for block in np.flatnonzero(open_blocks.any(axis=0)):
            some = np.flatnonzero(open_blocks[:, block])
            first, last = cells.blocks[block : block + 2]
            inside = is_open[some, first:last].any(axis=0)
            positions = np.arange(cells.leaves[first], cells.leaves[last])
            self._look(mine[some], positions[np.repeat(inside, np.diff(cells.leaves[first : last + 1]))])

    def _look_at_leaves(self, mine: Rows, is_open: Mask) -> None:
        """Compare each of the queries `mine` with the rows in the leaves that are open to it, pair by pair."""
        cells = self._cells
        which, leaf = is_open.nonzero()
        sizes = np.diff(cells.leaves)[leaf]
        starts = np.cumsum(sizes) - sizes
        positions = np.arange(sizes.sum()) + np.repeat(cells.leaves[leaf] - starts, sizes)
        queries = mine[np.repeat(which, sizes)]
        dots = np.einsum("ps,ps->p", self._prefixes[queries], cells.prefixes[positions])
        near = np.flatnonzero(dots >= self._floor(queries))
        queries, positions, dots = queries[near], positions[near], dots[near]
        first = np.lexsort((-dots, queries))[np.unique(queries, return_index=True)[1]]
        self._compare(queries[first], cells.order[positions[first]])  # a low bound before all others are looked at
        near = dots >= self._floor(queries)
        self._compare(queries[near], cells.order[positions[near]])

    def _look(self, mine: Rows, positions: Rows) -> None:
        """Compare the queries `mine` with the rows at `positions` of the order of the cells."""
        rows = self._cells.order[positions]
        hopeless = self._hopeless[mine]
        if hopeless.any():
            self._multiply(mine[hopeless], rows)
            mine = mine[~hopeless]
        dots = self._prefixes[mine] @ self._cells.prefixes[positions].T
        best = dots.argmax(axis=1)
        near = np.flatnonzero(dots[np.arange(len(mine)), best] >= self._floor(mine))
        self._compare(mine[near], rows[best[near]])  # a low bound before all others are looked at
        i, j = (dots[near] >= self._floor(mine[near])[:, None]).nonzero()
        left = np.bincount(i, minlength=len(near))
        self._hopeless[mine[near[left > _USELESS * len(rows)]]] = True
        some = np.flatnonzero(left)
        if len(i) > _PAIR * len(rows) * (len(some) + _LOAD):
            self._multiply(mine[near[some]], rows)
        else:
            self._compare(mine[near[i]], rows[j])

    def _multiply(self, mine: Rows, rows: Rows) -> None:
        """Compare the queries `mine` with `rows` in full."""
        block = self._products.load(self._rows[rows])
        pairs = self._products.contenders(self._queries[mine], block, self.bounds[mine])
        self._compare(mine[pairs.queries], rows[pairs.rows])

    def _floor(self, mine: Rows) -> ExactDistances:
        """The least dot product of prefixes that a row within the bound can have."""
        return np.asarray(1.0 - self.bounds[mine] / 2 - self._margin)

    def _compare(self, queries: Rows, rows: Rows) -> None:
        """Decide between `rows` and what was found before, pair by pair."""
        at, squares, to = nearest_of_pairs(self._queries, self._rows, queries, rows)
        lowered(self.bounds, self.found, at, squares, to)


def _shares(sizes: npt.NDArray[Any], limit: int) -> Iterator[tuple[int, int]]:
    """Where to cut `sizes` so that each share sums to about `limit`."""
    share = (np.cumsum(sizes) // limit).astype(np.int64)
    cuts = [0, *np.flatnonzero(np.diff(share)) + 1, len(sizes)]
    yield from pairwise(cuts)
