"""An embeddings file written back whole, as a CSV with what is masked and what is selected by now.

Columns in the order that Lightly wants: `filenames`, `embedding_0` …, `masked`, `selected`, `labels`, all others.
What was there stays as it is written there, letter by letter; rows stay in their order.
T: rows of the file. K: chosen.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lightpool_core.arrays import Mask, Rows
from lightpool_core.errors import SourceError
from lightpool_core.replacing import replacing

_BLOCK_BYTES = 1 << 24
_ROWS_AT_ONCE = 4096
_FLAGS = ("masked", "selected")
_STANDARD = {"filename": "filenames", "label": "labels"}
_NO_QUOTES = arrow_csv.WriteOptions(include_header=False, quoting_style="none")

_Columns: TypeAlias = dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class AllRows:
    """The T rows of the embeddings file at `path`, masked ones included."""

    path: Path
    masked: Mask
    """(T,) ignored."""
    selected: Mask
    """(T,) chosen."""
    flagged: bool = False
    """True where the file has a column `masked` or `selected`."""

    def with_chosen(self, indices: Rows) -> AllRows:
        """The same with `indices` (K,) selected, which count only rows that were neither masked nor selected."""
        selected = self.selected.copy()
        selected[np.flatnonzero(~(self.masked | self.selected))[indices]] = True
        return dataclasses.replace(self, selected=selected)

    def write_csv(self, path: Path) -> None:
        """Replace the file at `path` by all rows, atomically and some at a time.

        Raises SourceError where the rows have changed since they were read, or hold what no CSV can hold.
        """
        check_columns(self.path, all_rows=True)
        read = _parquet_batches if self.path.suffix == ".parquet" else _csv_batches
        try:
            with replacing(path) as new, new.open("wb") as file:
                self._write(file, read(self.path))
        except (pa.ArrowException, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(
                f"embeddings file {self.path} cannot be written back: {reason}; was it changed meanwhile?"
            ) from error

    def _write(self, file: IO[bytes], batches: Iterator[_Columns]) -> None:
        done = 0
        for number, columns in enumerate(batches):
            rows = slice(done, done + len(columns["labels"]))
            flags = [pa.array(flag[rows].astype(np.int8)) for flag in (self.masked, self.selected)]
            columns |= dict(zip(_FLAGS, flags, strict=True))
            embeddings = [name for name in columns if name.startswith("embedding_")]
            others = [name for name in columns if name not in {*_STANDARD.values(), *_FLAGS, *embeddings}]
            header = ["filenames", *embeddings, *_FLAGS, "labels", *others]
            if number == 0:
                file.write(_lines([header]))
            texts = [columns["filenames"], *(columns[name] for name in others)]
            table = pa.table([columns[name] for name in header], header)
            if any(map(_needs_quotes, texts)):
                file.write(_quoted(table))
            else:
                arrow_csv.write_csv(table, file, _NO_QUOTES)
            done = rows.stop
        if done != len(self.masked):
            raise ValueError(f"it has {done} rows, and had {len(self.masked)}")


def check_columns(path: Path, *, all_rows: bool | None = None) -> None:
    """Raise SourceError for columns of a Parquet file that no CSV can hold, if all of its rows are to be written back.

    With None they are where it has a column `masked` or `selected`. What cannot be read is left to who reads it.
    """
    if path.suffix != ".parquet" or all_rows is False:
        return
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError):
        return
    if all_rows is None and not set(_FLAGS) & set(schema.names):
        return
    unkept = [field for field in schema if pa.types.is_nested(field.type) and field.name != "embedding"]
    if unkept:
        names = ", ".join(f"{field.name!r} ({field.type})" for field in unkept)
        raise SourceError(
            f"embeddings file {path} cannot be written back, for no CSV can hold its columns {names};"
            " take them out of it, or give --chosen-rows"
        )


def _csv_batches(path: Path) -> Iterator[_Columns]:
    """All columns as they are written there, some rows at a time."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        header = next(csv.reader(stream), [])
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise SourceError(f"embeddings file {path} has two columns {twice!r}; rename one, or give --chosen-rows")
    batches = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), check_utf8=False),
    )
    for batch in batches:
        yield dict(zip(batch.schema.names, batch.columns, strict=True))


def _parquet_batches(path: Path) -> Iterator[_Columns]:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    none = pa.RecordBatch.from_pylist([], file.schema_arrow)
    batches = file.iter_batches(batch_size=_ROWS_AT_ONCE)
    for batch in chain([next(batches, none)], batches):
        columns: _Columns = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns |= _elements(column) if name == "embedding" else {_STANDARD.get(name, name): _plain(column)}
        yield columns


def _elements(vectors: pa.Array) -> _Columns:
    """A column of lists as columns `embedding_0` …"""
    rows = pc.list_flatten(vectors).to_numpy(zero_copy_only=False).reshape(len(vectors), -1) if len(vectors) else []
    return {f"embedding_{i}": pa.array(column) for i, column in enumerate(np.transpose(rows))}


def _plain(column: pa.Array) -> pa.Array:
    """`column` without a dictionary, which no CSV can have."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _needs_quotes(column: pa.Array) -> bool:
    types, kind = pa.types, column.type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)):
        return False
    return bool(pc.any(pc.match_substring_regex(column, '[",\r\n]')).as_py())


def _quoted(table: pa.Table) -> bytes:
    """The rows of `table`, texts in quotes where they need it: Arrow writes faster, and quotes all texts or none."""
    texts = [
        (column if column.type in (pa.string(), pa.binary()) else column.cast(pa.string()))
        .cast(pa.binary())
        .to_pylist()
        for column in table.columns
    ]
    return _lines(
        [(text or b"").decode("utf-8", "surrogateescape") for text in row] for row in zip(*texts, strict=True)
    )


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # Before Python 3.13 a writer does not know that a carriage return needs quotes.
        (quoted if any("\r" in text for text in row) else plain).writerow(row)
    return stream.getvalue().encode("utf-8", "surrogateescape")
