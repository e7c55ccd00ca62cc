"""Tables of what is known of samples: CSV, JSON lines or Parquet, one row for each name.

Column `filename` (or `filenames`, `file_name`) holds the name of an image, a frame or a whole video. N: samples.
"""

from __future__ import annotations

import mmap
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from csv import Error, reader
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightpool_core.annotating.asked import Asked
from lightpool_core.arrays import Array
from lightpool_core.errors import SourceError, SourceNotFound

_NAMES = ("filename", "filenames", "file_name")
_FORMS = "a table is .csv, .jsonl, .ndjson or .parquet"
_BLOCK_BYTES = 1 << 24
"""The longest row there may be."""
_UNPACKED, _PACKED = 1 << 29, 200
"""Bytes that a Parquet file may unpack to: so many, and so many more for each of its own."""
_NULL_LINE = re.compile(rb"(?:\A|[\r\n])[ \t]*null")


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory, each name once."""

    path: Path
    names: pa.ChunkedArray
    columns: Mapping[str, pa.ChunkedArray]
    """All others by name, those within structs with dots: `weather.temperature`."""

    @classmethod
    def read(cls, path: Path) -> Table:
        """The table in the file at `path`. Raises SourceNotFound, and SourceError naming the file."""
        if not path.is_file():
            raise SourceNotFound(f"{path} is not there, or no file; {_FORMS}")
        table = read_arrow(path)
        found = [name for name in _NAMES if name in table.column_names]
        if not found:
            raise SourceError(f"{path} has no column 'filename'; it has {', '.join(table.column_names[:10])}")
        names = table[found[0]].cast(pa.string())
        _check_names(path, names)
        return cls(path, names, {name: table[name] for name in table.column_names if name != found[0]})

    def columns_for(self, asked: Asked) -> dict[str, Array]:
        """All columns (N,) that hold values; a frame that is not in the table has what its video has.

        Raises SourceError where the table knows none of the samples.
        """
        own, videos = self._rows(asked.names), self._rows(asked.videos)
        n_known = len(own) - pc.and_(pc.is_null(own), pc.is_null(videos)).true_count
        asked.check_known(n_known, self.path, self.names[0].as_py() if len(self.names) else None)
        wanted = {name: pc.coalesce(column.take(own), column.take(videos)) for name, column in self.columns.items()}
        return {name: as_array(column) for name, column in wanted.items()}

    def _rows(self, names: Sequence[str | None]) -> pa.Array:
        """The row (N,) of each name; null where there is none."""
        return pc.index_in(pa.array(names, pa.string()), value_set=self.names, skip_nulls=True)


def read_arrow(path: Path, only: Sequence[str] | None = None) -> pa.Table:
    """Texts, numbers, booleans and times in the file at `path`, or `only` some columns of a CSV or Parquet file.

    Structs are taken apart, `weather.temperature`; lists and bytes are left out. Raises SourceError.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_json, ".ndjson": _read_json, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise SourceError(f"{path} has the unknown form {path.suffix!r}; {_FORMS}")
    try:
        table = readers[path.suffix.lower()](path, only)
        while any(pa.types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
        check_size(path, sum(text_bytes(column) for column in table.columns if pa.types.is_dictionary(column.type)))
        for at, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                table = table.set_column(at, field.name, table[at].cast(field.type.value_type))
        names = Counter(table.column_names)
        table.validate(full=True)  # texts that are no UTF-8, say, which JSON and Parquet files may hold
    except (pa.ArrowException, ValueError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {' '.join(str(error).split())}; {_FORMS}") from error
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise SourceError(f"{path} has two columns {twice[0]!r}; rename one")
    return table.select([field.name for field in table.schema if _is_number(field.type) or _is_word(field.type)])


def csv_header(path: Path) -> list[str]:
    """The names of the columns of the CSV file at `path`. Raises SourceError for a line that no header is."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        lines = iter(lambda: stream.readline(_BLOCK_BYTES), "")  # not more of it, if it has no end
        try:
            return next(reader(lines), [])
        except Error as error:
            raise SourceError(f"{path} has no header of names: {error}; {_FORMS}") from error


def as_array(column: pa.ChunkedArray) -> Array:
    """Numbers (N,) as float64 with NaN for unknown; texts, times and booleans as objects with None."""
    if _is_number(column.type):
        return np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    if not pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = combined.dictionary_encode()  # equal texts share one Python object
    values = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return np.asarray(values[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def _read_csv(path: Path, only: Sequence[str] | None) -> pa.Table:
    from pyarrow import csv

    def read(texts: Iterable[str]) -> pa.Table:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), include_columns=only),
        )

    table = read(_NAMES)
    times = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    return read([*_NAMES, *times]) if times else table  # dates as they are written


def _read_json(path: Path, _: Sequence[str] | None) -> pa.Table:
    from pyarrow import json

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        if _NULL_LINE.search(lines):  # Arrow 26 crashes where a block begins with one
            raise ValueError("it has a line that is null and no object")
    options = json.ReadOptions(block_size=_BLOCK_BYTES)
    table = json.read_json(path, options)
    written = pa.schema([field.with_type(_times_as_text(field.type)) for field in table.schema])
    if written == table.schema:
        return table
    return json.read_json(path, options, json.ParseOptions(explicit_schema=written))


def _read_parquet(path: Path, only: Sequence[str] | None) -> pa.Table:
    from pyarrow import parquet

    schema = parquet.ParquetFile(path).schema
    leaves = [schema.column(i) for i in range(len(schema))]
    texts = [leaf.path for leaf in leaves if leaf.logical_type.type == "STRING" and not leaf.max_repetition_level]
    file = parquet.ParquetFile(path, read_dictionary=texts)  # each text once, until it is known how often
    check_size(path, file.metadata.num_rows * len(leaves) * 8)
    return file.read(only)


def check_size(path: Path, n_bytes: int) -> None:
    """Raise ValueError if the Parquet file at `path` cannot be meant to unpack to `n_bytes`."""
    if n_bytes > _UNPACKED + _PACKED * path.stat().st_size:
        raise ValueError(f"it unpacks to {n_bytes / 1e9:.1f} GB, as a file does that is made to fill the memory")


def text_bytes(column: pa.ChunkedArray) -> int:
    """What the texts of a dictionary take, each written out."""
    if not pa.types.is_string(column.type.value_type) and not pa.types.is_large_string(column.type.value_type):
        return 0
    chunks = (pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() for chunk in column.chunks)
    return sum(size or 0 for size in chunks)


def _times_as_text(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_times_as_text(field.type)) for field in kind])
    return pa.string() if pa.types.is_temporal(kind) else kind


def _check_names(path: Path, names: pa.ChunkedArray) -> None:
    if names.null_count or pc.any(pc.equal(names, "")).as_py():
        raise SourceError(f"{path} has a row without a filename; take it out")
    if pc.count_distinct(names).as_py() < len(names):
        counts = pc.value_counts(names)
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
        raise SourceError(f"{path} has two rows for {twice!r}; leave one")


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_word(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_temporal(kind)
    )
