"""`runs/`: one folder per run with its report, its lists of filenames, and what an interrupted commit still owes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from lightpool_core.pool.history import now

_PENDING = "pending.parquet"


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """What versions and the ledger call it."""
        return self.folder.name

    @classmethod
    def begin(cls, pool: Path) -> Run:
        """A new, empty folder, named after the time."""
        stamp = now().strftime("%Y%m%dT%H%M%SZ")
        names = (stamp, *(f"{stamp}-{n}" for n in range(2, 10_000)))
        folder = next(pool / "runs" / name for name in names if not (pool / "runs" / name).exists())
        folder.mkdir(parents=True)
        return cls(folder)

    def write(self, report_json: str, filenames: Mapping[str, Sequence[str]]) -> None:
        """`report.json`, and `filenames/KIND_filenames.txt` for each kind in `filenames`."""
        (self.folder / "report.json").write_text(report_json + "\n", encoding="utf-8")
        lists = self.folder / "filenames"
        lists.mkdir(exist_ok=True)
        for kind, names in filenames.items():
            lines = "".join(f"{name}\n" for name in names)
            (lists / f"{kind}_filenames.txt").write_text(lines, encoding="utf-8")

    def owe(self, rows: pa.Table) -> None:
        """Note the rows that the ledger is to get once the samples are committed."""
        parquet.write_table(rows, self.folder / _PENDING)

    def owed(self) -> pa.Table:
        """The rows that the ledger may not have got yet."""
        return parquet.read_table(self.folder / _PENDING)

    def settle(self) -> None:
        """Nothing is owed any more: the run is complete."""
        (self.folder / _PENDING).unlink(missing_ok=True)

    def discard(self) -> None:
        """Take the folder away: nothing of the run was committed."""
        shutil.rmtree(self.folder)


def unsettled(pool: Path) -> list[Run]:
    """Runs that were cut off in their commit, oldest first."""
    return [Run(pending.parent) for pending in sorted((pool / "runs").glob(f"*/{_PENDING}"))]
