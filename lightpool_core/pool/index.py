"""`index/`: a cache that makes a large pool fast to compare with. Anything in it may be taken away.

`index.json` says what the other files cover and what their bytes sum up to (CRC-32); they are `rows.f32`, the
embeddings as they lie in memory, `prefixes-N.npy` and `cells-N.npz`, how they are sorted, and `graph-N.hnsw`, the
hnswlib index, N the number of rows.
What is missing, stale or damaged is made again from `history/`; what only lacks the newest rows catches up.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.errors import CorruptPool
from lightpool_core.replacing import replacing
from lightpool_core.selection.cells import Cells
from lightpool_core.selection.hnsw import NeighbourIndex

_FORMAT = 3
_HEADER = "index.json"
_ROWS = "rows.f32"
_SMALL = ("basis", "order", "pivots", "cosines", "leaves", "blocks")
"""What of the cells is read whole; their prefixes are mapped into memory."""

Piece: TypeAlias = tuple[str, int]
"""Name of an immutable file of `history/`, and how many rows it holds."""
Reader: TypeAlias = Callable[[int], Iterator[tuple[Rows, Embeddings]]]
"""From which row on; the rows from there, in blocks of any order, with their numbers."""


@dataclass(frozen=True)
class Index:
    """What `index/` holds: M rows in a memory map, their cells, and the graph."""

    rows: Embeddings
    cells: Cells
    graph: NeighbourIndex


@dataclass(frozen=True)
class _Header:
    format: int
    dim: int
    count: int
    pieces: str
    """Digest of the names of the files that the rows come from, in the order of their rows."""
    hnswlib: str
    rows: int
    prefixes: int
    cells: int
    graph: int


def cached_index(folder: Path, dim: int, pieces: Sequence[Piece], read: Reader) -> Index:
    """The index over all rows of `pieces`, M > 0 in all, from `folder`; made, or caught up, and saved as needed.

    Only one process at a time may do so. Raises OSError where nothing can be written.
    """
    folder.mkdir(exist_ok=True)
    header = _read_header(folder, dim, pieces)
    header, held = _load(folder, header) if header else (None, None)
    count = sum(n for _, n in pieces)
    rows_sum = _caught_up_rows(folder, header, count, read)
    rows = np.asarray(np.memmap(folder / _ROWS, np.float32, "r", shape=(count, dim)))
    if header and held and header.count == count:
        return Index(rows, *held)
    cells = held[0].extended(rows) if held else Cells.over(rows)
    graph = held[1].caught_up(cells) if held else NeighbourIndex.over(cells)
    _save(folder, cells, graph, dim=dim, pieces=_digest(pieces), rows=rows_sum)
    return Index(rows, cells, graph)


def kept_index(folder: Path, dim: int, pieces: Sequence[Piece]) -> Index | list[str] | None:
    """What `index/` holds of the rows of `pieces`, read as it lies; the names of its files that are damaged.

    None where it is not there, or of other rows: after going back, say.
    """
    if not (folder / _HEADER).exists():
        return None
    if _parsed_header(folder) is None:
        return [_HEADER]
    header = _read_header(folder, dim, pieces)
    if header is None:
        return None
    files = _files(folder, header.count)
    sums = (header.prefixes, header.cells, header.graph)
    wrong = [file.name for file, said in zip(files, sums, strict=True) if _sum(file) != said]
    if _sum(folder / _ROWS, header.count * dim * 4) != header.rows:
        wrong.append(_ROWS)
    held = None if wrong else _load_cells(folder, header)
    if held is None:
        return wrong or [_HEADER]
    return Index(np.asarray(np.memmap(folder / _ROWS, np.float32, "r", shape=(header.count, dim))), *held)


def _parsed_header(folder: Path) -> _Header | None:
    """What `index.json` says."""
    try:
        header = _Header(**json.loads((folder / _HEADER).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    wrong = any(type(getattr(header, field.name)).__name__ != field.type for field in fields(_Header))
    return None if wrong else header


def _read_header(folder: Path, dim: int, pieces: Sequence[Piece]) -> _Header | None:
    """What `index.json` says, if the rows that it covers are the first of `pieces`."""
    header = _parsed_header(folder)
    if header is None:
        return None
    borders = {0: 0}
    for number, (_, count) in enumerate(pieces, start=1):
        borders[count + max(borders)] = number
    known = borders.get(header.count, 0)
    if not known or min(header.rows, header.prefixes, header.cells, header.graph) < 0:
        return None
    if (header.format, header.dim, header.hnswlib) != (_FORMAT, dim, _hnswlib_version()):
        return None
    return header if header.pieces == _digest(pieces[:known]) else None


def _caught_up_rows(folder: Path, header: _Header | None, count: int, read: Reader) -> int:
    """Bring `rows.f32` to `count` rows; its sum."""
    if header is None:
        with replacing(folder / _ROWS) as new, new.open("wb") as stream:
            _write_rows(stream, 0, count, read)
        return _sum(folder / _ROWS)
    if header.count == count:
        return header.rows
    with (folder / _ROWS).open("r+b") as stream:
        stream.truncate(header.count * header.dim * 4)  # a run that was cut off may have left more
        _write_rows(stream, header.count, count, read)
    return _sum(folder / _ROWS, start=header.count * header.dim * 4, total=header.rows)


def _write_rows(stream: BinaryIO, start: int, count: int, read: Reader) -> None:
    left = count - start
    for positions, rows in read(start):
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(positions) != 1) + 1) if len(rows) else ():
            stream.seek(int(positions[run[0]]) * rows.shape[1] * rows.itemsize)
            stream.write(np.ascontiguousarray(rows[run]).data)
        left -= len(rows)
    if left:
        raise CorruptPool(f"history of the pool lacks {left} of {count} samples; restore it from a backup")


def _load(folder: Path, header: _Header) -> tuple[_Header | None, tuple[Cells, NeighbourIndex] | None]:
    """The header if the rows are as they were written, and the rest if that is, too."""
    # Beside each other: checksums leave Python's lock alone, while hnswlib holds on to it as long as it loads.
    with ThreadPoolExecutor(max_workers=1) as beside:
        rows = beside.submit(_sum, folder / _ROWS, header.count * header.dim * 4)
        cells = _load_cells(folder, header)
        return (header, cells) if rows.result() == header.rows else (None, None)


def _load_cells(folder: Path, header: _Header) -> tuple[Cells, NeighbourIndex] | None:
    files = _files(folder, header.count)
    if tuple(map(_sum, files)) != (header.prefixes, header.cells, header.graph):
        return None
    prefixes_file, cells_file, graph_file = files
    try:
        prefixes = np.asarray(np.load(prefixes_file, mmap_mode="r", allow_pickle=False))
        with np.load(cells_file, allow_pickle=False) as arrays:
            cells = Cells(prefixes=prefixes, **{name: arrays[name] for name in _SMALL})
        return cells, NeighbourIndex.load(graph_file, cells, header.count)
    except (OSError, ValueError, KeyError, RuntimeError):
        return None


def _save(folder: Path, cells: Cells, graph: NeighbourIndex, *, dim: int, pieces: str, rows: int) -> None:
    files = prefixes_file, cells_file, graph_file = _files(folder, len(cells))
    with replacing(prefixes_file) as new, new.open("wb") as stream:
        np.save(stream, cells.prefixes)
    with replacing(cells_file) as new, new.open("wb") as stream:
        np.savez(stream, **{name: getattr(cells, name) for name in _SMALL})
    with replacing(graph_file) as new:
        graph.save(new)
    header = _Header(_FORMAT, dim, len(cells), pieces, _hnswlib_version(), rows, *map(_sum, files))
    with replacing(folder / _HEADER) as new:
        new.write_text(json.dumps(asdict(header)))
    # Until here the old header had its old files.
    for old in folder.iterdir():
        if old not in (*files, folder / _ROWS, folder / _HEADER):
            old.unlink(missing_ok=True)


def _files(folder: Path, count: int) -> tuple[Path, Path, Path]:
    return folder / f"prefixes-{count}.npy", folder / f"cells-{count}.npz", folder / f"graph-{count}.hnsw"


def _sum(path: Path, end: int | None = None, *, start: int = 0, total: int = 0) -> int:
    """CRC-32 of the bytes of a file up to `end` (all); -1 where there are not so many.

    `total` is that of the bytes before `start`.
    """
    there = path.stat().st_size if path.is_file() else -1
    end = there if end is None else end
    if there < end or end <= 0:
        return -1
    content = np.memmap(path, np.uint8, "r", shape=(end,))
    return zlib.crc32(content[start:end].data, total)


def _digest(pieces: Sequence[Piece]) -> str:
    return hashlib.blake2b(json.dumps(pieces).encode(), digest_size=16).hexdigest()


def _hnswlib_version() -> str:
    from importlib.metadata import version

    return version("hnswlib")
