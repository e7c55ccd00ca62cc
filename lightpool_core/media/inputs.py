"""Inputs → the sources that lie in them."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lightpool_core.errors import SourceNotFound
from lightpool_core.media.names import from_line
from lightpool_core.media.source import Source, kind_of, readable
from lightpool_core.progress import SILENT, Progress

_POOL_MARK = "datapool.toml"


_LEADS_OUT = "a link that leads out of the inputs is not followed; name what it leads to as an input, or --follow-links"


def list_sources(
    inputs: Sequence[Path], filenames: Path | None = None, *, follow_links: bool = False, progress: Progress = SILENT
) -> list[Source]:
    """Every image and video in `inputs` (folders, walked recursively, or single files), sorted by name.

    `filenames`, a text file with one path relative to the inputs per line, keeps only what it lists.
    Hidden files and folders are passed over, and so are folders that are datapools themselves, and what is neither
    file nor folder. Links within the inputs are followed, those that lead out of all of them only with `follow_links`;
    otherwise they are among the sources, as refused.
    Raises SourceNotFound for an input that is missing or holds nothing, and for a listed path in no input.
    """
    by_file: dict[Path, Source] = {}
    reach = None if follow_links else [os.path.realpath(root) for root in inputs]
    with progress.stage("listing") as stage:
        for root in inputs:
            found = False
            for source in _sources_in(root, reach):
                by_file.setdefault(source.file, source)
                found = True
                stage.advance()
            if not found:
                raise SourceNotFound(f"input {root} holds no images or videos; check the path and its mount")
    sources = sorted(by_file.values(), key=lambda source: (source.name, source.file))
    return _only_listed(sources, filenames) if filenames else sources


def _sources_in(root: Path, reach: Sequence[str] | None) -> Iterator[Source]:
    """The sources in `root`; what is linked counts where it lies in one of the folders of `reach`, None for any."""
    # A link keeps the name that the user gave it; only the way to it is made absolute.
    root = Path(os.path.abspath(root))
    if root.is_file():
        found: Iterable[tuple[Path, bool]] = [(root, True)]
        folder = root.parent
    elif root.is_dir():
        found, folder = _walk(root, reach), root
    else:
        raise SourceNotFound(f"input {root} does not exist; give a folder, an image or a video")
    for file, within in found:
        kind = kind_of(file)
        if kind is None and within:
            continue
        with suppress(FileNotFoundError):  # gone since it was seen
            status = file.stat() if within else file.lstat()
            name = readable(file.relative_to(folder).as_posix())
            first = name.partition("/")[0] if "/" in name else ""
            refused = "" if within else _LEADS_OUT
            yield Source(name, file, kind or "image", folder, first, status.st_size, status.st_mtime_ns, refused)


def _walk(root: Path, reach: Sequence[str] | None) -> Iterator[tuple[Path, bool]]:
    """Files below `root`, and whether they are within `reach`; links to folders that are not come as files.

    No folder twice, however many links lead to it: they may lead in circles. What is no link comes first.
    """
    folders, linked = [root], deque[Path]()
    visited = set[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.popleft()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        for entry in _entries(folder):
            path = Path(entry.path)
            if not entry.is_symlink():
                if entry.is_dir():
                    folders.append(path)
                elif entry.is_file():
                    yield path, True
            elif (is_folder := _leads_to_folder(path)) is not None:
                within = reach is None or _lies_in(os.path.realpath(path), reach)
                if within and is_folder:
                    linked.append(path)
                elif is_folder or kind_of(path):
                    yield path, within


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in `folder` and not hidden; nothing if it is a datapool, or gone since it was seen."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError as error:
        raise SourceNotFound(f"folder {folder} cannot be read: {error.strerror}; mend its permissions") from error
    except (FileNotFoundError, NotADirectoryError):
        return []
    if any(entry.name == _POOL_MARK for entry in entries):
        return []
    return [entry for entry in entries if not entry.name.startswith(".")]


def _leads_to_folder(link: Path) -> bool | None:
    """Whether a link leads to a folder rather than a file; None for a dead end, a circle, a pipe, a device."""
    try:
        mode = link.stat().st_mode
    except OSError:
        return None
    return stat.S_ISDIR(mode) if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else None


def _lies_in(real: str, reach: Sequence[str]) -> bool:
    return any(os.path.commonpath((real, place)) == place for place in reach)


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
