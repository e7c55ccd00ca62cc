"""Which samples belong together: the connected components of what is near or of one group.

N: samples. P: pairs. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.cells import ROUNDING, Cells
from lightpool_core.selection.exact import in_blocks, squares_of_pairs
from lightpool_core.selection.products import Products
from lightpool_core.selection.search import Leaves

_QUERIES_AT_ONCE = 1024
_ROWS_AT_ONCE = 4096
_WORTH_CELLS = 65_536
"""Samples from which on sorting them pays."""
_PAIRS_AT_ONCE = 16_384
"""Pairs that are decided before those are passed over that they have joined."""
_TOO_MANY = 32_768
"""Pairs left in by prefixes, from which on products in full cost less than deciding them."""


class Components:
    """N samples, each alone at first, joined pair by pair. A union-find whose every step is one for many pairs."""

    def __init__(self, n: int) -> None:
        self.first = np.arange(n)
        """(N,) the first sample of each one's component."""

    def join(self, i: Rows, j: Rows) -> None:
        """Sample `i[p]` and sample `j[p]` belong together, for each of P pairs."""
        while len(i):
            low, high = np.minimum(self.first[i], self.first[j]), np.maximum(self.first[i], self.first[j])
            apart = low < high
            i, j = i[apart], j[apart]
            np.minimum.at(self.first, high[apart], low[apart])
            while not np.array_equal(further := self.first[self.first], self.first):
                self.first = further

    def join_groups(self, groups: Sequence[Any]) -> None:
        """Samples of the same of `groups` (N,) belong together; None is no group."""
        first_of: dict[Any, int] = {}
        firsts = [row if group is None else first_of.setdefault(group, row) for row, group in enumerate(groups)]
        self.join(np.arange(len(groups)), np.array(firsts, dtype=np.int64))

    def join_near(
        self, embeddings: Embeddings, min_distance: float, products: Products, progress: Progress = SILENT
    ) -> None:
        """Samples closer than `min_distance` belong together, by their `embeddings` (N, D) unit rows.

        Exact: products find the pairs that may be so close, block by block, and float64 decides. Of many samples
        on a CPU, cells rule most out beforehand.
        """
        worth_cells = len(embeddings) >= _WORTH_CELLS and products.device.type == "cpu"
        near = _Near(self, embeddings, min_distance, products)
        with progress.stage("comparing", len(embeddings)) as stage:
            for done in near.join_in_cells(Cells.over(embeddings)) if worth_cells else near.join_all():
                stage.advance(done)


class _Near:
    """The search for pairs that are closer than a distance, as far as nothing has joined them yet."""

    def __init__(self, components: Components, embeddings: Embeddings, min_distance: float, products: Products) -> None:
        self._components = components
        self._embeddings = embeddings
        self._min_distance = min_distance
        self._bound = min_distance**2
        self._products = products

    def join_all(self) -> Iterator[int]:
        """Compare every sample with every other; yields how many samples are done."""
        rows = np.arange(len(self._embeddings))
        for block in in_blocks(rows, _ROWS_AT_ONCE):
            loaded = self._products.load(self._embeddings[block[0] : block[-1] + 1])
            for part in in_blocks(rows[: block[-1] + 1], _QUERIES_AT_ONCE):
                if not self._are_one(part, block):
                    queries = self._embeddings[part[0] : part[-1] + 1]
                    i, j = self._products.within(queries, loaded, self._bound)
                    self._decide(part[i], block[j])
            yield len(block)

    def join_in_cells(self, cells: Cells) -> Iterator[int]:
        """Compare each sample with what lies in leaves that are near enough, by their prefixes first."""
        leaves = Leaves(cells)
        margin = self._products.margin(cells.prefixes.shape[1]) + ROUNDING
        positions = np.arange(len(cells))
        for part in in_blocks(positions, min(_QUERIES_AT_ONCE, leaves.n_queries)):
            prefixes = cells.prefixes[part[0] : part[-1] + 1]
            is_open = leaves.open_to(prefixes, np.full(len(part), self._bound), margin).any(axis=0)
            candidates = positions[np.repeat(is_open, np.diff(cells.leaves))]
            for block in in_blocks(candidates[np.searchsorted(candidates, part[0]) :], _ROWS_AT_ONCE):
                queries, rows = cells.order[part], cells.order[block]
                if not self._are_one(queries, rows):
                    loaded = self._products.load(cells.prefixes[block])
                    i, j = self._products.within(prefixes, loaded, self._bound + 2 * ROUNDING)
                    self._decide(*self._thinned(queries, rows, i, j))
            yield len(part)

    def _are_one(self, a: Rows, b: Rows) -> bool:
        """True where all of both belong together already."""
        first = self._components.first
        return bool((first[a] == first[a[0]]).all() and (first[b] == first[a[0]]).all())

    def _thinned(self, queries: Rows, rows: Rows, i: Rows, j: Rows) -> tuple[Rows, Rows]:
        """The pairs of samples that prefixes leave in; where these are many, what whole embeddings leave in."""
        first = self._components.first
        if np.count_nonzero(first[queries[i]] != first[rows[j]]) > _TOO_MANY:
            loaded = self._products.load(self._embeddings[rows])
            i, j = self._products.within(self._embeddings[queries], loaded, self._bound)
        return queries[i], rows[j]

    def _decide(self, i: Rows, j: Rows) -> None:
        """Join those of the pairs that are close enough."""
        while True:
            apart = self._components.first[i] != self._components.first[j]
            i, j = i[apart], j[apart]
            if not len(i):
                return
            now, later = slice(_PAIRS_AT_ONCE), slice(_PAIRS_AT_ONCE, None)
            squares = squares_of_pairs(self._embeddings, self._embeddings, i[now], j[now])
            near = np.sqrt(squares) < self._min_distance
            self._components.join(i[now][near], j[now][near])
            i, j = i[later], j[later]
