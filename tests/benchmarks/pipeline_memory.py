"""Peak memory of an append, all its processes together, against the number of videos.

    python tests/benchmarks/pipeline_memory.py POOL FOLDER

appends the videos in FOLDER to a new datapool, and is what is measured.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightpool_core.media.ffmpeg import ffmpeg_command

_LOOK = 0.05
MIB = 1 << 20


def rows(counts: Sequence[int]) -> Iterator[str]:
    """One row for each number of copies, as a ratio to the first."""
    first = 0.0
    with tempfile.TemporaryDirectory() as place:
        clip = Path(place) / "clip.mp4"
        source = "testsrc2=size=640x360:rate=25:duration=8"
        command = [ffmpeg_command(), "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source]
        subprocess.run([*command, "-pix_fmt", "yuv420p", str(clip)], check=True)
        for count in counts:
            folder = Path(place) / f"{count}"
            folder.mkdir()
            for number in range(count):
                # An empty box behind the video makes each copy a file of its own.
                (folder / f"{number:05}.mp4").write_bytes(clip.read_bytes() + _free_box(number))
            began = time.perf_counter()
            peak = _peak([sys.executable, __file__, str(Path(place) / f"pool{count}"), str(folder)])
            first = first or peak
            seconds = time.perf_counter() - began
            yield (
                f"| {count} copies of a video, fps 1 | {peak / MIB:.0f} MiB | {counts[0]} copies | {first / MIB:.0f} |"
                f" {peak / first:.2f} | {seconds:.0f} s |"
            )


def _free_box(number: int) -> bytes:
    return (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")


def _peak(command: Sequence[str]) -> float:
    """Bytes at the highest of all processes of `command` together; memory that they share counts once."""
    process = subprocess.Popen(command, start_new_session=True)
    peak = 0.0

    def look() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, _bytes_of(process.pid))
            time.sleep(_LOOK)

    watch = threading.Thread(target=look)
    watch.start()
    if process.wait():
        raise SystemExit("the append failed")
    watch.join()
    return peak


def _bytes_of(pid: int) -> float:
    """Proportional set size of a process and of all that it started."""
    total = 0.0
    for member in [pid, *_descendants(pid)]:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def _descendants(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [*children, *(further for child in children for further in _descendants(child))]


if __name__ == "__main__":
    from lightpool_core import Overrides, append

    append(sys.argv[1], Overrides(inputs=(sys.argv[2],), embedder="gist"))
