"""`index/`: whether the cache is of the rows of `history/`, and whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lightpool_core.pool.checks.views import Digests, digests_of
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.finding import REPAIR, Finding, damaged
from lightpool_core.pool.history import History
from lightpool_core.pool.index import Index, kept_index

INDEX_NAME = "index"
_BLOCK = 8192


def index_findings(pool: Datapool, digests: Digests) -> Iterator[Finding]:
    """What is wrong with the index, if it is of this pool's rows; `digests` (M,) are those of the pool."""
    folder = pool.path / INDEX_NAME
    pieces = History(pool.path, pool.dim).pieces(pool.version.number)
    index = kept_index(folder, pool.dim, pieces)
    if isinstance(index, list):
        yield from (damaged(folder / name, "it is not as it was written", REPAIR) for name in index)
    elif index is not None:
        yield from (damaged(folder, problem, REPAIR) for problem in _problems(index, digests))


def _problems(index: Index, digests: Digests) -> Iterator[str]:
    count, cells = len(index.rows), index.cells
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        wrong = np.flatnonzero(digests_of(index.rows[block]) != digests[block])
        if len(wrong):
            yield f"its row {start + int(wrong[0])} is not as in history"
            return
    everything = np.arange(count)
    if len(cells.prefixes) != count or not np.array_equal(np.sort(cells.order), everything):
        yield "its cells do not hold every row once"
    elif cells.leaves[-1] != count or cells.blocks[-1] != len(cells.leaves) - 1:
        yield "its cells end before the rows do"
    if not np.array_equal(np.sort(index.graph.graph.get_ids_list()), everything):
        yield "its graph does not hold every row once"
