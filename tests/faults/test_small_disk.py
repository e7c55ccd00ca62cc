"""A disk that is really full: a file system with as much space as a test gives it. Needs Linux, and to be root."""

from __future__ import annotations

import mmap
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cutting import LONG, sampled
from tests.faults.stories import STORIES

SAMPLED = 4
"""Amounts of space that are tried; the long run tries all."""
ROOM = 256 << 20
"""Bytes, more than any of this needs."""
ADVICE = "No space left on device; free some space"


def resized(disk: Path, n_bytes: int) -> None:
    """Give the file system so much space; none at all would mean as much as there is."""
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", disk], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a file system is mounted that has room for everything."""
    place = tmp_path_factory.mktemp("disk")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "lightpool-tests", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        resized(place, ROOM)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("name", STORIES if LONG else ["append", "append with output", "restore"])
def test_a_full_disk_costs_nothing(name, disk, commands, tell):
    told = tell(name)
    root = told.fresh(disk / "root")
    before = shutil.disk_usage(disk).used
    assert commands(*told.cut(root)).code == 0
    needed = shutil.disk_usage(disk).used - before
    refused = 0
    for left in sampled(range(mmap.PAGESIZE, 4 * max(needed, 4 * mmap.PAGESIZE), mmap.PAGESIZE), SAMPLED):
        told.fresh(root)
        resized(disk, before + left)
        ended = commands(*told.cut(root))
        resized(disk, ROOM)
        if ended.code:
            refused += 1
            assert ended.code == 1, ended.said
            assert ended.said.startswith("lightpool: ")
            assert ended.said.count("\n") == 1, ended.said
            assert ADVICE in ended.said or "once they can be, the same command goes on" in ended.said
            assert str(root) in ended.said
        assert [*told.broken(root), *told.unrepaired(root, commands)] == []
    print(f"{name}: needs {needed} bytes; refused with {refused} amounts of less")
    assert refused > 0
