"""Embeddings from a file: CSV in the Lightly format, Parquet, or a bare NumPy array.

CSV columns, read by name: `filenames`, `embedding_0` …, `labels`; `masked` = 1 hides a row, `selected` = 1
means that it is chosen already; all other columns are metadata. Parquet has the same columns, or `filename`, a list
column `embedding` and `label`.
"""

from __future__ import annotations

import dataclasses
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightpool_core.all_rows import AllRows
from lightpool_core.annotating.tables import as_array, csv_header, read_arrow
from lightpool_core.arrays import Array, Embeddings, Labels, Mask, unit_rows
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.selection.exact import in_blocks

_BLOCK_ROWS = 8192
_BLOCK_BYTES = 1 << 24
_FORMS = "an embeddings file is .csv, .parquet or .npy"
_DAMAGED = (pa.ArrowException, ValueError, TypeError, OverflowError, OSError, EOFError, tokenize.TokenError)
"""What the readers of Arrow and NumPy raise; the last where NumPy takes a header for one of Python 2."""
_STANDARD = ("filenames", "filename", "labels", "label", "masked", "selected", "embedding")


@dataclass(frozen=True, slots=True)
class EmbeddingsFile:
    """N samples with embeddings (N, D), unit rows; those that are masked are gone already."""

    filenames: tuple[str, ...]
    embeddings: Embeddings
    labels: Labels
    selected: Mask
    """(N,) chosen already: the others are to be chosen relative to them."""
    all_rows: AllRows | None = None
    """To write the file back with; None for a bare array."""
    metadata: Mapping[str, Array] = field(default_factory=dict)
    """(N,) all columns that have no meaning of their own; see Annotations."""


def read_embeddings(path: Path) -> EmbeddingsFile:
    """The samples in the file at `path`. Raises SourceNotFound, and SourceError naming the place in the file."""
    if not path.is_file():
        raise SourceNotFound(f"embeddings file {path} does not exist")
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_npy}
    if path.suffix not in readers:
        raise SourceError(f"embeddings file {path} has the unknown form {path.suffix!r}; {_FORMS}")
    try:
        file = readers[path.suffix](path)
        return dataclasses.replace(file, metadata=_metadata(path, file.all_rows.masked)) if file.all_rows else file
    except SourceError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"embeddings file {path} cannot be read: {reason}; {_FORMS}") from error


def _read_csv(path: Path) -> EmbeddingsFile:
    from pyarrow import csv

    header = _header(path)
    types = {name: pa.float32() for name in header if name.startswith("embedding_")}
    types |= {"filenames": pa.string(), "labels": pa.int64()}
    wanted = [name for name in header if name in {*types, "masked", "selected"}]
    batches = csv.open_csv(
        path,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types, include_columns=wanted),
    )
    return _from_batches(path, batches)


def _read_parquet(path: Path) -> EmbeddingsFile:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    wanted = [name for name in file.schema_arrow.names if name in _STANDARD or name.startswith("embedding_")]
    return _from_batches(path, file.iter_batches(batch_size=_BLOCK_ROWS, columns=wanted))


def _read_npy(path: Path) -> EmbeddingsFile:
    vectors = np.lib.format.open_memmap(path, mode="r")
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise SourceError(f"embeddings file {path} holds {vectors.dtype} {vectors.shape}, not numbers (N, D)")
    names = tuple(str(row) for row in range(len(vectors)))
    labels, selected = np.zeros(len(vectors), np.int64), np.zeros(len(vectors), bool)
    if vectors.dtype == np.float32 and vectors.flags.c_contiguous and _are_unit(path, vectors, names):
        return EmbeddingsFile(names, vectors, labels, selected)  # as it lies on the disk
    with tempfile.TemporaryFile() as spool:
        rows = _Rows(path, spool)
        for block in in_blocks(vectors, _BLOCK_ROWS):
            rows.add(block, names)
        return EmbeddingsFile(names, rows.mapped(vectors.shape[1]), labels, selected)


