"""`history/` and `sources/` as tables: their logs, and the files that these name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from lightpool_core.pool.delta_log import LOG, log_numbers
from lightpool_core.pool.finding import Finding, damaged, said
from lightpool_core.pool.history import Version
from lightpool_core.pool.ledger import is_note

_OURS = frozenset({"CREATE TABLE", "WRITE", "RESTORE"})
"""What a commit may be that makes or brings back rows; lightpool writes a note into each."""


@dataclass(frozen=True, slots=True)
class State:
    """A table as one of its commits left it."""

    delta_version: int
    note: Mapping[str, Any] | None
    """What lightpool wrote of the commit; None where another tool made it."""
    columns: frozenset[str]
    """What readers know of its columns."""
    files: Mapping[str, Mapping[str, Any]]
    """What the log says of each data file, by path in the table: `size_bytes`, `num_records`, `min.position` …"""


def log_findings(table: Path) -> Iterator[Finding]:
    """Commits whose files are not there."""
    numbers = sorted(log_numbers(table))
    if not numbers:
        yield damaged(table / LOG, "there is no log of commits")
    for before, number in zip([-1, *numbers], numbers, strict=False):
        first, last = before + 1, number - 1
        if before < 0 or first == number:
            pass
        elif first == last:
            yield damaged(_entry(table, first), "the log lacks this commit")
        else:  # however many they are
            yield damaged(_entry(table, first), f"the log lacks this commit, and those after it up to {last}")
        if not _entry(table, number).stat().st_size:
            yield damaged(_entry(table, number), "the commit is empty")


def _entry(table: Path, number: int) -> Path:
    return table / LOG / f"{number:020}.json"


def states(table: Path) -> Iterator[State | Finding]:
    """Every commit that the log holds, oldest first; a finding for one that cannot be opened."""
    from deltalake import DeltaTable

    try:
        entries = {entry["version"]: entry for entry in DeltaTable(str(table)).history()}
    except Exception as error:  # whatever a damaged log makes of the library
        yield damaged(table / LOG, f"the log cannot be read ({said(error)})")
        return
    for number in sorted(set(entries) | set(log_numbers(table))):
        place = _entry(table, number)
        entry = entries.get(number, {})
        note = entry.get("lightpool")
        if note is None and entry.get("operation", "WRITE") in _OURS:
            yield damaged(place, "the commit lacks lightpool's note")
            continue
        if note is not None and not _is_note(table, note):
            yield damaged(place, "its note is none that lightpool wrote")
            continue
        try:
            opened = DeltaTable(str(table), version=number)
            actions = pa.table(opened.get_add_actions(flatten=True))
            columns = frozenset(field.name for field in opened.schema().fields)
            known = None if note is None else dict(json.loads(note))
            yield State(number, known, columns, {action["path"]: action for action in actions.to_pylist()})
        except Exception as error:  # as above
            yield damaged(place, f"the version of this commit cannot be opened ({said(error)})")


def _is_note(table: Path, text: Any) -> bool:
    """True for what a commit of `history/`, or of `sources/`, says in JSON of the version that it belongs to."""
    try:
        note = json.loads(text)
        return bool(Version.from_note(note)) if table.name == "history" else is_note(note)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return False


def file_finding(table: Path, name: str, size: int) -> Finding | None:
    """What is wrong with the data file `name`, without looking into it."""
    path = Path(unquote(name))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        return damaged(table / LOG, f"the log names {name!r}, which is not in its folder")
    path = table / path
    if not path.is_file():
        return damaged(path, "the file is missing")
    if path.stat().st_size != size:
        return damaged(path, f"the file has {path.stat().st_size} bytes, the log says {size}")
    return None
