"""Exact nearest neighbours among unit rows, few or many.

Q: queries. M: rows. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Embeddings, ExactDistances, Reach, Rows
from lightpool_core.media.source import SampleRef
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.exact import in_blocks, nearest_of_pairs
from lightpool_core.selection.hnsw import NeighbourIndex
from lightpool_core.selection.lazily import Lazily
from lightpool_core.selection.products import Products
from lightpool_core.selection.search import near_in_cells, nearest_in_cells, nearest_of_all

_WORTH_CELLS = 16_384
"""Rows from which on sorting them pays."""
_FAR = 5.0
"""Above every squared distance of unit vectors."""


@dataclass(frozen=True)
class ArrayView:
    """A PoolView over rows in memory or in a memory map; what makes it fast can be given, or is made when needed."""

    rows: Embeddings
    index: NeighbourIndex | None = None
    """Proposes neighbours by their prefixes in `cells`."""
    given_cells: Cells | None = None
    device: str = "auto"
    refs: Lazily[tuple[SampleRef, ...]] = Lazily(())  # noqa: RUF009  # a descriptor, meant to be shared
    """See PoolView; or a function that makes them when they are looked at, as for the annotations."""
    annotations: Lazily[Annotations] = Lazily(Annotations())  # noqa: RUF009  # as above

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    @cached_property
    def cells(self) -> Cells | None:
        """The rows, sorted; None where they are few, or where the device multiplies all of them sooner."""
        if self.given_cells is not None or len(self) < _WORTH_CELLS or self._products.device.type != "cpu":
            return self.given_cells
        return Cells.over(self.rows)

    @cached_property
    def _products(self) -> Products:
        return Products(self.device)

    def near(self, queries: Embeddings) -> tuple[ExactDistances, Rows]:
        """See PoolView."""
        if self.cells is None or not len(queries):
            return self.nearest(queries)
        proposed = self.index.neighbours(self.cells.prefixes_of(queries)) if self.index else None
        if proposed is None:
            squares, rows = near_in_cells(queries, self.rows, self.cells)
            return np.sqrt(squares), rows
        which = np.repeat(np.arange(len(queries)), proposed.shape[1])
        _, squares, rows = nearest_of_pairs(queries, self.rows, which, proposed.ravel())
        return np.sqrt(squares), rows

    def nearest(self, queries: Embeddings, within: Reach | None = None) -> tuple[ExactDistances, Rows]:
        """See PoolView; of equally near rows the lowest."""
        if within is None and self.cells is not None:
            within = self.near(queries)[0] if len(queries) else 0.0
            return self._up_to(queries, within)
        reach = np.broadcast_to(np.inf if within is None else within, len(queries))
        distances, rows = self._up_to(queries, reach)
        beyond = distances >= reach
        distances[beyond], rows[beyond] = np.inf, -1
        return distances, rows

    def _up_to(self, queries: Embeddings, reach: Reach) -> tuple[ExactDistances, Rows]:
        # The square of a distance may be rounded to below a square whose root is that distance.
        bounds = np.minimum(np.broadcast_to(reach, len(queries)) ** 2 * (1 + 1e-15), _FAR)
        if self.cells is None:
            squares, rows = nearest_of_all(queries, self.rows, self._products, bounds)
        else:
            squares, rows = nearest_in_cells(queries, self.rows, self.cells, self._products, bounds)
        return np.sqrt(squares), rows

    def blocks(self) -> Iterator[Embeddings]:
        """See PoolView."""
        return in_blocks(self.rows)
