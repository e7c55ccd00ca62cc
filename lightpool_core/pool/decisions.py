"""`runs/…/decisions.parquet`: why each candidate was chosen or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lightpool_core.candidates import Candidates
from lightpool_core.selection.reasons import Reasons

if TYPE_CHECKING:
    from lightpool_core.pool.datapool import Datapool

SCHEMA = pa.schema([
    ("filename", pa.string()),
    ("source", pa.string()),  # name of the raw file
    ("decision", pa.string()),  # selected or rejected
    ("rank", pa.int64()),  # 1 for the first pick; null for the rejected
    ("distance", pa.float64()),  # to the nearest kept: when picked, or in the end; null where nothing was kept
    ("nearest", pa.string()),  # the kept sample nearest to a rejected one; null for the selected
    ("nearest_version", pa.int64()),  # that it joined in
    ("sequence", pa.string()),  # first frame of its sequence, where sequences were chosen; null for none
])  # fmt: skip


def rows_of(candidates: Candidates, reasons: Reasons, pool: Datapool, number: int) -> pa.Table:
    """Rows of `decisions.parquet`, one per candidate; the chosen join the `pool` in version `number`."""
    names = candidates.filenames
    picks = np.flatnonzero(reasons.ranks)
    chosen = [names[i] for i in picks[reasons.ranks[picks].argsort()]]
    news = [pa.array(chosen, pa.string()), pa.array([number] * len(chosen), pa.int64())]
    kept = pa.concat_tables([pool.columns("filename", "version"), pa.table(news, ["filename", "version"])])
    nearest = kept.take(pa.array(reasons.nearest, mask=reasons.nearest < 0))
    rejected = reasons.ranks == 0
    sequences = reasons.sequences if len(reasons.sequences) else np.full(len(names), -1)
    return pa.table(
        [
            pa.array(names, pa.string()),
            pa.array([ref.source for ref in candidates.refs], pa.string()),
            pa.array(np.where(rejected, "rejected", "selected"), pa.string()),
            pa.array(reasons.ranks, mask=rejected),
            pa.array(reasons.distances, mask=~np.isfinite(reasons.distances)),
            nearest["filename"],
            nearest["version"],
            pa.array(names, pa.string()).take(pa.array(sequences, mask=sequences < 0)),
        ],
        schema=SCHEMA,
    )