def _from_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> EmbeddingsFile:
    names: list[str] = []
    labels = [np.empty(0, np.int64)]
    masked, selected = [np.empty(0, bool)], [np.empty(0, bool)]
    dim, flagged = 0, False
    with tempfile.TemporaryFile() as spool:
        rows = _Rows(path, spool)
        for batch in batches:
            masked.append(_flags(batch, "masked"))
            selected.append(_flags(batch, "selected"))
            flagged = not {"masked", "selected"}.isdisjoint(batch.schema.names)
            shown = ~masked[-1]
            names += _column(path, batch, "filenames", "filename").filter(pa.array(shown)).to_pylist()
            labels.append(_labels(path, batch)[shown])
            vectors = _vectors(path, batch)[shown]
            if dim not in {0, vectors.shape[1]}:
                raise SourceError(f"embeddings file {path} has embeddings of different lengths")
            dim = vectors.shape[1]
            rows.add(vectors, names)
        all_rows = AllRows(path, np.concatenate(masked), np.concatenate(selected), flagged)
        chosen = all_rows.selected[~all_rows.masked]
        return EmbeddingsFile(tuple(names), rows.mapped(dim), np.concatenate(labels), chosen, all_rows)


def _metadata(path: Path, masked: Mask) -> dict[str, Array]:
    """The columns (N,) of the rows that are not `masked`, but for those that are read anyway."""
    names = Counter(_header(path))
    read = {_name_of(path, names, "filenames", "filename"), _name_of(path, names, "labels", "label")}
    known = {"masked", "selected", "embedding", *read}
    others = [name for name in names if name not in known and not name.startswith("embedding_") and names[name] < 2]
    if not others:
        return {}
    table = read_arrow(path, others)
    return {name: as_array(table[name].filter(pa.array(~masked))) for name in table.column_names}


def _header(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return list(parquet.ParquetFile(path).schema_arrow.names)
    return csv_header(path)


@dataclass
class _Rows:
    """Unit rows on their way into a memory map over the nameless temporary file `spool`: memory stays free."""

    path: Path
    spool: IO[bytes]
    count: int = 0

    def add(self, vectors: Any, names: Sequence[str]) -> None:
        """More rows (N, D); `names` name all rows so far, these included."""
        self.spool.write(_unit(self.path, vectors, names, self.count).data)
        self.count += len(vectors)

    def mapped(self, dim: int) -> Embeddings:
        """All rows (N, D)."""
        self.spool.flush()
        if not self.count:
            return np.empty((0, dim), dtype=np.float32)
        return np.memmap(self.spool, np.float32, "r", shape=(self.count, dim))


def _are_unit(path: Path, vectors: Embeddings, names: Sequence[str]) -> bool:
    """True if all of `vectors` are unit rows but for rounding."""
    starts = range(0, len(vectors), _BLOCK_ROWS)
    blocks = zip(starts, in_blocks(vectors, _BLOCK_ROWS), strict=True)
    return all(np.array_equal(block, _unit(path, block, names, start)) for start, block in blocks)


def _unit(path: Path, vectors: Any, names: Sequence[str], start: int) -> Embeddings:
    """`vectors` (N, D) as unit rows; the first is called `names[start]`."""
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        name = names[start + int(np.argmin(usable))]
        raise SourceError(f"embeddings file {path}: the embedding of {name} is zero or not finite; take the row out")
    return unit_rows(vectors)


def _column(path: Path, batch: pa.RecordBatch, *names: str) -> pa.Array:
    return batch[_name_of(path, batch.schema.names, *names)]


def _name_of(path: Path, header: Iterable[str], *names: str) -> str:
    """The first of the `names` that is in the `header`."""
    for name in names:
        if name in header:
            return name
    raise SourceError(f"embeddings file {path} has no column {names[0]!r}")


def _labels(path: Path, batch: pa.RecordBatch) -> Labels:
    column = _column(path, batch, "labels", "label")
    if column.null_count:
        raise SourceError(f"embeddings file {path} has rows without a label; labels are integers, 0 will do")
    return np.asarray(column.cast(pa.int64()).to_numpy())


def _flags(batch: pa.RecordBatch, name: str) -> Mask:
    if name not in batch.schema.names:
        return np.zeros(batch.num_rows, dtype=bool)
    return np.asarray(pc.fill_null(batch[name].cast(pa.int64()), 0).to_numpy() == 1)


def _vectors(path: Path, batch: pa.RecordBatch) -> Any:
    if "embedding" in batch.schema.names:
        column = batch["embedding"]
        if column.null_count or len(pc.unique(pc.list_value_length(column))) > 1:
            raise SourceError(f"embeddings file {path} has embeddings that are missing or of different lengths")
        flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
        return flat.reshape(batch.num_rows, -1)
    names = [name for name in batch.schema.names if name.startswith("embedding_")]
    if names != [f"embedding_{i}" for i in range(len(names))] or not names:
        raise SourceError(f"embeddings file {path} has no columns embedding_0, embedding_1, … in this order")
    return np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in names])
