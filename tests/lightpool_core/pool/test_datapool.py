from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lightpool_core.arrays import Embeddings
from lightpool_core.errors import CorruptPool, PoolNotFound, VersionNotFound
from lightpool_core.pool import datapool as module
from lightpool_core.pool.clock import now
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.history import schema
from lightpool_core.pool.ledger import SCHEMA
from lightpool_core.pool.lock import writing
from lightpool_core.settings import Settings
from tests.strategies import distance_matrix, unit_vectors

DIM = 5


def created(path: Path) -> Datapool:
    path.mkdir()
    pool = Datapool.create(path, DIM, "mean-1")
    Settings().write(path)
    pool.refresh_csv()
    return pool


def rows_of(vectors: Embeddings, prefix: str, number: int) -> pa.Table:
    n = len(vectors)
    names = [f"{prefix}{i}.png" for i in range(n)]
    values: dict[str, Any] = {
        "filename": names,
        "embedding": vectors.tolist(),
        "label": [number] * n,
        "label_name": [prefix] * n,
        "digest": names,
        "version": [number] * n,
    }
    wanted = [field for field in schema(DIM) if field.name != "position"]
    return pa.table([pa.array(values.get(f.name, [None] * n), f.type) for f in wanted], schema=pa.schema(wanted))


def grown(pool: Datapool, n: int, prefix: str = "") -> Datapool:
    number = pool.version.number + 1
    prefix = prefix or f"v{number}-"
    rows = rows_of(unit_vectors(n, DIM, seed=number), prefix, number)
    version = dataclasses.replace(
        pool.version, number=number, time=now(), samples=len(pool) + n, added=n, event="append"
    )
    pool = pool.commit(rows, version)
    pool.ledger.record_rows(SCHEMA.empty_table(), {"number": number})
    pool.refresh_csv()
    return pool


@pytest.fixture
def pool(tmp_path: Path) -> Datapool:
    return grown(grown(created(tmp_path / "pool"), 3), 4)


def csv_of(pool: Datapool) -> bytes:
    return (pool.path / "datapool_latest.csv").read_bytes()


def test_a_new_pool_is_empty_at_version_0(tmp_path: Path) -> None:
    pool = created(tmp_path / "pool")
    assert (len(pool), pool.dim, pool.version.number, pool.filenames) == (0, DIM, 0, [])
    assert pool.embeddings.shape == (0, DIM)
    assert csv_of(pool).startswith(b"filenames,embedding_0,")


def test_samples_keep_the_order_in_which_they_joined(pool: Datapool) -> None:
    again = Datapool.open(pool.path)
    assert again.filenames == ["v1-0.png", "v1-1.png", "v1-2.png", *(f"v2-{i}.png" for i in range(4))]
    expected = np.concatenate([unit_vectors(3, DIM, seed=1), unit_vectors(4, DIM, seed=2)])
    np.testing.assert_array_equal(again.embeddings, expected)
    assert again.labels.tolist() == [1] * 3 + [2] * 4
    assert again.label_names == {"v1-": 1, "v2-": 2}


def test_a_commit_leaves_the_version_before_as_it_was(pool: Datapool) -> None:
    after = grown(pool, 2)
    assert (len(pool), len(after)) == (7, 9)
    assert after.filenames[:7] == pool.filenames
    assert Datapool.open(pool.path, 1).filenames == ["v1-0.png", "v1-1.png", "v1-2.png"]


def test_the_frame_holds_the_csv_columns_and_more(pool: Datapool) -> None:
    frame = pool.to_frame()
    assert list(frame.columns[: DIM + 2]) == ["filenames", *(f"embedding_{i}" for i in range(DIM)), "labels"]
    assert frame["filenames"].tolist() == pool.filenames
    assert "digest" in frame.columns
    assert len(frame) == 7


def test_a_restore_brings_the_csv_back_byte_for_byte(pool: Datapool) -> None:
    states = {2: csv_of(pool)}
    pool = grown(pool, 5)
    states[3] = csv_of(pool)
    restored = pool.restore(2)
    assert (restored.version.number, restored.version.restored, restored.version.added) == (4, 2, -5)
    assert csv_of(restored) == states[2]
    forward = restored.restore(3)
    assert forward.version.number == 5
    assert csv_of(forward) == states[3]
    assert [version.number for version in forward.history()] == [0, 1, 2, 3, 4, 5]


def test_every_version_reads_back_after_later_commits(pool: Datapool) -> None:
    before = {n: Datapool.open(pool.path, n).embeddings.tobytes() for n in range(3)}
    grown(pool.restore(1), 6)
    assert {n: Datapool.open(pool.path, n).embeddings.tobytes() for n in range(3)} == before


def test_restoring_the_newest_version_changes_nothing(pool: Datapool) -> None:
    assert pool.restore(2).version.number == 2
    assert len(pool.history()) == 3


