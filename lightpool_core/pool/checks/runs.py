"""`runs/`: reports, decisions, what commits that were cut off owe, and journals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from lightpool_core.errors import CorruptPool, LightpoolError
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.finding import COMPLETES, Finding, damaged, said, warning
from lightpool_core.pool.runs import Run, decided, newest_first
from lightpool_core.report import PROMISED

_LEDGER = "restore sources/ from a backup: the ledger lacks what it holds"


def run_findings(pool: Path) -> Iterator[Finding]:
    """What is wrong with the runs, newest first."""
    for run in newest_first(pool):
        if not run.is_settled:
            yield _unsettled_finding(pool, run)
        elif not run.is_reported:
            yield warning(run.folder, "the run was cut off", "the next append goes on from what it left")
        elif not (run.report() or {}).keys() >= PROMISED:
            yield damaged(run.folder / "report.json", "it cannot be read", "delete it, or restore it from a backup")
        if run.explained:
            advice = "delete it to do without its reasons, or restore it from a backup"
            yield from _unreadable(run.folder / "decisions.parquet", decided, advice)
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


def _unsettled_finding(pool: Path, run: Run) -> Finding:
    """What becomes of a run that was cut off in its commit."""
    try:
        run.owed()
    except CorruptPool as error:
        if _is_needed(pool, run):
            return damaged(run.pending, f"it cannot be read ({said(error.__cause__ or error)})", _LEDGER)
    return warning(run.folder, "the run was cut off in its commit", COMPLETES)


def _is_needed(pool: Path, run: Run) -> bool:
    """True unless the ledger surely has what `run` owes, or will never want it."""
    try:
        newest = Datapool.open(pool)
        return newest.version.run == run.name and newest.ledger.newest()["number"] < newest.version.number
    except LightpoolError:
        return True


def _unreadable(path: Path, read: Callable[[Path], Iterable[object]], advice: str) -> Iterator[Finding]:
    try:
        for _ in read(path):
            pass
    except Exception as error:  # damaged bytes raise nearly every type there is
        yield damaged(path, f"it cannot be read ({said(error)})", advice)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=8192)


def _journal_findings(folder: Path) -> Iterator[Finding]:
    """What in a journal the next run would pass over."""
    if not folder.is_dir():
        return
    advice = "delete the folder: what was in it is embedded again when it is needed"
    try:
        json.loads((folder / "journal.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        yield warning(folder / "journal.json", f"it cannot be read ({said(error)})", advice)
    for path in sorted(folder.glob("part-*.parquet")):
        for finding in _unreadable(path, _batches, advice):
            yield warning(finding.path, finding.what, advice)
