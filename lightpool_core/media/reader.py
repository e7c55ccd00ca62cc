"""A source → its frames, whatever kind it is; and the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from lightpool_core.media.image import read_image
from lightpool_core.media.reading import Reading, opened
from lightpool_core.media.source import Frame, Kind
from lightpool_core.media.video import VideoStream

_BLOCK = 1 << 20


class FrameStream(Protocol):
    """The frames of one source, decoded while they are iterated over, inside a `with` block."""

    n_frames: int
    """How many frames the source has in all, sampled or not; known after the last one."""
    reason: str | None
    """After the last one: why frames are missing at the end, or None."""
    key_frames_only: bool
    """True where nothing but key frames is decoded, because all that are to be sampled are key frames."""

    @property
    def n_read(self) -> int:
        """How many have been found so far, sampled or not: it changes, or nothing goes on."""

    @property
    def share(self) -> float:
        """About how much of a long source the frames so far are, from 0 to 1; 0 where nobody knows."""

    def __enter__(self) -> FrameStream: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(file: Path, kind: Kind, reading: Reading) -> FrameStream:
    """The frames in `file`, read as `reading` says. Raises DecodeError while they are iterated over."""
    if kind == "image":
        return ImageStream(file, reading)
    return VideoStream(
        file,
        fps=reading.fps,
        short_side=reading.short_side,
        max_pixels=reading.max_pixels,
        threads=reading.threads,
    )


def link_digest(link: Path) -> str:
    """Identity of a link that is not followed: of the path that it holds. Raises OSError."""
    return hashlib.blake2b(os.fsencode(link.readlink()), digest_size=16).hexdigest()


def file_digest(file: Path) -> str:
    """Identity of the bytes of `file`. Raises OSError where it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    with opened(file) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class ImageStream:
    """An image as a stream of one frame."""

    n_frames = 1
    n_read = 0
    share = 0.0
    reason: str | None = None
    key_frames_only = False

    def __init__(self, file: Path, reading: Reading) -> None:
        self._file = file
        self._reading = reading

    def __enter__(self) -> ImageStream:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        yield read_image(self._file, short_side=self._reading.short_side, max_pixels=self._reading.max_pixels)
