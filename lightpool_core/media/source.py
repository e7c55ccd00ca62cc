"""A raw file, a decoded picture, and how the samples in it are called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lightpool_core.arrays import Pixels

Kind = Literal["image", "video"]

IMAGE_EXTENSIONS = frozenset("jpg jpeg png ppm pgm pbm bmp tif tiff webp gif avif heic heif".split())
VIDEO_EXTENSIONS = frozenset("mp4 m4v hevc mpg mpeg avi mov webm mkv flv wmv ts".split())
_LONGEST_INDEX = 18
"""Digits of the index of a frame that int64 holds."""


@dataclass(frozen=True)  # without slots it is pickled several times as fast
class Source:
    """One raw file: the unit of decoding, of parallelism and of failure."""

    name: str
    """What its samples are named after: the path relative to the input, with forward slashes."""
    file: Path
    """Where it lies, absolute."""
    kind: Kind
    input: Path
    """The folder it was found in, absolute; makes its name distinct where two inputs share it."""
    folder: str
    """The first-level subfolder of the input, '' where it lies in the input itself."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of last modification, nanoseconds since 1970."""
    refused: str = ""
    """Why it is not opened, if it is not."""

    def __hash__(self) -> int:
        return hash(self.name)  # paths take long to hash

    @property
    def location(self) -> str:
        """`file` as valid Unicode: bytes that are not UTF-8 are written as escapes."""
        return readable(str(self.file))

    @property
    def label_name(self) -> str:
        """What the weak label stands for: the video itself, or an image's first-level subfolder ('' for none)."""
        return self.name if self.kind == "video" else self.folder


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture: an image, or a frame of a video."""

    pixels: Pixels
    """Shape (H, W, 3), RGB, upright; possibly smaller than the original."""
    width: int
    """Of the original, upright, in pixels."""
    height: int
    index: int | None = None
    """Position in the video, from 0; None for an image."""
    time: float | None = None
    """Seconds since the video's beginning; None for an image."""


@dataclass(frozen=True, slots=True)
class SampleRef:
    """Which picture a sample is, and how the pool calls it."""

    filename: str
    source: str
    """Name of its source."""
    frame: int | None = None
    time: float | None = None
    """Seconds since the video's beginning; None for an image."""


def readable(path: str) -> str:
    """`path` as valid Unicode: bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def kind_of(path: PurePosixPath | Path) -> Kind | None:
    """Image, video or neither, judged by the extension."""
    extension = path.suffix[1:].lower()
    if extension in IMAGE_EXTENSIONS:
        return "image"
    return "video" if extension in VIDEO_EXTENSIONS else None


def video_of(name: str) -> str | None:
    """The video that a sample called `name` is a frame of, if that is the name of a frame."""
    frame = _frame_of(name)
    return frame[0] if frame else None


def ref_of(name: str) -> SampleRef:
    """What the name of a sample tells by itself: of what has the name of a frame, its video and index."""
    return SampleRef(name, *(_frame_of(name) or (name,)))


def is_normal(path: str) -> bool:
    """True for a relative path that pathlib leaves as it is: asking that is many times as fast as making a path."""
    padded = f"/{path}/"
    return "//" not in padded and "/./" not in padded


def frame_name(name: str, index: int, n_frames: int) -> str:
    """The Lightly name of frame `index` of the video `name`, which has `n_frames` in all.

    `sub/my_video.mp4`, 99, 200 → `sub/my_video-099-mp4.png`.
    """
    path = PurePosixPath(name)
    number = str(index).zfill(len(str(n_frames)))
    return str(path.with_name(f"{path.stem}-{number}-{path.suffix[1:]}.png"))


def _frame_of(name: str) -> tuple[str, int] | None:
    """Video and index of what is called as `frame_name` calls frames."""
    rest, _, extension = name.removesuffix(".png").rpartition("-")
    if extension.lower() not in VIDEO_EXTENSIONS or not name.endswith(".png"):
        return None
    stem, _, index = rest.rpartition("-")
    if not index.isdecimal() or len(index) > _LONGEST_INDEX or not stem or stem.endswith("/"):
        return None
    video = f"{stem}.{extension}"
    return video if is_normal(video) else str(PurePosixPath(video)), int(index)
