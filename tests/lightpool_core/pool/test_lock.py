from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightpool_core.errors import PoolLocked
from lightpool_core.pool.lock import writing

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


def elsewhere(pool: Path) -> str:
    command = [sys.executable, "-c", TRY, str(pool)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with writing(tmp_path):
        said = elsewhere(tmp_path)
        assert f"process {os.getpid()} on " in said
        assert str(tmp_path) in said
        # Being refused does not take the holder's name away.
        assert f"process {os.getpid()} on " in elsewhere(tmp_path)
    assert elsewhere(tmp_path) == "free"


def test_the_same_process_cannot_write_twice_at_once(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(PoolLocked), writing(tmp_path):
        pass


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), writing(tmp_path):
        raise ValueError("broken")
    with writing(tmp_path):
        pass


def test_what_a_killed_process_left_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock-holder").write_text("process 1 on gone")
    with writing(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-holder").read_text()
