"""Frames of a video, decoded by one ffmpeg process, each with its exact index and time.

ffmpeg writes two streams side by side: the time of every decoded frame (framecrc lines) and the pixels of
the picked ones (PPM pictures, whose headers carry the size, so nothing has to be probed first). Both sides
apply the same rule to the same microseconds, so the k-th picture is the k-th time that the rule takes.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, cast

import ffmpeg
import imageio_ffmpeg
import numpy as np

from lightpool_core.arrays import Pixels
from lightpool_core.errors import DecodeError, SourceError
from lightpool_core.media.source import Frame

MICROSECONDS = 1_000_000
# Matroska and FLV round times to a millisecond; without it, fps=30 would lose frames of a 30 fps video.
ROUNDING = 500
MAX_RUNS = 200  # of indices; with more, the expression takes ffmpeg longer than the pictures between
# Damaged files repeat a time, go back, or have none: hold the last one.
MONOTONIC = "if(N,max(PTS,PREV_OUTPTS),if(isnan(PTS),0,PTS))"
PIPE_BYTES = 1 << 20
COMPLAINTS_KEPT = 20
KILLED = (-signal.SIGKILL, -signal.SIGTERM)
REASON_LENGTH = 160
# Containers whose frames lie in the file itself. Playlists (concat, hls, dash) would have ffmpeg open
# other files, whatever their own name ends with.
CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,h264,hevc,av1,obu,ivf,m4v,mjpeg,asf,flv,mxf,ogg,dv,nut"
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
    over). Times are seconds since the first frame. Where the resolution changes midway, later frames are
    scaled to the first. Only `file` is read; of several video streams the first counts, cover art is none.

    Raises DecodeError, one line without the path, when not a single frame can be decoded.
    """

    n_frames: int
    """Of the video, picked or not; known after the iteration, unless `indices` let it end early."""
    reason: str | None
    """After the iteration: why the tail is missing or what ffmpeg complained about, in one short line."""

    def __init__(self, file: Path, *, fps: float | None = 1.0, indices: Collection[int] | None = None) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps is {fps}, and has to be above 0")
        self.n_frames = 0
        self.reason = None
        self._file = file
        self._fps = None if fps is None else float(fps)
        self._indices = None if indices is None else frozenset(indices)
        self._last = None if indices is None else max(indices, default=-1)
        self._decoder: _Decoder | None = None

    def __enter__(self) -> VideoStream:
        if self._indices is None:
            every = _Rule("1", lambda *_: True)
            self._decoder = _Decoder(self._file, every if self._fps is None else _per_second(self._fps))
        elif self._indices:
            self._decoder = _Decoder(self._file, _listed(self._indices))
        return self

    def __exit__(self, *_: object) -> None:
        if self._decoder is not None:
            self._close(self._decoder, kill=True)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while self._decoder is not None:
            frame = self._decoder.read()
            if frame is None:
                self._conclude(self._decoder)
                break
            if frame.index == self._last:
                self._close(self._decoder, kill=True)
            if self._indices is None or frame.index in self._indices:
                return frame
        raise StopIteration

    def _close(self, decoder: _Decoder, *, kill: bool = False) -> int:
        self._decoder = None
        code = decoder.end(kill=kill)
        self.n_frames = decoder.n_frames
        return code

    def _conclude(self, decoder: _Decoder) -> None:
        code = self._close(decoder)
        self.reason = _reason(decoder.complaints, self._file)
        if code in KILLED:
            raise SourceError(f"ffmpeg was killed while it read {self._file}; nothing was changed, run it again")
        if code != 0 and self.reason is None:
            self.reason = f"ffmpeg ended with code {code}"
        if self.n_frames == 0:
            empty = self._file.exists() and self._file.stat().st_size == 0
            raise DecodeError("it is empty" if empty else self.reason or "it has no frame to decode")


@cache
def ffmpeg_command() -> str:
    """The system's ffmpeg from 5.1 on, otherwise the one in imageio-ffmpeg; SourceError without either."""
    system = shutil.which("ffmpeg")
    if system is not None and _knows_fps_mode(system):
        return system
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise SourceError("there is no ffmpeg 5.1 or newer: install ffmpeg, or imageio-ffmpeg") from error


def _knows_fps_mode(command: str) -> bool:
    """The option came with 5.1. The version is no help: a build from git may call itself N-12345."""
    trial = "-nostdin -loglevel quiet -f lavfi -i color=size=16x16:d=0.1 -fps_mode passthrough -f null -"
    return subprocess.run([command, *trial.split()], check=False).returncode == 0


@dataclass(frozen=True)
class _Rule:
    """Which frames come as pictures, said twice."""

    expression: str
    """To ffmpeg's select filter, where pts counts microseconds."""
    takes: Callable[[int, int], bool]
    """To us: asked once about each frame, in order, with its index and the microseconds since the first."""


def _per_second(fps: float) -> _Rule:
    """The first frame in each slot of 1/fps seconds.

    Both sides compute in doubles, in the same order, from the same integers: they cannot disagree.
    """
    slot = f"floor(({{}}-start_pts+{ROUNDING})*{fps!r}/{MICROSECONDS})"
    now, before = slot.format("pts"), slot.format("prev_selected_pts")
    last = -1

    def takes(_: int, micros: int) -> bool:
        nonlocal last
        reached = math.floor((micros + ROUNDING) * fps / MICROSECONDS)
        last, before = max(reached, last), last
        return reached > before

    return _Rule(f"isnan(prev_selected_pts)+gt({now},{before})", takes)


