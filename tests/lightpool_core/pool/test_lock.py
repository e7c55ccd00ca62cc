from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightpool_core.errors import PoolLocked
from lightpool_core.pool.lock import writer, writing
from lightpool_core.settings import Settings

TRY = """
import sys
from pathlib import Path
from lightpool_core.errors import PoolLocked
from lightpool_core.pool.lock import writing
try:
    with writing(Path(sys.argv[1])):
        print("free")
except PoolLocked as error:
    print(error)
"""
HOLD = """
import sys
from pathlib import Path
from lightpool_core.pool.lock import writing
def told(text):
    print(text, flush=True)
with writing(Path(sys.argv[1]), told):
    print("held", flush=True)
    sys.stdin.read()
"""
NO_FLOCK = """
import errno, fcntl
def flock(file, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""


@pytest.fixture(params=["locks", "no locks", "soft_lock"])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What processes do first: on a file system with locks, on one without, and with the setting `soft_lock`."""
    if request.param == "soft_lock":
        Settings(soft_lock=True).write(tmp_path)
    if request.param != "no locks":
        return ""

    def flock(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    return NO_FLOCK


def elsewhere(pool: Path, system: str = "") -> str:
    command = [sys.executable, "-c", system + TRY, str(pool)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def held(tmp_path: Path, system: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    with holding(tmp_path, system) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def holding(pool: Path, system: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", system + HOLD, str(pool)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path, system: str) -> None:
    with writing(tmp_path):
        said = elsewhere(tmp_path, system)
        who = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        assert re.search(who, said)
        assert str(tmp_path) in said
        # Being refused does not take the holder's name away.
        assert re.search(who, elsewhere(tmp_path, system))
    assert elsewhere(tmp_path, system) == "free"


def test_a_second_writer_waits_and_says_once_for_whom(tmp_path: Path, system: str, held: subprocess.Popen[str]) -> None:
    with holding(tmp_path, system) as second:
        assert second.stdout is not None
        assert f"is being written to by process {held.pid} on " in second.stdout.readline()
        assert held.stdin is not None
        held.stdin.close()
        assert second.stdout.readline() == "held\n"
        assert f"process {second.pid} on " in elsewhere(tmp_path, system)
        second.communicate()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path, system: str, held: subprocess.Popen[str]) -> None:
    assert f"process {held.pid} on " in elsewhere(tmp_path, system)
    held.send_signal(signal.SIGKILL)
    held.wait()
    assert elsewhere(tmp_path, system) == "free"


def test_a_writer_that_waits_takes_over_from_a_killed_process(
    tmp_path: Path, system: str, held: subprocess.Popen[str]
) -> None:
    with holding(tmp_path, system) as second:
        assert second.stdout is not None
        assert "waiting" in second.stdout.readline()
        held.send_signal(signal.SIGKILL)
        held.wait()
        assert second.stdout.readline() == "held\n"
        second.communicate()


def test_without_locks_of_the_system_another_machine_is_waited_for_and_the_way_out_is_told(tmp_path: Path) -> None:
    Settings(soft_lock=True).write(tmp_path)
    with writing(tmp_path):
        theirs = (tmp_path / ".lock-soft").read_text().replace(socket.gethostname(), "elsewhere")
    (tmp_path / ".lock-soft").write_text(theirs)
    with pytest.raises(PoolLocked, match=f"delete {re.escape(str(tmp_path / '.lock-soft'))}"), writing(tmp_path):
        pass
    (tmp_path / ".lock-soft").unlink()
    assert elsewhere(tmp_path) == "free"


def test_the_same_process_cannot_write_twice_at_once(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(PoolLocked), writing(tmp_path):
        pass


def test_an_error_releases_the_lock(tmp_path: Path, system: str) -> None:
    with pytest.raises(ValueError, match="broken"), writing(tmp_path):
        raise ValueError("broken")
    with writing(tmp_path):
        pass


def test_another_failure_of_the_system_is_not_taken_for_a_lack_of_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), writing(tmp_path):
        pass
    assert not (tmp_path / ".lock-soft").exists()


def test_what_a_killed_process_left_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder").write_text("process 1 on gone")
    with writing(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-holder").read_text()


def test_who_holds_the_lock_is_told_without_changing_anything(tmp_path: Path, system: str) -> None:
    assert writer(tmp_path) == ""
    with writing(tmp_path):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert writer(tmp_path).startswith(f"process {os.getpid()} on {socket.gethostname()} since ")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert elsewhere(tmp_path, system) != "free"  # to be looked at does not free it
    assert writer(tmp_path) == ""


def test_a_killed_process_is_no_writer(tmp_path: Path, system: str, held: subprocess.Popen[str]) -> None:
    assert writer(tmp_path).startswith(f"process {held.pid} on ")
    held.send_signal(signal.SIGKILL)
    held.wait()
    assert (tmp_path / ".lock-holder").exists()
    assert writer(tmp_path) == ""


@pytest.mark.parametrize(
    "left",
    [f"process {os.getpid()} on {socket.gethostname()}", "process 1 on gone", "a b", "é"],
    ids=["a number that is used again", "of another machine", "other words", "another letter"],
)
@pytest.mark.parametrize("lock", [True, False])
def test_what_a_process_wrote_down_holds_no_lock_of_the_system(tmp_path: Path, left: str, lock: bool) -> None:
    """As in a container with another name, or where its number is another's by now."""
    (tmp_path / ".lock-holder").write_text(left)
    if lock:
        (tmp_path / ".lock").touch()
    assert writer(tmp_path) == ""


def test_a_soft_lock_of_another_machine_is_believed_and_the_way_out_is_told(tmp_path: Path) -> None:
    Settings(soft_lock=True).write(tmp_path)
    (tmp_path / ".lock-holder").write_text("process 1 on elsewhere since 2024-01-01 00:00:00 UTC")
    assert writer(tmp_path) == ""
    (tmp_path / ".lock-soft").write_text("1\nelsewhere\n")
    assert writer(tmp_path).startswith("process 1 on elsewhere since ")
    assert f"delete {tmp_path / '.lock-soft'}" in writer(tmp_path)


@pytest.mark.parametrize("left", [b"\xff\xfe process", b"line\nby line", b"", b"x" * 10_000])
def test_a_holder_that_says_anything_is_another_process(tmp_path: Path, left: bytes) -> None:
    with writing(tmp_path):
        (tmp_path / ".lock-holder").write_bytes(left)
        with pytest.raises(PoolLocked, match="is being written to by another process; try again"), writing(tmp_path):
            pass
        assert writer(tmp_path) == "another process"
