"""Which processes are still there: of a process group, whoever their parent is by now."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def in_group(group: int) -> list[int]:
    """Process ids; those that have ended and are merely not reaped do not count."""
    return [pid for pid, _, pgid, state in _processes() if pgid == group and not state.startswith("Z")]


def groups_under(pid: int) -> list[int]:
    """The process groups of a process and of all that it started, and what those started."""
    found = {pid}
    everybody = _processes()
    while more := {child for child, parent, _, _ in everybody if parent in found} - found:
        found |= more
    return sorted({pgid for child, _, pgid, _ in everybody if child in found})


def end_within(seconds: float, groups: list[int]) -> bool:
    """True once nothing of `groups` is left; False where something is after `seconds`."""
    deadline = time.monotonic() + seconds
    while any(map(in_group, groups)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _processes() -> list[tuple[int, int, int, str]]:
    """Process id, that of the parent, process group and state of all."""
    found = []
    if Path("/proc/self/stat").exists():
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent, pgid = file.read_text().rpartition(")")[2].split()[:3]
            except OSError:  # it ended while we looked
                continue
            found.append((int(file.parent.name), int(parent), int(pgid), state))
        return found
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], check=True, capture_output=True, text=True
    ).stdout
    for line in listed.splitlines():
        pid, parent, pgid, state = line.split()
        found.append((int(pid), int(parent), int(pgid), state))
    return found
