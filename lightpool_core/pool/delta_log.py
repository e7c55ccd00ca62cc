"""What commits that were cut off leave in the folder of a Delta table."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pyarrow import parquet

from lightpool_core.errors import errno_of
from lightpool_core.replacing import sync

TABLES = ("history", "sources")
"""The folders of the Delta tables of a pool."""
LOG = "_delta_log"
"""The folder of its log in that of a table."""
_HINT = "_last_checkpoint"
_TEMPORARY = re.compile(r".*#\d+")
"""How the Delta library calls a file until it is complete."""
_COMMIT = re.compile(r"[0-9]{20}")
"""How it calls the file of a commit, but for the ending."""
_BESIDES = 1 << 16
"""Bytes: what a file of a table and its commit hold besides the rows."""


def files(table: Path) -> set[Path]:
    """All that lies in the table and its log."""
    folders = (table, table / LOG)
    return {path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()}


def sync_since(table: Path, before: set[Path]) -> None:
    """Bring to the disk what has come into the table since there were only the files `before`."""
    hint = {table / LOG / _HINT} & files(table)  # written over
    sync(*sorted(files(table) - before | hint), table / LOG, table)


def check_room(table: Path, n_bytes: int) -> None:
    """Raise OSError where the disk has no room for rows of so many bytes.

    The Delta library would find out by itself, but it panics then, and says so on stderr.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with tempfile.TemporaryFile(dir=table, prefix="part-", suffix=".parquet") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes + _BESIDES)
        except OSError as error:
            if errno_of(error):  # and not that this file system cannot tell
                raise


def log_numbers(table: Path) -> list[int]:
    """Of all commits that have a file of their own."""
    return [int(path.stem) for path in (table / LOG).glob("*.json") if _COMMIT.fullmatch(path.stem)]


def take_back(table: Path, after: int) -> None:
    """Remove the newest commits as far as they are in pieces: a loss of power came before they were on the disk.

    For a command that was cut off before it could say that it had committed them: those after commit `after`.
    """
    for checkpoint in (table / LOG).glob("*.checkpoint*.parquet"):
        if checkpoint.read_bytes()[-4:] != b"PAR1":
            checkpoint.unlink()
            (table / LOG / _HINT).unlink(missing_ok=True)
    for number in sorted((number for number in log_numbers(table) if number > after), reverse=True):
        entry = table / LOG / f"{number:020}.json"
        actions = _actions(entry)
        if actions and all(_is_there(table, action["add"]) for action in actions if "add" in action):
            break
        entry.unlink()


def sweep(table: Path) -> None:
    """Remove what commits that never came about have left: temporary files, and data that no commit names."""
    for path in files(table):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink()
    named = "".join(unquote(entry.read_text(errors="replace")) for entry in (table / LOG).glob("*.json"))
    for checkpoint in (table / LOG).glob("*.checkpoint*.parquet"):
        # Whole structs: of "add.path" and "remove.path" Arrow would read one.
        named += unquote(str(parquet.read_table(checkpoint, columns=["add", "remove"], partitioning=None).to_pylist()))
    for path in table.glob("part-*.parquet"):
        if path.name not in named:
            path.unlink()


def _actions(entry: Path) -> list[dict[str, Any]] | None:
    """What a commit says; None where its end is missing, or it is something else."""
    try:
        actions = [json.loads(line) for line in entry.read_bytes().splitlines()]
    except (OSError, ValueError, RecursionError):
        return None
    whole = all(isinstance(action, dict) and action and all(map(_is_told, action.values())) for action in actions)
    return actions if whole else None


def _is_told(value: object) -> bool:
    return isinstance(value, dict) and len(value) > 0


def _is_there(table: Path, file: dict[str, Any]) -> bool:
    name, size = file.get("path"), file.get("size")
    try:
        path = table / unquote(name) if isinstance(name, str) else table
        return path.is_file() and bool(path.stat().st_size == size)
    except (OSError, ValueError):  # names that no file can have
        return False
