"""Many processes on one pool: its history is a line, no sample is in it twice, and none that was appended is missing.

`LIGHTPOOL_LONG=1` makes hundreds of rounds of it, with processes that are killed among them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest

import lightpool_core as lightpool
from lightpool_core.errors import SourceNotFound
from lightpool_core.pool.checking import findings_in
from lightpool_core.pool.history import History
from lightpool_core.pool.table import Table
from tests.faults import writers
from tests.faults.cutting import LONG
from tests.faults.writers import overrides

ROOT = Path(__file__).parents[2]
PATIENCE = 3600 if LONG else 240
"""Seconds after which processes that do not come to their end fail the test."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A process at work."""

    pid: int
    inbox: Path

    def told(self) -> list[dict[str, Any]]:
        """What it did so far."""
        out = self.inbox.with_name(f"{self.inbox.name}.out")
        return [json.loads(line) for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]


class Writers:
    """Starts processes, and waits for them. A context manager."""

    def __init__(self) -> None:
        program = [sys.executable, writers.__file__]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()

    def start(self, kind: str, pool: Path, folder: Path, rounds: int, seed: int) -> Writer:
        """Let one work; an appender has a folder of its own in `folder`."""
        inbox = folder / str(seed)
        inbox.with_name(f"{seed}.out").touch()
        return Writer(self._ask([kind, str(pool), str(inbox), rounds, seed]), inbox)

    def code(self, writer: Writer) -> int:
        """How it ended, once it has."""
        return os.waitstatus_to_exitcode(self._ask(writer.pid))

    def ended(self, writer: Writer) -> list[dict[str, Any]]:
        """What it did, once it has come to its end."""
        assert self.code(writer) == 0, writer.inbox.with_name(f"{writer.inbox.name}.err").read_text()
        return writer.told()

    def _ask(self, request: object) -> int:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        assert select([self._server.stdout], [], [], PATIENCE)[0], f"no end of {request}"
        return int(self._server.stdout.readline())


def at_once(pool: Path, folder: Path, kinds: Counter[str], rounds: int) -> list[dict[str, Any]]:
    """What so many processes of each kind did, all at the same time."""
    with Writers() as crowd:
        work = [crowd.start(kind, pool, folder, rounds, seed) for seed, kind in enumerate(kinds.elements(), start=1)]
        return [deed for writer in work for deed in crowd.ended(writer)]


def check_line(pool: Path, deeds: list[dict[str, Any]]) -> None:
    """Every version follows from the one before it, and every deed has its version."""
    versions = lightpool.Datapool.open(pool).history()
    numbers = list(range(len(versions)))
    assert [version.number for version in versions] == numbers
    assert [commit.note["number"] for commit in History(pool)._table.commits()] == numbers
    made = [(deed["version"], deed.get("run")) for deed in deeds if deed["kind"] == "append" and deed["selected"]]
    assert set(made) <= {(version.number, version.run) for version in versions}
    assert len(set(made)) == len(made)
    went_back = {(v.number, v.restored) for v in versions if v.event == "restore"}
    assert {(d["version"], d["old"]) for d in deeds if d.get("old", d["version"]) != d["version"]} <= went_back
    names = [lightpool.Datapool.open(pool, number).filenames for number in numbers]
    for version in versions[1:]:
        held = names[version.number]
        assert len(set(held)) == len(held) == version.samples
        if version.restored is None:
            assert held[: -version.added] == names[version.number - 1]
        else:
            assert held == names[version.restored]


def check_complete(pool: Path, folder: Path) -> None:
    """Whatever restores took back, one more append of everything has every picture in the pool, each once."""
    lightpool.append(pool, overrides(folder))
    whole = lightpool.Datapool.open(pool)
    assert len(set(whole.columns("digest")["digest"].to_pylist())) == len(whole)
    assert {Path(file) for file in whole.columns("file")["file"].to_pylist()} == set(folder.rglob("*.png"))
    rows = (pool / "datapool_latest.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == whole.filenames
    assert not list(pool.glob("runs/*/pending.parquet"))
    assert not list(pool.glob("**/*.tmp"))
    assert findings_in(pool) == []
    again = lightpool.append(pool, overrides(folder))
    assert (again.sources.new, again.version) == (0, whole.version.number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("kinds", "rounds"),
    [
        pytest.param(Counter(append=2), 100 if LONG else 2, id="two appenders that both make the pool"),
        pytest.param(Counter(append=1, restore=1), 100 if LONG else 2, id="an appender and a restorer"),
        pytest.param(Counter(append=5, restore=3, read=1), 25 if LONG else 1, id="eight, and a reader"),
    ],
)
def test_writers_at_once_leave_a_pool_as_if_they_had_come_one_after_the_other(
    kinds: Counter[str], rounds: int, folder: Path, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    if "restore" in kinds:
        writers.appended(pool, folder / "0", 0)
    deeds = at_once(pool, folder, kinds, rounds)
    assert Counter(deed["kind"] for deed in deeds) == Counter({kind: n * rounds for kind, n in kinds.items()})
    check_line(pool, deeds)
    check_complete(pool, folder)
    check_line(pool, deeds)


def test_a_log_that_grows_while_it_is_read_is_read_as_it_is(tmp_path: Path) -> None:
    table = Table(tmp_path / "table", pa.schema([("n", pa.int64())]))
    table.create({"number": 0})
    grows = Thread(target=lambda: [table.append(pa.table({"n": [n]}), {"number": n}) for n in range(1, 60)])
    grows.start()
    while grows.is_alive():
        commits = table.commits()
        assert [(commit.delta_version, commit.note["number"]) for commit in commits] == [
            (n, n) for n in range(len(commits))
        ]
    assert len(table.commits()) == 60


def test_readers_of_a_pool_without_history_read_their_version_to_its_end(folder: Path, tmp_path: Path) -> None:
    pool, rounds = tmp_path / "pool", 100 if LONG else 3
    writers.appended(pool, folder / "0", 0)
    before = lightpool.Datapool.open(pool)
    deeds = at_once(pool, folder, Counter(forget=1, read=1), rounds)
    assert len(deeds) == 2 * rounds
    assert [version.number for version in lightpool.Datapool.open(pool).history()] == [1 + rounds]
    assert (before.filenames, before.embeddings.shape[0]) == (["000000.png"], 1)
    assert before.why("000000.png").decision == "selected"
    with pytest.raises(SourceNotFound):
        before.why("nothing.png")


def test_writers_that_are_killed_hold_nobody_up_and_lose_nothing(folder: Path, tmp_path: Path) -> None:
    pool, dice = tmp_path / "pool", random.Random(3)
    writers.appended(pool, folder / "0", 0)
    deeds = []
    with Writers() as crowd:
        lasting = crowd.start("append", pool, folder, 60 if LONG else 2, 1)
        for seed in range(2, 40 if LONG else 5):
            victim = crowd.start(dice.choice(["append", "restore"]), pool, folder, writers.FOLDERS, seed)
            time.sleep(dice.uniform(0, 2))
            os.kill(victim.pid, signal.SIGKILL)
            assert crowd.code(victim) == -signal.SIGKILL
            deeds += victim.told()
        deeds += crowd.ended(lasting)
    check_complete(pool, folder)
    check_line(pool, deeds)
