"""Files that are replaced whole or not at all, and that a loss of power leaves as they are."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightpool_core.errors import errno_of

_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that bring folders to the disk by themselves."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; moved over it when the block ends well, removed when it does not.

    What was written is on the disk before it takes the place of what was there. Raises OSError, named after `path`
    where the system is to blame.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except Exception as error:  # libraries have exceptions of their own for a full disk
        number = errno_of(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sync(*paths: Path) -> None:
    """Bring files, and what is in folders by name, to the disk. Raises OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDERS or not path.is_dir():
                raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(descriptor)


def clear(path: Path) -> None:
    """Take away what processes that are gone left of `path`, where they were killed while they replaced it."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        if is_gone(left.name[len(path.name) + 1 : -len(".tmp")]):
            with suppress(OSError):
                left.unlink()


def is_gone(pid: str) -> bool:
    """True if no process of this machine has the number `pid`."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        return False
    return False
