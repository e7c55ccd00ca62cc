"""Ctrl-C, SIGTERM and SIGHUP: a command cleans up behind itself, and is gone soon, whatever it is at."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import typer

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 1.0
"""Seconds for cleaning up; the worker processes need some tenths more to see that we are gone."""
_SHOW_CURSOR = b"\x1b[?25h"


class Stopping:
    """A context in which the first signal is a KeyboardInterrupt, and more of them change nothing.

    Python hears signals only between two steps of its main thread, and a library may keep that for long, or pass
    over what is raised there. So a thread waits as well, and ends the process if it is still there after a while.
    """

    def __init__(self, last_words: str) -> None:
        self._last_words = f"lightpool: {last_words}"
        self._number: int = signal.SIGINT
        self._came = self._said = False
        self._ears, self._mouth = socket.socketpair()

    def __enter__(self) -> Stopping:
        # What is ignored stays so: nohup, and shells that put a command into the background, mean it.
        heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._mouth.setblocking(False)
        threading.Thread(target=self._watch, daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, *exc: object) -> None:
        if self._came:
            self.leave()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._mouth.close()

    def leave(self) -> NoReturn:
        """Say the last words and exit, with 128 and the number of the signal."""
        if not self._said:
            self._said = True
            with suppress(OSError):  # the terminal may be gone
                typer.echo(self._last_words, err=True)
        if self._came:  # all is cleaned up; Python's own end takes seconds, and waits for threads that compute
            with suppress(OSError):
                sys.stdout.flush()
            os._exit(128 + self._number)
        sys.exit(128 + self._number)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self._came:
            self._came, self._number = True, number
            raise KeyboardInterrupt

    def _watch(self) -> None:
        number = self._ears.recv(1)
        if not number:
            self._ears.close()
            return
        time.sleep(_PATIENCE)
        with suppress(OSError):
            if not self._said:
                os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"{self._last_words}\n".encode())
        os._exit(128 + number[0])
