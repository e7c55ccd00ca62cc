"""Embeddings as they are made, on disk: a run that was cut off goes on from there, and memory does not grow.

A folder with `journal.json`, which says what made the embeddings, and one Parquet file per batch,
`part-NNNNNN.parquet`: a row per picture, and in the metadata of the schema, as JSON, how sources ended. A part
has its name from the moment when it is complete. N: pictures. D: dimension.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.embedding.pictures import Ending, Picture
from lightpool_core.errors import CorruptPool, PoolError
from lightpool_core.media.quality import MEASURED
from lightpool_core.replacing import replacing, sync

SCRATCH_NAME = "candidates.f32"
_HEADER = "journal.json"
_ENDINGS = b"endings"
_AFTER = b"after"
_FORM: Any = {"compression": "none", "use_dictionary": ["source"], "write_statistics": False}
"""Of a part: looking for what repeats in embeddings, or for their least, would take longer than writing them."""
_TOLD = attrgetter("index", "time", "width", "height", "digest")
_FIELDS = attrgetter(*(field.name for field in fields(Ending)))
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, pa.ArrowException)
"""What reading a part raises that is not as it was written."""
_GROUP = 8192
"""Rows of a kept journal that are gathered at once."""
_SCRATCH = 1 << 26
"""Bytes of embeddings from which on they are kept in a file instead of in memory."""


@dataclass(frozen=True, slots=True)
class Maker:
    """What made embeddings: two journals of the same maker hold the same for the same pictures."""

    fingerprint: str
    """Of the embedder."""
    precision: str
    """In which it computed, and on what kind of device."""
    dim: int
    """D"""
    measured: bool = False
    """True where pictures were measured: then they were decoded as large as they are, and embedded so."""
    format: int = 1


@dataclass(frozen=True, slots=True)
class Entries:
    """What journals hold of some sources."""

    pictures: pa.Table
    """N rows: source (its key), frame, time, width, height, digest, what was measured, and where the embedding is:
    part, row.
    """
    endings: dict[str, Ending]
    """By the key of the source; sources that came to their end, and that need not be read again."""


class Journal:
    """The journal in `folder`, gone on with if it is by the same maker, otherwise begun; read together with `others`.

    Sources are known by a key that means the same bytes, sampled in the same way.
    """

    def __init__(self, folder: Path, maker: Maker, others: Sequence[Path] = ()) -> None:
        self._folder = folder
        self.maker = maker
        self._dim = maker.dim
        self._schema = _schema(maker)
        self._described = self._schema.remove(self._schema.get_field_index("embedding"))
        if _maker_of(folder) != maker:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with replacing(folder / _HEADER) as new:
                new.write_text(json.dumps(asdict(maker)))
        kept = [other for other in others if other != folder and _maker_of(other) == maker]
        self._number = 1 + max((int(part.stem[5:]) for part in folder.glob("part-*.parquet")), default=0)
        self._parts: list[Path] = []
        self._tables: list[pa.Table] = []
        self._endings: dict[str, Ending] = {}
        self._reached: dict[str, int] = {}
        """Index of the last frame, by the key of its video."""
        for place in (*kept, folder):
            for part, table in _parts_in(place, self._described):
                self._take_over(part, table)

    def add(
        self, pictures: Sequence[tuple[str, Picture]], embeddings: Embeddings, endings: Iterable[tuple[str, Ending]]
    ) -> None:
        """Write one batch down: `pictures` with the keys of their sources, and `embeddings` (N, D)."""
        measured = [[picture.measured[name] for name in MEASURED if self.maker.measured] for _, picture in pictures]
        rows = [(key, *_TOLD(picture), *more) for (key, picture), more in zip(pictures, measured, strict=True)]
        columns = list(zip(*rows, strict=True)) or [()] * len(self._described)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(embeddings), pa.float32()), self._dim)
        ends = dict(endings)
        ended = [(key, *_values(ending)) for key, ending in ends.items()]
        keys = {key for key, _ in pictures} | ends.keys()
        after = {key: self._reached[key] for key in sorted(keys & self._reached.keys())}
        described_by = {_ENDINGS: json.dumps(ended), _AFTER: json.dumps(after)}
        schema = self._schema.with_metadata(described_by)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._described, strict=True)]
        table = pa.Table.from_arrays([*arrays, vectors], schema=schema)
        path = self._folder / f"part-{self._number:06}.parquet"
        try:
            with replacing(path) as new, pa.OSFile(str(new), "wb") as file:
                parquet.write_table(table, file, **_FORM)
        except OSError as error:
            raise PoolError(
                f"embeddings cannot be written to {self._folder}: {error.strerror or error};"
                " once they can be, the same command goes on from here"
            ) from error
        self._number += 1
        self._remember(path, table.drop_columns("embedding"), ends)

    def entries(self, keys: Iterable[str]) -> Entries:
        """What is known of the sources with these `keys`."""
        wanted = set(keys)
        table = _located([self._described.empty_table(), *self._tables])
        chosen = table.filter(pa.compute.is_in(table["source"], pa.array(sorted(wanted), pa.string())))
        endings = {key: ending for key, ending in self._endings.items() if key in wanted}
        return Entries(chosen, endings)

    def embeddings(self, parts: Rows, rows: Rows) -> Embeddings:
        """(N, D) those in the given `rows` (N,) of the given `parts` (N,); many of them in a memory map.

        Raises CorruptPool naming a part that a failing disk damaged.
        """
        n = len(parts)
        found: Embeddings
        if n * self._dim * 4 < _SCRATCH:
            found = np.empty((n, self._dim), dtype=np.float32)
        else:
            found = np.memmap(self._folder.with_name(SCRATCH_NAME), np.float32, "w+", shape=(n, self._dim))
        order = np.argsort(parts, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1) if n else ():
            part = self._parts[parts[group[0]]]
            try:
                self._gather(found, group, part, rows[group])
            except _DAMAGED as error:
                raise CorruptPool(
                    f"{part} cannot be read: {' '.join(str(error).split())};"
                    " delete it, and the same command embeds its pictures again"
                ) from error
        return found

    def _gather(self, found: Embeddings, places: Rows, part: Path, rows: Rows) -> None:
        """Put the given `rows` of a part to their `places` in `found`, a group of rows at a time."""
        with parquet.ParquetFile(part) as file:
            start = 0
            for number in range(file.num_row_groups):
                end = start + file.metadata.row_group(number).num_rows
                inside = (rows >= start) & (rows < end)
                if inside.any():
                    column = file.read_row_group(number, columns=["embedding"])["embedding"]
                    vectors = column.combine_chunks().flatten().to_numpy().reshape(-1, self._dim)
                    found[places[inside]] = vectors[rows[inside] - start]
                start = end

    def keep(self, folder: Path, keys: Iterable[str]) -> None:
        """Gather what is known of the sources with these `keys` in one part of a new journal in `folder`.

        Without those that nothing came of, or that the system failed at: another run may know more of them.
        """
        ended = ((key, self._endings[key]) for key in keys if key in self._endings)
        entries = self.entries(key for key, ending in ended if ending.readable and ending.n_decoded)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as workshop:
            made = Journal(Path(workshop) / folder.name, self.maker)
            made._write(entries, self)
            sync(*made._folder.iterdir(), made._folder)
            made._folder.replace(folder)
            sync(folder.parent)

    def _write(self, entries: Entries, other: Journal) -> None:
        pictures = entries.pictures
        ended = json.dumps([[key, *_values(ending)] for key, ending in entries.endings.items()])
        schema = self._schema.with_metadata({_ENDINGS: ended})
        with parquet.ParquetWriter(self._folder / "part-000001.parquet", schema, **_FORM) as writer:
            for start in range(0, max(pictures.num_rows, 1), _GROUP):
                group = pictures.slice(start, _GROUP)
                embeddings = other.embeddings(group["part"].to_numpy(), group["row"].to_numpy())
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), self._dim)
                columns = group.select(self._described.names).append_column("embedding", vectors)
                writer.write_table(columns.select(schema.names).cast(schema))

    def _take_over(self, part: Path, table: pa.Table) -> None:
        """Go on with a part that an earlier run wrote."""
        endings, after = _told_by(table)
        if any(self._reached.get(key, -1) < index for key, index in after.items()):
            return  # the frames before these are gone: as good as none
        # What was not well before is tried again: with other limits, say, or on a system that works.
        self._remember(part, table, {key: ending for key, ending in endings.items() if not ending.reason})

    def _remember(self, part: Path, table: pa.Table, endings: dict[str, Ending]) -> None:
        if table["frame"].null_count < table.num_rows:  # otherwise all of images
            for key, index in zip(table["source"].to_pylist(), table["frame"].to_pylist(), strict=True):
                if index is not None:
                    self._reached[key] = max(index, self._reached.get(key, -1))
        self._endings |= endings
        self._tables.append(table.replace_schema_metadata())
        self._parts.append(part)


def _schema(maker: Maker) -> pa.Schema:
    return pa.schema({
        "source": pa.string(),
        "frame": pa.int64(),
        "time": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "digest": pa.string(),
        **{name: pa.float64() for name in MEASURED if maker.measured},
        "embedding": pa.list_(pa.float32(), maker.dim),
    })  # fmt: skip


def _values(ending: Ending) -> tuple[object, ...]:
    found: tuple[object, ...] = _FIELDS(ending)
    return found


def _located(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows, with two more columns: which part each comes from, and where in it it is; the first has no part."""
    lengths = np.array([table.num_rows for table in tables])
    parts = np.repeat(np.arange(len(tables)), lengths)
    rows = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return pa.concat_tables(tables).append_column("part", pa.array(parts - 1)).append_column("row", pa.array(rows))


