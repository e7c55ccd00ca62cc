"""`runs/`: reports, decisions, what commits that were cut off owe, and journals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.finding import COMPLETES, Finding, damaged, said, warning
from lightpool_core.pool.runs import newest_first


def run_findings(pool: Path) -> Iterator[Finding]:
    """What is wrong with the runs, newest first."""
    for run in newest_first(pool):
        if not run.is_settled:
            yield warning(run.folder, "the run was cut off in its commit", COMPLETES)
        elif not run.is_reported:
            yield warning(run.folder, "the run was cut off", "the next append goes on from what it left")
        elif run.report() is None:
            yield damaged(run.folder / "report.json", "it cannot be read", "delete it, or restore it from a backup")
        advice = "delete it to do without its reasons, or restore it from a backup"
        yield from _unreadable([run.folder / "decisions.parquet"], advice)
        yield from _journal_findings(run.embeddings)
        if run.is_reported:
            continue
        yield from _journal_findings(run.journal)


def lost_findings(pool: Datapool) -> Iterator[Finding]:
    """Runs that made versions which `history/` does not reach: its log, and the ledger's, lack their ends."""
    for run in newest_first(pool.path):
        made = (run.report() or {}).get("version") if run.is_settled and run.is_reported else None
        if isinstance(made, int) and made > pool.version.number:
            what = f"run {run.name} made version {made}, the newest in history is {pool.version.number}"
            yield damaged(pool.path / "history", what)
            return


def _unreadable(paths: list[Path], advice: str) -> Iterator[Finding]:
    for path in paths:
        if not path.exists():
            continue
        try:
            with parquet.ParquetFile(path) as file:
                for _ in file.iter_batches(batch_size=8192):
                    pass
        except (OSError, pa.ArrowException, ValueError) as error:
            yield damaged(path, f"it cannot be read ({said(error)})", advice)


def _journal_findings(folder: Path) -> Iterator[Finding]:
    """What in a journal the next run would pass over."""
    if not folder.is_dir():
        return
    advice = "delete the folder: what was in it is embedded again when it is needed"
    try:
        json.loads((folder / "journal.json").read_text())
    except (OSError, ValueError) as error:
        yield warning(folder / "journal.json", f"it cannot be read ({said(error)})", advice)
    for finding in _unreadable(sorted(folder.glob("part-*.parquet")), advice):
        yield warning(finding.path, finding.what, advice)
