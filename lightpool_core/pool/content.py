"""Identity of the rows of a table, whatever their order and files: the sum of the digests of all rows.

It grows with what is added, and says after years whether every value is still as it was written.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NOTHING = f"{0:016x}"
"""Of a table without rows."""
_LISTS = "embedding"
_ALL = 1 << 64
_ENCODER = json.JSONEncoder(sort_keys=True)


def grown(content: str, rows: pa.Table) -> str:
    """`content` of a table after `rows` were added; empty, for unknown, where it was."""
    return content_text(int(content, 16) + sum_of(rows)) if content else ""


def content_text(total: int) -> str:
    """The sum of all rows' digests as commits note it."""
    return f"{total % _ALL:016x}"


def sum_of(rows: pa.Table | pa.RecordBatch) -> int:
    """The digests of `rows` in sum. A null counts as if its column were not there: tables may get columns later."""
    plain = rows.select([name for name in rows.schema.names if name != _LISTS]).to_pylist()
    lists = _bytes_of(rows[_LISTS]) if _LISTS in rows.schema.names else [b""] * len(plain)
    total = 0
    for row, values in zip(plain, lists, strict=True):
        known = {name: value for name, value in row.items() if value is not None}
        digest = hashlib.blake2b(_ENCODER.encode(known).encode(), digest_size=8)
        digest.update(values)
        total += int.from_bytes(digest.digest(), "big")
    return total


def _bytes_of(column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """What each list holds, float32 in the byte order of most machines."""
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy()).tolist()
    values = pc.list_flatten(column).to_numpy().astype("<f4").tobytes()
    return [values[4 * start : 4 * end] for start, end in zip([0, *ends], ends, strict=False)]
