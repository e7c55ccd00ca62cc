"""Many small JSON files, read side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.reading import opened

_THREADS = 8
_PIECE = 64
"""Files that a thread reads at a time; a disk over a network answers slowly, and many at once as fast as one."""


def read_json(path: Path, what: str) -> Any:
    """What the JSON file at `path` holds. Raises SourceNotFound calling it `what`, and SourceError."""
    content = _content(str(path))
    if content is None:
        raise SourceNotFound(f"{what} {path} does not exist")
    return _parsed(str(path), content)


def read_sidecars(folder: Path, names: Sequence[str]) -> Iterator[Mapping[str, Any] | None]:
    """For each of the `names` the JSON object about it; None where there is none.

    That of `sub/a.jpg` is `sub/a.json` in `folder`, and says so by its `file_name`. Raises SourceError naming
    the file.
    """
    files = [sidecar(folder, name) for name in names]
    for name, file, content in zip(names, files, _contents(files), strict=True):
        # A picture called schema.jpg has no file of its own.
        found = None if content is None or file == f"{folder}/schema.json" else _parsed(file, content)
        if found is not None and not isinstance(found, dict):
            raise SourceError(f"{file} holds no JSON object")
        yield found if found is not None and found.get("file_name", name) == name else None


def sidecar(folder: Path, name: str) -> str:
    """The file in `folder` that is about the picture or video `name`; '' for a name that would lead out of it."""
    if ".." in name.split("/"):
        return ""
    head, _, tail = name.rpartition("/")
    stem = tail.rpartition(".")[0] or tail
    return f"{folder}/{head}/{stem}.json" if head else f"{folder}/{stem}.json"


def name_in(folder: Path) -> str | None:
    """The name that some file in `folder` is about, to show where nothing was found; None if it has no files."""
    for path in sorted(folder.rglob("*.json")):
        if path.name not in {"schema.json", "tasks.json"}:
            found = read_json(path, "file")
            return str(found["file_name"]) if isinstance(found, dict) and "file_name" in found else path.name
    return None


def _contents(files: Sequence[str]) -> Iterator[bytes | None]:
    """What is in each of the `files`, read a little ahead."""
    at_once = _THREADS * _PIECE
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(files), at_once):
            window = files[start : start + at_once]
            pieces = [window[i : i + _PIECE] for i in range(0, len(window), _PIECE)]
            yield from chain.from_iterable(threads.map(lambda piece: [_content(file) for file in piece], pieces))


def _content(file: str) -> bytes | None:
    try:
        with opened(file) as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error


def _parsed(file: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file} cannot be read as JSON: {error}; repair it or take it away") from error
