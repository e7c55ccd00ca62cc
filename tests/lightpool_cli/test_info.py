from __future__ import annotations

import pytest


@pytest.fixture
def limited(lightpool, tmp_path):
    """An empty pool with limits, sequences and files."""
    pool = tmp_path / "pool"
    for name in ("about.csv", "scores.csv"):
        (tmp_path / name).write_text("filename,speed\na.png,1\n", encoding="utf-8")
    files = ("--metadata", tmp_path / "about.csv", "--scores", tmp_path / "scores.csv")
    limits = ("--min-seconds", 2.5, "--max-per", "video=3", "--max-per", "speed=7", "--sequence-length", 3)
    lightpool("init", "--pool", pool, "--embedder", "gist", *files, *limits)
    return pool


def shown(done):
    """The words of each line after its first, by that."""
    return {line.split()[0]: line.split()[1:] for line in done.lines}


def test_limits_and_files_of_a_pool_are_shown(lightpool, limited, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    lines = shown(lightpool("info", "--pool", limited))
    assert lines["min_seconds"] == ["2.5"]
    assert lines["max_per"] == ["video", "3,", "speed", "7"]
    assert lines["sequence_length"] == ["3"]
    assert lines["metadata"] == [str(limited.parent / "about.csv")]
    assert lines["scores"] == [str(limited.parent / "scores.csv")]
    assert lines["predictions"] == ["off"]


def test_limits_and_files_of_a_pool_are_in_the_json(lightpool, limited):
    info = lightpool("info", "--pool", limited, "--json").json
    assert (info["min_seconds"], info["max_per"], info["sequence_length"]) == (2.5, {"video": 3, "speed": 7}, 3)
    files = [info[name] for name in ("metadata", "predictions", "scores")]
    assert files == [str(limited.parent / "about.csv"), None, str(limited.parent / "scores.csv")]


def test_a_pool_without_limits_says_that_they_are_off(lightpool, pool):
    lines = shown(lightpool("info", "--pool", pool))
    names = ("min_seconds", "max_per", "sequence_length", "metadata", "predictions", "scores")
    assert [lines[name] for name in names] == [["off"]] * 6
    info = lightpool("info", "--pool", pool, "--json").json
    assert [info[name] for name in names] == [None, {}, None, None, None, None]
