from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.errors import PoolExists, SourceNotFound
from lightpool_core.media.source import Source
from lightpool_core.opening import create, described, discard, embedder_of, is_pool
from lightpool_core.pool.datapool import CHECKPOINT_NAME
from lightpool_core.pool.ledger import Outcome, rows_of
from lightpool_core.pool.lock import writing
from lightpool_core.settings import SETTINGS_NAME, PluginChoice, Settings


def test_a_choice_is_described_by_its_options() -> None:
    assert described(PluginChoice("diversity")) == "diversity"
    assert (
        described(PluginChoice("open-clip", {"model": "ViT-B-32", "size": 3})) == "open-clip (model=ViT-B-32, size=3)"
    )


def test_strategies_are_described_by_what_they_are_of() -> None:
    strategies = (
        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},
        {"input": {"type": "METADATA", "key": "weather"}, "strategy": {"type": "BALANCE", "distribution": "UNIFORM"}},
    )
    choice = PluginChoice("combined", {"strategies": strategies})
    assert described(choice) == "combined (strategies=DIVERSITY of EMBEDDINGS × BALANCE of METADATA weather)"


def test_tables_that_are_no_strategies_are_counted() -> None:
    assert described(PluginChoice("mine", {"steps": [{"a": 1}, {"b": 2}]})) == "mine (steps=2 tables)"


@pytest.mark.parametrize("name", ["metadata", "predictions", "scores"])
def test_no_pool_is_made_with_annotations_that_are_not_there(name: str, tmp_path: Path) -> None:
    settings = Settings(embedder=PluginChoice("gist"), **{name: tmp_path / "missing.csv"})  # type: ignore[arg-type]
    with pytest.raises(SourceNotFound) as caught:
        create(tmp_path / "pool", settings)
    assert str(caught.value) == (
        f"{name} {tmp_path / 'missing.csv'} does not exist; give the file or folder that holds them"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_pool_that_nothing_came_of_is_taken_away_unless_another_command_is_at_it(tmp_path: Path) -> None:
    create(tmp_path / "pool", Settings(embedder=PluginChoice("gist")))
    with writing(tmp_path / "pool"):
        discard(tmp_path / "pool")
    assert is_pool(tmp_path / "pool")
    discard(tmp_path / "pool")
    assert list((tmp_path / "pool").iterdir()) == []


def test_a_pool_that_another_command_has_grown_meanwhile_is_not_taken_away(tmp_path: Path) -> None:
    pool = create(tmp_path / "pool", Settings(embedder=PluginChoice("gist")))
    image = Source("a.png", tmp_path / "a.png", "image", tmp_path, "", 1, 1)
    pool.ledger.record_rows(rows_of([Outcome(image, "digest", "processed")], "run"), {"number": 0, "run": "run"})
    discard(pool.path)
    assert is_pool(pool.path)


@pytest.mark.parametrize("soft_lock", [True, False])
def test_what_a_lock_left_is_in_nobodys_way(tmp_path: Path, soft_lock: bool) -> None:
    settings = Settings(embedder=PluginChoice("gist"), soft_lock=soft_lock)
    create(tmp_path / "pool", settings)
    discard(tmp_path / "pool")
    with writing(tmp_path / "pool"):
        pass
    assert is_pool(create(tmp_path / "pool", settings).path)


def test_an_embedder_without_weights_needs_no_checkpoint_and_a_damaged_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(embedder=PluginChoice("gist"))
    pool = create(tmp_path / "pool", settings)
    path = pool.path / CHECKPOINT_NAME
    whole, reads = Checkpoint.read(path), []
    read = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda path: reads.append(path) or read(path))
    assert embedder_of(pool, settings).fingerprint == pool.version.fingerprint
    assert reads == []
    content = path.read_bytes()
    path.write_bytes(content.replace(b"embedder", b"EMBEDDER", 1))
    assert embedder_of(pool, settings).fingerprint == pool.version.fingerprint
    assert read(path) == whole


def test_a_pool_that_cannot_be_moved_into_an_empty_folder_leaves_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pool").mkdir()
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target == tmp_path / "pool" / SETTINGS_NAME:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="No space"):
            create(tmp_path / "pool", Settings(embedder=PluginChoice("gist")))
    assert list(tmp_path.rglob("*")) == [tmp_path / "pool"]
    assert is_pool(create(tmp_path / "pool", Settings(embedder=PluginChoice("gist"))).path)


def test_nothing_of_somebody_else_goes_with_a_pool_that_was_half_moved(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    pool = tmp_path / "pool"
    (pool / "history").mkdir(parents=True)
    (pool / f".moving.{socket.gethostname()}-{gone.pid}").touch()
    (pool / "mine.txt").write_text("mine")
    with pytest.raises(PoolExists, match="is no datapool"):
        create(pool, Settings(embedder=PluginChoice("gist")))
    assert (pool / "history").exists()
    (pool / "mine.txt").unlink()
    assert is_pool(create(pool, Settings(embedder=PluginChoice("gist"))).path)
    assert not list(pool.glob(".moving*"))


def test_of_a_pool_that_another_machine_was_moving_it_is_said_what_to_do(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    (pool / "history").mkdir(parents=True)
    (pool / ".moving.elsewhere-12").write_text("../../else")
    with pytest.raises(PoolExists, match=r"\.moving\.elsewhere-12; if that process is gone, empty the folder"):
        create(pool, Settings(embedder=PluginChoice("gist")))
    assert sorted(part.name for part in pool.iterdir()) == [".moving.elsewhere-12", "history"]
