from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal

import pytest

from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.settings import PluginChoice, Settings
from tests import touchy

PARTS = ["datapool.toml", "datapool_latest.csv", "checkpoint_latest.ckpt", "history", "sources", "runs", "index"]
COMMANDS = {
    "append": "append --pool {pool} --process-all",
    "check": "check --pool {pool}",
    "info": "info --pool {pool}",
    "list": "history list --pool {pool}",
    "repair": "check --repair --pool {pool}",
    "restore": "history restore 1 --pool {pool}",
    "select": "select --pool {pool}",
    "show": "history show 1 --pool {pool} --filenames",
    "why": "history show 1 --pool {pool} --why first/0.png",
}
RAN = "from pathlib import Path\nPath({mark!r}).touch()\n"


def arguments(command, pool):
    return [part.format(pool=pool) for part in COMMANDS[command].split()]


def refused(lightpool, pool, command):
    """What the command says, which has to fail: in one line, or in one finding."""
    if command not in ("check", "repair"):
        return lightpool.fails(*arguments(command, pool))
    done = lightpool.attempt(*arguments(command, pool))
    assert (done.code, done.err) == (1, "")
    found, last = done.lines
    assert found.startswith("damaged: ")
    assert last == f"{pool} is damaged"
    return found


def rewrite_log(pool, change, table="history"):
    """Apply `change` to each action of the newest commit."""
    log = max((pool / table / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(f"{json.dumps(change(action) or action)}\n" for action in actions))


@pytest.fixture
def outside(tmp_path):
    """A folder of somebody else, in which nothing may change."""
    folder = tmp_path / "outside"
    (folder / "20200101T000000Z").mkdir(parents=True)
    (folder / "20200101T000000Z" / "precious.txt").write_text("precious")
    (folder / "precious.txt").write_text("precious")
    return folder


@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("part", [*PARTS, ".lock", ".lock-holder", "history/evil", "runs/20200101T000000Z"])
def test_a_link_in_a_pool_is_refused_and_what_it_leads_to_stays(lightpool, pool, outside, tree, part, command):
    place = pool / part
    if place.is_dir():
        shutil.copytree(place, outside / "copy")
        shutil.rmtree(place)
        place.symlink_to(outside / "copy" if part in ("history", "sources") else outside)
    else:
        kept = place.read_bytes() if place.exists() else b"precious"
        (outside / "file").write_bytes(kept)
        place.unlink(missing_ok=True)
        place.symlink_to(outside if "/" in part else outside / "file")
    before = tree(outside)
    said = refused(lightpool, pool, command)
    assert part in said
    assert "is a link" in said
    assert tree(outside) == before


@pytest.fixture
def unfinished(pool, outside):
    """A pool whose `history/` is a link, and whose commit looks cut off: what the link leads to would be swept."""
    log = outside / "rows" / "_delta_log"
    log.mkdir(parents=True)
    for name in ("mine.checkpoint.parquet", f"{7:020}.json", f"{8:020}.json", "_commit_1.json.tmp", "rows#1"):
        (log / name).write_text("precious")
    shutil.rmtree(pool / "history")
    (pool / "history").symlink_to(outside / "rows")
    (pool / ".under-way").write_text('{"prune": 0, "commits": {"history": -1, "sources": -1}}')
    return pool


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_commit_that_looks_cut_off_has_nothing_deleted_elsewhere(lightpool, unfinished, outside, tree, command):
    before = tree(outside), tree(unfinished)
    assert f"{unfinished / 'history'}" in refused(lightpool, unfinished, command)
    assert (tree(outside), tree(unfinished)) == before


@pytest.fixture
def patience():
    """Ends a test that waits for a pipe."""

    def end(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("part", [".under-way", ".lock-holder", ".lock", "history/_delta_log/_last_checkpoint"])
def test_a_pipe_in_a_pool_makes_no_command_wait(lightpool, pool, part, command):
    (pool / part).unlink(missing_ok=True)
    os.mkfifo(pool / part)
    said = refused(lightpool, pool, command)
    assert f"{pool / part}" in said
    assert "is neither a file nor a folder" in said
    assert (pool / part).is_fifo()


def test_a_check_names_all_that_leads_out_of_a_pool(lightpool, pool, outside):
    (pool / "runs" / "extra").symlink_to(outside)
    (pool / "index.json").symlink_to("datapool.toml")
    (pool / "datapool_latest.csv").unlink()  # not looked at
    found = lightpool.attempt("check", "--pool", pool, "--json").json["findings"]
    assert [one["path"] for one in found] == [str(pool / "index.json"), str(pool / "runs" / "extra")]
    assert {one["severity"] for one in found} == {"damaged"}


ASKED = [("history", command) for command in sorted(COMMANDS)] + [("sources", "append"), ("sources", "info")]


@pytest.mark.parametrize(("table", "command"), ASKED)
@pytest.mark.parametrize("to", ["../../outside/rows", "%2e%2e/%2e%2e/outside/rows", "{outside}/rows"])
def test_a_log_that_leads_out_of_the_pool_is_refused(lightpool, pool, outside, tree, table, to, command):
    rows = next((pool / table).glob("*.parquet"))
    shutil.copy(rows, outside / "rows")

    def lead_out(action):
        if "add" in action:
            action["add"]["path"] = to.format(outside=outside)

    rewrite_log(pool, lead_out, table)
    before = tree(outside), tree(pool)
    assert "not in its folder" in refused(lightpool, pool, command)
    assert tree(outside) == before[0]
    assert {"datapool.toml", *before[1]} <= {*tree(pool)}


def test_pruning_deletes_nothing_outside(lightpool, pool, outside, tree):
    def remove_as_well(action):
        if "commitInfo" in action:
            removed = [
                {"remove": {"path": path, "deletionTimestamp": 1, "dataChange": True}}
                for path in (
                    "../../outside/precious.txt",
                    "%2e%2e/%2e%2e/outside/precious.txt",
                    f"{outside}/precious.txt",
                )
            ]
            (pool / "extra").write_text("".join(f"{json.dumps(each)}\n" for each in removed))

    rewrite_log(pool, remove_as_well)
    log = max((pool / "history" / "_delta_log").glob("*.json"))
    log.write_text(log.read_text() + (pool / "extra").read_text())
    before = tree(outside)
    lightpool("append", "--pool", pool, "--no-keep-history", "--process-all", "--min-distance", 0)
    assert len(lightpool("history", "list", "--pool", pool, "--json").json) == 1
    assert tree(outside) == before


@pytest.mark.parametrize(
    "note",
    ["no json", "[]", "{}", "[" * 100_000, '{"number": 3}', '{"number": "3"}', '{"number": {}}', "1" * 10_000],
    ids=lambda note: note[:14],
)
def test_a_note_that_lightpool_did_not_write_is_one_line(lightpool, pool, note):
    def renote(action):
        if "commitInfo" in action:
            action["commitInfo"]["lightpool"] = note

    rewrite_log(pool, renote)
    assert "no lightpool made" in lightpool.fails("info", "--pool", pool)


@pytest.mark.parametrize(
    "change",
    [{"samples": 10**15}, {"samples": -1}, {"dim": "x"}, {"samples": 1}, {"dim": 10**9}, {"time": "now"}, {"more": 1}],
    ids=str,
)
def test_a_version_that_claims_what_it_has_not_is_one_line(lightpool, pool, change):
    def claim(action):
        if "commitInfo" in action:
            action["commitInfo"]["lightpool"] = json.dumps(json.loads(action["commitInfo"]["lightpool"]) | change)

    rewrite_log(pool, claim)
    lightpool.fails("select", "--pool", pool)


def test_the_name_of_a_run_leads_nowhere_else(lightpool, pool, outside):
    (outside / "report.json").write_text('{"n_samples": 77, "min_distance": 0.7, "sampler": "read from outside"}')
    name = lightpool("history", "show", 2, "--pool", pool, "--filenames").lines[-1]
    import pyarrow.parquet as pq

    rows = max((pool / "history").glob("*.parquet"), key=os.path.getmtime)
    table = pq.read_table(rows)
    at = table.column_names.index("run")
    pq.write_table(table.set_column(at, "run", [["../../outside"] * table.num_rows]), rows)

    def resize(action):
        if "add" in action:
            action["add"]["size"] = rows.stat().st_size

    rewrite_log(pool, resize)
    assert "which is none" in lightpool.fails("history", "show", 2, "--pool", pool, "--why", name)


def test_a_checkpoint_runs_no_file_that_nobody_named(lightpool, pool, tmp_path, tree, draw):
    mark, evil = tmp_path / "ran", tmp_path / "evil.py"
    evil.write_text(RAN.format(mark=str(mark)))
    path = pool / "checkpoint_latest.ckpt"
    dataclasses.replace(Checkpoint.read(path), embedder=f"{evil}:Evil").write(path)
    draw(tmp_path / "new" / "a.png", 77)
    other = f"{touchy.__file__}:Touchy"
    said = lightpool.fails("append", "--pool", pool, "--input", tmp_path / "new", "--embedder", other)
    assert str(evil) in said
    assert "do not name" in said
    assert lightpool.append(pool, "--input", tmp_path / "new")["samples"]["candidates"] == 1
    assert not mark.exists()


RUN_NOTHING = {
    **{name: command for name, command in COMMANDS.items() if name not in ("append", "select")},
    "diff": "history diff 1 2 --pool {pool}",
}


@pytest.mark.parametrize("command", sorted(RUN_NOTHING))
@pytest.mark.parametrize("checkpoint", ["whole", "missing", "damaged"])
def test_plugin_files_of_the_settings_are_run_by_append_and_select_only(lightpool, pool, tmp_path, command, checkpoint):
    mark, evil = tmp_path / "ran", tmp_path / "evil.py"
    evil.write_text(RAN.format(mark=str(mark)))
    own = Settings.read(pool)
    choice = PluginChoice(f"{evil}:Evil")
    dataclasses.replace(own, embedder=choice, sampler=choice).write(pool)
    if checkpoint == "damaged":
        (pool / "checkpoint_latest.ckpt").write_bytes(b"PK")
    elif checkpoint == "missing":
        (pool / "checkpoint_latest.ckpt").unlink()
    lightpool.attempt(*RUN_NOTHING[command].format(pool=pool).split())
    assert not mark.exists()


@pytest.mark.parametrize("command", ["append", "select"])
def test_a_plugin_file_that_the_settings_name_is_code_to_append_and_select(lightpool, pool, tmp_path, command):
    mark, evil = tmp_path / "ran", tmp_path / "evil.py"
    evil.write_text(RAN.format(mark=str(mark)))
    dataclasses.replace(Settings.read(pool), sampler=PluginChoice(f"{evil}:Evil")).write(pool)
    lightpool.fails(*arguments(command, pool))
    assert mark.exists()


def test_a_repair_says_who_makes_a_checkpoint_whose_embedder_is_a_file(lightpool, pool):
    own = f"{touchy.__file__}:Touchy"
    dataclasses.replace(Settings.read(pool), embedder=PluginChoice(own)).write(pool)
    (pool / "checkpoint_latest.ckpt").unlink()
    said = lightpool("check", "--repair", "--pool", pool).out
    assert f"its embedder is the file {own}, which a repair does not run" in said
    assert "the next append makes the checkpoint" in said


def test_a_checkpoint_that_would_run_code_when_it_is_read_runs_none(lightpool, pool, tmp_path, draw):
    import pickle

    mark = tmp_path / "ran"

    class Runs:
        def __reduce__(self):
            return (os.mkdir, (str(mark),))

    (pool / "checkpoint_latest.ckpt").write_bytes(pickle.dumps(Runs()))
    draw(tmp_path / "new" / "a.png", 77)
    lightpool("append", "--pool", pool, "--input", tmp_path / "new")
    assert not mark.exists()
    assert Checkpoint.read(pool / "checkpoint_latest.ckpt").embedder == "gist"


def test_settings_that_are_a_pipe_make_nothing_wait(lightpool, pool):
    (pool / "datapool.toml").unlink()
    os.mkfifo(pool / "datapool.toml")
    assert "holds no datapool" in lightpool.fails("info", "--pool", pool)


@pytest.mark.parametrize(
    "settings", ["a = " + "[" * 10_000, "a = " + "9" * 10_000, "a" + ".a" * 10_000 + " = 1"], ids=lambda s: s[:8]
)
def test_settings_that_are_nested_or_large_without_end_are_one_line(lightpool, pool, settings):
    (pool / "datapool.toml").write_text(settings)
    assert "datapool.toml" in lightpool.fails("info", "--pool", pool)
