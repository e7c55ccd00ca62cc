from __future__ import annotations

from itertools import pairwise

import pytest

from lightpool_core import Datapool


@pytest.fixture
def views(pool):
    """The CSV of each version, as it was when the version was the newest."""
    second = (pool / "datapool_latest.csv").read_bytes()
    first = second.splitlines(keepends=True)[: 1 + Datapool.open(pool, 1).version.samples]
    return {1: b"".join(first), 2: second}


def test_list_tells_each_version(lightpool, pool):
    shown = lightpool("history", "list", "--pool", pool).out
    assert "init" in shown
    assert "append: 5 new sources" in shown
    versions = lightpool("history", "list", "--pool", pool, "--json").json
    assert [version["number"] for version in versions] == [0, 1, 2]
    assert [version["event"] for version in versions] == ["init", "append", "append"]
    assert all(b["samples"] == a["samples"] + b["added"] for a, b in pairwise(versions))
    assert all((pool / "runs" / version["run"] / "report.json").is_file() for version in versions[1:])


def test_show_tells_one_version(lightpool, pool):
    assert "append: 3 new sources" in lightpool("history", "show", 2, "--pool", pool).out
    assert lightpool("history", "show", 1, "--pool", pool, "--json").json["number"] == 1
    names = lightpool("history", "show", 1, "--pool", pool, "--filenames").lines
    assert names == Datapool.open(pool, 1).filenames
    assert lightpool("history", "show", 1, "--pool", pool, "--filenames", "--json").json == names
    assert lightpool("history", "show", 0, "--pool", pool, "--filenames").out == ""


def test_diff_tells_who_joined_and_who_left(lightpool, pool):
    first, second = Datapool.open(pool, 1).filenames, Datapool.open(pool, 2).filenames
    joined = second[len(first) :]
    assert joined
    assert lightpool("history", "diff", 1, 2, "--pool", pool).lines == [f"+ {name}" for name in joined]
    assert lightpool("history", "diff", 2, 1, "--pool", pool).lines == [f"- {name}" for name in joined]
    assert lightpool("history", "diff", 2, 1, "--pool", pool, "--json").json == {"joined": [], "left": joined}
    assert lightpool("history", "diff", 2, 2, "--pool", pool).out == ""


def test_restore_brings_version_1_back_byte_for_byte(lightpool, grown, tmp_path):
    pool = tmp_path / "new"
    lightpool.append(pool, "--input", grown / "in" / "first")
    first = (pool / "datapool_latest.csv").read_bytes()
    lightpool.append(pool, "--input", grown / "in" / "second")
    second = (pool / "datapool_latest.csv").read_bytes()
    assert first != second
    assert "version 3 is now equal to version 1" in lightpool("history", "restore", 1, "--pool", pool).out
    assert (pool / "datapool_latest.csv").read_bytes() == first
    lightpool("history", "restore", 2, "--pool", pool)
    assert (pool / "datapool_latest.csv").read_bytes() == second
    lightpool("history", "restore", 0, "--pool", pool)
    assert len((pool / "datapool_latest.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_every_version_is_restorable_after_any_other(lightpool, pool, views):
    for number in (1, 2, 1, 3, 4):
        lightpool("history", "restore", number, "--pool", pool)
        now = Datapool.open(pool).version.number
        views[now] = views[number]
        assert (pool / "datapool_latest.csv").read_bytes() == views[number]
    versions = lightpool("history", "list", "--pool", pool, "--json").json
    assert [version["number"] for version in versions] == list(range(8))
    assert versions[3]["restored"] == 1
    assert versions[3]["added"] < 0


def test_restoring_the_newest_does_nothing(lightpool, pool, tree):
    before = tree(pool)
    assert "nothing to do" in lightpool("history", "restore", 2, "--pool", pool).out
    assert tree(pool) == before


def test_the_ledger_goes_back_with_the_samples(lightpool, pool, views):
    lightpool("history", "restore", 1, "--pool", pool)
    report = lightpool.append(pool)
    assert (report["sources"]["new"], report["sources"]["skipped"], report["version"]) == (3, 5, 4)
    assert (pool / "datapool_latest.csv").read_bytes() == views[2]
    assert lightpool.append(pool)["sources"]["new"] == 0
    lightpool("history", "restore", 2, "--pool", pool)
    assert lightpool.append(pool)["sources"]["new"] == 0
    lightpool("history", "restore", 0, "--pool", pool)
    assert lightpool.append(pool)["sources"]["new"] == 8


def test_what_came_after_a_version_without_joining_is_looked_at_again(lightpool, pool, draw, tmp_path):
    near = draw(tmp_path / "more" / "near.png", 1, size=(128, 96))
    assert lightpool.append(pool, "--input", near.parent)["version"] == 2
    lightpool("history", "restore", 1, "--pool", pool)
    lightpool("history", "restore", 2, "--pool", pool)
    assert lightpool.append(pool, "--input", near.parent)["sources"]["new"] == 1


def test_without_history_only_the_newest_is_restorable(lightpool, grown, tmp_path, tree):
    pool = tmp_path / "new"
    lightpool.append(pool, "--input", grown / "in" / "first", "--no-keep-history")
    lightpool.append(pool, "--input", grown / "in" / "second")
    assert [version["number"] for version in lightpool("history", "list", "--pool", pool, "--json").json] == [2]
    before = tree(pool)
    message = lightpool.fails("history", "restore", 1, "--pool", pool)
    assert "version 1 is not in" in message
    assert "it keeps 2" in message
    assert tree(pool) == before
    assert "nothing to do" in lightpool("history", "restore", 2, "--pool", pool).out
    assert len(Datapool.open(pool).filenames) == 6
    assert lightpool.append(pool, "--input", grown / "in" / "first")["sources"]["new"] == 0


def test_history_can_be_kept_again(lightpool, grown, tmp_path):
    pool = tmp_path / "new"
    lightpool.append(pool, "--input", grown / "in" / "first")
    lightpool.append(pool, "--input", grown / "in" / "second", "--no-keep-history")
    view = (pool / "datapool_latest.csv").read_bytes()
    lightpool.append(pool, "--input", grown / "in" / "fractal.mp4")
    lightpool("history", "restore", 2, "--pool", pool)
    assert (pool / "datapool_latest.csv").read_bytes() == view
    assert lightpool.append(pool, "--input", grown / "in" / "fractal.mp4")["samples"]["selected"] > 0
    assert lightpool.append(pool, "--input", grown / "in" / "second")["sources"]["new"] == 0


def test_a_label_number_keeps_its_meaning_after_a_restore(lightpool, pool, draw, tmp_path):
    later = Datapool.open(pool, 2).label_names
    lightpool("history", "restore", 1, "--pool", pool)
    draw(tmp_path / "more" / "unheard-of" / "new.png", 977)
    lightpool.append(pool, "--input", tmp_path / "more")
    names = Datapool.open(pool).label_names
    assert names["unheard-of"] not in later.values()
    assert all(later[name] == number for name, number in names.items() if name in later)
