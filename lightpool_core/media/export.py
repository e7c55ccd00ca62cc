"""Chosen samples → image files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from PIL import Image

from lightpool_core.errors import SourceError, failure
from lightpool_core.media.video import VideoStream
from lightpool_core.replacing import sync

_LONGEST = 255
"""Bytes of a name in a folder."""


@dataclass(frozen=True, slots=True)
class Picked:
    """A sample to write: its name, the raw file it comes from, and which frame of it (None for an image)."""

    filename: str
    file: Path
    frame: int | None


def write_samples(samples: Sequence[Picked], folder: str | Path) -> None:
    """Write `samples` under their names into `folder`: images as they are, frames as PNG at full resolution.

    They are on the disk afterwards. Raises SourceError where a raw file has gone, or `folder` cannot be written to.
    """
    root = output_folder(folder)
    written: list[Path] = []
    try:
        for file, group in groupby(sorted(samples, key=lambda s: str(s.file)), key=lambda s: s.file):
            targets = {sample.frame: _target(root, sample.filename) for sample in group}
            if None in targets:
                shutil.copyfile(file, targets[None])
            else:
                _write_frames(file, {index: path for index, path in targets.items() if index is not None})
            written += targets.values()
        sync(*written, *sorted({folder for file in written for folder in file.parents if folder.is_relative_to(root)}))
    except OSError as error:
        raise SourceError(f"samples cannot be written to {folder}: {failure(error)}") from error


def output_folder(folder: str | Path) -> Path:
    """`folder`, made if it is not there. Raises SourceError where it cannot be."""
    root = Path(folder).resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"samples cannot be written to {folder}: {failure(error)}") from error
    return root


def _target(root: Path, filename: str) -> Path:
    path = root.joinpath(*map(_fitting, PurePosixPath(filename).parts))
    if path == root or not path.resolve().is_relative_to(root):
        raise SourceError(f"sample {filename!r} would be written outside of {root}; nothing more was written")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _fitting(part: str) -> str:
    """`part` of a path, shortened where file systems have no room: a frame, or escapes, make it longer."""
    spelled = os.fsencode(part)
    if len(spelled) <= _LONGEST:
        return part
    end = f"-{hashlib.blake2b(spelled, digest_size=8).hexdigest()}{PurePosixPath(part).suffix[:16]}"
    return spelled[: _LONGEST - len(os.fsencode(end))].decode("utf-8", "ignore") + end


def _write_frames(video: Path, targets: dict[int, Path]) -> None:
    written = set()
    with VideoStream(video, indices=targets) as stream:
        for frame in stream:
            assert frame.index is not None  # frames of a video have one
            Image.fromarray(frame.pixels).save(targets[frame.index])
            written.add(frame.index)
    if missing := sorted(set(targets) - written):
        raise SourceError(f"video {video} has no frame {missing[0]} any more: was it replaced?")
