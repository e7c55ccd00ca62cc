"""Pools that are damaged: every command says so in one line, and a check names the place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core import Datapool, Overrides, append
from lightpool_core.errors import CorruptPool, SourceNotFound
from lightpool_core.pool import decisions
from lightpool_core.pool.checking import check
from lightpool_core.pool.delta_log import sweep, take_back
from lightpool_core.pool.finding import Finding
from lightpool_core.pool.ledger import SCHEMA, Ledger
from lightpool_core.pool.mending import mend
from lightpool_core.pool.repair import recover
from lightpool_core.pool.under_way import under_way
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


def test_a_restore_that_the_ledger_cannot_follow_changes_nothing(pool: Path) -> None:
    Datapool.open(pool).ledger.prune()
    before = Datapool.open(pool).history()
    with pytest.raises(CorruptPool, match="has no commit of version 1; restore it from a backup"):
        Datapool.open(pool).restore(1)
    assert Datapool.open(pool).history() == before
    assert damages(pool) == []


def test_a_restore_that_was_cut_off_and_that_the_ledger_cannot_follow_is_damaged(
    pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "restore", raises(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            Datapool.open(pool).restore(1)
    Datapool.open(pool).ledger.prune()
    with pytest.raises(CorruptPool, match="has no commit of version 1; restore it from a backup"):
        Datapool.open(pool).restore(2)
    assert [finding.path for finding in damages(pool)] == [pool / "sources"]


def raises(error: BaseException) -> Callable[..., NoReturn]:
    def raising(*_: object) -> NoReturn:
        raise error

    return raising


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


def newest_commit(pool: Path, table: str) -> Path:
    return max((pool / table / "_delta_log").glob("*.json"))


def noted(entry: Path, change: Callable[[Any], Any]) -> None:
    """The commit with another note of lightpool's."""
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"]["lightpool"] = json.dumps(change(json.loads(line["commitInfo"]["lightpool"])))
    entry.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    "note", [{}, [], 5, {"number": "x"}, {"number": None}, {"number": -1}, {"number": 3, "content": "x"}], ids=str
)
def test_a_note_of_the_ledger_that_is_none_is_damaged(note: object, pool: Path) -> None:
    entry = newest_commit(pool, "sources")
    noted(entry, lambda _: note)
    assert [(finding.path, finding.what) for finding in damages(pool)] == [
        (entry, "its note is none that lightpool wrote")
    ]
    for command in (again, lambda pool: Datapool.open(pool).restore(1), lambda pool: Datapool.open(pool).why("no.png")):
        with pytest.raises(CorruptPool, match="sources has a commit that no lightpool made; restore it from a backup"):
            command(pool)


@pytest.mark.parametrize(
    "values",
    [
        {"added": "x"},
        {"added": None},
        {"restored": "y"},
        {"restored": 3},
        {"counts": [1]},
        {"counts": {"sources": 5}},
        {"content": "?"},
        {"time": 5},
    ],
    ids=str,
)
def test_a_note_of_the_history_that_is_none_is_damaged(values: dict[str, object], pool: Path) -> None:
    entry = newest_commit(pool, "history")
    noted(entry, lambda note: {**note, **values})
    assert [finding.path for finding in damages(pool)][:1] == [entry]
    with pytest.raises(CorruptPool, match="history has a commit that no lightpool made; restore it from a backup"):
        Datapool.open(pool)


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "5",
        "[" * 100_000,
        '{"version": 2, "samples": 5, "corrupt": 7}',
        '{"version": 2}',
        '{"version": 2, "samples": {}, "corrupt": [], "n_samples": null, "min_distance": null}',
        '{"version": 2, "samples": {"candidates": 1, "selected": 1}, "corrupt": [1]}',
    ],
    ids=lambda text: text[:30],
)
def test_a_report_that_is_none_is_named_and_done_without(text: str, pool: Path) -> None:
    path = pool / "runs" / Datapool.open(pool, 2).version.run / "report.json"
    path.write_text(text)
    assert [(finding.severity, finding.path) for finding in check(pool)] == [("damaged", path)]
    with pytest.raises(SourceNotFound):
        Datapool.open(pool).why("nope.png")
    assert Datapool.open(pool).why("from6/6.png").decision == "selected"


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "{}",
        '{"add": 3}',
        '{"add": {}}',
        '{"add": {"path": 5, "size": 5}}',
        '{"add": {"path": "x"}}',
        json.dumps({"add": {"path": "x" * 5000, "size": 5}}),
        "[" * 50_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_commit_of_another_form_is_in_pieces(text: str, pool: Path) -> None:
    before = tree(pool)
    under_way(pool).__enter__()
    entry = pool / "history" / "_delta_log" / f"{int(newest_commit(pool, 'history').stem) + 1:020}.json"
    entry.write_text(text)
    recover(pool)
    assert not entry.exists()
    assert mend(pool)[1] == []
    assert tree(pool) == before


def test_names_in_the_log_are_percent_encoded(pool: Path) -> None:
    under_way(pool).__enter__()
    newest = newest_commit(pool, "history")
    entry = newest.with_name(f"{int(newest.stem) + 1:020}.json")
    path = pool / "history" / "part-of it.parquet"
    path.write_bytes(b"rows")
    entry.write_text(json.dumps({"add": {"path": "part-of%20it.parquet", "size": 4}}))
    take_back(pool / "history", int(newest.stem))
    sweep(pool / "history")
    assert entry.exists()
    assert path.exists()


def test_a_gap_in_a_log_is_one_finding_however_long(pool: Path) -> None:
    log = pool / "history" / "_delta_log"
    (log / "00000000000099999999.json").write_text("{}")
    (log / "99999999999999999999.json").write_text("{}")
    (log / "7.json").write_text("{}")
    gaps = [finding.what for finding in damages(pool) if "lacks" in finding.what]
    assert gaps[0] == "the log lacks this commit, and those after it up to 99999998"
    assert len(damages(pool)) < 10


def test_a_restore_of_a_version_far_away_is_no_endless_way(pool: Path) -> None:
    entry = newest_commit(pool, "history")
    noted(entry, lambda note: {**note, "number": 10**15})
    noted(newest_commit(pool, "sources"), lambda note: {**note, "number": 10**15})
    with pytest.raises(SourceNotFound):
        Datapool.open(pool).why("nope.png")


def test_more_samples_than_an_array_can_hold_are_damage(pool: Path) -> None:
    entry = newest_commit(pool, "history")
    noted(entry, lambda note: {**note, "samples": 10**18})
    assert any("its note says" in finding.what for finding in damages(pool))
    with pytest.raises(CorruptPool, match="holds other rows than version 3"):
        _ = Datapool.open(pool).embeddings
