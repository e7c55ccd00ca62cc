from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Embeddings, Rows
from lightpool_core.errors import CorruptPool
from lightpool_core.pool import index as module
from lightpool_core.pool.index import Index, Piece, cached_index
from lightpool_core.selection.hnsw import NeighbourIndex
from lightpool_core.selection.neighbours import ArrayView
from tests.strategies import assert_exact, unit_vectors

DIM = 8
ROWS = unit_vectors(400, DIM, "clusters")
QUERIES = np.concatenate([ROWS[::50], unit_vectors(12, DIM, "clusters", seed=5), unit_vectors(5, DIM)])


class Source:
    """Rows in pieces, as `history/` holds them, and how many were read."""

    def __init__(self, rows: Embeddings, *ends: int, prefix: str = "piece") -> None:
        borders = [0, *ends, len(rows)]
        self.pieces: list[Piece] = [(f"{prefix}-{a}", b - a) for a, b in pairwise(borders)]
        self.rows = rows
        self.n_read = 0

    def read(self, start: int) -> Iterator[tuple[Rows, Embeddings]]:
        """In blocks, the last one first."""
        for first in reversed(range(start, len(self.rows), 90)):
            positions = np.arange(first, min(first + 90, len(self.rows)))
            self.n_read += len(positions)
            yield positions, self.rows[positions]

    def index_in(self, folder: Path) -> Index:
        self.n_read = 0
        return cached_index(folder, self.rows.shape[1], self.pieces, self.read)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def names(n: int) -> list[str]:
    return [f"cells-{n}.npz", f"graph-{n}.hnsw", "index.json", f"prefixes-{n}.npy", "rows.f32"]


def assert_it_serves(index: Index, rows: Embeddings) -> None:
    assert (len(index.rows), len(index.cells), len(index.graph)) == (len(rows),) * 3
    np.testing.assert_array_equal(index.rows, rows)
    view = ArrayView(index.rows, index.graph, index.cells)
    queries = QUERIES if rows.shape[1] == DIM else unit_vectors(9, rows.shape[1], seed=5)
    for within in (None, 0.2):
        assert_exact(view, rows, queries, within)


def assert_it_recovers(folder: Path, source: Source) -> None:
    """It serves, and the next time it is loaded as it lies."""
    assert_it_serves(source.index_in(folder), source.rows)
    before = files(folder)
    assert_it_serves(source.index_in(folder), source.rows)
    assert source.n_read == 0
    assert files(folder) == before
    assert set(names(len(source.rows))) <= set(before)


@pytest.mark.parametrize(("n", "dim"), [(400, 8), (1, 3), (2, 150), (300, 150)])
def test_an_index_is_made_and_then_loaded_as_it_lies(n: int, dim: int, tmp_path: Path) -> None:
    source = Source(unit_vectors(n, dim, "clusters"))
    assert_it_serves(source.index_in(tmp_path / "index"), source.rows)
    assert source.n_read == n
    assert sorted(files(tmp_path / "index")) == names(n)
    before = written(tmp_path / "index")
    assert_it_recovers(tmp_path / "index", source)
    assert written(tmp_path / "index") == before


def test_a_grown_pool_catches_up_by_reading_only_what_is_new(tmp_path: Path) -> None:
    Source(ROWS[:100]).index_in(tmp_path)
    for ends, n in (((100,), 101), ((100, 101), 250), ((100, 101, 250), 400)):
        before, file = (tmp_path / "rows.f32").read_bytes(), (tmp_path / "rows.f32").stat().st_ino
        grown = Source(ROWS[:n], *ends)
        assert_it_serves(grown.index_in(tmp_path), grown.rows)
        assert grown.n_read == n - ends[-1]
        assert sorted(files(tmp_path)) == names(n)
        assert (tmp_path / "rows.f32").stat().st_ino == file
        assert (tmp_path / "rows.f32").read_bytes()[: len(before)] == before
        assert_it_recovers(tmp_path, grown)


def test_a_pool_that_grew_by_several_pieces_catches_up_from_where_it_was(tmp_path: Path) -> None:
    Source(ROWS[:200], 100).index_in(tmp_path)
    grown = Source(ROWS, 100, 200, 201, 300)
    assert_it_serves(grown.index_in(tmp_path), ROWS)
    assert grown.n_read == 200


