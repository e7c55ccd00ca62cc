"""One worker process from the outside: started with a connection and shared memory, ended with all its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from lightpool_core.embedding.slabs import Slabs, shared_memory
from lightpool_core.embedding.worker import Setup

_START = """
import sys
sys.path[:] = {path!r}
try:
    from lightpool_core.embedding.worker import main
except BaseException as error:
    from multiprocessing.connection import Connection
    Connection({ours}).send(f"{{type(error).__name__}}: {{error}}")
    raise
main({ours}, {memory}, parent={parent})
"""
_SENT_BYTES = 1 << 20
_PATIENCE = 5
"""Seconds."""
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Process:
    """A running worker.

    Started as a program of its own and not with `multiprocessing`, which would run the user's script again in
    every worker, or fork threads that are at work.
    """

    def __init__(self, setup: Setup) -> None:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_BYTES)  # a task must fit, whoever reads when
        memory = shared_memory(setup.layout.n_bytes)
        try:
            code = _START.format(path=sys.path, ours=far.fileno(), memory=memory, parent=os.getpid())
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders chatter there; what matters comes as a message
                pass_fds=(far.fileno(), memory),
                start_new_session=True,  # Ctrl-C is ours to handle; and its ffmpeg ends with it
            )
            self.slabs = Slabs(memory, setup.layout)
        finally:
            os.close(memory)
            far.close()
        self.connection = Connection(near.detach())
        self._sending = Lock()
        self.send(setup)

    def send(self, message: Any) -> None:
        """Tell the worker something; in vain where it is gone, which shows when it is listened to."""
        with self._sending, suppress(OSError):
            self.connection.send(message)

    def cause_of_death(self) -> tuple[str, bool]:
        """Why a worker that is gone has ended, and whether the source that it was at is to blame."""
        code = self._process.wait()
        if -code in _FROM_OUTSIDE:
            return "its decoder was killed (out of memory?); the next run tries it again", False
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it made its decoder crash ({how})", True

    def end(self) -> None:
        """Leave neither the worker nor an ffmpeg of its behind."""
        with suppress(ProcessLookupError, PermissionError):  # macOS says so of a process that has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # it may hang inside the system, where no signal reaches it
            self._process.wait(_PATIENCE)
        with self._sending:
            self.connection.close()
