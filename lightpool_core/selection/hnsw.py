"""An hnswlib index over the pool: fast, approximate, and never the judge.

On disk it is a cache of two files, `rows.hnsw` and `rows.json`; the header says what the index covers,
because hnswlib checks nothing when it loads. Whatever does not fit is built anew.
Malkov & Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2018.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.replacing import replacing

if TYPE_CHECKING:
    import hnswlib

_FORMAT = 1
_LINKS = 16
_EF = 64
"""Candidates kept while building and searching."""


@dataclass(frozen=True)
class NeighbourIndex:
    """Approximate nearest neighbours among rows that are numbered from 0."""

    graph: hnswlib.Index

    def neighbours(self, queries: Embeddings) -> Rows:
        """(Q,) for each query a row that is probably its nearest."""
        found, _ = self.graph.knn_query(queries, k=1)
        return np.asarray(found[:, 0], dtype=np.int64)


def cached_index(rows: Embeddings, folder: Path) -> NeighbourIndex:
    """The index over all of `rows` (M, D), M > 0: loaded from `folder`, caught up with new rows, saved again.

    A pool only ever grows or goes back, so a cached index that covers a true prefix of the rows is extended;
    a missing, damaged or foreign one is replaced.
    """
    rows = np.ascontiguousarray(rows)
    graph = _load(rows, folder)
    if graph is None:
        graph = _index(rows.shape[1])
        graph.init_index(max_elements=len(rows), M=_LINKS, ef_construction=_EF, random_seed=0)
    covered = graph.get_current_count()
    if covered < len(rows):
        graph.resize_index(len(rows))
        graph.add_items(rows[covered:])
        with suppress(OSError, RuntimeError):  # a cache that cannot be written is built again next time
            _save(graph, rows, folder)
    graph.set_ef(_EF)  # not part of what hnswlib saves
    return NeighbourIndex(graph)


def _index(dim: int) -> hnswlib.Index:
    import hnswlib

    return hnswlib.Index(space="l2", dim=dim)


def _load(rows: Embeddings, folder: Path) -> hnswlib.Index | None:
    try:
        header = json.loads((folder / "rows.json").read_text())
        count = header["count"]
        if not 0 < count <= len(rows) or header != _header(rows[:count], _file_digest(folder / "rows.hnsw")):
            return None
        graph = _index(rows.shape[1])
        graph.load_index(str(folder / "rows.hnsw"), max_elements=len(rows))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    return graph if graph.get_current_count() == count else None


def _save(graph: hnswlib.Index, rows: Embeddings, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with replacing(folder / "rows.hnsw") as new:
        graph.save_index(str(new))
        header = _header(rows, _file_digest(new))
    # Cut between the two, the old header contradicts the new file's digest: the next run builds anew.
    with replacing(folder / "rows.json") as new:
        new.write_text(json.dumps(header))


def _header(rows: Embeddings, file_digest: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "space": "l2",
        "dim": int(rows.shape[1]),
        "count": len(rows),
        "rows": hashlib.blake2b(rows.data, digest_size=16).hexdigest(),
        "file": file_digest,
    }


def _file_digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
