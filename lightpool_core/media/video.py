"""Frames of a video, decoded by one ffmpeg process, each with its exact index and time.

ffmpeg writes two streams side by side: the time of every decoded frame (framecrc lines) and the pixels of
the picked ones (PPM pictures, whose headers carry the size, so nothing has to be probed first). Both sides
apply the same rule to the same microseconds, so the k-th picture is the k-th time that the rule takes:
nothing is counted in seconds or guessed from a frame rate.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import IO, Protocol

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python has no annotations
import imageio_ffmpeg  # type: ignore[import-untyped]  # has no annotations
import numpy as np

from lightpool_core.arrays import Pixels
from lightpool_core.errors import DecodeError
from lightpool_core.media.source import Frame

MICROSECONDS = 1_000_000
# Matroska and FLV round times to a millisecond: what is half of one early is on time. Without it, fps=30
# would lose frames of a 30 fps video.
ROUNDING = 500
# More runs of indices than this make an expression that ffmpeg evaluates slower than it converts pictures.
MAX_RUNS = 200
PIPE_BYTES = 1 << 20
COMPLAINTS_KEPT = 20
REASON_LENGTH = 160
# Containers whose frames lie in the file itself. Playlists (concat, hls, dash) would have ffmpeg open other
# files, whatever their name ends with.
CONTAINERS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,h264,hevc,vvc,av1,obu,ivf,m4v,vc1,mjpeg,asf,flv,mxf,ogg,dv,dhav,nut"
)
# What ffmpeg says, and what it means to somebody who did not call it. The first that occurs wins.
MEANINGS = {
    "matches no streams": "it has no video stream",
    "not on whitelist": "it is not a video container",
    "moov atom not found": "it is not a video, or was cut off before its index (moov atom not found)",
    "ended prematurely": "the file ends early",
    "partial file": "the file ends early",
}


class VideoStream:
    """Iterates over frames of a video in presentation order: full resolution, upright, RGB.

    A context manager: leaving it ends ffmpeg, however many frames were taken. Memory holds a frame or so,
    whatever the length. `fps=None` takes every frame; `fps=x` the first frame and then the first of every
    further 1/x second; `indices` exactly those frames (`fps` is ignored, indices past the end are passed
    over). Times are seconds since the first frame. A resolution that changes midway is scaled to the
    first. Only `file` itself is read; of several video streams the first counts, cover art is none.

    Raises DecodeError, one line without the path, when not a single frame could be decoded.
    """

    n_frames: int
    """How many frames the video has, picked or not. Valid when the iteration has ended by itself; with
    `indices` that is only so when one of them lies past the end, because ffmpeg is stopped at the last."""
    reason: str | None
    """After the iteration: why the tail is missing, or what ffmpeg complained about, in one short line."""

    def __init__(
        self, file: Path, *, fps: float | None = 1.0, indices: Collection[int] | None = None
    ) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps is {fps}, and has to be above 0")
        self.n_frames = 0
        self.reason = None
        self._file = file
        self._fps = fps
        self._wanted = None if indices is None else frozenset(indices)
        self._last = None if indices is None else max(indices, default=-1)
        self._process: _Process | None = None

    def __enter__(self) -> VideoStream:
        if self._last != -1:
            self._process = _Process(self._file, self._rule())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while self._process is not None:
            frame = self._process.read()
            if frame is None:
                self._exhausted(self._process)
                break
            if frame.index == self._last:
                self._end()
            if self._wanted is None or frame.index in self._wanted:
                return frame
        raise StopIteration

    def _rule(self) -> _Rule:
        if self._wanted is not None:
            return _Listed(self._wanted)
        return _Every() if self._fps is None else _PerSecond(self._fps)

    def _end(self) -> None:
        if self._process is not None:
            self._process.stop()
            self.n_frames = self._process.n_frames
            self._process = None

    def _exhausted(self, process: _Process) -> None:
        code = process.wait()
        self.reason = process.complaint()
        self._end()
        if self.n_frames == 0:
            empty = self._file.exists() and self._file.stat().st_size == 0
            raise DecodeError("it is empty" if empty else self.reason or "it has no frame that ffmpeg can decode")
        if code != 0 and self.reason is None:
            self.reason = f"ffmpeg ended with code {code}"


@cache
def ffmpeg_command() -> str:
    """The ffmpeg to call: the system's when it is 5.1 or newer, otherwise the one in imageio-ffmpeg.

    Raises DecodeError when there is neither.
    """
    system = shutil.which("ffmpeg")
    if system is not None and _knows_fps_mode(system):
        return system
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise DecodeError("there is no ffmpeg 5.1 or newer: install ffmpeg") from error


def _knows_fps_mode(command: str) -> bool:
    """Versions are no help: builds from git call themselves N-12345."""
    source = ["-f", "lavfi", "-i", "color=size=16x16:duration=0.1"]
    trial = [command, "-nostdin", "-loglevel", "quiet", *source, "-fps_mode", "passthrough", "-f", "null", "-"]
    return subprocess.run(trial, stdin=subprocess.DEVNULL, check=False).returncode == 0


class _Rule(Protocol):
    """Which frames come as pictures, said twice: to ffmpeg, and here."""

    expression: str
    """For ffmpeg's select filter; times in it are microseconds."""

    def takes(self, index: int, micros: int) -> bool:
        """The same for one frame; called once for each, in order."""


