from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow.fs import PyFileSystem

from lightpool_core.errors import CorruptPool
from lightpool_core.pool.table import Table

SCHEMA = pa.schema([("n", pa.int64()), ("v", pa.list_(pa.float32(), 2))])


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": list(numbers), "v": [[n, 0.5] for n in numbers]}, SCHEMA)


def read(table: Table, delta_version: int | None = None) -> list[int]:
    return sorted(table.read(["n"], delta_version)["n"].to_pylist())


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / "t", SCHEMA)
    table.create({"number": 0})
    table.append(rows(1, 2), {"number": 1})
    table.append(rows(3), {"number": 2, "why": 'quo"ted ☃'})
    return table


def test_every_commit_carries_its_note(table: Table) -> None:
    assert [commit.note["number"] for commit in table.commits()] == [0, 1, 2]
    assert table.commits()[-1].note["why"] == 'quo"ted ☃'


def test_it_is_read_without_python_in_the_threads_of_arrow(table: Table) -> None:
    # Such threads may outlive the interpreter, and abort the process after its work is done.
    assert not isinstance(table._dataset().filesystem, PyFileSystem)


def test_every_commit_can_be_read(table: Table) -> None:
    found = [read(table, commit.delta_version) for commit in table.commits()]
    assert found == [[], [1, 2], [1, 2, 3]]
    assert read(table) == [1, 2, 3]


def test_a_restore_is_one_more_commit(table: Table) -> None:
    table.restore(table.commits()[1].delta_version, {"number": 3})
    assert read(table) == [1, 2]
    assert read(table, table.commits()[2].delta_version) == [1, 2, 3]
    assert [commit.note["number"] for commit in table.commits()] == [0, 1, 2, 3]


def test_nothing_can_be_appended_and_restored_to(table: Table) -> None:
    table.append(rows(), {"number": 3})
    assert read(table) == [1, 2, 3]
    table.restore(table.commits()[0].delta_version, {"number": 4})
    assert read(table) == []


def test_pruning_leaves_the_newest_rows_and_notes_only(table: Table) -> None:
    table.restore(table.commits()[1].delta_version, {"number": 3})
    table.prune({"number": 3})
    assert read(table) == [1, 2]
    assert {commit.note["number"] for commit in table.commits()} == {3}
    assert len(list(table.path.glob("*.parquet"))) == 1


def test_a_pruned_table_grows_and_is_pruned_again(table: Table) -> None:
    table.prune({"number": 2})
    table.append(rows(4), {"number": 3})
    assert [commit.note["number"] for commit in table.commits()][-1] == 3
    assert read(table, table.commits()[-2].delta_version) == [1, 2, 3]
    table.prune({"number": 3})
    table.append(rows(5), {"number": 4})
    assert read(table) == [1, 2, 3, 4, 5]


WIDER = pa.schema([*SCHEMA, ("why", pa.string())])


def reasons(table: Table, delta_version: int | None = None) -> dict[int, str | None]:
    read = table.read(["why", "n"], delta_version)
    return dict(zip(read["n"].to_pylist(), read["why"].to_pylist(), strict=True))


def test_a_column_that_a_table_did_not_have_is_null_in_what_it_holds(table: Table) -> None:
    wider = Table(table.path, WIDER)
    assert reasons(wider) == {1: None, 2: None, 3: None}
    wider.append(rows(4).append_column("why", pa.array(["new"])), {"number": 3})
    assert reasons(wider) == {1: None, 2: None, 3: None, 4: "new"}
    assert reasons(wider, wider.commits()[1].delta_version) == {1: None, 2: None}
    wider.restore(wider.commits()[1].delta_version, {"number": 4})
    wider.append(rows(5).append_column("why", pa.array(["newer"])), {"number": 5})
    assert reasons(wider) == {1: None, 2: None, 5: "newer"}
    wider.prune({"number": 5})
    assert reasons(wider) == {1: None, 2: None, 5: "newer"}


def test_a_missing_table_is_a_corrupt_pool(tmp_path: Path) -> None:
    with pytest.raises(CorruptPool, match="missing"):
        Table(tmp_path / "gone", SCHEMA).commits()


def test_a_damaged_log_is_a_corrupt_pool_in_one_line(table: Table) -> None:
    next((table.path / "_delta_log").glob("*0.json")).write_text("{broken")
    with pytest.raises(CorruptPool) as caught:
        table.read(["n"])
    assert len(str(caught.value).splitlines()) == 1
