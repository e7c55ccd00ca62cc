"""Commands that are stopped, as processes of their own, each at a point that it has shown to have come to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lightpool_core import Datapool
from lightpool_core.pool.lock import writing
from tests import stuck
from tests.processes import end_within, groups_under
from tests.touchy import film, image, scene

PATIENCE = 120
"""Seconds after which a command that does not get where it should fails its test."""
LIMIT = 10
"""Seconds in which a stopped command has to be gone; a machine at rest needs less than two."""
DONE_OR_STOPPED = (0, 143, -signal.SIGTERM)
"""The last where the signal came when the command had done its work, and Python was about to end."""
LAST_WORDS = "lightpool: stopped; nothing is lost: run the same command again to go on"
APPEND = ("append", "--pool", "pool", "--input", "new", "--sampler", f"{stuck.__file__}:Sampler")
SELECT = ("select", "--pool", "pool", "--input", "new", "--sampler", f"{stuck.__file__}:Sampler")
INIT = ("init", "--pool", "other", "--embedder", f"{stuck.__file__}:Embedder")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnished(tmp_path_factory.mktemp("made"))


def furnished(place: Path) -> Path:
    """A folder with a pool of two versions, and `new`, which it has not seen. Copy it."""
    for version in ("one", "two"):
        image(place / version / f"{version}.png", scene(len(version) + ord(version[0])))
        done = started(place, "append", "--pool", "pool", "--input", version, *INIT[3:], "--n-samples", "1.")
        assert done.wait() == 0, last_words(place)
    for seed in range(8):
        image(place / "new" / f"{seed}.png", scene(100 + seed))
    film(place / "new" / "film.mkv", [scene(200 + seed) for seed in range(20)])
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "place"))


def started(place: Path, *command: object, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
    """The console script in the folder `place`, in a process group of its own, with words `before` it."""
    (place / "tmp").mkdir(exist_ok=True)
    with (place / "err").open("wb") as errors:
        return subprocess.Popen(
            [*before, Path(sys.executable).with_name("lightpool"), *map(str, command)],
            cwd=place,
            env={**os.environ, "TMPDIR": str(place / "tmp"), "STUCK_LOG": str(place / "stuck"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def last_words(place: Path) -> str:
    return (place / "err").read_text()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], place: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"ended before it was stopped: {last_words(place)}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes], number: signal.Signals, *, group: bool = False) -> float:
    """Send the signal; in how many seconds the command and all that it started were gone."""
    groups = groups_under(process.pid)
    began = time.monotonic()
    os.killpg(process.pid, number) if group else os.kill(process.pid, number)
    try:
        process.wait(LIMIT)
        assert end_within(LIMIT, groups)
    finally:
        for each in groups:
            if not end_within(0, [each]):
                os.killpg(each, signal.SIGKILL)
    return time.monotonic() - began


def stopped_at(
    where: str, place: Path, *command: str, number: signal.Signals, deep: bool = False, group: bool = False
) -> float:
    """Start a command, let it come to a point, and stop it there: within how many seconds."""
    process = started(place, *command, STUCK=where, STUCK_DEEP="1" if deep else "")
    wait_until((place / "stuck").exists, process, place)
    seconds = stop(process, number, group=group)
    assert process.returncode == 128 + number
    assert last_words(place).splitlines() == [*[""] * (last_words(place).count("\n") - 1), LAST_WORDS]
    return seconds


def samples(pool: Path) -> list[tuple[int, int]]:
    return [(version.number, version.samples) for version in Datapool.open(pool).history()]


def state(tree: dict[str, str]) -> dict[str, str]:
    """Of a folder, without what a run writes down for the next one, and what a lock leaves."""
    return {path: digest for path, digest in tree.items() if not path.startswith(("runs/2", ".lock"))}


CASES = [
    pytest.param(APPEND, "import", signal.SIGINT, True, id="append that imports, Ctrl-C at a terminal"),
    pytest.param(APPEND, "decode", signal.SIGINT, False, id="append whose worker hangs in a file, SIGINT"),
    pytest.param(APPEND, "embed", signal.SIGTERM, False, id="append that embeds, SIGTERM"),
    pytest.param(APPEND, "select", signal.SIGHUP, False, id="append that selects, SIGHUP"),
    pytest.param(SELECT, "decode", signal.SIGTERM, True, id="select whose worker hangs in a file, SIGTERM to all"),
    pytest.param(SELECT, "select", signal.SIGINT, True, id="select that selects, Ctrl-C at a terminal"),
    pytest.param(INIT, "import", signal.SIGTERM, False, id="init that imports, SIGTERM"),
]


@pytest.mark.parametrize(("command", "where", "number", "group"), CASES)
def test_a_stopped_command_leaves_neither_processes_nor_changes(command, where, number, group, place, tree):
    before = tree(place / "pool")
    stopped_at(where, place, *command, number=number, group=group)
    assert state(tree(place / "pool")) == state(before)
    assert list((place / "tmp").iterdir()) == []
    assert sorted(part.name for part in place.iterdir() if part.name not in ("err", "stuck", "tmp")) == [
        "new", "one", "pool", "two"
    ]  # fmt: skip


@pytest.mark.parametrize(("where", "number"), [("embed", signal.SIGTERM), ("select", signal.SIGINT)])
def test_a_step_that_no_signal_interrupts_does_not_hold_a_command_up(where, number, place, tree):
    before = tree(place / "pool")
    stopped_at(where, place, *APPEND, number=number, deep=True)
    assert state(tree(place / "pool")) == state(before)


def test_the_same_command_goes_on_with_what_was_embedded(place):
    stopped_at("select", place, *APPEND, number=signal.SIGTERM)
    journals = [part.stat().st_ino for part in place.glob("pool/runs/*/journal/part-*.parquet")]
    assert len(journals) > 1
    assert started(place, *APPEND, STUCK="embed").wait() == 0  # for there is nothing left to embed
    assert samples(place / "pool") == [(0, 0), (1, 1), (2, 2), (3, 12)]


def test_a_command_that_waits_for_another_one_can_be_stopped(place, tree):
    with writing(place / "pool"):
        before = tree(place / "pool")
        for command in (APPEND, ("history", "restore", "1", "--pool", "pool")):
            process = started(place, *command)
            wait_until(lambda: "waiting" in last_words(place), process, place)
            stop(process, signal.SIGTERM)
            assert process.returncode == 143
            assert last_words(place).splitlines()[-1] == LAST_WORDS
        assert tree(place / "pool") == before


def frozen(process: subprocess.Popen[bytes], place: Path, condition: Callable[[], bool]) -> Iterator[bool]:
    """Whether `condition` holds of a process that stands still, as soon as it has held once; then it goes on."""
    while not condition() and process.poll() is None:
        pass
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)
    yield condition() and process.poll() is None
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)


def test_stopped_in_its_commit_an_append_has_happened_or_not(place, lightpool):
    pool = place / "pool"
    for _ in range(20):
        process = started(place, *APPEND, "--process-all", "--min-distance", 0)
        caught = False
        for caught in frozen(process, place, lambda: any(pool.glob("runs/*/pending.parquet"))):
            if caught:
                process.send_signal(signal.SIGTERM)
        process.wait(LIMIT)
        if caught:
            break
        lightpool("history", "restore", 2, "--pool", pool)
    assert caught
    assert process.returncode in DONE_OR_STOPPED
    lightpool.append(pool, "--input", place / "new", "--sampler", f"{stuck.__file__}:Sampler")
    newest = Datapool.open(pool)
    assert len(set(newest.filenames)) == len(newest) == 12
    assert not list(pool.glob("runs/*/pending.parquet"))
    assert len(newest.ledger) > 0
    assert len((pool / "datapool_latest.csv").read_text().splitlines()) == 13


def test_stopped_in_its_commit_a_restore_has_happened_or_not(place, lightpool):
    pool = place / "pool"
    log = pool / "history" / "_delta_log"
    for _ in range(20):
        before = set(log.glob("*.json"))
        process = started(place, "history", "restore", 1, "--pool", "pool")
        caught = False
        for caught in frozen(process, place, lambda before=before: set(log.glob("*.json")) > before):
            if caught:
                process.send_signal(signal.SIGTERM)
        process.wait(LIMIT)
        if caught:
            break
    assert caught
    assert process.returncode in DONE_OR_STOPPED
    lightpool("append", "--pool", pool, "--input", place / "one", "--sampler", "diversity")
    newest = Datapool.open(pool)
    assert len(newest) == 1
    assert newest.ledger.newest()["number"] == newest.version.number
    assert len((pool / "datapool_latest.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_while_it_is_being_imported_a_command_says_so_too(number, tmp_path):
    code = f"""
import os, sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), {number:d})
sys.meta_path.insert(0, Interrupted())
from lightpool_cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"{LAST_WORDS}\n")


def test_what_was_to_be_ignored_is(place):
    process = started(place, *SELECT, before=("nohup",), STUCK="select")
    wait_until((place / "stuck").exists, process, place)
    process.send_signal(signal.SIGHUP)
    stop(process, signal.SIGTERM)
    assert process.returncode == 143
