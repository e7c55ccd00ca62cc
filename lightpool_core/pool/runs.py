"""`runs/`: one folder per run with its report and decisions, what an interrupted commit still owes, its journal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lightpool_core.annotating.tables import check_size, text_bytes
from lightpool_core.embedding.journal import SCRATCH_NAME
from lightpool_core.errors import CorruptPool
from lightpool_core.media.names import as_line
from lightpool_core.pool import decisions, ledger
from lightpool_core.pool.clock import now
from lightpool_core.pool.parts import RUN, is_unfinished
from lightpool_core.replacing import replacing, sync
from lightpool_core.report import fits

_REPORT = "report.json"
_DECISIONS = "decisions.parquet"
_PENDING = "pending.parquet"
_JOURNAL = "journal"
_EMBEDDINGS = "embeddings"
_NAME = re.compile(RUN, re.ASCII)
"""Of a run: its time, and a number where several began in one second."""
_UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
"""What Arrow makes of a damaged file."""
_ROWS = 1 << 17
"""That are read at once."""


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """What versions and the ledger call it."""
        return self.folder.name

    @property
    def journal(self) -> Path:
        """Where it writes embeddings down as they are made."""
        return self.folder / _JOURNAL

    @property
    def embeddings(self) -> Path:
        """Where the embeddings of all its candidates lie, if they were to be kept."""
        return self.folder / _EMBEDDINGS

    @property
    def pending(self) -> Path:
        """What it owes to the ledger, while its commit is under way."""
        return self.folder / _PENDING

    @property
    def is_settled(self) -> bool:
        """False while its commit is under way, or was cut off."""
        return not self.pending.exists()

    @property
    def is_reported(self) -> bool:
        """False for a run that was cut off before its commit."""
        return (self.folder / _REPORT).exists()

    @property
    def explained(self) -> bool:
        """True if its decisions are still there."""
        return (self.folder / _DECISIONS).exists()

    @classmethod
    def of(cls, pool: Path, name: str) -> Run:
        """The run called `name`, whose folder may be gone. Raises CorruptPool for what is no name of a run."""
        if not re.fullmatch(r"[\w-]*", name):
            raise CorruptPool(f"{pool} names a run {name!r}, which is none; restore it from a backup")
        return cls(pool / "runs" / name)

    @classmethod
    def begin(cls, pool: Path) -> Run:
        """A new, empty folder, named after the time."""
        stamp = now().strftime("%Y%m%dT%H%M%SZ")
        names = (stamp, *(f"{stamp}-{n}" for n in range(2, 10_000)))
        folder = next(pool / "runs" / name for name in names if not (pool / "runs" / name).exists())
        folder.mkdir(parents=True)
        sync(folder.parent)
        return cls(folder)

    def write(self, report_json: str, filenames: Mapping[str, Sequence[str]]) -> None:
        """`report.json`, and `filenames/KIND_filenames.txt` for each kind in `filenames`, a line for each name."""
        with replacing(self.folder / _REPORT) as new:
            new.write_text(report_json + "\n", encoding="utf-8")
        lists = self.folder / "filenames"
        lists.mkdir(exist_ok=True)
        for kind, names in filenames.items():
            lines = "".join(f"{as_line(name)}\n" for name in names)
            with replacing(lists / f"{kind}_filenames.txt") as new:
                new.write_text(lines, encoding="utf-8")

    def explain(self, decisions: pa.Table) -> None:
        """`decisions.parquet`: why each candidate was chosen or not."""
        with replacing(self.folder / _DECISIONS) as new:
            parquet.write_table(decisions, new)

    def report(self) -> dict[str, Any] | None:
        """`report.json`, None where it is missing or damaged."""
        try:
            report: dict[str, Any] = json.loads((self.folder / _REPORT).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return report if fits(report) else None

    def decision(self, filename: str) -> dict[str, Any] | None:
        """The row of `decisions.parquet` on a candidate, None where there is none. Raises CorruptPool."""
        path = self.folder / _DECISIONS
        if not path.exists():
            return None
        try:
            names = decided(path, ["filename"])  # most runs do not know it
            if all(pc.index(rows["filename"], filename).as_py() < 0 for rows in names):
                return None
            for rows in decided(path):
                row = pc.index(rows["filename"], filename).as_py()
                if row >= 0:
                    return dict(rows.slice(row, 1).to_pylist()[0])
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            raise CorruptPool(f"{path} cannot be read ({reason}); delete it to do without its reasons") from error
        return None

    def owe(self, rows: pa.Table) -> None:
        """Note the rows that the ledger is to get once the samples are committed."""
        with replacing(self.pending) as new:
            parquet.write_table(rows, new)

    def owed(self) -> pa.Table:
        """The rows that the ledger may not have got yet. Raises CorruptPool."""
        try:
            rows = list(rows_in(self.pending, ledger.SCHEMA, ledger.SCHEMA.names))
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            what = f"{self.pending} cannot be read ({reason}), and the ledger lacks what it holds"
            raise CorruptPool(f"{what}; restore sources/ from a backup") from error
        return pa.concat_tables([ledger.SCHEMA.empty_table(), *rows])

    def settle(self) -> None:
        """Nothing is owed any more: the run is complete."""
        self.pending.unlink(missing_ok=True)

    def discard(self) -> None:
        """Take away what it wrote, for nothing of it was committed; but for its journal, which the next run reads."""
        # Without a report it is a run that was cut off, whatever else is there; what it owes goes last.
        (self.folder / _REPORT).unlink(missing_ok=True)
        for part in sorted(self.folder.iterdir(), key=lambda part: part.name == _PENDING):
            if part.is_file():
                part.unlink()
            elif part != self.journal:
                shutil.rmtree(part)
        if not any(self.journal.glob("part-*")):
            shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Take away its journal, which has served."""
        self.sweep()
        shutil.rmtree(self.journal, ignore_errors=True)

    def sweep(self) -> None:
        """Take away what it needed only while it was at work."""
        (self.folder / SCRATCH_NAME).unlink(missing_ok=True)
        for scratch in (*self.folder.glob("*.tmp"), *self.folder.glob("filenames/*.tmp")):
            if is_unfinished(scratch.relative_to(self.folder.parents[1]).as_posix()):
                scratch.unlink(missing_ok=True)
        for workshop in self.folder.glob(f".{_EMBEDDINGS}.*"):
            shutil.rmtree(workshop)


