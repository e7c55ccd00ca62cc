"""Inputs → the sources that lie in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from lightpool_core.errors import SourceNotFound
from lightpool_core.media.names import from_line
from lightpool_core.media.source import Source, kind_of, readable
from lightpool_core.progress import SILENT, Progress

_POOL_MARK = "datapool.toml"


def list_sources(inputs: Sequence[Path], filenames: Path | None = None, progress: Progress = SILENT) -> list[Source]:
    """Every image and video in `inputs` (folders, walked recursively, or single files), sorted by name.

    `filenames`, a text file with one path relative to the inputs per line, keeps only what it lists.
    Hidden files and folders are passed over, and so are folders that are datapools themselves.
    Raises SourceNotFound for an input that is missing or holds nothing, and for a listed path in no input.
    """
    by_file: dict[Path, Source] = {}
    with progress.stage("listing") as stage:
        for root in inputs:
            found = False
            for source in _sources_in(root):
                by_file.setdefault(source.file, source)
                found = True
                stage.advance()
            if not found:
                raise SourceNotFound(f"input {root} holds no images or videos; check the path and its mount")
    sources = sorted(by_file.values(), key=lambda source: (source.name, source.file))
    return _only_listed(sources, filenames) if filenames else sources


def _sources_in(root: Path) -> Iterator[Source]:
    # A link keeps the name that the user gave it; only the way to it is made absolute.
    root = Path(os.path.abspath(root))
    if root.is_file():
        files: Iterable[Path] = [root]
        folder = root.parent
    elif root.is_dir():
        files, folder = _walk(root, {os.path.realpath(root)}), root
    else:
        raise SourceNotFound(f"input {root} does not exist; give a folder, an image or a video")
    for file in files:
        kind = kind_of(file)
        if kind is None:
            continue
        status = file.stat()
        name = readable(file.relative_to(folder).as_posix())
        first = name.partition("/")[0] if "/" in name else ""
        yield Source(name, file, kind, folder, first, status.st_size, status.st_mtime_ns)


def _walk(folder: Path, visited: set[str]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError as error:
        raise SourceNotFound(f"folder {folder} cannot be read: {error.strerror}; mend its permissions") from error
    if any(entry.name == _POOL_MARK for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            if real not in visited:  # a link that leads back into the walk
                yield from _walk(Path(entry.path), visited | {real})
        elif entry.is_file():
            yield Path(entry.path)


def _only_listed(sources: Sequence[Source], filenames: Path) -> list[Source]:
    try:
        lines = filenames.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceNotFound(f"list of filenames {filenames} cannot be read: {error}") from error
    wanted = {PurePosixPath(from_line(line)).as_posix() for line in lines if line.strip()}
    if not wanted:
        raise SourceNotFound(f"list of filenames {filenames} is empty; write one path per line")
    missing = sorted(wanted - {source.name for source in sources})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SourceNotFound(
            f"{missing[0]}{more}, listed in {filenames}, is in none of the inputs; paths are relative to an input"
        )
    return [source for source in sources if source.name in wanted]
