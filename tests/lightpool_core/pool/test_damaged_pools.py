"""Pools that are damaged: every command says so in one line, and a check names the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core import Datapool, Overrides, append
from lightpool_core.errors import CorruptPool
from lightpool_core.pool import decisions
from lightpool_core.pool.checking import check
from lightpool_core.pool.finding import Finding
from lightpool_core.pool.ledger import SCHEMA
from lightpool_core.pool.mending import mend
from tests.lightpool_core.pool.test_checking import draw, grown, pool, tree

__all__ = ["grown", "pool"]


def damages(pool: Path) -> list[Finding]:
    return [finding for finding in check(pool) if finding.severity == "damaged"]


def again(pool: Path) -> object:
    """An append that finds something new."""
    draw(pool.parent / "more" / "one.png", 77)
    return append(pool, Overrides(inputs=(pool.parent / "more",), n_samples=1.0))


def cut_off_before_the_ledger(pool: Path) -> Path:
    """What the newest run still owes, which the ledger lacks."""
    sorted((pool / "sources" / "_delta_log").glob("*.json"))[-1].unlink()
    return pool / "runs" / Datapool.open(pool).version.run / "pending.parquet"


def no_table(path: Path) -> None:
    path.write_bytes(b"x")


def without_digests(path: Path) -> None:
    parquet.write_table(SCHEMA.empty_table().drop_columns(["digest"]), path)


def of_other_types(path: Path) -> None:
    parquet.write_table(pa.table({name: ["x"] for name in SCHEMA.names}), path)


@pytest.mark.parametrize("damage", [no_table, without_digests, of_other_types])
def test_a_ledger_that_cannot_be_completed_is_damaged(damage: Callable[[Path], None], pool: Path) -> None:
    pending = cut_off_before_the_ledger(pool)
    damage(pending)
    assert {finding.path for finding in damages(pool)} == {pool / "sources", pending}
    before = tree(pool)
    assert mend(pool)[0] == []
    assert tree(pool) == before
    for command in (again, lambda pool: Datapool.open(pool).restore(1)):
        with pytest.raises(CorruptPool, match=r"pending.parquet cannot be read .*; restore sources/ from a backup"):
            command(pool)


def test_what_the_ledger_has_got_need_not_be_readable(pool: Path) -> None:
    no_table(pool / "runs" / Datapool.open(pool).version.run / "pending.parquet")
    assert damages(pool) == []
    assert mend(pool)[1] == []
    assert check(pool) == []


def test_a_restore_that_the_ledger_cannot_follow_is_damaged(pool: Path) -> None:
    Datapool.open(pool).ledger.prune()
    for _ in range(2):  # cut off, and then completed
        with pytest.raises(CorruptPool, match="has no commit of version 1; restore it from a backup"):
            Datapool.open(pool).restore(1)
        assert [finding.path for finding in damages(pool)] == [pool / "sources"]


def bomb(path: Path, schema: pa.Schema) -> Path:
    """A million rows of one long text each, in a small file."""
    rows = pa.array([0] * 1_000_000, pa.int8())
    texts = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * 1000]))
    texts_of = {field.name: texts for field in schema if pa.types.is_string(field.type)}
    parquet.write_table(pa.table({name: texts_of.get(name, rows) for name in schema.names}), path, compression="zstd")
    assert path.stat().st_size < 1_000_000
    return path


def test_a_run_that_unpacks_to_gigabytes_is_refused(pool: Path) -> None:
    newest = Datapool.open(pool)
    path = bomb(pool / "runs" / newest.version.run / "decisions.parquet", decisions.SCHEMA)
    with pytest.raises(CorruptPool, match=r"decisions.parquet cannot be read \(it unpacks to .* GB.*; delete it"):
        newest.why("nope.png")
    (found,) = check(pool)
    assert (found.severity, found.path) == ("damaged", path)
    path.unlink()
    path = bomb(cut_off_before_the_ledger(pool), SCHEMA)
    assert {finding.path for finding in damages(pool)} == {pool / "sources", path}
    with pytest.raises(CorruptPool, match=r"pending.parquet cannot be read \(it unpacks to .* GB"):
        again(pool)


@pytest.mark.parametrize("lacking", ["filename", "decision"])
def test_decisions_without_a_column_are_damaged(lacking: str, pool: Path) -> None:
    newest = Datapool.open(pool)
    path = pool / "runs" / newest.version.run / "decisions.parquet"
    parquet.write_table(decisions.SCHEMA.empty_table().drop_columns([lacking]), path)
    with pytest.raises(CorruptPool, match=f"it has no column '{lacking}'"):
        newest.why("nope.png")
    assert [finding.path for finding in check(pool)] == [path]


def test_a_folder_that_is_not_named_like_a_run_stays(pool: Path) -> None:
    photo = pool / "runs" / "my photos" / "holiday.jpg"
    owed = pool / "runs" / "backup" / "pending.parquet"
    for path in (photo, owed):
        path.parent.mkdir()
        path.write_bytes(b"x")
    again(pool)
    assert mend(pool)[1] != []
    assert photo.exists()
    assert owed.exists()
