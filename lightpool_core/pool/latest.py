"""`datapool_latest.csv`: the newest version as one CSV, in the format of Lightly embeddings files.

Header `filenames,embedding_0,…,embedding_{D-1},labels`. Numbers are the shortest decimals that read back
bit for bit in float32.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from lightpool_core.arrays import Embeddings, Labels
from lightpool_core.replacing import replacing

CSV_NAME = "datapool_latest.csv"
MARK_NAME = ".latest.json"
_BLOCK = 8192
_NEEDS_QUOTES = frozenset(',"\r\n')


def write_embeddings_csv(path: Path, filenames: Sequence[str], embeddings: Embeddings, labels: Labels) -> None:
    """Replace the file at `path` by one row per sample, atomically: name, (M, D) embeddings, (M,) labels."""
    header = ["filenames", *(f"embedding_{i}" for i in range(embeddings.shape[1])), "labels"]
    quotes = any(_NEEDS_QUOTES & set(name) for name in filenames)
    options = csv.WriteOptions(include_header=False, quoting_style="needed" if quotes else "none")
    with replacing(path) as new, new.open("wb") as stream:
        stream.write((",".join(header) + "\n").encode())
        for start in range(0, len(filenames), _BLOCK):
            part = slice(start, start + _BLOCK)
            columns = [pa.array(column) for column in embeddings[part].T]
            table = pa.table([pa.array(filenames[part], pa.string()), *columns, pa.array(labels[part])], header)
            csv.write_csv(table, stream, options)


def is_current(pool: Path, version: int) -> bool:
    """True if the CSV of `pool` is there, untouched since it was written, and shows `version`."""
    return shown(pool) == version


def shown(pool: Path) -> int | None:
    """The version that the CSV of `pool` shows; None where it is not there, or not as it was written."""
    try:
        mark = json.loads((pool / MARK_NAME).read_text())
        version = mark["version"]
        return version if type(version) is int and mark == _mark(pool / CSV_NAME, version) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def mark_current(pool: Path, version: int) -> None:
    """Note that the CSV of `pool` shows `version` as it lies there now."""
    with replacing(pool / MARK_NAME) as new:
        new.write_text(json.dumps(_mark(pool / CSV_NAME, version)))


def remove(pool: Path) -> None:
    """Take the CSV away, for pools that want none."""
    (pool / CSV_NAME).unlink(missing_ok=True)
    (pool / MARK_NAME).unlink(missing_ok=True)


def _mark(path: Path, version: int) -> dict[str, int]:
    status = path.stat()
    return {"version": version, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