def test_an_index_in_use_stays_as_it_is_while_another_catches_up(tmp_path: Path) -> None:
    held = Source(ROWS[:200]).index_in(tmp_path)
    Source(ROWS, 200).index_in(tmp_path)
    assert_it_serves(held, ROWS[:200])
    Source(ROWS[100:], prefix="other").index_in(tmp_path)
    assert_it_serves(held, ROWS[:200])


@pytest.mark.parametrize(
    "other",
    [
        Source(ROWS[:100]),  # a pool that went back
        Source(ROWS, 50),  # the same rows in other pieces
        Source(unit_vectors(400, DIM, seed=9), prefix="other"),
        Source(unit_vectors(400, 5, seed=9)),
        Source(unit_vectors(500, DIM, seed=9), 400, prefix="other"),
    ],
)
def test_an_index_over_other_pieces_is_replaced(other: Source, tmp_path: Path) -> None:
    Source(ROWS).index_in(tmp_path)
    assert_it_serves(other.index_in(tmp_path), other.rows)
    assert other.n_read == len(other.rows)
    assert sorted(files(tmp_path)) == names(len(other.rows))
    assert_it_recovers(tmp_path, other)


@pytest.mark.parametrize("changed", ["_hnswlib_version", "_FORMAT"])
def test_an_index_of_another_format_or_by_another_hnswlib_is_made_anew(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(ROWS)
    source.index_in(tmp_path)
    monkeypatch.setattr(module, changed, (lambda: "99.0") if changed == "_hnswlib_version" else 99)
    assert_it_serves(source.index_in(tmp_path), ROWS)
    assert source.n_read == 400
    assert "99" in str(json.loads((tmp_path / "index.json").read_text()).values())
    assert_it_recovers(tmp_path, source)


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_by_one(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(where: float) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[round(where * (len(content) - 1))] ^= 0x01
        path.write_bytes(content)

    return flip


def zeros(path: Path) -> None:
    """As a file system may leave it that lost power."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [missing, empty, cut, cut_by_one, zeros, *map(flipped, (0, 0.3, 0.5, 0.8, 1))])
@pytest.mark.parametrize("name", names(400))
def test_whatever_is_damaged_is_made_again(name: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    source = Source(ROWS, 150)
    source.index_in(tmp_path)
    damage(tmp_path / name)
    assert_it_recovers(tmp_path, source)


@pytest.mark.parametrize("damage", [missing, cut, *map(flipped, (0, 0.5, 1))])
@pytest.mark.parametrize("name", names(150))
def test_a_damaged_index_of_a_grown_pool_is_made_again(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    Source(ROWS[:150]).index_in(tmp_path)
    damage(tmp_path / name)
    assert_it_recovers(tmp_path, Source(ROWS, 150))
    assert sorted(files(tmp_path)) == names(400)


@pytest.mark.parametrize("name", ["cells-400.npz", "graph-400.hnsw", "prefixes-400.npy"])
def test_what_is_not_damaged_is_kept(name: str, tmp_path: Path) -> None:
    source = Source(ROWS)
    source.index_in(tmp_path)
    (tmp_path / name).unlink()
    file = (tmp_path / "rows.f32").stat()
    assert_it_serves(source.index_in(tmp_path), ROWS)
    assert source.n_read == 0
    assert (tmp_path / "rows.f32").stat().st_ino == file.st_ino


@pytest.mark.parametrize("name", ["cells-400.npz", "graph-400.hnsw", "prefixes-400.npy", "rows.f32"])
def test_a_file_of_another_index_is_found_out(name: str, tmp_path: Path) -> None:
    source = Source(ROWS)
    source.index_in(tmp_path / "a")
    Source(unit_vectors(400, DIM, seed=9)).index_in(tmp_path / "b")
    (tmp_path / "b" / name).replace(tmp_path / "a" / name)
    assert_it_recovers(tmp_path / "a", source)


@pytest.mark.parametrize(
    "text", [b"", b"[1, 2]", b"null", b"{}", b"7", b'"x"', b"{", b"\xff\xfe{", b"\0" * 50, b"[" * 99999]
)
def test_a_header_that_is_none_is_replaced(text: bytes, tmp_path: Path) -> None:
    source = Source(ROWS)
    source.index_in(tmp_path)
    (tmp_path / "index.json").write_bytes(text)
    assert_it_recovers(tmp_path, source)


@pytest.mark.parametrize("name", ["format", "dim", "count", "pieces", "hnswlib", "rows", "cells", "graph", "more"])
def test_a_header_that_says_something_else_is_replaced(name: str, tmp_path: Path) -> None:
    source = Source(ROWS, 1, 150)
    source.index_in(tmp_path)
    header = json.loads((tmp_path / "index.json").read_text())
    said = header.get(name)
    as_number = [float(said), str(said), said + 1] if isinstance(said, int) else []
    for value in (None, "x", True, -1, 1, 150, 10**30, [1], {"a": 1}, *as_number):
        (tmp_path / "index.json").write_text(json.dumps({**header, name: value}))
        assert_it_recovers(tmp_path, source)
        grown = Source(np.concatenate([ROWS, ROWS[:50]]), 1, 150, 400)
        (tmp_path / "index.json").write_text(json.dumps({**header, name: value}))
        assert_it_serves(grown.index_in(tmp_path), grown.rows)
        source.index_in(tmp_path)
    del header[next(iter(header))]
    (tmp_path / "index.json").write_text(json.dumps(header))
    assert_it_recovers(tmp_path, source)


@pytest.mark.parametrize(
    "gone", [("rows.f32",), ("cells-400.npz",), ("graph-400.hnsw",), ("prefixes-400.npy",), tuple(names(400)[:2])]
)
def test_a_header_that_says_that_nothing_is_there_is_not_believed(gone: tuple[str, ...], tmp_path: Path) -> None:
    """-1 is how a file is known that is not there."""
    source = Source(ROWS)
    source.index_in(tmp_path)
    header = json.loads((tmp_path / "index.json").read_text())
    for name in gone:
        (tmp_path / name).unlink()
        header[name.split(".")[0].split("-")[0]] = -1
    (tmp_path / "index.json").write_text(json.dumps(header))
    assert_it_recovers(tmp_path, source)
    for name in gone:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "index.json").write_text(json.dumps(header))
    assert_it_recovers(tmp_path, source)


@pytest.mark.parametrize("length", [1, 1001, 40_000])
def test_what_a_run_that_was_cut_off_left_is_not_read_and_goes_away(length: int, tmp_path: Path) -> None:
    Source(ROWS[:150]).index_in(tmp_path)
    with (tmp_path / "rows.f32").open("ab") as stream:
        stream.write(b"\xff" * length)
    for stray in ("cells-400.npz", "graph-400.hnsw.1.tmp", "graph-7.hnsw", "rows.f32.1.tmp", "index.json.1.tmp"):
        (tmp_path / stray).write_bytes(b"stray")
    assert_it_recovers(tmp_path, Source(ROWS[:150]))
    grown = Source(ROWS, 150)
    for n_read in (250, 0):
        assert_it_serves(grown.index_in(tmp_path), ROWS)
        assert grown.n_read == n_read
    assert sorted(files(tmp_path)) == names(400)
    assert (tmp_path / "rows.f32").read_bytes() == ROWS.tobytes()


class Killed(BaseException):
    """The process ends here: nothing is tidied up."""


@contextmanager
def killed_at(step: int, patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Ends the run at its step number `step`; yields the steps that it came to."""
    steps, reached = count(), [0]

    def step_on() -> None:
        reached[0] = next(steps)
        if reached[0] == step:
            raise Killed

    @contextmanager
    def replacing(path: Path) -> Iterator[Path]:
        step_on()
        temporary = path.with_name(f"{path.name}.1.tmp")
        yield temporary
        step_on()
        temporary.replace(path)
        step_on()

    unlink = Path.unlink

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        step_on()
        unlink(path, missing_ok=missing_ok)

    with patch.context() as scoped:
        scoped.setattr(module, "replacing", replacing)
        scoped.setattr(Path, "unlink", unlinked)
        with suppress(Killed):
            yield reached


OVER_NOTHING, GROWN, OF_ANOTHER = Source(ROWS[:0]), Source(ROWS[:150]), Source(ROWS[::-1].copy(), prefix="other")


@pytest.mark.parametrize("before", [OVER_NOTHING, GROWN, OF_ANOTHER])
def test_wherever_a_run_is_killed_the_next_one_recovers(
    before: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(ROWS, 150)
    for step in count():
        folder = tmp_path / str(step)
        if len(before.rows):
            before.index_in(folder)
        with killed_at(step, monkeypatch) as reached:
            source.index_in(folder)
        assert_it_recovers(folder, source)
        grown = Source(np.concatenate([ROWS, ROWS[:9]]), 150, 400)
        assert_it_serves(grown.index_in(folder), grown.rows)
        assert sorted(files(folder)) == names(409)
        if reached[0] < step:
            break
    assert step >= 9


@pytest.mark.parametrize("before", [OVER_NOTHING, GROWN, OF_ANOTHER])
def test_a_run_that_is_killed_while_it_reads_leaves_nothing_that_misleads(before: Source, tmp_path: Path) -> None:
    if len(before.rows):
        before.index_in(tmp_path)
    source = Source(ROWS, 150)

    def read(start: int) -> Iterator[tuple[Rows, Embeddings]]:
        yield next(source.read(start))
        raise Killed

    with pytest.raises(Killed):
        cached_index(tmp_path, DIM, source.pieces, read)
    if before is GROWN:
        assert_it_recovers(tmp_path, GROWN)
    assert_it_recovers(tmp_path, source)
    assert sorted(files(tmp_path)) == names(400)


@pytest.mark.parametrize("before", [OVER_NOTHING, GROWN, OF_ANOTHER])
def test_a_full_disk_is_an_error_and_leaves_nothing_that_misleads(
    before: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(ROWS, 150)
    plain = module.replacing
    for step in range(3):
        left = iter([True] * step)

        @contextmanager
        def full(path: Path, left: Iterator[bool] = left) -> Iterator[Path]:
            with plain(path) as temporary:
                yield temporary
                if not next(left, False):
                    raise OSError(errno.ENOSPC, "No space left on device")

        folder = tmp_path / str(step)
        if len(before.rows):
            before.index_in(folder)
        with monkeypatch.context() as scoped:
            scoped.setattr(module, "replacing", full)
            with pytest.raises(OSError, match="No space left"):
                source.index_in(folder)
        assert_it_recovers(folder, source)


def test_a_graph_that_was_cut_off_while_it_was_saved_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hnswlib does not say that the disk is full."""
    source, save = Source(ROWS), NeighbourIndex.save

    def save_half(self: NeighbourIndex, path: Path) -> None:
        save(self, path)
        path.write_bytes(path.read_bytes()[:5000])

    with monkeypatch.context() as scoped:
        scoped.setattr(NeighbourIndex, "save", save_half)
        assert_it_serves(source.index_in(tmp_path), ROWS)
    assert_it_recovers(tmp_path, source)


def test_what_cannot_be_a_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file")
    with pytest.raises(OSError, match="exists"):
        Source(ROWS).index_in(tmp_path / "index")


def test_blocks_of_any_order_and_size_are_put_where_they_belong(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(400)

    def read(start: int) -> Iterator[tuple[Rows, Embeddings]]:
        positions = order[order >= start]
        for cut in (slice(0, 100), slice(100, 100), slice(100, 101), slice(101, None)):
            yield positions[cut], ROWS[positions[cut]]

    source = Source(ROWS, 150)
    assert_it_serves(cached_index(tmp_path / "new", DIM, source.pieces, read), ROWS)
    Source(ROWS[:150]).index_in(tmp_path / "grown")
    assert_it_serves(cached_index(tmp_path / "grown", DIM, source.pieces, read), ROWS)
    assert files(tmp_path / "new")["rows.f32"] == files(tmp_path / "grown")["rows.f32"] == ROWS.tobytes()


@pytest.mark.parametrize("n", [0, 100, 399])
def test_a_history_that_lacks_rows_is_corrupt(n: int, tmp_path: Path) -> None:
    def read(start: int) -> Iterator[tuple[Rows, Embeddings]]:
        yield np.arange(start, n), ROWS[start:n]

    with pytest.raises(CorruptPool, match=f"lacks {400 - n} of 400"):
        cached_index(tmp_path, DIM, Source(ROWS).pieces, read)
    assert_it_recovers(tmp_path, Source(ROWS))


def test_the_sum_goes_on_from_the_old_rows_to_the_new(tmp_path: Path) -> None:
    Source(ROWS[:150]).index_in(tmp_path)
    source = Source(ROWS, 150)
    assert_it_serves(source.index_in(tmp_path), ROWS)
    assert source.n_read == 250
    assert_it_recovers(tmp_path, source)
    flipped(0.6)(tmp_path / "rows.f32")
    assert_it_recovers(tmp_path, source)


def test_the_header_says_what_the_files_are(tmp_path: Path) -> None:
    Source(ROWS, 150).index_in(tmp_path)
    header: dict[str, Any] = json.loads((tmp_path / "index.json").read_text())
    assert list(header) == ["format", "dim", "count", "pieces", "hnswlib", "rows", "prefixes", "cells", "graph"]
    assert (header["dim"], header["count"]) == (DIM, 400)
    assert (tmp_path / "rows.f32").read_bytes() == ROWS.tobytes()
