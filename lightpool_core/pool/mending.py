"""Making again what a check found damaged, as far as `history/` holds what it needs."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.errors import EmbedderMismatch, LightpoolError, PluginUnavailable
from lightpool_core.pool import latest
from lightpool_core.pool.checking import check_there, findings_in
from lightpool_core.pool.checks.index import INDEX_NAME
from lightpool_core.pool.checks.leftovers import orphans, temporaries
from lightpool_core.pool.datapool import CHECKPOINT_NAME, Datapool
from lightpool_core.pool.delta_log import TABLES
from lightpool_core.pool.enclosure import enclosure_findings
from lightpool_core.pool.finding import Finding
from lightpool_core.pool.lock import Wait, writing
from lightpool_core.pool.repair import recover, repair
from lightpool_core.registry import is_file, make
from lightpool_core.settings import Settings


def mend(path: str | Path, wait: Wait | None = None) -> tuple[list[Finding], list[Finding]]:
    """Complete what was cut off in the pool, make its views and caches again: what is mended, and what is left.

    Where `history/` or the ledger is damaged nothing is touched: what was made from them may be the last good
    copy. Nor is it where something leads out of the pool. `wait` is told what it waits for while another command
    writes to the pool; without, PoolLocked is raised.
    Raises PoolNotFound, SettingsError.
    """
    path = Path(path)
    check_there(path)
    if leading_out := enclosure_findings(path):
        return [], leading_out
    recover(path, wait)
    with writing(path, wait):
        found = findings_in(path)
        if any(finding.severity == "damaged" and _is_table(path, finding.path) for finding in found):
            return [], found
        left = {} if not found else _mended(Datapool.open(path), found)
        after = findings_in(path) if found else []
    return [one for one in found if one not in after], [left.get(one, one) for one in after]


def _is_table(pool: Path, place: Path) -> bool:
    return place.relative_to(pool).parts[:1] in {(name,) for name in TABLES}


def _mended(pool: Datapool, found: Sequence[Finding]) -> dict[Finding, Finding]:
    """Mend what can be; what could not, in other words."""
    left: dict[Finding, Finding] = {}
    places = {finding.path: finding for finding in found}
    if pool.path / latest.CSV_NAME in places:
        latest.remove(pool.path)
    repair(pool)
    if any(one.severity == "damaged" and one.path.is_relative_to(pool.path / INDEX_NAME) for one in found):
        shutil.rmtree(pool.path / INDEX_NAME)
        pool.view(locked=True)
    if damage := places.get(pool.path / CHECKPOINT_NAME):
        try:
            _write_checkpoint(pool)
        except LightpoolError as error:
            left[damage] = dataclasses.replace(damage, advice=f"it cannot be made again here: {error}")
    for path in (*temporaries(pool.path), *(path for name in TABLES for path in orphans(pool.path / name))):
        path.unlink()
    return left


def _write_checkpoint(pool: Datapool) -> None:
    """Make the checkpoint from the embedder that the settings name. Raises EmbedderMismatch, PluginError."""
    own = Settings.read(pool.path).embedder
    if is_file(own.name):  # whoever mends a stranger's pool does not want to run what it names
        raise PluginUnavailable(
            f"its embedder is the file {own.name}, which a repair does not run; if you trust it, the next append makes"
            " the checkpoint"
        )
    embedder: Embedder = make("embedder", own)
    if embedder.fingerprint != pool.version.fingerprint:
        raise EmbedderMismatch(
            f"embedder {own.name} has fingerprint {embedder.fingerprint}, the pool was made with"
            f" {pool.version.fingerprint}; restore the checkpoint from a backup"
        )
    Checkpoint.of(own.name, own.options, embedder).write(pool.path / CHECKPOINT_NAME)
