"""`lightpool check` through the command line."""

from __future__ import annotations

import json
import os
import socket

import pytest

from lightpool_core.pool.lock import writing


def test_a_pool_that_grew_is_whole(lightpool, pool):
    done = lightpool("check", "--pool", pool)
    assert done.out.startswith(f"{pool} is whole: version 2, ")
    assert len(done.out.splitlines()) == 1


def test_damage_is_named_and_exits_with_1(lightpool, pool):
    csv = pool / "datapool_latest.csv"
    csv.write_bytes(csv.read_bytes()[:-20])
    done = lightpool.attempt("check", "--pool", pool)
    assert done.code == 1
    assert str(csv) in done.out
    assert f"{pool} is damaged" in done.out


def test_repair_says_what_it_did_and_leaves_a_whole_pool(lightpool, pool):
    csv = pool / "datapool_latest.csv"
    before = csv.read_bytes()
    csv.write_bytes(before[:-20])
    done = lightpool("check", "--pool", pool, "--repair")
    assert f"repaired: {csv}: " in done.out
    assert "is whole" in done.out
    assert csv.read_bytes() == before


def test_json_lists_the_findings(lightpool, pool):
    (pool / "checkpoint_latest.ckpt").unlink()
    found = json.loads(lightpool("check", "--pool", pool, "--json").out)
    assert found["repaired"] == []
    assert [(one["severity"], one["path"]) for one in found["findings"]] == [
        ("warning", str(pool / "checkpoint_latest.ckpt"))
    ]


def test_repair_does_not_wait_where_it_is_not_to(lightpool, pool):
    with writing(pool):
        done = lightpool.attempt("check", "--pool", pool, "--repair", "--no-wait")
        assert lightpool("check", "--pool", pool).code == 0
    assert done.code == 1
    assert "is being written to by process" in done.err


@pytest.mark.parametrize(
    "left",
    [f"process {os.getpid()} on {socket.gethostname()}", "process 1 on another-container"],
    ids=["a number that is used again", "of another machine"],
)
def test_damage_is_named_whatever_a_killed_command_left_written_down(lightpool, pool, left):
    (pool / ".lock-holder").write_text(f"{left} since 2024-01-01 00:00:00 UTC")
    csv = pool / "datapool_latest.csv"
    csv.write_bytes(csv.read_bytes()[:-20])
    done = lightpool.attempt("check", "--pool", pool)
    assert (done.code, done.err) == (1, "")
    assert f"damaged: {csv}: " in done.out
    (pool / ".lock").unlink(missing_ok=True)
    assert lightpool.attempt("check", "--pool", pool).out == done.out


def test_a_holder_that_is_no_text_is_one_line(lightpool, pool):
    with writing(pool):
        (pool / ".lock-holder").write_bytes(b"\xff")
        assert "by another process; try again" in lightpool.fails("append", "--no-wait", "--pool", pool)


THEIRS = ["mine.tmp", "notes.txt.12.tmp", "index/mine.tmp", "index/rows.f32.tmp", "a folder/part.tmp", "photo#12"]
OURS = [
    *(f"{name}.77.tmp" for name in ("datapool.toml", ".lock-holder", ".under-way", "datapool_latest.csv")),
    *(f"index/{name}.77.tmp" for name in ("rows.f32", "index.json", "cells-20.npz", "graph-20.hnsw")),
    "history/_delta_log/_commit_6ab9.json.tmp",
]


@pytest.mark.parametrize("command", ["append", "history restore 1", "check --repair"])
def test_only_the_temporary_files_of_lightpool_are_taken_away(lightpool, pool, command):
    for name in (*THEIRS, *OURS):
        (pool / name).parent.mkdir(exist_ok=True)
        (pool / name).write_text("x")
    for name in ("x.tmp", "datapool.toml.12.tmp"):
        (pool / name).mkdir()
        (pool / name / "inside").touch()
    lightpool(*command.split(), "--pool", pool)
    assert [name for name in THEIRS if not (pool / name).exists()] == []
    assert (pool / "x.tmp" / "inside").exists()
    assert (pool / "datapool.toml.12.tmp" / "inside").exists()
    swept = OURS if "repair" in command else OURS[:-1]
    assert [name for name in swept if (pool / name).exists()] == []


def test_temporary_files_of_others_are_theirs_to_move(lightpool, pool):
    (pool / "mine.tmp").touch()
    (pool / ".latest.json.77.tmp").touch()
    shown = lightpool("check", "--pool", pool).lines
    assert any(f"{pool / 'mine.tmp'}: " in line and "move it elsewhere if it is yours" in line for line in shown)
    assert any(f"{pool / '.latest.json.77.tmp'}: " in line and "--repair takes it away" in line for line in shown)
    left = lightpool("check", "--repair", "--pool", pool, "--json").json
    assert [one["path"] for one in left["findings"]] == [str(pool / "mine.tmp")]
    assert [one["path"] for one in left["repaired"]] == [str(pool / ".latest.json.77.tmp")]


def test_what_is_no_pool_is_named_in_one_line(lightpool, tmp_path):
    done = lightpool.attempt("check", "--pool", tmp_path)
    assert done.code == 1
    assert "holds no datapool" in done.err
