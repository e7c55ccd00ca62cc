"""One ffmpeg process at work: pictures and their times come out, side by side.

ffmpeg writes two streams: the time of every decoded frame (framecrc lines) and the pixels of the picked ones
(PPM pictures, whose headers carry the size, so nothing has to be probed first). Both sides apply the same
rule to the same microseconds, so the k-th picture is the k-th time that the rule takes.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from lightpool_core.arrays import Pixels
from lightpool_core.media.ffmpeg import command_line, video_input
from lightpool_core.media.lines import Lines, Moment, Times
from lightpool_core.media.sampling import MICROSECONDS, Rule

# Damaged files repeat a time, go back, or have none: hold the last one.
_MONOTONIC = "if(N,max(PTS,PREV_OUTPTS),if(isnan(PTS),0,PTS))"
_PIPE_BYTES = 1 << 20
_TALK_BYTES = 1 << 14
_COMPLAINTS_KEPT = 20
_HEADER_LINES = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ffmpeg is to make of a video."""

    rule: Rule
    short_side: int | None = None
    """Pixels of a picture's shorter side; smaller ones stay as they are, None leaves all as they are."""
    max_pixels: int | None = None
    """Frames of more are not decoded."""
    keys_only: bool = False
    """Decode nothing but key frames; indices then count those."""
    threads: int | None = None
    """That may decode at once, each with frames of its own; None for as many as there are cores."""


class Decoder:
    """One ffmpeg at work. It is listened to while a picture is waited for, and waits itself in between."""

    def __init__(self, file: Path, wanted: Wanted) -> None:
        times, times_in = os.pipe()
        try:
            self._ffmpeg = subprocess.Popen(
                _arguments(file, wanted, times_in),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(times_in,),
            )
        except BaseException:
            os.close(times)
            raise
        finally:
            os.close(times_in)
        assert self._ffmpeg.stdout is not None
        assert self._ffmpeg.stderr is not None
        self._pictures = self._ffmpeg.stdout.fileno()
        # Fewer switches between ffmpeg and us. Linux only, up to a limit; everything works without it.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(self._pictures, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._times = Times(wanted.rule)
        self._complaints = Lines(_COMPLAINTS_KEPT)
        self._files = (os.fdopen(times, "rb", buffering=0), self._ffmpeg.stderr)
        self._talk: dict[int, Lines] = {self._files[0].fileno(): self._times, self._files[1].fileno(): self._complaints}
        self._beside, self._all = select.poll(), select.poll()
        for descriptor in self._talk:
            self._beside.register(descriptor, select.POLLIN)
            self._all.register(descriptor, select.POLLIN)
        self._all.register(self._pictures, select.POLLIN)
        self._header = b""
        """Of a picture; the same for all, because all have one size."""
        self._shape = (0, 0, 3)
        self._n_read = 0

    @property
    def n_frames(self) -> int:
        """Decoded so far, picked or not."""
        return self._times.n_frames

    @property
    def start(self) -> int | None:
        """When the first frame is shown, in microseconds; known with the first picture."""
        return self._times.start

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a decoded frame, upright, before it is scaled; known with the first picture."""
        return self._times.size

    @property
    def complaints(self) -> list[str]:
        """What ffmpeg complained about first."""
        return [os.fsdecode(line) for line in self._complaints.kept]

    def read(self) -> tuple[Pixels, Moment] | None:
        """The next picture; None after the last, or when it is cut off."""
        pixels = self._read_pixels()
        while pixels is not None and not self._times.picked and self._talk:
            self._listen(self._beside)  # its time may follow it
        if pixels is not None and self._times.picked:
            return pixels, self._times.picked.popleft()
        while self._talk:
            self._listen(self._beside)
        return None

    def end(self, *, kill: bool) -> int:
        """Leaves no process and no open pipe behind. Returns the exit code."""
        if kill:
            self._ffmpeg.kill()
        assert self._ffmpeg.stdout is not None
        for file in (self._ffmpeg.stdout, *self._files):
            file.close()
        return self._ffmpeg.wait()

    def _read_pixels(self) -> Pixels | None:
        """One binary PPM as ffmpeg writes it (netpbm's ppm(5))."""
        if not self._header and not self._read_header():
            return None
        pixels = np.empty(self._shape, dtype=np.uint8)
        header = bytearray(len(self._header) if self._n_read else 0)
        left = [memoryview(header), pixels.data.cast("B")]
        self._n_read += 1
        while left[-1]:
            if self._listen(self._all):
                n = os.readv(self._pictures, left)
                if not n:
                    return None
                in_header = min(n, len(left[0]))
                left = [left[0][in_header:], left[1][n - in_header :]]
        return pixels if header in (b"", self._header) else None

    def _read_header(self) -> bool:
        """Of the first picture, byte by byte; False where there is none."""
        header = b""
        while header.count(b"\n") < _HEADER_LINES:
            if self._listen(self._all):
                byte = os.read(self._pictures, 1)
                if not byte:
                    return False
                header += byte
        width, height = map(int, header.split()[1:3])
        self._header, self._shape = header, (height, width, 3)
        return True

    def _listen(self, poll: select.poll) -> bool:
        """Wait until something is said, and take it down; True if there are pixels, which are left where they are."""
        pixels = False
        for descriptor, _ in poll.poll():
            if descriptor == self._pictures:
                pixels = True
            elif not self._talk[descriptor].take(os.read(descriptor, _TALK_BYTES)):
                del self._talk[descriptor]
                self._beside.unregister(descriptor)
                self._all.unregister(descriptor)
        return pixels


def _arguments(file: Path, wanted: Wanted, times: int) -> list[str]:
    """The command line: times of all frames to the descriptor `times`, pictures of the picked to stdout."""
    # The graph must outlive a change of resolution: a new one would count frames from 0 again.
    options: dict[str, Any] = {"reinit_filter": 0}
    if wanted.max_pixels is not None:
        options["max_pixels"] = wanted.max_pixels
    if wanted.keys_only:
        options["skip_frame"] = "nokey"
    if wanted.threads is not None:
        options |= {"threads": wanted.threads, "filter_threads": wanted.threads}
    exact = video_input(**options).filter("settb", f"1/{MICROSECONDS}").filter("setpts", _MONOTONIC)
    every = exact.filter_multi_output("split")
    # Flushed: we may wait for a time while ffmpeg waits for us to read the next picture.
    knobs = {"enc_time_base": f"1:{MICROSECONDS}", "fps_mode": "passthrough", "flush_packets": 1}
    lines = every[0].output(f"pipe:{times}", vcodec="wrapped_avframe", format="framecrc", **knobs)
    # PPM has no times, and yet its muxer complains when they repeat: number the pictures.
    picked = every[1].filter("select", wanted.rule.expression) if wanted.rule.expression else every[1]
    rgb = _scaled(picked.filter("setpts", "N"), wanted.short_side).filter("format", "rgb24")
    pictures = rgb.output("pipe:1", vcodec="ppm", format="image2pipe", avioflags="direct", **knobs)
    return command_line(ffmpeg.merge_outputs(lines, pictures), file)


def _scaled(picked: Any, short_side: int | None) -> Any:
    """An explicit scale keeps the first size where a later frame has another."""
    if short_side is None:
        return picked.filter("scale")
    shrink = f"min(1,{short_side}/min(iw,ih))"
    return picked.filter("scale", f"round(iw*{shrink})", f"round(ih*{shrink})", flags="area")
