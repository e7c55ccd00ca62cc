from __future__ import annotations

from pathlib import Path

from lightpool_cli import demo
from lightpool_core import Datapool
from lightpool_core.media.reader import file_digest


def test_tells_its_story_to_the_end(lightpool, tmp_path):
    told = lightpool("demo", tmp_path / "demo").out
    pool = Datapool.open(tmp_path / "demo" / "my_datapool")
    events = [version.event for version in pool.history()]
    assert events == ["init", "append", "append", "restore", "append"]
    commands = [line for line in told.splitlines() if line.startswith("$ lightpool ")]
    assert [line.split()[2] for line in commands] == ["append", "append", "append", "history", "history", "append"]
    assert len(list((tmp_path / "demo" / "inputs").rglob("*.mp4"))) == 5
    assert lightpool("check", "--pool", tmp_path / "demo" / "my_datapool").code == 0


def test_draws_the_same_videos_each_time(tmp_path):
    drawn = {}
    for folder in (tmp_path / "first", tmp_path / "second"):
        demo._render(demo._FIRST | demo._THEN, folder)
        drawn[folder] = {
            file.relative_to(folder): file_digest(file) for file in sorted(folder.rglob("*")) if file.is_file()
        }
    assert drawn[tmp_path / "first"] == drawn[tmp_path / "second"]
    assert len(drawn[tmp_path / "first"]) == 5


def test_leaves_a_folder_alone_that_is_in_use(lightpool, tmp_path):
    kept = tmp_path / "mine" / "file.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    assert "exists already; choose a name that is free" in lightpool.fails("demo", kept.parent)
    assert [file.name for file in Path(kept.parent).iterdir()] == ["file.txt"]
