"""An embeddings file written back whole, as a CSV with what is masked and what is selected by now.

Columns in the order that Lightly wants: `filenames`, `embedding_0` …, `masked`, `selected`, `labels`, all others.
What was there stays as it is written there, letter by letter; rows stay in their order.
T: rows of the file. K: chosen.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightpool_core.arrays import Mask, Rows
from lightpool_core.errors import SourceError
from lightpool_core.replacing import replacing

_ROWS_AT_ONCE = 1024
_FLAGS = ("masked", "selected")
_STANDARD = {"filename": "filenames", "label": "labels"}


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
        """Replace the file at `path` by all rows, atomically and a few at a time.

        Raises SourceError where the rows have changed since they were read, or hold what no CSV can hold.
        """
        try:
            with replacing(path) as new, new.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                self._write(file)
        except (pa.ArrowException, csv.Error, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise SourceError(
                f"embeddings file {self.path} cannot be written back: {reason}; was it changed meanwhile?"
            ) from error

    def _write(self, file: IO[str]) -> None:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        texts = _parquet_texts(self.path) if self.path.suffix == ".parquet" else _csv_texts(self.path)
        header = [_STANDARD.get(name, name) for name in next(texts)]
        embeddings = [name for name in header if name.startswith("embedding_")]
        first, last = ["filenames", *embeddings], ["labels"]
        last += [name for name in header if name not in {*first, *last, *_FLAGS}]
        before, after = [header.index(name) for name in first], [header.index(name) for name in last]
        plain.writerow([*first, *_FLAGS, *last])
        for row, *flags in zip(texts, self.masked.tolist(), self.selected.tolist(), strict=True):
            values, rest = [row[i] for i in before], [row[i] for i in after]
            # Before Python 3.13 a writer does not know that a carriage return needs quotes.
            writer = quoted if any("\r" in text for text in (values[0], *rest)) else plain
            writer.writerow([*values, *map(int, flags), *rest])


def _csv_texts(path: Path) -> Iterator[Sequence[str]]:
    """The header, then every row."""
    # What is no UTF-8 passes through as well: only columns that nobody has read can have it.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield from filter(None, csv.reader(stream))


def _parquet_texts(path: Path) -> Iterator[Sequence[str]]:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    none = pa.RecordBatch.from_pylist([], file.schema_arrow)
    batches = file.iter_batches(batch_size=_ROWS_AT_ONCE)
    for number, batch in enumerate(chain([next(batches, none)], batches)):
        columns: dict[str, pa.Array] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns |= _elements(column) if name == "embedding" else {name: column}
        if number == 0:
            yield list(columns)
        texts = [pc.fill_null(column.cast(pa.string()), "").to_pylist() for column in columns.values()]
        yield from zip(*texts, strict=True)


def _elements(vectors: pa.Array) -> dict[str, pa.Array]:
    """A column of lists as columns `embedding_0` …"""
    dim = len(vectors[0]) if len(vectors) else 0
    flat = pc.list_flatten(vectors)
    return {f"embedding_{i}": flat.take(pa.array(range(i, len(flat), dim))) for i in range(dim)}
