"""Contenders that take turns on all cores, a second each, so that what else the machine does meets them all alike.

Each is one or several processes that work without end and count what they get done; those whose turn it is not are
stopped (SIGSTOP), with all processes that they have started. Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_PATIENCE = 180.0
"""Seconds until a contender has made itself ready."""
_LOOK = 0.05


class Count:
    """What one process of a contender has done; memory that it shares with the referee. -1: not ready yet."""

    def __init__(self, file: str, number: int) -> None:
        self._counts = np.memmap(file, np.int64, "r+")
        self._number = number

    def add(self, n: int) -> None:
        """`n` more are done. The first call, with 0, says that the process is ready."""
        self._counts[self._number] = max(0, self._counts[self._number]) + n


@dataclass
class Contender:
    """One or several processes of the same command, which gets the file of the counts and its number as well."""

    command: Sequence[str]
    n_processes: int = 1
    done: list[int] = field(default_factory=list)
    """In each round."""
    seconds: list[float] = field(default_factory=list)

    def rate(self, rounds: slice = slice(None)) -> float:
        """Done per second, of all processes together."""
        return sum(self.done[rounds]) / sum(self.seconds[rounds])


def take_turns(contenders: Sequence[Contender], *, rounds: int, seconds: float = 1.0) -> None:
    """`rounds` turns of `seconds` for each contender, one after the other; fills in what they did."""
    with _all_ready(contenders) as running:
        for _ in range(rounds):
            for contender, (processes, counts) in zip(contenders, running, strict=True):
                before, began = counts.sum(), time.perf_counter()
                _signal(processes, signal.SIGCONT)
                time.sleep(seconds)
                _signal(processes, signal.SIGSTOP)
                contender.seconds.append(time.perf_counter() - began)
                contender.done.append(int(counts.sum() - before))
                if any(process.poll() is not None for process in processes):
                    raise SystemExit(f"{' '.join(contender.command)} has ended before its time")


@contextmanager
def _all_ready(contenders: Sequence[Contender]) -> Iterator[list[tuple[list[subprocess.Popen[bytes]], np.memmap]]]:
    """The processes of each contender, started one contender after the other and stopped, and their counts."""
    running: list[tuple[list[subprocess.Popen[bytes]], np.memmap]] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, contender in enumerate(contenders):
                file = Path(folder) / str(number)
                file.write_bytes(np.full(contender.n_processes, -1, np.int64).tobytes())
                command = [sys.executable, *contender.command, str(file)]
                processes = [subprocess.Popen([*command, str(i)]) for i in range(contender.n_processes)]
                running.append((processes, np.memmap(file, np.int64, "r")))
                _await(*running[-1])
                _signal(processes, signal.SIGSTOP)
            yield running
        finally:
            for processes, _ in running:
                _signal(processes, signal.SIGKILL)
                for process in processes:
                    process.wait()


def _await(processes: Sequence[subprocess.Popen[bytes]], counts: np.memmap) -> None:
    until = time.monotonic() + _PATIENCE
    while counts.min() < 0:
        if time.monotonic() > until or any(process.poll() is not None for process in processes):
            raise SystemExit(f"{' '.join(map(str, processes[0].args))} does not get ready")  # type: ignore[union-attr]
        time.sleep(_LOOK)


def _signal(processes: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        for pid in list(_family(process.pid)):  # who is killed names no children any more
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _family(pid: int) -> Iterator[int]:
    """A process and all that it has started, the eldest first."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
