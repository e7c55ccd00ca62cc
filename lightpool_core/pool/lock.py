"""One writer at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lightpool_core.errors import PoolLocked
from lightpool_core.pool.enclosure import check_enclosed
from lightpool_core.pool.history import now
from lightpool_core.replacing import replacing
from lightpool_core.settings import SETTINGS_NAME, Settings

if TYPE_CHECKING:
    from filelock import BaseFileLock

Wait: TypeAlias = Callable[[str], None]
"""Told once, in one line, what a command waits for."""

_LOCK = ".lock"
_SOFT = ".lock-soft"
_HOLDER = ".lock-holder"
LOCK_NAMES = frozenset({_LOCK, _SOFT, _HOLDER})
"""What a lock leaves in the folder of a pool."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that know no locks, or lack the service for them."""


@contextmanager
def writing(pool: Path, wait: Wait | None = None) -> Iterator[None]:
    """Hold the pool's lock. While another process holds it, wait, once `wait` was told who that is.

    Without `wait` it raises PoolLocked at once. The lock of a process that is gone is free. Raises CorruptPool,
    before anything in the pool is read, where it does not keep to its folder.
    """
    check_enclosed(pool)
    lock = _acquired(pool, wait)
    holder = pool / _HOLDER
    try:
        with replacing(holder) as new:
            new.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now():%Y-%m-%d %H:%M:%S} UTC")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _acquired(pool: Path, wait: Wait | None) -> BaseFileLock:
    """The lock of the system, which ends with its process; a file in its place where there is none or none is wanted.

    That file says whose it is, and is taken over once this machine no longer runs that process.
    """
    from filelock import FileLock, SoftFileLock

    if not ((pool / SETTINGS_NAME).is_file() and Settings.read(pool).soft_lock):
        try:
            return _held(pool, FileLock(pool / _LOCK, fallback_to_soft=False), wait)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return _held(pool, SoftFileLock(pool / _SOFT), wait, f"; if that is gone, delete {pool / _SOFT}")


def _held(pool: Path, lock: BaseFileLock, wait: Wait | None, remedy: str = "") -> BaseFileLock:
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        taken = f"{pool} is being written to by {_holder(pool)}"
        if wait is None:
            raise PoolLocked(f"{taken}; try again when it has finished{remedy}") from error
        wait(f"{taken}; waiting for it to finish{remedy}")
        lock.acquire()
    return lock


def _holder(pool: Path) -> str:
    try:
        return (pool / _HOLDER).read_text()
    except OSError:  # it holds the lock, and has not said so yet
        return "another process"