def _listed(indices: Collection[int]) -> _Rule:
    """Frames by index; all from the first to the last of them where those are too many to name."""
    # The difference between index and rank is constant along a run of consecutive indices.
    ranked = groupby(enumerate(sorted(indices)), key=lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in run] for _, run in ranked]
    spans = [range(run[0], run[-1] + 1) for run in runs]
    if len(spans) > MAX_RUNS:
        spans = [range(spans[0].start, spans[-1].stop)]
    expression = "+".join(f"between(n,{span.start},{span.stop - 1})" for span in spans)
    return _Rule(expression, lambda index, _: any(index in span for span in spans))


class _Decoder:
    """One ffmpeg at work. Threads drain times and complaints: it only ever waits for pixels to be read."""

    def __init__(self, file: Path, rule: _Rule) -> None:
        times, times_in = os.pipe()
        try:
            self._ffmpeg = subprocess.Popen(
                _arguments(file, rule, times_in),
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
        self._pictures = cast("BufferedReader", self._ffmpeg.stdout)
        # Fewer switches between ffmpeg and us. Linux only, up to a limit; everything works without it.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(self._pictures, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.n_frames = 0
        self.complaints: list[str] = []
        self._picked: SimpleQueue[tuple[int, float] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._drain_times, args=(os.fdopen(times, "rb"), rule), daemon=True),
            Thread(target=self._drain_complaints, args=(self._ffmpeg.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def read(self) -> Frame | None:
        """The next picture; None after the last. Pixels first: its time may follow them."""
        pixels = _read_picture(self._pictures)
        moment = None if pixels is None else self._picked.get()
        return None if pixels is None or moment is None else Frame(pixels, *moment)

    def end(self, *, kill: bool) -> int:
        """Leaves no process, thread or open pipe behind. Returns the exit code."""
        if kill:
            self._ffmpeg.kill()
        self._pictures.close()
        for thread in self._threads:
            thread.join()
        return self._ffmpeg.wait()

    def _drain_times(self, pipe: IO[bytes], rule: _Rule) -> None:
        start: int | None = None
        with pipe:
            for line in pipe:
                # A line without its end is all that a dying ffmpeg got out.
                if line.startswith(b"#") or not line.endswith(b"\n"):
                    continue
                pts = int(line.split(b",", 3)[2])
                start = pts if start is None else start
                if rule.takes(self.n_frames, pts - start):
                    self._picked.put((self.n_frames, (pts - start) / MICROSECONDS))
                self.n_frames += 1
        self._picked.put(None)

    def _drain_complaints(self, pipe: IO[bytes]) -> None:
        """Keeps the beginning, for the cause comes first, and reads on."""
        with pipe:
            for line in pipe:
                if len(self.complaints) < COMPLAINTS_KEPT:
                    self.complaints.append(os.fsdecode(line))


def _url(file: Path) -> str:
    """`file:` keeps ffmpeg from reading a protocol or an option into a name."""
    return f"file:{file.absolute()}"


def _arguments(file: Path, rule: _Rule, times: int) -> list[str]:
    """The command line: times of all frames to the descriptor `times`, pictures of the picked to stdout."""
    # The graph must outlive a change of resolution: a new one would count frames from 0 again.
    source = ffmpeg.input("FILE", protocol_whitelist="file", format_whitelist=CONTAINERS, reinit_filter=0)
    exact = source["V:0"].filter("settb", f"1/{MICROSECONDS}").filter("setpts", MONOTONIC)
    every = exact.filter_multi_output("split")
    # Flushed: we may wait for a time while ffmpeg waits for us to read the next picture.
    knobs = {"enc_time_base": f"1:{MICROSECONDS}", "fps_mode": "passthrough", "flush_packets": 1}
    lines = every[0].output(f"pipe:{times}", vcodec="wrapped_avframe", format="framecrc", **knobs)
    # PPM has no times, and yet its muxer complains when they repeat: number the pictures.
    picked = every[1].filter("select", rule.expression).filter("setpts", "N")
    # An explicit scale keeps the first size where a later frame has another.
    rgb = picked.filter("scale").filter("format", "rgb24")
    pictures = rgb.output("pipe:1", vcodec="ppm", format="image2pipe", avioflags="direct", **knobs)
    graph = ffmpeg.merge_outputs(lines, pictures).global_args("-nostdin", "-loglevel", "error")
    # ffmpeg-python cannot hold a name that is not UTF-8.
    return [_url(file) if part == "FILE" else part for part in graph.compile(cmd=ffmpeg_command())]


def _read_picture(pipe: BufferedReader) -> Pixels | None:
    """One binary PPM as ffmpeg writes it (netpbm's ppm(5)); None at the end or when cut off."""
    _, size, depth = pipe.readline(), pipe.readline(), pipe.readline()
    if not depth:
        return None
    width, height = map(int, size.split())
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    return pixels if pipe.readinto(pixels.data) == pixels.nbytes else None


def _reason(complaints: list[str], file: Path) -> str | None:
    """What ffmpeg complained about in one line, without addresses and paths; None if it did not."""
    for words, meaning in MEANINGS.items():
        if any(words in line for line in complaints):
            return meaning
    said = (re.sub(r"\[[^]]* @ 0x[0-9a-f]+\]", "", line).replace(f"{_url(file)}:", "") for line in complaints)
    return next((f"ffmpeg: {line.strip()[:REASON_LENGTH]}" for line in said if line.strip()), None)
