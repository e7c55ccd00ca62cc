"""Which ffmpeg there is, what it may open, and what its complaints mean."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from lightpool_core.errors import SourceError

KILLED = (-signal.SIGKILL, -signal.SIGTERM)
_REASON_LENGTH = 160
# Containers whose frames lie in the file itself. Playlists (concat, hls, dash) would have ffmpeg open
# other files, whatever their own name ends with.
_CONTAINERS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,h264,hevc,av1,obu,ivf,m4v,mjpeg,asf,flv,mxf,ogg,dv,nut"
_MOST_MEMORY = 1 << 30
"""Bytes that ffmpeg may take at a time: few bytes of an index can claim any number of frames."""
# What ffmpeg says, and what it means to somebody who did not call it. The first that occurs wins.
_MEANINGS = {
    "matches no streams": "it has no video stream",
    "not on whitelist": "it is not a video container",
    "moov atom not found": "it is not a video, or was cut off before its index (moov atom not found)",
    "max pixel count": "its pictures have more pixels than the setting max_megapixels allows",
    "Cannot add index entry": "its index claims more frames than there is memory for",
    "ended prematurely": "the file ends early",
    "partial file": "the file ends early",
}


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


def video_input(**options: Any) -> Any:
    """The video stream of the file that `command_line` names, as ffmpeg-python knows it, read with `options`.

    Nothing but that file is opened. Of several video streams the first counts; cover art is none.
    """
    return ffmpeg.input("FILE", protocol_whitelist="file", format_whitelist=_CONTAINERS, **options)["V:0"]


def command_line(graph: Any, file: Path, loglevel: str = "error") -> list[str]:
    """The arguments that run `graph` on `file`, ffmpeg's own name first."""
    quiet = graph.global_args("-nostdin", "-loglevel", loglevel, "-max_alloc", str(_MOST_MEMORY))
    # ffmpeg-python cannot hold a name that is not UTF-8.
    return [_url(file) if part == "FILE" else part for part in quiet.compile(cmd=ffmpeg_command())]


def meaning(complaints: Sequence[str], file: Path) -> str | None:
    """What ffmpeg complained about in one line, without addresses and paths; None if it did not."""
    for words, said in _MEANINGS.items():
        if any(words in line for line in complaints):
            return said
    plain = (re.sub(r"\[[^]]* @ 0x[0-9a-f]+\]", "", line).replace(f"{_url(file)}:", "") for line in complaints)
    return next((f"ffmpeg: {line.strip()[:_REASON_LENGTH]}" for line in plain if line.strip()), None)


def _knows_fps_mode(command: str) -> bool:
    """The option came with 5.1. The version is no help: a build from git may call itself N-12345."""
    trial = "-nostdin -loglevel quiet -f lavfi -i color=size=16x16:d=0.1 -fps_mode passthrough -f null -"
    return subprocess.run([command, *trial.split()], check=False).returncode == 0


def _url(file: Path) -> str:
    """`file:` keeps ffmpeg from reading a protocol or an option into a name."""
    return f"file:{file.absolute()}"
