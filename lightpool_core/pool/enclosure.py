"""A pool keeps to its own folder: whoever made it cannot lead a command to what lies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from lightpool_core.errors import CorruptPool


def check_enclosed(pool: Path) -> None:
    """Raise CorruptPool where anything in the folder `pool` is neither a plain file nor a folder.

    Links would have commands read, replace or delete what lies elsewhere; pipes would have them wait for ever.
    """
    folders = [os.fspath(pool)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False):
                        what = "a link" if entry.is_symlink() else "neither a file nor a folder"
                        raise CorruptPool(
                            f"{entry.path} is {what}, and a datapool keeps everything in its own folder;"
                            " take it away, or put what it stands for in its place"
                        )
        except FileNotFoundError:  # another command is at work
            continue


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
