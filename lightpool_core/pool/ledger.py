"""`sources/`: every raw file already processed, with what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from lightpool_core.errors import CorruptPool
from lightpool_core.media.source import Source
from lightpool_core.pool.content import NOTHING, grown
from lightpool_core.pool.history import is_content
from lightpool_core.pool.table import Commit, Note, Table

_TABLE = "sources"

SCHEMA = pa.schema([
    ("source", pa.string()),  # its name: the path relative to the input
    ("file", pa.string()),  # where it lay, absolute
    ("kind", pa.string()),  # image or video
    ("size", pa.int64()),  # bytes
    ("mtime_ns", pa.int64()),  # time of last modification, nanoseconds since 1970
    ("digest", pa.string()),  # of its bytes
    ("status", pa.string()),  # processed, corrupt or duplicate
    ("reason", pa.string()),  # why it is corrupt or cut short, or what it is a duplicate of
    ("samples", pa.int64()),  # pictures decoded from it
    ("run", pa.string()),
])  # fmt: skip

_STATE = ["file", "size", "mtime_ns"]
"""What tells a file in one state from all others, without reading it."""

Status = Literal["processed", "corrupt", "duplicate"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one source."""

    source: Source
    digest: str
    """Of its bytes; empty where they could not be read, and then no ledger remembers the source."""
    status: Status
    reason: str = ""
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """What the ledger says of some bytes."""

    source: str
    files: frozenset[str]
    """All paths where they were seen, as `Source.location`."""
    kind: str
    """image or video: what the original was taken for."""
    status: Status
    reason: str


@dataclass(frozen=True)
class Ledger:
    """The sources that the pool in the folder `pool` has seen."""

    pool: Path

    @property
    def _table(self) -> Table:
        return Table(self.pool / _TABLE, SCHEMA)

    def create(self, note: Note) -> None:
        """Begin with an empty ledger."""
        self._table.create({**note, "content": NOTHING})

    def unseen(self, sources: Sequence[Source]) -> list[Source]:
        """Those of which no path with that size and modification time is known, in the given order."""
        known = self._table.read(_STATE)
        listed = pa.table({
            "file": pa.array([source.location for source in sources], pa.string()),
            "size": pa.array([source.size for source in sources], pa.int64()),
            "mtime_ns": pa.array([source.mtime_ns for source in sources], pa.int64()),
            "row": pa.array(range(len(sources)), pa.int64()),
        })  # fmt: skip
        left = listed.join(known, keys=_STATE, join_type="left anti")
        return [sources[row] for row in sorted(left["row"].to_pylist())]

    def known(self, digests: Iterable[str]) -> dict[str, Record]:
        """What is recorded of the raw files with these digests, by digest; the original counts, not its copies."""
        names = ["digest", "source", "file", "kind", "status", "reason"]
        wanted = pc.field("digest").isin(pa.array(sorted(set(digests)), pa.string()))
        found = self._table.read(names, where=wanted)
        by_digest: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(found.to_pylist(), key=lambda row: bool(row["status"] == "duplicate")):
            by_digest.setdefault(row["digest"], []).append(row)
        return {
            digest: Record(
                files=frozenset(row["file"] for row in rows),
                **{name: rows[0][name] for name in ("source", "kind", "status", "reason")},
            )
            for digest, rows in by_digest.items()
        }

    def about(self, source: str, number: int) -> pa.Table:
        """All that was known of raw files called `source` at version `number` of the pool."""
        commits = self._commits()
        upto = [commit for commit in commits if commit.note["number"] <= number] or commits[:1]  # others are forgotten
        return self._table.read(SCHEMA.names, upto[-1].delta_version, pc.field("source") == source)

    def __len__(self) -> int:
        return len(self._table)

    def record_rows(self, rows: pa.Table, note: Note) -> None:
        """Remember `rows` of this table's schema, but no file twice in the same state."""
        known = self._table.read(_STATE)
        news = rows.join(known, keys=_STATE, join_type="left anti").select(SCHEMA.names)
        content = grown(self.newest().get("content", ""), news)
        self._table.append(news.sort_by("source"), {**note, "content": content})

    def newest(self) -> Note:
        """The note of the newest commit."""
        return self._commits()[-1].note

    def knows(self, number: int) -> bool:
        """True if it can go back to what was known when version `number` of the pool was made."""
        return any(commit.note["number"] == number for commit in self._commits())

    def check_known(self, number: int) -> None:
        """Raise CorruptPool unless it knows version `number`."""
        if not self.knows(number):
            raise CorruptPool(f"{self.pool / _TABLE} has no commit of version {number}; restore it from a backup")

    def restore(self, number: int, note: Note) -> None:
        """Go back to what was known when version `number` of the pool was made. Raises CorruptPool."""
        self.check_known(number)
        made = [c for c in self._commits() if c.note["number"] == number]
        self._table.restore(made[0].delta_version, {**note, "content": made[0].note.get("content", "")})

    def prune(self) -> None:
        """Forget all older states of the ledger; what it knows now stays."""
        self._table.prune(self.newest())

    def _commits(self) -> list[Commit]:
        """Every commit that carries a note, oldest first, at least one."""
        commits = self._table.commits()
        if not commits or not all(is_note(commit.note) for commit in commits):
            raise CorruptPool(f"{self.pool / _TABLE} has a commit that no lightpool made; restore it from a backup")
        return commits


def is_note(note: object) -> bool:
    """True for what a commit of the ledger notes: which version of the pool it belongs to, and of which rows it is."""
    if not isinstance(note, dict) or not is_content(note.get("content", "")):
        return False
    return type(note.get("number")) is int and note["number"] >= 0 and isinstance(note.get("run", ""), str)


def rows_of(outcomes: Sequence[Outcome], run: str) -> pa.Table:
    """`outcomes` as rows of `sources/`, without those that could not be read."""
    readable = [outcome for outcome in outcomes if outcome.digest]
    return pa.Table.from_pylist(
        [
            {
                "source": outcome.source.name,
                "file": outcome.source.location,
                "kind": outcome.source.kind,
                "size": outcome.source.size,
                "mtime_ns": outcome.source.mtime_ns,
                "digest": outcome.digest,
                "status": outcome.status,
                "reason": outcome.reason,
                "samples": outcome.samples,
                "run": run,
            }
            for outcome in readable
        ],
        schema=SCHEMA,
    )
