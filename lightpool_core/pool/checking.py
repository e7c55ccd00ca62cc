"""Whether everything in a pool is whole, and agrees."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from lightpool_core.errors import LightpoolError, PoolLocked, PoolNotFound
from lightpool_core.pool.checks.index import index_findings
from lightpool_core.pool.checks.leftovers import leftover_findings
from lightpool_core.pool.checks.runs import lost_findings, run_findings
from lightpool_core.pool.checks.samples import ledger_findings, name_findings, note_findings, table_findings
from lightpool_core.pool.checks.views import checkpoint_findings, csv_findings, pool_digests, settings_findings
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.delta_log import TABLES, log_numbers
from lightpool_core.pool.enclosure import enclosure_findings
from lightpool_core.pool.finding import COMPLETES, Finding, damaged, said, warning
from lightpool_core.pool.lock import writer
from lightpool_core.pool.under_way import begun, forgets
from lightpool_core.settings import SETTINGS_NAME, Settings

Check: TypeAlias = Callable[[], Iterator[Finding]]


def check(path: str | Path) -> list[Finding]:
    """What is wrong with the pool in the folder `path`; writes nothing, and takes no lock.

    Embeddings are read block by block. Where something leads out of the pool, nothing else is looked at. Raises
    PoolNotFound, and PoolLocked where findings may come from a command that is writing to the pool meanwhile.
    """
    path = Path(path)
    check_there(path)
    if leading_out := enclosure_findings(path):
        return leading_out
    before, busy = _state(path), writer(path)
    findings = findings_in(path)
    busy = busy or writer(path) or ("" if _state(path) == before else "another command")
    if findings and busy:
        raise PoolLocked(f"{path} was written to by {busy} while it was checked; check again when it has finished")
    return findings


def check_there(path: Path) -> None:
    """Raise PoolNotFound unless something of a pool is in the folder `path`."""
    if not (path / SETTINGS_NAME).exists() and not (path / "history").is_dir():
        what = "holds no datapool" if path.exists() else "does not exist"
        raise PoolNotFound(f"{path} {what}; make one with: lightpool init --pool {path} --input DIR")


def findings_in(path: Path) -> list[Finding]:
    """The same for whoever holds the lock of the pool in the folder `path`."""
    return list(_findings(path))


def _state(pool: Path) -> list[list[int]]:
    """What changes with every commit."""
    return [log_numbers(pool / name) for name in TABLES]


def _findings(path: Path) -> Iterator[Finding]:
    yield from settings_findings(path)
    keeps = _keeps(path)
    tables = {
        name: list(_checked(path / name, partial(table_findings, path / name, all_versions=keeps))) for name in TABLES
    }
    if begun(path):
        yield warning(path / ".under-way", "a command was cut off in its commit", COMPLETES)
    yield from (_excused(path, finding) for found in tables.values() for finding in found)
    whole = [name for name in TABLES if not tables[name]]
    if "history" in whole:  # otherwise all that is made from it can only differ
        agreement = list(_agreement(path, with_ledger="sources" in whole))
        yield from agreement
        whole = [name for name in whole if not any(finding.path == path / name for finding in agreement)]
    yield from _checked(path / "runs", partial(run_findings, path))
    yield from _checked(path, partial(leftover_findings, path, whole))


def _keeps(path: Path) -> bool:
    """False where a command may have been cut off while it took older versions away."""
    try:
        return Settings.read(path).keep_history and not forgets(path, sys.maxsize)
    except LightpoolError:
        return True


def _excused(path: Path, finding: Finding) -> Finding:
    """`finding` about a table, which may be of a commit that was cut off."""
    return dataclasses.replace(finding, advice=f"{COMPLETES}, or {finding.advice}") if begun(path) else finding


def _agreement(path: Path, *, with_ledger: bool) -> Iterator[Finding]:
    """Whether what stands beside a whole `history/` agrees with it."""
    try:
        pool = Datapool.open(path)
        digests = pool_digests(pool)
    except LightpoolError as error:
        yield damaged(path, said(error))
        return
    history = [
        finding
        for check in (note_findings, lost_findings, name_findings)
        for finding in _checked(path / "history", partial(check, pool))
    ]
    ledger = list(_checked(path / "sources", partial(ledger_findings, pool))) if with_ledger else []
    yield from (*history, *ledger)
    if any(finding.path == path / "history" for finding in (*history, *ledger)):
        return
    for check in (csv_findings, index_findings):
        yield from _checked(path, partial(check, pool, digests))
    yield from _checked(path, partial(checkpoint_findings, pool))


def _checked(path: Path, check: Check) -> Iterator[Finding]:
    """The findings of `check`, one more if it fails: whatever lies there, the others are to be heard."""
    try:
        yield from check()
    except Exception as error:
        yield damaged(path, f"it cannot be checked ({said(error)})")
