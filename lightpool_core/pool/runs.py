"""`runs/`: one folder per run with its report and decisions, what an interrupted commit still owes, its journal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lightpool_core.embedding.journal import SCRATCH_NAME
from lightpool_core.errors import CorruptPool
from lightpool_core.media.names import as_line
from lightpool_core.pool.history import now
from lightpool_core.replacing import replacing, sync

_REPORT = "report.json"
_DECISIONS = "decisions.parquet"
_PENDING = "pending.parquet"
_JOURNAL = "journal"
_EMBEDDINGS = "embeddings"


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
    def is_settled(self) -> bool:
        """False while its commit is under way, or was cut off."""
        return not (self.folder / _PENDING).exists()

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
        except (OSError, ValueError):
            return None
        return report

    def decision(self, filename: str) -> dict[str, Any] | None:
        """The row of `decisions.parquet` on a candidate, None where there is none. Raises CorruptPool."""
        path = self.folder / _DECISIONS
        if not path.exists():
            return None
        try:
            rows = parquet.read_table(path, filters=[("filename", "=", filename)], partitioning=None).to_pylist()
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise CorruptPool(f"{path} cannot be read ({reason}); delete it to do without its reasons") from error
        return rows[0] if rows else None

    def owe(self, rows: pa.Table) -> None:
        """Note the rows that the ledger is to get once the samples are committed."""
        with replacing(self.folder / _PENDING) as new:
            parquet.write_table(rows, new)

    def owed(self) -> pa.Table:
        """The rows that the ledger may not have got yet."""
        return parquet.read_table(self.folder / _PENDING)

    def settle(self) -> None:
        """Nothing is owed any more: the run is complete."""
        (self.folder / _PENDING).unlink(missing_ok=True)

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
        for scratch in (self.folder / SCRATCH_NAME, *self.folder.glob("*.tmp"), *self.folder.glob("filenames/*.tmp")):
            scratch.unlink(missing_ok=True)
        for workshop in self.folder.glob(f".{_EMBEDDINGS}.*"):
            shutil.rmtree(workshop)


def age(run: str) -> tuple[str, int]:
    """Sorts the names of runs by their time, oldest first."""
    stamp, _, n = run.partition("-")
    return stamp, int(n) if n.isdecimal() else 1


def newest_first(pool: Path) -> list[Run]:
    """All runs whose folders are there."""
    folders = [folder for folder in (pool / "runs").glob("*") if folder.is_dir()]
    return [Run(folder) for folder in sorted(folders, key=lambda folder: age(folder.name), reverse=True)]


def kept_journals(pool: Path) -> list[Path]:
    """The journals of runs that kept their embeddings; they never change."""
    return [run.embeddings for run in newest_first(pool) if run.embeddings.is_dir()]


def journals(pool: Path) -> list[Path]:
    """All journals, those of runs that were cut off last and oldest first: for whoever holds the pool's lock."""
    return [*kept_journals(pool), *(run.journal for run in reversed(newest_first(pool)) if run.journal.is_dir())]


def unsettled(pool: Path) -> list[Run]:
    """Runs that were cut off in their commit, oldest first."""
    return [Run(pending.parent) for pending in sorted((pool / "runs").glob(f"*/{_PENDING}"))]