def test_growing_after_a_restore_continues_from_there(pool: Datapool) -> None:
    after = grown(pool.restore(1), 2)
    assert after.filenames == ["v1-0.png", "v1-1.png", "v1-2.png", "v4-0.png", "v4-1.png"]
    assert Datapool.open(pool.path).filenames == after.filenames


def test_pruning_leaves_only_the_newest_version(pool: Datapool) -> None:
    before = csv_of(pool)
    pool.prune()
    again = Datapool.open(pool.path)
    assert [version.number for version in again.history()] == [2]
    assert again.filenames == pool.filenames
    with pytest.raises(VersionNotFound):
        again.restore(1)
    assert csv_of(again) == before


def test_a_pruned_pool_grows_and_has_a_history_again(pool: Datapool) -> None:
    pool.prune()
    after = grown(Datapool.open(pool.path), 2)
    assert [version.number for version in after.history()] == [2, 3]
    assert csv_of(after.restore(2)) != b""
    assert Datapool.open(pool.path).filenames == pool.filenames


def test_embeddings_of_another_dimension_are_refused(pool: Datapool) -> None:
    rows = rows_of(unit_vectors(1, DIM), "x", 3)
    wrong = pa.array([[1.0, 0.0]], pa.list_(pa.float32()))
    rows = rows.set_column(rows.column_names.index("embedding"), "embedding", wrong)
    version = dataclasses.replace(pool.version, number=3, samples=8, added=1)
    with pytest.raises((pa.ArrowInvalid, ValueError, CorruptPool)):
        pool.commit(rows, version)


def test_changes_are_names_that_joined_and_left(pool: Datapool) -> None:
    first = Datapool.open(pool.path, 1)
    joined, left = pool.changes_since(first)
    assert (joined, left) == ([f"v2-{i}.png" for i in range(4)], [])
    assert first.changes_since(pool) == ([], joined)


def test_a_stale_or_missing_csv_is_written_again(pool: Datapool) -> None:
    expected = csv_of(pool)
    (pool.path / "datapool_latest.csv").write_text("edited")
    pool.refresh_csv()
    assert csv_of(pool) == expected
    (pool.path / "datapool_latest.csv").unlink()
    pool.refresh_csv()
    assert csv_of(pool) == expected


def test_a_pool_that_wants_no_csv_has_none(pool: Datapool) -> None:
    Settings(csv=False).write(pool.path)
    pool.refresh_csv()
    assert not (pool.path / "datapool_latest.csv").exists()


def test_a_large_pool_is_viewed_through_an_index(pool: Datapool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pool.view().index is None
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 2000)
    large = grown(pool, 2100)
    view = large.view()
    assert view.index is not None
    np.testing.assert_array_equal(view.rows, large.embeddings)
    assert (pool.path / "index" / "index.json").exists()


def test_what_is_no_pool_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolNotFound, match="does not exist"):
        Datapool.open(tmp_path / "gone")
    with pytest.raises(PoolNotFound, match="holds no datapool"):
        Datapool.open(tmp_path)


def test_an_unknown_version_is_named_with_those_that_are_kept(pool: Datapool) -> None:
    with pytest.raises(VersionNotFound, match="it keeps 0, 1, 2"):
        Datapool.open(pool.path, 9)


def test_a_pool_whose_history_is_gone_is_corrupt(tmp_path: Path) -> None:
    Settings().write(tmp_path)
    with pytest.raises(CorruptPool):
        Datapool.open(tmp_path)


def large_pool(path: Path, monkeypatch: pytest.MonkeyPatch) -> Datapool:
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 100)
    return grown(created(path), 150)


def assert_its_view_is_exact(pool: Datapool, *, indexed: bool) -> None:
    view, queries = pool.view(), unit_vectors(50, DIM, seed=8)
    assert (view.index is not None) == indexed
    distances, _ = view.nearest(queries)
    np.testing.assert_allclose(distances, distance_matrix(queries, pool.embeddings).min(axis=1), atol=1e-12)


def test_the_index_follows_growing_and_going_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = large_pool(tmp_path / "pool", monkeypatch)
    assert_its_view_is_exact(pool, indexed=True)
    more = grown(pool, 40)
    assert_its_view_is_exact(more, indexed=True)
    assert_its_view_is_exact(pool, indexed=False)  # an older version leaves the index of the newest alone
    back = more.restore(pool.version.number)
    assert_its_view_is_exact(back, indexed=True)
    assert_its_view_is_exact(grown(back, 30), indexed=True)


def test_a_pool_that_is_locked_or_cannot_be_written_to_is_viewed_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = large_pool(tmp_path / "pool", monkeypatch)
    with writing(pool.path):
        assert_its_view_is_exact(pool, indexed=False)
    (pool.path / "index").write_text("in the way")
    assert_its_view_is_exact(pool, indexed=False)


def test_a_history_that_another_tool_compacted_is_indexed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = grown(large_pool(tmp_path / "pool", monkeypatch), 40)
    assert_its_view_is_exact(pool, indexed=True)
    DeltaTable(str(pool.path / "history")).optimize.compact()
    assert_its_view_is_exact(Datapool.open(pool.path), indexed=True)
