"""A Delta table whose every commit carries a note: which pool version it belongs to, and why it was made.

Delta Lake transaction log protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow.dataset import Dataset
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from lightpool_core.errors import CorruptPool, PoolError, failure
from lightpool_core.pool.delta_log import check_room, files, sync_since
from lightpool_core.pool.enclosure import check_paths
from lightpool_core.pool.under_way import begun

Note: TypeAlias = dict[str, Any]
T = TypeVar("T")

_NOTE_KEY = "lightpool"
# Delta tables forget their log after 30 days unless told otherwise; a pool's history has no end.
_KEEP_FOR_EVER = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
_FORGET_AT_ONCE = {"delta.logRetentionDuration": "interval 0 seconds", "delta.enableExpiredLogCleanup": "true"}


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a table that still can be read."""

    delta_version: int
    note: Note


@dataclass(frozen=True)
class Table:
    """A Delta table in the folder `path`, with rows of `schema`."""

    path: Path
    schema: pa.Schema
    seen: dict[int, DeltaTable] = field(default_factory=dict, repr=False, compare=False)
    """Commits that were read: they can be read again, even where another command forgets them meanwhile."""

    def create(self, note: Note) -> None:
        """Make the empty table."""
        with self._writing():
            DeltaTable.create(
                str(self.path), _delta_schema(self.schema), configuration=_KEEP_FOR_EVER, commit_properties=_noted(note)
            )

    def append(self, rows: pa.Table, note: Note) -> None:
        """Add `rows` in one atomic commit; a column that the table has not had so far is null in what it holds."""
        checked = rows.cast(self.schema).cast(_delta_schema(self.schema))
        properties = _noted(note)
        with self._writing():
            check_room(self.path, checked.nbytes)
            write_deltalake(str(self.path), checked, mode="append", schema_mode="merge", commit_properties=properties)

    def commits(self) -> list[Commit]:
        """Every commit that carries a note, oldest first."""
        with self._readable():
            table, history = self._steady(self._with_history)
        self.seen[table.version()] = table
        newest = self._log / f"{table.version():020}.json"
        if newest.is_file() and not newest.stat().st_size:  # the library would count the others wrongly
            raise CorruptPool(f"{newest} is empty; {self._advice}")
        noted = [(entry["version"], entry.get(_NOTE_KEY)) for entry in reversed(history)]
        try:
            return [Commit(version, json.loads(note)) for version, note in noted if note is not None]
        except (TypeError, ValueError, RecursionError) as error:
            raise CorruptPool(f"{self.path} has a commit that no lightpool made; restore it from a backup") from error

    def read(self, columns: list[str], delta_version: int | None = None, where: Any = None) -> pa.Table:
        """`columns` of the rows at one commit (the newest) that fulfil `where`, in no particular order.

        A column that the table did not have yet is null.
        """
        with self._readable():
            dataset = self._dataset(delta_version)
            there = set(dataset.schema.names)
            rows = dataset.to_table(columns=[name for name in columns if name in there], filter=where)
        for name in (name for name in columns if name not in there):
            rows = rows.append_column(name, pa.nulls(rows.num_rows, self.schema.field(name).type))
        return rows.select(columns)

    def batches(
        self, columns: list[str], delta_version: int | None = None, where: Any = None
    ) -> Iterator[pa.RecordBatch]:
        """The same, some thousand rows at a time."""
        with self._readable():
            yield from self._dataset(delta_version).to_batches(columns=columns, filter=where)

    def files(self, delta_version: int | None = None) -> pa.Table:
        """The immutable files that hold the rows at one commit (the newest): `path`, `num_records`, `min.position` …"""
        with self._readable():
            return pa.table(self._at(delta_version).get_add_actions(flatten=True))

    def __len__(self) -> int:
        with self._readable():
            return int(self._dataset().count_rows())

    def restore(self, delta_version: int, note: Note) -> None:
        """A new commit with exactly the rows of an old one."""
        self._open(delta_version)  # what it names is in this folder
        table = self._open()
        with self._writing():
            table.restore(delta_version, commit_properties=_noted(note))

    def prune(self, note: Note) -> None:
        """Forget all but the newest rows; files that only older commits need are deleted."""
        # Every step is a commit itself and may be the only one left: each repeats the note.
        noted = _noted(note)
        with self._writing():
            self._open().alter.set_table_properties(_FORGET_AT_ONCE, commit_properties=noted)
            self._open().vacuum(
                retention_hours=0, enforce_retention_duration=False, dry_run=False, commit_properties=noted
            )
        table = self._open()
        with self._writing():
            table.create_checkpoint()
        with self._writing():  # only now, when the checkpoint is on the disk, may the log go
            table.cleanup_metadata()
            self._open().alter.set_table_properties(_KEEP_FOR_EVER, commit_properties=noted)

    def _dataset(self, delta_version: int | None = None) -> Dataset:
        # Delta's own file system is Python code; Arrow's threads may still want to run it when Python ends, and abort.
        files = SubTreeFileSystem(str(self.path), LocalFileSystem())
        return self._at(delta_version).to_pyarrow_dataset(filesystem=files)

    def _at(self, delta_version: int | None) -> DeltaTable:
        """To read from; a table that is written to is another commit afterwards, and is opened for itself."""
        if delta_version is None:
            return self._open()
        if delta_version not in self.seen:
            self.seen[delta_version] = self._open(delta_version)
        return self.seen[delta_version]

    def _open(self, delta_version: int | None = None) -> DeltaTable:
        with self._readable():
            table = self._steady(lambda: DeltaTable(str(self.path), version=delta_version))
            check_paths(self.path, pa.table(table.get_add_actions())["path"].to_pylist())
        return table

    def _with_history(self) -> tuple[DeltaTable, list[dict[str, Any]]]:
        # The library lists the commits that are there by then, and numbers them from the one that was opened.
        while True:
            before = set(self._log.glob("*.json"))
            table = self._open()
            history = table.history()
            if set(self._log.glob("*.json")) == before:
                return table, history

    def _steady(self, read: Callable[[], T]) -> T:
        """What `read` makes of the log; once more where another command has changed it meanwhile."""
        while True:
            before = set(self._log.glob("*"))
            try:
                return read()
            except (DeltaError, OSError):
                if set(self._log.glob("*")) == before:
                    raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What is written in the block is on the disk after it: the Delta library leaves that to the system."""
        before = files(self.path)
        try:
            yield
            sync_since(self.path, before)
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise PoolError(f"{self.path} cannot be written to: {failure(error)}") from error

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError as error:
            raise CorruptPool(f"{self.path} is missing or no Delta table; {self._advice}") from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise CorruptPool(f"{self.path} cannot be read ({reason}); {self._advice}") from error

    @property
    def _log(self) -> Path:
        return self.path / "_delta_log"

    @property
    def _advice(self) -> str:
        cut_off = begun(self.path.parent)
        return "a command was cut off: the next append mends it" if cut_off else "restore it from a backup"


def _noted(note: Note) -> CommitProperties:
    return CommitProperties(custom_metadata={_NOTE_KEY: json.dumps(note)})


def _delta_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` as Delta can hold it: it has no lists of fixed size."""
    return pa.schema(
        field.with_type(pa.list_(field.type.value_type)) if pa.types.is_fixed_size_list(field.type) else field
        for field in schema
    )
