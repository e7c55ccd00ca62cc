"""What a crash at each change of a command would leave behind, and whether a pool is whole.

A process that is killed leaves what its changes so far made of the folder. Power that fails leaves less: of a file
that was not synced since it was written, nothing. Names survive in the order in which they were changed, as in all
file systems with a journal (ext4, xfs, btrfs, APFS, NTFS): then what is left is what an earlier crash would leave.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lightpool_core.pool.datapool import Datapool
from tests.faults.cutting import GO_ON, Change, Commands, Ended

_SCRATCH = ("pending.parquet", "candidates.f32", "journal", ".lock-holder", ".under-way")


@dataclass(frozen=True, slots=True)
class Crash:
    """A copy of the folder as a crash leaves it."""

    how: str
    """Before or amid which change, and of what kind."""
    folder: Path
    power: bool
    """True where the power failed."""


@dataclass
class Recorder:
    """Copies `root` into `into` at every change of a command: what a crash would leave, each state once."""

    root: Path
    into: Path
    crashes: list[Crash] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    unsynced: set[Path] = field(default_factory=set)
    """Files whose content is not on the disk yet."""
    unnamed: set[Path] = field(default_factory=set)
    """Folders into which something was put that is not on the disk by its name yet."""
    hasty: list[Path] = field(default_factory=list)
    """What was put in place before it was on the disk."""

    def __call__(self, change: Change) -> int:
        self.look(f"before {change.number}: {change.what} {change.path} {change.other}".replace(f"{self.root}/", ""))
        self._note(change)
        self.changes.append(change)
        return GO_ON

    def look(self, how: str) -> None:
        """Keep what a crash now would leave."""
        self._keep(f"killed {how}", {})
        last = self.changes[-1] if self.changes else None
        if last and last.what == "write" and Path(last.path).is_file():
            written = Path(last.path)
            self._keep(f"torn write {how}", {written: written.stat().st_size // 2})
        lost = {path: 0 for path in sorted(self.unsynced) if path.is_file() and path.stat().st_size}
        if lost:
            self._keep(f"power lost {how}", lost)

    def _keep(self, how: str, shortened: dict[Path, int]) -> None:
        state = _digest(self.root, shortened)
        if state in self.seen:
            return
        self.seen.add(state)
        folder = self.into / str(len(self.crashes))
        shutil.copytree(self.root, folder)
        for path, size in shortened.items():
            with (folder / path.relative_to(self.root)).open("r+b") as stream:
                stream.truncate(size)
        self.crashes.append(Crash(how, folder, how.startswith("power")))

    def _note(self, change: Change) -> None:
        """Keep account of which files are not on the disk yet."""
        path, other = Path(change.path), Path(change.other)
        if change.what in {"write", "truncate", "open"}:
            self.unsynced.add(path)
        elif change.what in {"fsync", "unlink"}:
            self.unsynced.discard(path)
            self.unnamed.discard(path)
        elif change.what in {"link", "rename"} and self.root in other.parents:
            self.unnamed.add(other.parent)
            self.hasty += [other] if path in self.unsynced else []
        if change.what == "link" and path in self.unsynced:
            self.unsynced.add(other)
        if change.what == "rename":
            moved = {one for one in self.unsynced if one == path or path in one.parents}
            self.unsynced = self.unsynced - moved - {other} | {other / one.relative_to(path) for one in moved}
            self.unnamed = {other if one == path else one for one in self.unnamed}


def _digest(root: Path, shortened: dict[Path, int]) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        content = path.read_bytes()[: shortened.get(path)] if path.is_file() else b"folder"
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def recorded(commands: Commands, root: Path, into: Path, *arguments: object) -> tuple[Ended, Recorder]:
    """Run a command in `root`, and keep what a crash at each of its changes would leave."""
    recorder = Recorder(root, into)
    ended = commands.watched(root, recorder, *arguments)
    recorder.look("after the last change")
    return ended, recorder


def versions(pool: Path) -> dict[int, str]:
    """A digest of what each version of the pool holds; raises where one cannot be read or is not whole."""
    found = {}
    for version in Datapool.open(pool).history():
        one = Datapool.open(pool, version.number)
        assert len(one.filenames) == len(one.labels) == len(one.embeddings) == len(one)
        content = json.dumps([one.filenames, one.labels.tolist()]).encode() + one.embeddings.tobytes()
        found[version.number] = hashlib.sha256(content).hexdigest()
    return found


def shown(pool: Path) -> tuple[bytes, list[tuple[Any, ...]]]:
    """What a pool shows when a command has ended well: its CSV, and what its ledger says of each source."""
    from deltalake import DeltaTable

    rows = DeltaTable(pool / "sources").to_pyarrow_table(columns=["source", "digest", "status"]).to_pylist()
    return (pool / "datapool_latest.csv").read_bytes(), sorted(tuple(row.values()) for row in rows)


def leftovers(root: Path) -> Iterator[str]:
    """What should not lie below `root` between two commands."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".tmp" or "#" in path.name or path.name.startswith(".pool.") or path.name in _SCRATCH:
            yield name
        if path.parent.name == "runs" and not (path / "report.json").exists():
            yield f"{name} without report"
    for table in (*root.glob("*/history"), *root.glob("*/sources")):
        log = "".join(entry.read_text() for entry in sorted((table / "_delta_log").glob("*.json")))
        kept = [str(pq.read_table(entry).to_pylist()) for entry in (table / "_delta_log").glob("*.checkpoint*.parquet")]
        for part in table.glob("*.parquet"):
            if part.name not in log and not any(part.name in entry for entry in kept):
                yield f"{part.relative_to(root)} without log entry"
