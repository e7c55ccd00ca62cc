"""One writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lightpool_core.errors import PoolLocked, SettingsError
from lightpool_core.pool.clock import now
from lightpool_core.pool.enclosure import check_enclosed
from lightpool_core.replacing import is_gone, replacing
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
_NAMED = re.compile(r"process (\d+) on (\S+)( since [\d :-]+ UTC)?")
"""What a holder says of itself."""
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


def writer(pool: Path) -> str:
    """Who is writing to the pool, as far as it can be told from here without changing anything; empty for nobody.

    The lock of the system ends with its process, so one that can be had is nobody's, whatever a process that was
    killed left written down. Of a file in its place only what is written down tells.
    """
    if not (pool / _HOLDER).exists():  # so that the lock is tried only where it is held, or was left
        return ""
    with suppress(SettingsError):
        if _wants_soft(pool):
            return _soft_writer(pool)
    try:
        return _holder(pool) if _is_locked(pool / _LOCK) else ""
    except OSError as error:
        return _soft_writer(pool) if error.errno in (errno.ENOENT, *_NO_LOCKS) else _holder(pool)


def _is_locked(lock: Path) -> bool:
    """True while a process holds the lock of the system. Raises OSError where that cannot be told."""
    descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)  # which frees it
    return False


def _soft_writer(pool: Path) -> str:
    soft, holder = pool / _SOFT, _holder(pool)
    named = _NAMED.fullmatch(holder)
    gone = named and named[2] == socket.gethostname() and is_gone(named[1])
    return "" if gone or not soft.exists() else f"{holder} (if that is gone, delete {soft})"


def _acquired(pool: Path, wait: Wait | None) -> BaseFileLock:
    """The lock of the system, which ends with its process; a file in its place where there is none or none is wanted.

    That file says whose it is, and is taken over once this machine no longer runs that process.
    """
    from filelock import FileLock, SoftFileLock

    if not _wants_soft(pool):
        try:
            return _held(pool, FileLock(pool / _LOCK, fallback_to_soft=False), wait)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
    return _held(pool, SoftFileLock(pool / _SOFT), wait, f"; if that is gone, delete {pool / _SOFT}")


def _wants_soft(pool: Path) -> bool:
    return (pool / SETTINGS_NAME).is_file() and Settings.read(pool).soft_lock


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
    """Who holds the lock, by what it wrote down."""
    try:
        text = (pool / _HOLDER).read_text()
    except (OSError, ValueError):  # it has not said so yet, or something else wrote there
        return "another process"
    return text if _NAMED.fullmatch(text) else "another process"
