"""A small pool whose files are damaged one at a time, and the commands that read it."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from unittest.mock import patch

from lightpool_core.appending import append
from lightpool_core.errors import LightpoolError
from lightpool_core.pool.checking import check
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.ledger import Ledger
from lightpool_core.pool.mending import mend
from lightpool_core.settings import Overrides
from tests import touchy

_WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
_RUN = "runs/20260102T030405Z"
PARTS = {
    "pool-commit": "history/_delta_log/00000000000000000001.json",
    "pool-ledger": "sources/_delta_log/00000000000000000000.json",
    "pool-report": f"{_RUN}/report.json",
    "pool-decisions": f"{_RUN}/decisions.parquet",
    "pool-pending": f"{_RUN}/pending.parquet",
    "pool-mark": ".latest.json",
    "pool-under-way": ".under-way",
    "pool-lock-holder": ".lock-holder",
}
"""Which file is damaged, by the name of the target."""


class _Killed(BaseException):
    """What ends the command."""


@cache
def files() -> dict[str, bytes]:
    """A pool, by paths in its folder: its only append was killed before it could write to the ledger."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool"
        for seed in range(3):
            touchy.image(Path(folder) / "in" / f"{seed}.png", touchy.scene(seed))
        wanted = Overrides(inputs=(Path(folder) / "in",), embedder=f"{touchy.__file__}:Touchy", n_samples=2)
        killed = patch.object(Ledger, "record_rows", side_effect=_Killed)
        with suppress(_Killed), killed, patch("lightpool_core.pool.runs.now", lambda: _WHEN):
            append(pool, wanted)
        found = {path.relative_to(pool).as_posix(): path.read_bytes() for path in pool.rglob("*") if path.is_file()}
    return found | {".lock-holder": b"process 4711 on elsewhere since 2026-01-02 03:04:05 UTC"}


def seeds(name: str) -> Callable[[], list[bytes]]:
    """The file that the target damages, as it is when nothing is wrong with it."""
    return lambda: [files()[PARTS[name]]]


def read(pool: Path) -> None:
    """What reads only, then a repair, then a restore; an error of one does not keep the others from being tried."""
    problems = [error for step in (_look, check, mend, _restore) if (error := _error(step, pool))]
    if problems:
        raise problems[0]


def _look(pool: Path) -> None:
    for version in Datapool.open(pool).history():
        seen = Datapool.open(pool, version.number)
        assert len(seen.filenames) == len(seen.labels) == len(seen.embeddings)
        if seen.filenames:
            seen.why(seen.filenames[0])
    Datapool.open(pool).why("2.png")


def _restore(pool: Path) -> None:
    Datapool.open(pool).restore(0)


def _error(step: Callable[[Path], object], pool: Path) -> LightpoolError | None:
    try:
        step(pool)
    except LightpoolError as error:
        return error
    return None