class _Every:
    expression = "1"

    def takes(self, index: int, micros: int) -> bool:
        return True


class _PerSecond:
    """The first frame in each 1/fps second since the first frame.

    Both sides compute with doubles, in the same order, from the same integers: they cannot disagree.
    """

    def __init__(self, fps: float) -> None:
        now, before = (
            f"floor(({pts}-start_pts+{ROUNDING})*{fps!r}/{MICROSECONDS})" for pts in ("pts", "prev_selected_pts")
        )
        self.expression = f"isnan(prev_selected_pts)+gt({now},{before})"
        self._fps = fps
        self._start: int | None = None
        self._slot = -1

    def takes(self, index: int, micros: int) -> bool:
        if self._start is None:
            self._start = micros
        slot = math.floor((micros - self._start + ROUNDING) * self._fps / MICROSECONDS)
        taken = slot > self._slot
        self._slot = max(slot, self._slot)
        return taken


class _Listed:
    """Frames by index; where that takes too long an expression, all from the first to the last of them."""

    def __init__(self, indices: Collection[int]) -> None:
        runs = _runs(indices)
        self._runs = runs if len(runs) <= MAX_RUNS else [(runs[0][0], runs[-1][1])]
        self.expression = "+".join(f"between(n,{first},{last})" for first, last in self._runs)
        self._indices = frozenset(indices) if self._runs is runs else range(self._runs[0][0], self._runs[0][1] + 1)

    def takes(self, index: int, micros: int) -> bool:
        return index in self._indices


def _runs(indices: Collection[int]) -> list[tuple[int, int]]:
    """The consecutive stretches in `indices`, as first and last: {3, 4, 5, 9} → (3, 5), (9, 9)."""
    stretches = groupby(enumerate(sorted(set(indices))), key=lambda pair: pair[1] - pair[0])
    groups = [[index for _, index in stretch] for _, stretch in stretches]
    return [(group[0], group[-1]) for group in groups]


class _Process:
    """ffmpeg at work on one file. Times and complaints are drained by threads, so that it never waits on them."""

    def __init__(self, file: Path, rule: _Rule) -> None:
        command = ffmpeg_command()
        times, times_in = os.pipe()
        try:
            self._ffmpeg = subprocess.Popen(
                _arguments(command, file, rule, times_in),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=1 << 16,
                pass_fds=(times_in,),
            )
        except BaseException:
            os.close(times)
            raise
        finally:
            os.close(times_in)
        assert self._ffmpeg.stdout is not None and self._ffmpeg.stderr is not None
        self._pictures = self._ffmpeg.stdout
        _widen(self._pictures)
        self._times = _Times(os.fdopen(times, "rb"), rule)
        self._complaints = _Complaints(self._ffmpeg.stderr, file)

    @property
    def n_frames(self) -> int:
        """Decoded so far; all of them after `wait`."""
        return self._times.n_frames

    def read(self) -> Frame | None:
        """The next picked frame. Pixels first: ffmpeg may hold a time back until they have left the pipe."""
        pixels = _read_picture(self._pictures)
        moment = None if pixels is None else self._times.next()
        return None if pixels is None or moment is None else Frame(pixels, *moment)

    def wait(self) -> int:
        """Lets ffmpeg end by itself, after the last picture. Returns its exit code."""
        self._pictures.close()
        self._times.join()
        self._complaints.join()
        return self._ffmpeg.wait()

    def complaint(self) -> str | None:
        return self._complaints.summary()

    def stop(self) -> None:
        """Leaves no process, thread or open pipe behind."""
        self._ffmpeg.kill()
        self.wait()


