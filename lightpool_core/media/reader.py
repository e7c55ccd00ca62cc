"""A source → its frames, whatever kind it is; and the digest of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from lightpool_core.media.image import read_image
from lightpool_core.media.source import Frame, Source
from lightpool_core.media.video import VideoStream

_BLOCK = 1 << 20


class FrameStream(Protocol):
    """The frames of one source, decoded while they are iterated over, inside a `with` block."""

    n_frames: int
    """How many frames the source has in all, sampled or not; known after the last one."""
    reason: str | None
    """After the last one: why frames are missing at the end, or None."""

    def __enter__(self) -> FrameStream: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(source: Source, fps: float | None) -> FrameStream:
    """The frames of `source`; of a video `fps` per second, None for every one. Raises DecodeError while read."""
    return ImageStream(source.file) if source.kind == "image" else VideoStream(source.file, fps=fps)


def file_digest(file: Path) -> str:
    """Identity of the bytes of `file`. Raises OSError where it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class ImageStream:
    """An image as a stream of one frame."""

    n_frames = 1
    reason: str | None = None

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> ImageStream:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(read_image(self._file))
