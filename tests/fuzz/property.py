"""What holds for whatever bytes a reader is given: a value, or one line that says what is wrong; soon, and in memory.

`Finding` says how a reader broke it.
"""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lightpool_core.errors import LightpoolError
from tests.fuzz.targets import Target

SECONDS = 10
"""Of computing; a machine that is busy with other things takes longer."""
_WAITING = 120
"""Seconds in all, for a reader that computes nothing and comes to no end."""
MEGABYTES = 768
"""More than before a file was read; a picture at the limit of pixels takes 90 million times three bytes, twice."""
_MESSAGE = 2000
"""Characters beside what a message quotes of the file."""
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Finding(Exception):
    """A reader that broke its promise."""


def check(target: Target, data: bytes, folder: Path) -> bool:
    """Have `target` read `data` in the empty `folder`; True for a value, False for an error. Raises Finding."""
    target.lay_out(folder, data)
    with _soon(), _in_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the command line does
        try:
            target.read(folder)
        except LightpoolError as error:
            message = str(error)
            if not message or "\n" in message or "\r" in message or len(message) > len(data) * 4 + _MESSAGE:
                raise Finding(f"{target.name}: no single line of bearable length: {message[:300]!r}") from error
            return False
        except _Late:
            raise Finding(f"{target.name}: took more than {SECONDS} seconds") from None
        except Exception as error:  # that is what is looked for
            raise Finding(f"{target.name}: {type(error).__name__}: {str(error)[:300]}") from error
    return True


class _Late(BaseException):
    """Not an Exception, so that no reader takes it for an error of its own."""


@contextmanager
def _soon() -> Iterator[None]:
    def ring(_: int, __: FrameType | None) -> None:
        raise _Late

    before = {number: signal.signal(number, ring) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(_WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _in_memory() -> Iterator[None]:
    """Looks at the highest mark of resident memory, where the system (Linux) can set it back."""
    try:
        _RESET.write_text("5")
        before = _megabytes("VmRSS")
    except OSError:
        yield
        return
    yield
    if (more := _megabytes("VmHWM") - before) > MEGABYTES:
        raise Finding(f"took {more:.0f} megabytes of memory")


def _megabytes(name: str) -> float:
    match = re.search(rf"{name}:\s+(\d+) kB", _STATUS.read_text())
    return int(match[1]) / 1024 if match else 0.0