def _maker_of(folder: Path) -> Maker | None:
    try:
        return Maker(**json.loads((folder / _HEADER).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _parts_in(folder: Path, described: pa.Schema) -> Iterator[tuple[Path, pa.Table]]:
    """The parts in `folder`, of these columns; one that a failing disk left in pieces is as good as none, and is
    embedded again.
    """
    for part in sorted(folder.glob("part-*.parquet")):
        try:
            table = parquet.read_table(part, columns=described.names, partitioning=None)
            table.validate(full=True)
            _told_by(table)
        except _DAMAGED:
            continue
        if table.schema.equals(described):
            yield part, table


def _told_by(part: pa.Table) -> tuple[dict[str, Ending], dict[str, int]]:
    """How sources ended, and which frame of each comes before those in the part."""
    endings = json.loads(part.schema.metadata[_ENDINGS])
    after = json.loads(part.schema.metadata.get(_AFTER, b"{}"))
    return {str(key): Ending(*values) for key, *values in endings}, {key: int(after[key]) for key in after}


def keys_in(folder: Path, maker: Maker | None = None) -> set[str]:
    """The keys of all sources that the journal in `folder` knows anything of; none if it is by another maker."""
    keys: set[str] = set()
    if maker is not None and _maker_of(folder) != maker:
        return keys
    for _, table in _parts_in(folder, pa.schema({"source": pa.string()})):
        keys.update(table["source"].to_pylist())
        keys.update(_told_by(table)[0])
    return keys
