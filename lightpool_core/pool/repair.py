"""Completing what an interrupted command left half done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightpool_core.pool.runs import newest_first, unsettled

if TYPE_CHECKING:
    from lightpool_core.pool.datapool import Datapool


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
    pool.tidy()


def _recorded(pool: Datapool, run: str) -> bool:
    """True if the ledger or the history knows the run: only its last step was cut off."""
    return pool.ledger.newest().get("run") == run or any(version.run == run for version in pool.history())
