"""One data file of a table, read whole.

R: its rows. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lightpool_core.arrays import Rows
from lightpool_core.pool.content import sum_of

_BLOCK = 8192
_ROUNDING = 1e-5


@dataclass
class DataFile:
    """What is in a data file of a table."""

    rows: int = 0
    content: int = 0
    """See `sum_of`."""
    columns: frozenset[str] = frozenset()
    positions: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    """(R,) for `history/`; none for `sources/`."""
    problems: dict[str, None] = field(default_factory=dict)
    """What is wrong with it, in order and each once."""

    @classmethod
    def read(cls, path: Path, said: Mapping[str, Any], dim: int | None) -> DataFile:
        """The file at `path`, of which the log has `said` how many rows it has, and between what its values lie.

        `dim` is D, None where it has no embeddings. Raises whatever damaged bytes make of the library.
        """
        found, positions = cls(), []
        with parquet.ParquetFile(path) as file:
            found.columns = frozenset(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_BLOCK):
                found.rows += batch.num_rows
                found.content += sum_of(batch)
                found.problems |= dict.fromkeys(_beyond(batch, said))
                if dim is not None:
                    positions.append(batch["position"].to_numpy(zero_copy_only=False))
                    found.problems |= dict.fromkeys(_embedding_problems(batch["embedding"], dim))
        if found.rows != said["num_records"]:
            found.problems[f"it has {found.rows} rows, the log says {said['num_records']}"] = None
        found.positions = np.concatenate(positions) if positions else found.positions
        return found


def _embedding_problems(column: pa.Array, dim: int) -> Iterator[str]:
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    if (lengths != dim).any():
        yield f"it holds embeddings that are not of dimension {dim}"
        return
    vectors = pc.list_flatten(column).to_numpy(zero_copy_only=False).reshape(-1, dim)
    if not np.isfinite(vectors).all():
        yield "it holds embeddings that are not finite"
    elif len(vectors) and np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() > _ROUNDING:
        yield "it holds embeddings that are not of unit length"


def _beyond(batch: pa.RecordBatch, said: Mapping[str, Any]) -> Iterator[str]:
    """Columns with values where the log says that there are none: readers would pass over their rows."""
    for name in batch.schema.names:
        column = batch[name]
        if column.null_count == len(column) or pa.types.is_nested(column.type):
            continue
        low, high = said.get(f"min.{name}"), said.get(f"max.{name}")
        ends = pc.min_max(column).as_py()
        beyond = (low is not None and ends["min"] < low) or (high is not None and ends["max"] > high)
        if beyond or said.get(f"null_count.{name}") == said["num_records"]:
            yield f"its column {name} is not what the log says of it"
