"""A pool as samplers see it: exact, whatever happened to its history and to the cache in `index/`."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.errors import CorruptPool
from lightpool_core.pool import datapool as module
from lightpool_core.pool import index as index_module
from lightpool_core.pool.clock import now
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.history import History, schema
from lightpool_core.pool.ledger import SCHEMA
from lightpool_core.pool.lock import writing
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.settings import Settings
from tests.strategies import assert_exact, unit_vectors

DIM = 6
QUERIES = unit_vectors(6, DIM, seed=99)


def created(path: Path, *, keep_history: bool = True) -> Datapool:
    path.mkdir()
    Settings(csv=False, keep_history=keep_history).write(path)
    return Datapool.create(path, DIM, "mean-1")


def grown(pool: Datapool, n: int) -> Datapool:
    """`n` more samples; of each kind of commit some lie close together."""
    number = pool.version.number + 1
    vectors = unit_vectors(n, DIM, "clusters", seed=number)
    columns = [field for field in schema(DIM) if field.name != "position"]
    given = {"filename": [f"{number}-{i}.png" for i in range(n)], "embedding": vectors.tolist()}
    values = [pa.array(given.get(field.name, [None] * n), field.type) for field in columns]
    version = dataclasses.replace(
        pool.version, number=number, time=now(), samples=len(pool) + n, added=n, event="append"
    )
    pool = pool.commit(pa.table(values, schema=pa.schema(columns)), version)
    pool.ledger.record_rows(SCHEMA.empty_table(), {"number": number})
    pool.tidy()
    return pool


def assert_its_view_is_exact(pool: Datapool, *, indexed: bool, locked: bool = False) -> None:
    view = pool.view(device="cpu", locked=locked)
    rows = Datapool(pool.path, pool.version).embeddings
    assert (view.index is not None) == indexed
    np.testing.assert_array_equal(view.rows, rows)
    for within in (None, 0.3):
        assert_exact(view, rows, np.concatenate([rows[::9], QUERIES]), within)


@pytest.fixture(autouse=True)
def every_pool_is_worth_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 1)


@pytest.fixture
def pool(tmp_path: Path) -> Datapool:
    return grown(grown(created(tmp_path / "pool"), 40), 25)


ACTIONS = st.one_of(
    st.tuples(st.just("grow"), st.integers(0, 30)),
    st.tuples(st.just("restore"), st.integers(0, 9)),
    st.tuples(st.just("damage"), st.integers(0, 99)),
    st.tuples(st.just("look"), st.just(0)),
)


@settings(deadline=None, max_examples=8)
@given(st.lists(ACTIONS, min_size=3, max_size=9), st.booleans())
def test_whatever_happened_to_a_pool_its_view_is_exact(actions: list[tuple[str, int]], keep_history: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pool = grown(created(Path(folder) / "pool", keep_history=keep_history), 20)
        for action, number in [*actions, ("grow", 3)]:
            if action == "grow":
                pool = grown(pool, number)
            elif action == "restore":
                kept = [version.number for version in pool.history()]
                pool = pool.restore(kept[number % len(kept)])
            elif action == "damage" and (pool.path / "index").exists():
                files = sorted((pool.path / "index").iterdir())
                file = files[number % len(files)]
                file.write_bytes(file.read_bytes()[: -1 - number])
            if len(pool) and action != "damage":
                assert_its_view_is_exact(pool, indexed=True)


def test_a_pool_that_keeps_no_history_catches_up_all_the_same(tmp_path: Path) -> None:
    pool = grown(created(tmp_path / "pool", keep_history=False), 40)
    assert_its_view_is_exact(pool, indexed=True)
    before, file = pool.embeddings.tobytes(), (pool.path / "index" / "rows.f32").stat().st_ino
    for n in (25, 1):
        pool = grown(pool, n)
        assert len(pool.history()) == 1
        assert_its_view_is_exact(pool, indexed=True)
    assert (pool.path / "index" / "rows.f32").read_bytes().startswith(before)
    assert (pool.path / "index" / "rows.f32").stat().st_ino == file


def test_only_new_samples_are_read_to_catch_up(pool: Datapool, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = History.embeddings_from

    def embeddings_from(self: History, number: int, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for positions, rows in plain(self, number, start):
            read.append(len(rows))
            yield positions, rows

    monkeypatch.setattr(History, "embeddings_from", embeddings_from)
    pool.view()
    assert sum(read) == 65
    read.clear()
    grown(pool, 30).view()
    assert sum(read) == 30
    read.clear()
    Datapool.open(pool.path).view()
    assert read == []


def test_after_a_restore_and_another_growth_the_samples_are_those_of_now(pool: Datapool) -> None:
    assert_its_view_is_exact(pool, indexed=True)
    other = grown(pool.restore(1), 25)  # as many as before, but others
    assert len(other) == len(pool)
    assert_its_view_is_exact(other, indexed=True)
    assert_its_view_is_exact(other.restore(2), indexed=True)


def test_an_older_version_is_viewed_as_it_was_and_leaves_the_index_alone(pool: Datapool) -> None:
    assert_its_view_is_exact(pool, indexed=True)
    before = {path: path.read_bytes() for path in (pool.path / "index").iterdir()}
    assert_its_view_is_exact(Datapool.open(pool.path, 1), indexed=False)
    assert {path: path.read_bytes() for path in (pool.path / "index").iterdir()} == before


def test_who_holds_the_lock_says_so_and_others_look_in_memory(pool: Datapool) -> None:
    with writing(pool.path):
        assert_its_view_is_exact(pool, indexed=False)
        assert not (pool.path / "index").exists()
        assert_its_view_is_exact(pool, indexed=True, locked=True)
    assert_its_view_is_exact(pool, indexed=True)


def test_a_pool_too_small_for_it_has_no_index(pool: Datapool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 66)
    assert_its_view_is_exact(pool, indexed=False)
    assert not (pool.path / "index").exists()


def test_an_empty_pool_is_near_to_nothing(tmp_path: Path) -> None:
    view = created(tmp_path / "pool").view()
    assert isinstance(view, ArrayView)
    distances, rows = view.nearest(QUERIES)
    assert np.isinf(distances).all()
    assert (rows == -1).all()


@pytest.mark.parametrize("failing", ["replacing", "_write_rows", "_sum", "_save"])
def test_a_disk_that_fails_is_no_hindrance(failing: str, pool: Datapool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(index_module, failing, fail)
        assert_its_view_is_exact(pool, indexed=False)
    assert_its_view_is_exact(pool, indexed=True)
    with monkeypatch.context() as patch:
        patch.setattr(index_module, failing, fail)
        assert_its_view_is_exact(grown(pool, 20), indexed=False)
    assert_its_view_is_exact(Datapool.open(pool.path), indexed=True)


def test_a_file_or_a_folder_in_the_way_of_the_index_is_no_hindrance(pool: Datapool) -> None:
    (pool.path / "index").write_text("a file")
    assert_its_view_is_exact(pool, indexed=False)
    (pool.path / "index").unlink()
    for name in ("rows.f32", "cells-65.npz", "graph-65.hnsw", "prefixes-65.npy", "index.json"):
        (pool.path / "index" / name).mkdir(parents=True)
        assert_its_view_is_exact(pool, indexed=False)
        shutil.rmtree(pool.path / "index")  # what is not in the way was written meanwhile
    assert_its_view_is_exact(pool, indexed=True)


def test_the_index_may_be_taken_away_at_any_time(pool: Datapool) -> None:
    view = pool.view()
    for path in (pool.path / "index").iterdir():
        path.unlink()
    assert_exact(view, pool.embeddings, QUERIES)
    (pool.path / "index").rmdir()
    assert_its_view_is_exact(pool, indexed=True)


def test_a_history_that_lost_samples_is_corrupt_rather_than_smaller(pool: Datapool) -> None:
    next((pool.path / "history").glob("*.parquet")).unlink()
    with pytest.raises(CorruptPool):
        pool.view()
