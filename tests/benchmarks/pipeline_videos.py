"""Every frame of a video in Python, with index and time, against ffmpeg that decodes and scales alone.

    python tests/benchmarks/pipeline_videos.py WHAT FILE SHORT_SIDE COUNTS NUMBER

is one of the two, which goes through the video again and again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from turns import Contender, Count, take_turns

from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.video import VideoStream


def rates(file: Path, short_side: int, rounds: int) -> tuple[float, float]:
    """Frames per second of lightpool, and of ffmpeg alone."""
    ours, alone = (Contender([__file__, what, str(file), str(short_side)]) for what in ("lightpool", "ffmpeg"))
    take_turns([ours, alone], rounds=rounds)
    return ours.rate(), alone.rate()


def main(what: str, file: str, short_side: str, counts: str, number: str) -> None:
    """One of the two."""
    count = Count(counts, int(number))
    while True:
        if what == "lightpool":
            with VideoStream(Path(file), fps=None, short_side=int(short_side)) as stream:
                for _ in stream:
                    count.add(1)
        else:
            _ffmpeg_alone(file, int(short_side), count)


def _ffmpeg_alone(file: str, short_side: int, count: Count) -> None:
    """Decodes and scales all of a video, and throws it away."""
    shrink = f"min(1\\,{short_side}/min(iw\\,ih))"
    graph = f"scale=round(iw*{shrink}):round(ih*{shrink}):flags=area,format=rgb24"
    quiet = [ffmpeg_command(), "-nostdin", "-loglevel", "error", "-stats_period", "0.05", "-progress", "pipe:1"]
    command = [*quiet, "-i", file, "-map", "0:V:0", "-vf", graph, "-fps_mode", "passthrough", "-f", "null", "-"]
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("frame="):
                count.add(int(line[6:]) - done)
                done = int(line[6:])


if __name__ == "__main__":
    main(*sys.argv[1:])
