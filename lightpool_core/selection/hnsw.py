"""An hnswlib graph over the prefixes of many rows: it proposes near rows, fast, and is never the judge.

It misses neighbours, after many duplicates badly, and a grown graph differs from a rebuilt one; whatever it
proposes is a row with a true distance all the same.
Malkov & Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.selection.cells import Cells

if TYPE_CHECKING:
    import hnswlib

_COORDINATES = 64
"""Of a prefix, the first: enough to propose by."""
_LINKS = 12
_EF_BUILDING = 48
_EF = 24
"""Candidates kept while searching."""
_PROPOSED = 2


@dataclass(frozen=True)
class NeighbourIndex:
    """Approximate nearest neighbours among the rows of some cells, by their prefixes."""

    graph: hnswlib.Index

    @classmethod
    def over(cls, cells: Cells) -> NeighbourIndex:
        """An index of all rows of `cells`."""
        graph = _graph(cells)
        graph.init_index(max_elements=len(cells), M=_LINKS, ef_construction=_EF_BUILDING, random_seed=0)
        return cls(graph).caught_up(cells)

    @classmethod
    def load(cls, path: Path, cells: Cells, count: int) -> NeighbourIndex:
        """What `save` wrote to `path` when it held the first `count` rows of `cells`. Raises ValueError, RuntimeError.

        hnswlib checks neither space nor dimension: the caller knows that the file belongs to these cells.
        """
        graph = _graph(cells)
        graph.load_index(str(path), max_elements=len(cells))
        if graph.get_current_count() != count:
            raise ValueError(f"{path} holds {graph.get_current_count()} rows, not {count}")
        graph.set_ef(_EF)  # not part of what hnswlib saves
        return cls(graph)

    def __len__(self) -> int:
        return int(self.graph.get_current_count())

    def caught_up(self, cells: Cells) -> NeighbourIndex:
        """This index with the rows that `cells` hold beyond its own."""
        start = len(self)
        if start < len(cells):
            self.graph.resize_index(len(cells))
            self.graph.add_items(_coordinates(cells.prefixes[start:]), cells.order[start:])
        self.graph.set_ef(_EF)
        return self

    def save(self, path: Path) -> None:
        """Write the graph to `path`."""
        self.graph.save_index(str(path))

    def neighbours(self, prefixes: Embeddings) -> Rows | None:
        """(Q, 1 or 2) for each of `prefixes` (Q, S) rows that are probably among the nearest.

        None where the graph is in pieces and cannot propose so many.
        """
        try:
            found, _ = self.graph.knn_query(_coordinates(prefixes), k=min(_PROPOSED, len(self)))
        except RuntimeError:
            return None
        return np.asarray(found, dtype=np.int64)


def _graph(cells: Cells) -> hnswlib.Index:
    import hnswlib

    return hnswlib.Index(space="l2", dim=min(_COORDINATES, cells.prefixes.shape[1]))


def _coordinates(prefixes: Embeddings) -> Embeddings:
    return np.ascontiguousarray(prefixes[:, :_COORDINATES])