def decided(path: Path, columns: Sequence[str] = decisions.SCHEMA.names) -> Iterator[pa.Table]:
    """The rows of `decisions.parquet` at `path`, see `rows_in`."""
    return rows_in(path, pa.schema([decisions.SCHEMA.field(name) for name in columns]), ["filename", "decision"])


def rows_in(path: Path, schema: pa.Schema, needed: Collection[str]) -> Iterator[pa.Table]:
    """The rows of the Parquet file at `path` as `schema`, some thousand at a time; columns not `needed` may be missing.

    Raises OSError, ValueError or ArrowException for other columns, and for what is made to fill the memory.
    """
    found = parquet.read_schema(path).names
    there = [name for name in schema.names if name in found]
    if lacking := sorted({*needed}.difference(found)):
        raise ValueError(f"it has no column {lacking[0]!r}")
    texts = [name for name in there if pa.types.is_string(schema.field(name).type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:  # each text once, until it is known how often
        about, n_bytes = file.metadata, 0
        unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        check_size(path, max(unpacked, about.num_rows * len(there) * 8))
        for batch in file.iter_batches(_ROWS, columns=there):
            rows = pa.Table.from_batches([batch]).select(there)
            n_bytes += sum(text_bytes(column) for column in rows.columns if pa.types.is_dictionary(column.type))
            check_size(path, n_bytes)
            rows = rows.cast(pa.schema([schema.field(name) for name in there]))
            for name in (name for name in schema.names if name not in there):
                rows = rows.append_column(name, pa.nulls(len(rows), schema.field(name).type))
            rows.validate(full=True)  # texts that are no UTF-8
            yield rows.select(schema.names)


def age(run: str) -> tuple[str, int]:
    """Sorts the names of runs by their time, oldest first."""
    stamp, _, n = run.partition("-")
    return stamp, int(n) if n.isdecimal() else 1


def newest_first(pool: Path) -> list[Run]:
    """All runs whose folders are there; what is called otherwise is somebody else's."""
    folders = [folder for folder in (pool / "runs").glob("*") if _NAME.fullmatch(folder.name) and folder.is_dir()]
    return [Run(folder) for folder in sorted(folders, key=lambda folder: age(folder.name), reverse=True)]


def kept_journals(pool: Path) -> list[Path]:
    """The journals of runs that kept their embeddings; they never change."""
    return [run.embeddings for run in newest_first(pool) if run.embeddings.is_dir()]


def journals(pool: Path) -> list[Path]:
    """All journals, those of runs that were cut off last and oldest first: for whoever holds the pool's lock."""
    return [*kept_journals(pool), *(run.journal for run in reversed(newest_first(pool)) if run.journal.is_dir())]


def unsettled(pool: Path) -> list[Run]:
    """Runs that were cut off in their commit, oldest first."""
    return [run for run in reversed(newest_first(pool)) if not run.is_settled]
