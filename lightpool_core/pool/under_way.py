"""`.under-way`: what a command has begun, so that the next one knows what to look after if it was cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightpool_core.replacing import replacing

_NAME = ".under-way"


@contextmanager
def under_way(pool: Path, *, prune: int | None = None) -> Iterator[None]:
    """Note that a commit has begun; the note stays where the block does not come to its end.

    `prune` is the version that forgets all others from the moment when it is there.
    """
    with replacing(pool / _NAME) as new:
        new.write_text(json.dumps({"prune": prune}))
    yield
    done(pool)


def begun(pool: Path) -> bool:
    """True while a commit is under way, or where one was cut off."""
    return (pool / _NAME).exists()


def forgets(pool: Path, number: int) -> bool:
    """True while the newest version, `number`, is about to be the only one."""
    try:
        prune = json.loads((pool / _NAME).read_text())["prune"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False
    return isinstance(prune, int) and prune <= number


def done(pool: Path) -> None:
    """Nothing is under way any more."""
    (pool / _NAME).unlink(missing_ok=True)
