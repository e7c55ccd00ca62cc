"""`.under-way`: what a command has begun, so that the next one knows what to look after if it was cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightpool_core.pool.delta_log import TABLES, log_numbers
from lightpool_core.replacing import replacing

_NAME = ".under-way"


@contextmanager
def under_way(pool: Path, *, prune: int | None = None) -> Iterator[None]:
    """Note that a commit has begun; the note stays where the block does not come to its end.

    `prune` is the version that forgets all others from the moment when it is there.
    """
    note = {"prune": prune, "commits": {table: max(log_numbers(pool / table), default=-1) for table in TABLES}}
    with replacing(pool / _NAME) as new:
        new.write_text(json.dumps(note))
    yield
    done(pool)


def begun(pool: Path) -> bool:
    """True while a commit is under way, or where one was cut off."""
    return (pool / _NAME).exists()


def forgets(pool: Path, number: int) -> bool:
    """True while the newest version, `number`, is about to be the only one."""
    prune = _note(pool).get("prune")
    return isinstance(prune, int) and prune <= number


def committed_before(pool: Path, table: str) -> int | None:
    """Number of the newest commit of `table`, one of TABLES, when this one began; None where nobody knows."""
    commits = _note(pool).get("commits")
    number = commits.get(table) if isinstance(commits, dict) else None
    return number if isinstance(number, int) else None


def _note(pool: Path) -> dict[str, Any]:
    try:
        note = json.loads((pool / _NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def done(pool: Path) -> None:
    """Nothing is under way any more."""
    (pool / _NAME).unlink(missing_ok=True)
