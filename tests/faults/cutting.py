"""Commands of lightpool that are watched, cut or made to fail at every change they make below a folder."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

Thing = TypeVar("Thing")

LONG = bool(os.environ.get("LIGHTPOOL_LONG"))
"""Everything is to be tried, and not a sample."""
GO_ON = 0
HALF = -1
KILL = -2


@dataclass(frozen=True, slots=True)
class Change:
    """What a command is about to do below the folder."""

    number: int
    """From 0."""
    what: str
    """open, write, half (of a write is done), truncate, fsync, rename, link, unlink or mkdir."""
    path: str
    """A folder that is removed counts as unlink; for rename and link, where it was."""
    other: str
    """For rename and link: where it will be."""


Answer: TypeAlias = Callable[[Change], int]
"""GO_ON, HALF (of a write, then it asks again), KILL, or the errno to fail with."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command came to its end."""

    code: int
    """Exit status; negative for the signal that killed it."""
    said: str
    """On stdout and stderr."""


def sampled(things: Sequence[Thing], n: int) -> Sequence[Thing]:
    """`n` of them, spread evenly, the last included; in a long run all."""
    if LONG or len(things) <= n:
        return things
    return [things[round(i * (len(things) - 1) / (n - 1))] for i in range(n)]


def built(folder: Path) -> Path:
    """The library that asks before every change, compiled into `folder`."""
    library = folder / "cuts.so"
    source = Path(__file__).with_name("cuts.c")
    subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


class Commands:
    """Runs commands one after the other, in processes that have imported everything. A context manager."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._out = folder / "said.txt"
        self._address = str(folder / "s")
        environment = {**os.environ, "LD_PRELOAD": str(library), "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("commands.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,  # what is buffered does not wake a selector
        )
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self._address)
        self._listener.listen()

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._server.communicate()

    def __call__(self, *arguments: object) -> Ended:
        """Run a command that nothing happens to."""
        self._ask(arguments, {})
        return self._ended(self._pid())

    def watched(self, root: Path, answer: Answer, *arguments: object) -> Ended:
        """Run a command whose every change below `root` is subject to `answer`."""
        self._ask(arguments, {"CUTS_ROOT": str(root), "CUTS_SOCKET": self._address})
        pid = self._pid()
        n = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stdout, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    speaker = key.fileobj
                    if speaker is self._stdout:
                        return self._ended(pid)
                    assert isinstance(speaker, socket.socket)
                    if speaker is self._listener:
                        selector.register(speaker.accept()[0], selectors.EVENT_READ)
                        continue
                    question = speaker.recv(16_384)
                    if not question:
                        selector.unregister(speaker)
                        speaker.close()
                        continue
                    verdict = answer(Change(n, *os.fsdecode(question).split("\n")))
                    n += 1
                    if verdict == KILL:
                        os.kill(pid, signal.SIGKILL)
                    else:
                        speaker.send(struct.pack("i", verdict))

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._server.stdout
        return self._server.stdout

    def _ask(self, arguments: tuple[object, ...], environment: Mapping[str, str]) -> None:
        assert self._server.stdin
        request = {"arguments": list(map(str, arguments)), "out": str(self._out), "environment": environment}
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()

    def _pid(self) -> int:
        return int(self._stdout.readline())

    def _ended(self, pid: int) -> Ended:
        code = os.waitstatus_to_exitcode(int(self._stdout.readline()))
        return Ended(code, self._out.read_text())
