"""Which samples belong together: the connected components of what is near or of one group.

N: samples. P: pairs. D: dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.exact import in_blocks, squares_of_pairs
from lightpool_core.selection.products import Products

_QUERIES_AT_ONCE = 1024
_ROWS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 16_384
"""Pairs that are decided before those are passed over that they have joined."""


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

        Exact: products find the pairs that may be so close, block by block, and float64 decides.
        """
        rows = np.arange(len(embeddings))
        with progress.stage("comparing", len(rows)) as stage:
            for block in in_blocks(rows, _ROWS_AT_ONCE):
                loaded = products.load(embeddings[block[0] : block[-1] + 1])
                for part in in_blocks(rows[: block[-1] + 1], _QUERIES_AT_ONCE):
                    firsts = self.first[part[0] : part[-1] + 1], self.first[block[0] : block[-1] + 1]
                    if len({*np.unique(firsts[0]).tolist(), *np.unique(firsts[1]).tolist()}) == 1:
                        continue
                    i, j = products.within(embeddings[part[0] : part[-1] + 1], loaded, min_distance**2)
                    self._decide(embeddings, min_distance, part[0] + i, block[0] + j)
                stage.advance(len(block))

    def _decide(self, embeddings: Embeddings, min_distance: float, i: Rows, j: Rows) -> None:
        """Join those of the pairs that are close enough, as far as nothing has joined them yet."""
        while True:
            apart = self.first[i] != self.first[j]
            i, j = i[apart], j[apart]
            if not len(i):
                return
            now, later = slice(_PAIRS_AT_ONCE), slice(_PAIRS_AT_ONCE, None)
            near = np.sqrt(squares_of_pairs(embeddings, embeddings, i[now], j[now])) < min_distance
            self.join(i[now][near], j[now][near])
            i, j = i[later], j[later]
