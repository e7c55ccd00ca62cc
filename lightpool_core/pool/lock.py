"""One writer at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightpool_core.errors import PoolLocked

_LOCK = ".lock"
_HOLDER = ".lock-holder"


@contextmanager
def writing(pool: Path) -> Iterator[None]:
    """Hold the pool's lock, or raise PoolLocked at once, naming who holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(pool / _LOCK, timeout=0)
    holder = pool / _HOLDER
    try:
        lock.acquire()
    except Timeout as error:
        by = holder.read_text() if holder.exists() else "an unknown process"
        raise PoolLocked(f"{pool} is being written to by {by}; try again when it has finished") from error
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
