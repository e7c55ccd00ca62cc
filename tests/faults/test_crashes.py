from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.crashes import Crash, Recorder, leftovers, recorded
from tests.faults.cutting import GO_ON, HALF, KILL, sampled
from tests.faults.stories import STORIES, Told

SAMPLED = 4
"""Crashes of each command after which the next one is given; the long run gives it after all."""
ALL = ("append", "restore")
"""Commands of which every crash is looked at in any case."""
KILLED = 3


@dataclass(frozen=True, slots=True)
class Recording:
    """A story during which every crash was written down."""

    name: str
    told: Told
    root: Path
    recorder: Recorder
    unsynced: frozenset[Path]
    """Files with content that are not on the disk in the end."""


@pytest.fixture(scope="module", params=STORIES)
def recording(request, commands, tell, tmp_path_factory):
    told, folder = tell(request.param), tmp_path_factory.mktemp("recording")
    root = told.fresh(folder / "root")
    ended, recorder = recorded(commands, root, folder / "crashes", *told.cut(root))
    assert ended.code == 0, ended.said
    empty = {path for path in recorder.unsynced if path.exists() and not path.stat().st_size}
    yield Recording(request.param, told, root, recorder, frozenset(recorder.unsynced - empty))
    shutil.rmtree(folder)


def test_what_a_command_leaves_is_on_the_disk(recording):
    assert recording.unsynced == set()
    assert recording.recorder.unnamed == set()
    # The Delta library renames first. What it wrote is synced before the command goes on, and a commit that lost
    # its bytes to a power failure in between is taken back.
    assert [
        place
        for place in recording.recorder.hasty
        if place.relative_to(recording.root).parts[-2] not in {"history", "sources", "_delta_log"}
    ] == []


def test_a_command_cut_anywhere_leaves_a_pool_at_the_old_or_the_new_version(recording):
    crashes = recording.recorder.crashes
    looked_at = crashes if recording.name in ALL else sampled(crashes, SAMPLED)
    wrong = {crash.how: list(recording.told.broken(crash.folder, power=crash.power)) for crash in looked_at}
    assert {how: wrongs for how, wrongs in wrong.items() if wrongs} == {}
    assert len(looked_at) > 200 or recording.name != "append"


def test_a_command_cut_anywhere_leaves_a_whole_pool_that_the_next_one_completes(recording, commands):
    recorder = recording.recorder
    chosen: list[Crash] = sampled(recorder.crashes, SAMPLED)
    wrong = {crash.how: list(recording.told.wrongs(crash, recording.root, commands)) for crash in chosen}
    assert {how: wrongs for how, wrongs in wrong.items() if wrongs} == {}
    print(f"{len(recorder.changes)} changes, {len(recorder.crashes)} crashes, {len(chosen)} looked at")


def test_a_file_that_is_written_outside_of_the_pool_is_the_old_or_the_new_one(commands, tell, tmp_path):
    told = tell("append")
    root = told.fresh(tmp_path / "root")
    output = root / "chosen.csv"
    output.write_text("of an earlier choice")
    choose = ("select", "--pool", root / "pool", "--quiet", "--output", output)
    ended, recorder = recorded(commands, root, tmp_path / "crashes", *choose)
    assert ended.code == 0, ended.said
    whole = output.read_bytes()
    for crash in sampled(recorder.crashes, SAMPLED):
        assert (crash.folder / "chosen.csv").read_bytes() in {b"of an earlier choice", whole}
        shutil.rmtree(root)
        shutil.copytree(crash.folder, root)
        assert commands(*choose).code == 0
        assert output.read_bytes() == whole
        assert list(leftovers(root)) == []


@pytest.mark.parametrize("how", [KILL, HALF])
def test_a_process_that_is_killed_is_no_other_crash(how, commands, tell, tmp_path):
    told = tell("append")
    changes = []
    root = told.fresh(tmp_path / "root")
    commands.watched(root, lambda change: changes.append(change) or GO_ON, *told.cut(root))
    writes = [change.number for change in changes if change.what == "write" or how == KILL]
    for number in sampled(writes, KILLED):

        def kill(change, number=number):
            return KILL if change.what == "half" else how if change.number == number else GO_ON

        ended = commands.watched(told.fresh(root), kill, *told.cut(root))
        assert ended.code == -signal.SIGKILL
        assert [*told.broken(root), *told.unrepaired(root, commands)] == []
