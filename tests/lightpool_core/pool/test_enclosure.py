from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pyarrow as pa
import pytest

from lightpool_core.errors import CorruptPool
from lightpool_core.pool.enclosure import check_enclosed, check_paths
from lightpool_core.pool.table import Table

SCHEMA = pa.schema([("n", pa.int64())])


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool" / "runs" / "1").mkdir(parents=True)
    (tmp_path / "pool" / "datapool.toml").touch()
    (tmp_path / "outside").mkdir()
    return tmp_path / "pool"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two commits; a file of rows that the table does not have lies beside it."""
    for name in ("other", "t"):
        table = Table(tmp_path / name, SCHEMA)
        table.create({"number": 0})
        table.append(pa.table({"n": [len(name)]}), {"number": 1})
    next((tmp_path / "other").glob("*.parquet")).rename(tmp_path / "secret.parquet")
    return table


def rename_in_log(table: Table, path: str) -> None:
    log = table.path / "_delta_log" / f"{1:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = path
    log.write_text("".join(f"{json.dumps(action)}\n" for action in actions))


def test_plain_files_and_folders_are_enclosed(pool: Path) -> None:
    check_enclosed(pool)


@pytest.mark.parametrize("place", ["history", "runs/1/journal", "runs/2", ".lock-holder", "datapool_latest.csv"])
@pytest.mark.parametrize("target", ["outside", "outside/missing", "pool/datapool.toml"])
def test_a_link_anywhere_in_a_pool_is_refused(pool: Path, place: str, target: str) -> None:
    (pool / place).symlink_to(pool.parent / target)
    with pytest.raises(CorruptPool, match=f"{pool / place} is a link"):
        check_enclosed(pool)


@pytest.mark.parametrize("make", [os.mkfifo, bind])
def test_a_pipe_or_socket_in_a_pool_is_refused(pool: Path, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pool)  # the path of a socket has to be short
    assert callable(make)
    make(Path("runs/odd"))
    with pytest.raises(CorruptPool, match="odd is neither a file nor a folder"):
        check_enclosed(pool)


def test_the_pool_itself_may_be_a_link(pool: Path) -> None:
    link = pool.with_name("link")
    link.symlink_to(pool)
    check_enclosed(link)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.parquet",
        "%2e%2e/secret.parquet",
        "a/../../secret.parquet",
        "/etc/passwd",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "s3://bucket/secret.parquet",
    ],
)
def test_a_path_out_of_the_table_is_refused(path: str) -> None:
    with pytest.raises(CorruptPool, match="not in its folder"):
        check_paths(Path("t"), ["part-1.parquet", path])


def test_the_paths_that_tables_write_are_taken(table: Table) -> None:
    check_paths(table.path, table.files()["path"].to_pylist())
    check_paths(table.path, ["part-1.snappy.parquet", "year=2024/part..1.parquet"])


@pytest.mark.parametrize("path", ["../secret.parquet", "%2E%2E/secret.parquet"])
def test_a_log_that_leads_out_of_the_table_shows_nothing_from_there(table: Table, path: str) -> None:
    assert table.read(["n"])["n"].to_pylist() == [1]
    rename_in_log(table, path)
    secret = (table.path.parent / "secret.parquet").read_bytes()
    for attempt in (
        lambda: table.read(["n"]),
        lambda: list(table.batches(["n"])),
        lambda: len(table),
        table.files,
        table.commits,
        lambda: table.restore(1, {"number": 2}),
        lambda: table.prune({"number": 1}),
    ):
        with pytest.raises(CorruptPool, match="not in its folder"):
            attempt()
    assert (table.path.parent / "secret.parquet").read_bytes() == secret


@pytest.mark.parametrize("path", ["../secret.parquet", "%2E%2E/secret.parquet", "{outside}", "file://{outside}"])
def test_pruning_deletes_nothing_outside_whatever_the_log_calls_removed(table: Table, path: str) -> None:
    outside = table.path.parent / "secret.parquet"
    log = table.path / "_delta_log" / f"{1:020}.json"
    removed = {"path": path.format(outside=outside), "deletionTimestamp": 1, "dataChange": True}
    log.write_text(log.read_text() + json.dumps({"remove": removed}) + "\n")
    table.prune({"number": 1})
    assert outside.exists()
    assert table.read(["n"])["n"].to_pylist() == [1]
