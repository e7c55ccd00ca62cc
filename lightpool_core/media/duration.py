"""How long a video claims to be."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from lightpool_core.media.ffmpeg import command_line, video_input

_CLAIMED = re.compile(rb"Duration: (\d+):(\d\d):(\d\d\.\d+)")


def duration(file: Path) -> float | None:
    """Seconds, as the container of `file` has it; None where it does not say."""
    nothing = video_input().output("pipe:1", vcodec="copy", format="null", t=0)
    said = subprocess.run(
        command_line(nothing, file, loglevel="info"), stdin=subprocess.DEVNULL, capture_output=True, check=False
    ).stderr
    found = _CLAIMED.search(said)
    if not found:
        return None
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds
