"""Commands beside one that writes: who waits, who does not, and who makes the pool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightpool_core import Datapool
from lightpool_core.pool.lock import writing

PATIENCE = 120
"""Seconds after which a command that says nothing fails its test."""
LONG_ENOUGH = 4
"""Seconds in which a machine at rest has appended nothing to a pool several times."""
HURRIED = """
import os
from dataclasses import dataclass
from lightpool_plugins.embedders.gist import Gist

@dataclass(frozen=True)
class Hurried(Gist):
    fingerprint = "hurried-1"

    def __post_init__(self):
        if os.path.exists("made elsewhere"):
            os.rename("made elsewhere", "pool")  # over an empty folder, too
"""


@pytest.mark.parametrize("command", ["append", "history restore 1"])
def test_a_command_waits_says_for_whom_and_goes_on(command, pool):
    program = Path(sys.executable).with_name("lightpool")
    with writing(pool):
        process = subprocess.Popen(
            [program, *command.split(), "--pool", pool], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith(f"lightpool: {pool} is being written to by process {os.getpid()} on ")
        assert " UTC; waiting for it to finish" in said
        assert process.poll() is None
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 0
    assert Datapool.open(pool).version.number == (2 if command == "append" else 3)


def test_a_quiet_command_waits_in_silence(pool):
    program = Path(sys.executable).with_name("lightpool")
    with writing(pool):
        process = subprocess.Popen([program, "append", "--quiet", "--pool", pool], stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(LONG_ENOUGH)
    assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 0


def test_who_only_reads_does_not_wait(lightpool, pool, tree, monkeypatch, draw, tmp_path):
    monkeypatch.setattr("lightpool_core.pool.datapool._WORTH_AN_INDEX", 1)  # a select would make the index now
    new = draw(tmp_path / "new" / "new.png", 70).parent
    with writing(pool):
        before = tree(pool)
        assert lightpool("info", "--pool", pool, "--json").json["version"] == 2
        assert len(lightpool("history", "list", "--pool", pool, "--json").json) == 3
        assert "chosen" in lightpool("history", "show", 2, "--pool", pool, "--why", "first/0.png").out
        assert len(lightpool("select", "--pool", pool, "--n-samples", 2).lines) == 2
        assert lightpool("select", "--pool", pool, "--input", new, "--curve", "--json").json
        assert lightpool("append", "--pool", tmp_path / "trial", "--input", new, "--embedder", "gist", "--dry-run")
        assert tree(pool) == before
    lightpool("select", "--pool", pool, "--input", new)
    assert (pool / "index" / "index.json").exists()


@pytest.mark.parametrize("there", [True, False])
def test_an_append_grows_the_pool_that_another_one_makes_meanwhile(there, lightpool, tmp_path, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    Path("hurried.py").write_text(HURRIED)
    draw(tmp_path / "in" / "0.png", 0)
    append = ("append", "--input", "in", "--embedder", "hurried.py:Hurried")
    lightpool("init", "--pool", "made", "--embedder", "hurried.py:Hurried", "--seed", 7)
    lightpool(*append, "--pool", "made")
    shutil.move("made", "made elsewhere")
    draw(tmp_path / "in" / "1.png", 1)
    if there:
        Path("pool").mkdir()
    report = lightpool(*append, "--pool", "pool", "--json").json
    assert (report["version"], report["sources"]["new"], report["pool_size"]) == (2, 1, 2)
    assert "seed = 7" in Path("pool/datapool.toml").read_text()
    assert [part.name for part in tmp_path.iterdir() if part.name.startswith(".")] == []


def test_an_init_beside_another_one_finds_the_pool_made(lightpool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hurried.py").write_text(HURRIED)
    init = ("init", "--embedder", "hurried.py:Hurried")
    lightpool(*init, "--pool", "made", "--seed", 7)
    shutil.move("made", "made elsewhere")
    assert "by another command" in lightpool.fails(*init, "--pool", "pool")
    assert "seed = 7" in Path("pool/datapool.toml").read_text()
