"""Which processes are still there: of a process group, whoever their parent is by now."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def in_group(group: int) -> list[int]:
    """Process ids; those that have ended and are merely not reaped do not count."""
    return [pid for pid, pgid, state in _processes() if pgid == group and not state.startswith("Z")]


def end_within(seconds: float, groups: list[int]) -> bool:
    """True once nothing of `groups` is left; False where something is after `seconds`."""
    deadline = time.monotonic() + seconds
    while any(map(in_group, groups)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _processes() -> list[tuple[int, int, str]]:
    """Process id, process group and state of all."""
    found = []
    if Path("/proc/self/stat").exists():
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, pgid = file.read_text().rpartition(")")[2].split()[:3]
            except OSError:  # it ended while we looked
                continue
            found.append((int(file.parent.name), int(pgid), state))
        return found
    listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        pid, pgid, state = line.split()
        found.append((int(pid), int(pgid), state))
    return found
