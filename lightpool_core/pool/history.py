"""`history/`: the chosen samples, in every version of the pool. The truth; all else can be made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.errors import CorruptPool, VersionNotFound
from lightpool_core.pool.table import Commit, Table
from lightpool_core.pool.under_way import forgets

_TABLE = "history"


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable state of a pool."""

    number: int
    time: datetime
    """When it was made, UTC."""
    samples: int
    added: int
    """Samples more than in the version before; negative after going back."""
    event: str
    """`init`, `append` or `restore`."""
    dim: int
    fingerprint: str
    run: str = ""
    """Name of the folder in `runs/` that tells more; empty where no raw data was looked at."""
    restored: int | None = None
    """The version that a restore went back to."""
    counts: dict[str, Any] = field(default_factory=dict)
    """What the run found, as in its report."""
    content: str = ""
    """Identity of all rows, see `lightpool_core.pool.content`; empty where it is not known."""

    def to_note(self) -> dict[str, Any]:
        return {**asdict(self), "time": self.time.isoformat()}

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> Version:
        """Raises KeyError, TypeError or ValueError for what no version wrote."""
        version = cls(**{**note, "time": datetime.fromisoformat(note["time"])})
        numbers = [version.number, version.samples, version.dim]
        texts = [version.event, version.fingerprint, version.run]
        if version.event == "append" and version.counts:
            numbers += [version.counts["sources"]["new"], version.counts["samples"]["candidates"]]
        earlier = [] if version.restored is None else [version.restored]
        if {type(number) for number in (*numbers, version.added, *earlier)} != {int} or min(*numbers, *earlier) < 0:
            raise ValueError(note)
        if {type(text) for text in texts} != {str} or not isinstance(version.counts, dict):
            raise ValueError(note)
        if any(number >= version.number for number in earlier) or not is_content(version.content):
            raise ValueError(note)
        return version


def is_content(content: object) -> bool:
    """True for what a commit notes of its rows, see `lightpool_core.pool.content`; it may be empty."""
    return isinstance(content, str) and re.fullmatch(r"([0-9a-f]{16})?", content) is not None


def schema(dim: int) -> pa.Schema:
    """The columns of `history/`; one row is one sample."""
    return pa.schema([
        ("position", pa.int64()),  # from 0, in the order in which samples joined
        ("filename", pa.string()),
        ("embedding", pa.list_(pa.float32(), dim)),
        ("label", pa.int64()),
        ("label_name", pa.string()),
        ("source", pa.string()),  # name of the raw file
        ("file", pa.string()),  # where it lay, absolute
        ("frame", pa.int64()),  # null for an image
        ("time", pa.float64()),  # seconds; null for an image
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("digest", pa.string()),  # of the pixels
        ("source_digest", pa.string()),  # of the raw file's bytes
        ("distance", pa.float32()),  # to the nearest kept when picked; null for the very first
        ("version", pa.int64()),  # that it joined in
        ("run", pa.string()),
        ("metadata", pa.string()),  # what else is known: a JSON object
    ])  # fmt: skip


@dataclass(frozen=True)
class History:
    """The versions of the pool in the folder `pool`; what was read once stays readable, see `Table.seen`."""

    pool: Path
    dim: int = 0
    seen: dict[int, int] = field(default_factory=dict, repr=False, compare=False)
    """Version → commit of the table."""
    opened: dict[int, DeltaTable] = field(default_factory=dict, repr=False, compare=False)

    @property
    def _table(self) -> Table:
        return Table(self.pool / _TABLE, schema(self.dim), self.opened)

    def create(self, version: Version) -> None:
        """Begin with an empty version."""
        self._table.create(version.to_note())

    def versions(self) -> list[Version]:
        """All that can be read and restored, oldest first."""
        message = f"{self.pool / _TABLE} has a commit that no lightpool made; restore it from a backup"
        try:
            versions = [Version.from_note(commit.note) for commit in self._commits().values()]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CorruptPool(message) from error
        if not versions:
            raise CorruptPool(message)
        return versions

    def append(self, rows: pa.Table, version: Version) -> None:
        """Commit `version`: all of the newest, then `rows`."""
        self._table.append(rows, version.to_note())

    def restore(self, number: int, version: Version) -> None:
        """Commit `version`, equal to version `number`."""
        self._table.restore(self._delta_version(number), version.to_note())

    def prune(self, newest: Version) -> None:
        """Forget all versions but the newest."""
        self._table.prune(newest.to_note())

    def columns(self, number: int, names: list[str]) -> pa.Table:
        """Columns of version `number`, in the order of positions."""
        rows = self._table.read(["position", *names], self._delta_version(number))
        return rows.sort_by("position").drop_columns(["position"])

    def embeddings(self, number: int, n_samples: int) -> Embeddings:
        """(M, D) embeddings of version `number`, which has `n_samples`, in the order of positions."""
        try:
            rows = np.empty((n_samples, self.dim), dtype=np.float32)
            filled = np.zeros(n_samples, dtype=bool)
            for batch in self._table.batches(["position", "embedding"], self._delta_version(number)):
                positions, vectors = self._vectors(batch)
                rows[positions], filled[positions] = vectors, True
        except (IndexError, ValueError):  # beyond the end, or of another length, or of a size that no array has
            filled = np.zeros(1, dtype=bool)
        if not filled.all():
            raise CorruptPool(f"{self.pool / _TABLE} holds other rows than version {number}; restore it from a backup")
        return rows

    def pieces(self, number: int) -> list[tuple[str, int]]:
        """The files that hold version `number`, in the order of positions: names that never come again, and rows.

        None at all where other tools have left files without statistics.
        """
        files = self._table.files(self._delta_version(number))
        if not {"num_records", "min.position"} <= set(files.column_names):
            return []
        files = files.select(["path", "num_records", "min.position"]).sort_by("min.position")
        return list(zip(files["path"].to_pylist(), files["num_records"].to_pylist(), strict=True))

    def embeddings_from(self, number: int, start: int) -> Iterator[tuple[Rows, Embeddings]]:
        """Positions and embeddings of version `number` from position `start` on, in blocks, in no certain order."""
        where = pc.field("position") >= start
        for batch in self._table.batches(["position", "embedding"], self._delta_version(number), where):
            yield self._vectors(batch)

    def _vectors(self, batch: pa.RecordBatch) -> tuple[Rows, Embeddings]:
        values = pc.list_flatten(batch["embedding"]).to_numpy()
        return batch["position"].to_numpy(), values.reshape(-1, self.dim)

    def _delta_version(self, number: int) -> int:
        if number not in self.seen:
            commits = self._commits()
            if number not in commits:
                kept = ", ".join(str(n) for n in list(commits)[-20:])
                raise VersionNotFound(f"version {number} is not in {self.pool}; it keeps {kept}")
            self.seen[number] = commits[number].delta_version
        return self.seen[number]

    def _commits(self) -> dict[int, Commit]:
        """By version number; of several commits that belong to one version, the last."""
        commits = {commit.note["number"]: commit for commit in self._table.commits()}
        newest = max(commits, default=0)
        if newest in commits:
            self.seen.setdefault(newest, commits[newest].delta_version)
        return {newest: commits[newest]} if forgets(self.pool, newest) else commits