class _Times:
    """Reads the time of every decoded frame as it comes, and hands on those of the picked ones."""

    def __init__(self, pipe: IO[bytes], rule: _Rule) -> None:
        self.n_frames = 0
        self._picked: SimpleQueue[tuple[int, float] | None] = SimpleQueue()
        self._thread = Thread(target=self._drain, args=(pipe, rule), daemon=True)
        self._thread.start()

    def next(self) -> tuple[int, float] | None:
        """Index and seconds of the next picked frame; None after the last, and then no more."""
        return self._picked.get()

    def join(self) -> None:
        self._thread.join()

    def _drain(self, pipe: IO[bytes], rule: _Rule) -> None:
        start: int | None = None
        with pipe:
            for line in pipe:
                # A line without its end is what was left of it when ffmpeg died.
                if line.startswith(b"#") or not line.endswith(b"\n"):
                    continue
                micros = int(line.split(b",", 3)[2])
                start = micros if start is None else start
                if rule.takes(self.n_frames, micros):
                    self._picked.put((self.n_frames, (micros - start) / MICROSECONDS))
                self.n_frames += 1
        self._picked.put(None)


class _Complaints:
    """Reads what ffmpeg writes to stderr, and keeps the beginning: the cause comes first."""

    def __init__(self, pipe: IO[bytes], file: Path) -> None:
        self._lines: list[str] = []
        self._name = _url(file)
        self._thread = Thread(target=self._drain, args=(pipe,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def summary(self) -> str | None:
        """One line without addresses and paths, None if ffmpeg was content."""
        for words, meaning in MEANINGS.items():
            if any(words in line for line in self._lines):
                return meaning
        return self._lines[0][:REASON_LENGTH] if self._lines else None

    def _drain(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                if len(self._lines) < COMPLAINTS_KEPT:
                    self._keep(os.fsdecode(line))

    def _keep(self, line: str) -> None:
        said = re.sub(r"\[[^]]* @ 0x[0-9a-f]+\]\s*", "", line).replace(f"{self._name}: ", "").strip()
        if said:
            self._lines.append(said)


def _url(file: Path) -> str:
    """`file:` keeps ffmpeg from reading a protocol or an option into a name."""
    return f"file:{os.path.abspath(file)}"


def _arguments(command: str, file: Path, rule: _Rule, times: int) -> list[str]:
    """The command line: times of all frames to the descriptor `times`, pictures of the picked to stdout."""
    # The graph must outlive a change of resolution: a new one would count frames from 0 again.
    source = ffmpeg.input(
        _url(file), protocol_whitelist="file", format_whitelist=CONTAINERS, reinit_filter=0
    )
    every = source["V:0"].filter("settb", f"1/{MICROSECONDS}").filter_multi_output("split")
    exact = {"enc_time_base": f"1:{MICROSECONDS}", "fps_mode": "passthrough", "flush_packets": 1}
    lines = every[0].output(f"pipe:{times}", vcodec="wrapped_avframe", format="framecrc", **exact)
    # PPM has no times, and the muxer complains about times that repeat: number the pictures.
    picked = every[1].filter("select", rule.expression).filter("setpts", "N")
    # An explicit scale keeps the first size where a later frame has another.
    rgb = picked.filter("scale").filter("format", "rgb24")
    pictures = rgb.output("pipe:1", vcodec="ppm", format="image2pipe", **exact)
    graph = ffmpeg.merge_outputs(lines, pictures).global_args("-nostdin", "-loglevel", "error")
    return list(graph.compile(cmd=command))


def _widen(pipe: IO[bytes]) -> None:
    """Fewer switches between ffmpeg and us; systems without the call, or above their limit, do without."""
    set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
    if set_size is not None:
        with suppress(OSError):
            fcntl.fcntl(pipe, set_size, PIPE_BYTES)


def _read_picture(pipe: IO[bytes]) -> Pixels | None:
    """One binary PPM, None at the end or when cut off. Format: netpbm's ppm(5), as ffmpeg writes it."""
    _, size, depth = pipe.readline(), pipe.readline(), pipe.readline()
    if not depth:
        return None
    width, height = map(int, size.split())
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    return pixels if pipe.readinto(pixels) == pixels.nbytes else None  # type: ignore[attr-defined]  # IO lacks it
