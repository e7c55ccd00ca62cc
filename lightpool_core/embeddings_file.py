"""Embeddings from a file: CSV in the Lightly format, Parquet, or a bare NumPy array.

CSV columns, read by name: `filenames`, `embedding_0` …, `labels`; `masked` = 1 hides a row, `selected` = 1
means that it is chosen already. Parquet has the same columns, or `filename`, a list column `embedding` and `label`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightpool_core.arrays import Embeddings, Labels, Mask, unit_rows
from lightpool_core.errors import SourceError, SourceNotFound

_FORMS = "an embeddings file is .csv, .parquet or .npy"


@dataclass(frozen=True, slots=True)
class EmbeddingsFile:
    """N samples with embeddings (N, D), unit rows; those that are masked are gone already."""

    filenames: tuple[str, ...]
    embeddings: Embeddings
    labels: Labels
    selected: Mask
    """(N,) chosen already: the others are to be chosen relative to them."""


def read_embeddings(path: Path) -> EmbeddingsFile:
    """The samples in the file at `path`. Raises SourceNotFound, and SourceError naming the place in the file."""
    if not path.is_file():
        raise SourceNotFound(f"embeddings file {path} does not exist")
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_npy}
    if path.suffix not in readers:
        raise SourceError(f"embeddings file {path} has the unknown form {path.suffix!r}; {_FORMS}")
    try:
        return readers[path.suffix](path)
    except SourceError:
        raise
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"embeddings file {path} cannot be read: {reason}; {_FORMS}") from error


def _read_csv(path: Path) -> EmbeddingsFile:
    from pyarrow import csv

    with path.open(encoding="utf-8") as stream:
        header = stream.readline().rstrip("\r\n").split(",")
    types = {name: pa.float32() for name in header if name.startswith("embedding_")}
    types |= {"filenames": pa.string(), "labels": pa.int64()}
    return _from_table(path, csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types)))


def _read_parquet(path: Path) -> EmbeddingsFile:
    from pyarrow import parquet

    return _from_table(path, parquet.ParquetFile(path).read())


def _read_npy(path: Path) -> EmbeddingsFile:
    with path.open("rb") as stream:
        vectors = np.lib.format.read_array(stream, allow_pickle=False)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise SourceError(f"embeddings file {path} holds {vectors.dtype} {vectors.shape}, not numbers (N, D)")
    names = [str(row) for row in range(len(vectors))]
    return _file(path, names, vectors, np.zeros(len(vectors), np.int64), np.zeros(len(vectors), bool))


def _from_table(path: Path, table: pa.Table) -> EmbeddingsFile:
    names = _column(path, table, "filenames", "filename").to_pylist()
    column = _column(path, table, "labels", "label")
    if column.null_count:
        raise SourceError(f"embeddings file {path} has rows without a label; labels are integers, 0 will do")
    labels = column.cast(pa.int64()).to_numpy()
    masked = _flags(table, "masked")
    selected = _flags(table, "selected")[~masked]
    kept = [name for name, hidden in zip(names, masked, strict=True) if not hidden]
    return _file(path, kept, _vectors(path, table)[~masked], labels[~masked], selected)


def _column(path: Path, table: pa.Table, *names: str) -> pa.ChunkedArray:
    for name in names:
        if name in table.column_names:
            return table[name]
    raise SourceError(f"embeddings file {path} has no column {names[0]!r}")


def _flags(table: pa.Table, name: str) -> Mask:
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    return np.asarray(pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy() == 1)


def _vectors(path: Path, table: pa.Table) -> Any:
    if "embedding" in table.column_names:
        column = table["embedding"].combine_chunks()
        if column.null_count or len(pc.unique(pc.list_value_length(column))) > 1:
            raise SourceError(f"embeddings file {path} has embeddings that are missing or of different lengths")
        flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
        return flat.reshape(table.num_rows, -1)
    names = [name for name in table.column_names if name.startswith("embedding_")]
    if names != [f"embedding_{i}" for i in range(len(names))] or not names:
        raise SourceError(f"embeddings file {path} has no columns embedding_0, embedding_1, … in this order")
    return np.column_stack([table[name].to_numpy() for name in names])


def _file(path: Path, names: list[str], vectors: Any, labels: Labels, selected: Mask) -> EmbeddingsFile:
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        name = names[int(np.argmin(usable))]
        raise SourceError(f"embeddings file {path}: the embedding of {name} is zero or not finite; take the row out")
    return EmbeddingsFile(tuple(names), unit_rows(vectors), np.asarray(labels, np.int64), selected)
