"""A pool keeps to its own folder: whoever made it cannot lead a command to what lies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lightpool_core.errors import CorruptPool
from lightpool_core.pool.finding import Finding, damaged

_OWN = "and a datapool keeps everything in its own folder"
_ADVICE = "take it away, or put what it stands for in its place"


def check_enclosed(pool: Path) -> None:
    """Raise CorruptPool where anything in the folder `pool` is neither a plain file nor a folder.

    Links would have commands read, replace or delete what lies elsewhere; pipes would have them wait for ever.
    """
    for path, what in _strangers(pool):
        raise CorruptPool(f"{path} is {what}, {_OWN}; {_ADVICE}")


def enclosure_findings(pool: Path) -> list[Finding]:
    """The same as findings, of all that is neither a plain file nor a folder."""
    return [damaged(path, f"it is {what}, {_OWN}", _ADVICE) for path, what in sorted(_strangers(pool))]


def check_paths(table: Path, paths: Iterable[str]) -> None:
    """Raise CorruptPool where one of the `paths`, of the log of the Delta table in `table`, leads out of it.

    By the protocol they may be absolute, or URLs, and are percent-encoded.
    """
    for path in paths:
        parts = PurePosixPath(unquote(path))
        if parts.is_absolute() or ".." in parts.parts or ":" in path:
            raise CorruptPool(
                f"the log of {table} names the file {path!r}, which is not in its folder; restore it from a backup"
            )


def _strangers(pool: Path) -> Iterator[tuple[Path, str]]:
    """What is neither a plain file nor a folder, in words; nothing is opened or followed for it."""
    folders = [os.fspath(pool)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), "a link" if entry.is_symlink() else "neither a file nor a folder"
        except FileNotFoundError:  # another command is at work
            continue
