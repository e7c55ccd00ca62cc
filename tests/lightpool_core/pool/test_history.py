from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightpool_core.errors import VersionNotFound
from lightpool_core.pool.history import History, Version, now

FIRST = Version(0, now(), 0, 0, "init", 3, "mean-1")


def test_a_version_survives_being_a_note() -> None:
    version = Version(4, now(), 10, -2, "restore", 3, "f", "run", 2, {"samples": {"selected": 1}})
    assert Version.from_note(json.loads(json.dumps(version.to_note()))) == version


def test_a_new_history_has_one_empty_version(tmp_path: Path) -> None:
    history = History(tmp_path, 3)
    history.create(FIRST)
    assert history.versions() == [FIRST]
    assert history.embeddings(0, 0).shape == (0, 3)
    assert history.columns(0, ["filename"]).num_rows == 0


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    history = History(tmp_path, 3)
    history.create(FIRST)
    with pytest.raises(VersionNotFound, match=r"version 1 is not in .*; it keeps 0"):
        history.embeddings(1, 0)
