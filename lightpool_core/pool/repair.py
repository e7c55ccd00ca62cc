"""Completing what an interrupted command left half done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightpool_core.pool.delta_log import TABLES, sweep, take_back
from lightpool_core.pool.lock import Wait, writing
from lightpool_core.pool.parts import is_unfinished
from lightpool_core.pool.runs import newest_first, unsettled
from lightpool_core.pool.under_way import begun, committed_before, done, forgets

if TYPE_CHECKING:
    from lightpool_core.pool.datapool import Datapool


def recover(pool: Path, wait: Wait | None = None) -> None:
    """Undo what a loss of power left in pieces of a commit, so that the pool can be opened.

    Raises PoolLocked, and CorruptPool for a pool that does not keep to its folder.
    """
    if begun(pool):
        with writing(pool, wait):  # which looks first whether a link would have this delete what lies elsewhere
            if begun(pool):  # still, so it is not of a command that was at work
                for table in TABLES:
                    before = committed_before(pool, table)
                    if before is not None:
                        take_back(pool / table, before)


def repair(pool: Datapool) -> None:
    """Bring ledger, runs and views of the newest version `pool` to where its samples are; needs the lock.

    Samples are committed first. What follows them is written down before (`Run.owe`), or follows from the
    version itself; a run whose samples were never committed is taken away.
    """
    version = pool.version
    behind = pool.ledger.newest()["number"] < version.number
    if behind and version.restored is not None:
        pool.ledger.restore(version.restored, {"number": version.number})
    for run in unsettled(pool.path):
        if behind and run.name == version.run:
            pool.ledger.record_rows(run.owed(), {"number": version.number, "run": run.name})
            run.settle()
        elif _recorded(pool, run.name):
            run.settle()
        else:
            run.discard()
    for run in newest_first(pool.path):
        if not run.is_reported:
            run.discard()
        else:
            run.clear()
    _sweep(pool.path)
    if forgets(pool.path, version.number):
        pool.prune()
    pool.tidy()
    done(pool.path)


def _sweep(pool: Path) -> None:
    """Take away temporary files, and what commits that never came about have left."""
    for folder in (pool, pool / "index"):
        for temporary in folder.glob("*.tmp"):
            if is_unfinished(temporary.relative_to(pool).as_posix()) and temporary.is_file():
                temporary.unlink()
    if begun(pool):
        for table in TABLES:
            sweep(pool / table)


def _recorded(pool: Datapool, run: str) -> bool:
    """True if the ledger or the history knows the run: only its last step was cut off."""
    return pool.ledger.newest().get("run") == run or any(version.run == run for version in pool.history())
