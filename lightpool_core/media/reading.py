"""How sources are read: the limits that settings can change, and nothing that takes long to import."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_PIXELS = 90_000_000
"""Of a picture; what claims to have more is more often a decompression bomb than a photo."""
TIMEOUT = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How sources are read."""

    fps: float | None = None
    """Frames per second of a video; None for every one."""
    short_side: int | None = None
    """Pixels that are enough on the shorter side of a picture; None for all there are."""
    max_pixels: int = MAX_PIXELS
    """Pictures of more pixels are refused."""
    timeout: float = TIMEOUT
    """Seconds after which a source that nothing comes of is given up."""
    measure: bool = False
    """Measure every picture (see `quality`); it is decoded as large as it is then."""
    threads: int | None = None
    """Of an ffmpeg at work; None for as many as there are cores."""


def opened(file: str | Path) -> BinaryIO:
    """`file`, to be read without a buffer. Raises OSError where it cannot be, or has become a pipe or a device."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would hold us up
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file any more", str(file))
    return os.fdopen(descriptor, "rb", buffering=0)
