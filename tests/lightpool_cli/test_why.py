from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from lightpool_core import Datapool
from lightpool_core.pool.decisions import SCHEMA
from lightpool_core.pool.runs import Run
from tests.lightpool_cli.test_append import cut, killed_append, without_journals

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def why(lightpool, pool):
    """The sentence about a file at a version (the second) of `pool`."""

    def told(filename, version=2):
        done = lightpool("history", "show", version, "--pool", pool, "--why", filename)
        assert done.out.count("\n") == 1
        return done.out.strip()

    return told


@pytest.fixture
def more(draw, tmp_path):
    """Two files near first/0.png and second/4.png, and one near nothing."""
    draw(tmp_path / "more" / "near-0.png", 0, size=(128, 96))
    draw(tmp_path / "more" / "near-4.png", 4, size=(128, 96))
    draw(tmp_path / "more" / "new.png", 50)
    return tmp_path / "more"


def decisions(pool, run):
    return parquet.read_table(pool / "runs" / run / "decisions.parquet").to_pylist()


def parts(sentence):
    """Distance, nearest sample and its version in the sentence on a rejected file."""
    match = re.search(r"not chosen: ([\d.]+) from (\S+), kept in version (\d+);", sentence)
    return float(match[1]), match[2], int(match[3])


# What is written


def test_every_decision_is_as_computed_from_the_csv(lightpool, videos, draw, tmp_path, csv_of):
    inbox, pool, everything = tmp_path / "in", tmp_path / "pool", tmp_path / "all"
    for name in ("test", "fractal"):
        inbox.mkdir(exist_ok=True)
        shutil.copy2(videos[name], inbox)
        draw(inbox / f"{name}.png", len(name))
        lightpool.append(pool, "--input", inbox, "--fps", "all", "--min-distance", 0.2)
    lightpool.append(everything, "--input", inbox, "--fps", "all", "--min-distance", 0)
    names, kept, _ = csv_of(pool)
    of = {name: row.astype(np.float64) for name, row in zip(*csv_of(everything)[:2], strict=True)}
    versions = Datapool.open(pool).columns("version")["version"].to_pylist()
    n_before = 0
    for version in Datapool.open(pool).history()[1:]:
        rows = decisions(pool, version.run)
        assert parquet.read_schema(pool / "runs" / version.run / "decisions.parquet").equals(SCHEMA)
        chosen = sorted((row for row in rows if row["decision"] == "selected"), key=lambda row: row["rank"])
        assert [row["filename"] for row in chosen] == names[n_before : version.samples]
        for row in rows:
            end = n_before + row["rank"] - 1 if row["rank"] else version.samples
            distances = np.linalg.norm(kept[:end].astype(np.float64) - of[row["filename"]], axis=1)
            if end:
                assert row["distance"] == pytest.approx(distances.min(), abs=1e-6)
            else:
                assert row["distance"] is None
            if row["decision"] == "rejected":
                assert row["distance"] < 0.2
                assert row["nearest"] == names[distances.argmin()]
                assert row["nearest_version"] == versions[distances.argmin()]
        assert any(row["decision"] == "rejected" for row in rows)
        n_before = version.samples


def test_the_lists_of_a_run_and_its_decisions_say_the_same(lightpool, pool, more):
    report = lightpool.append(pool, "--input", more)
    rows = decisions(pool, report["run"])
    assert len(rows) == report["samples"]["candidates"] == 3
    for kind, decision in (("sampled", "selected"), ("removed", "rejected")):
        listed = (pool / "runs" / report["run"] / "filenames" / f"{kind}_filenames.txt").read_text(encoding="utf-8")
        assert listed.split() == [row["filename"] for row in rows if row["decision"] == decision]
    assert "explaining" in report["seconds"]


def test_a_run_without_candidates_leaves_no_decisions_but_the_file(lightpool, pool, grown, tmp_path):
    (tmp_path / "more").mkdir()
    shutil.copy(grown / "in" / "first" / "0.png", tmp_path / "more" / "copy.png")
    report = lightpool.append(pool, "--input", tmp_path / "more")
    assert decisions(pool, report["run"]) == []
    assert "explaining" not in report["seconds"]


@pytest.mark.parametrize("step", ["write", "explain"])
def test_killed_while_explaining_leaves_no_trace(lightpool, pool, more, monkeypatch, tree, step):
    before = tree(pool)
    cut(monkeypatch, Run, step)
    killed_append(monkeypatch, pool, more)
    message = lightpool.fails("history", "show", 2, "--pool", pool, "--why", "near-0.png")
    assert "knows no near-0.png" in message
    lightpool.append(pool)
    assert without_journals(tree(pool)) == before
    assert lightpool.append(pool, "--input", more)["samples"]["selected"] == 1


# Who is in


def test_the_chosen_are_told_with_rank_distance_and_version(why, pool, csv_of):
    names, rows, _ = csv_of(pool)
    first = Datapool.open(pool, 1).version.samples
    assert why(names[0]) == f"{names[0]}: chosen as number 1 of {first} in version 1, the first of an empty pool"
    for row in (1, first, first + 1):
        joined, rank, of = (1, row + 1, first) if row < first else (2, row + 1 - first, len(names) - first)
        sentence = why(names[row])
        assert sentence.startswith(f"{names[row]}: chosen as number {rank} of {of} in version {joined}, ")
        near = float(re.search(r", ([\d.]+) from the nearest kept at that moment", sentence)[1])
        distances = np.linalg.norm(rows[:row].astype(np.float64) - rows[row], axis=1)
        assert near == pytest.approx(distances.min(), abs=2e-4)


def test_the_chosen_are_told_without_their_runs(why, pool):
    before = [why(name) for name in Datapool.open(pool).filenames]
    shutil.rmtree(pool / "runs")
    assert [why(name) for name in Datapool.open(pool).filenames] == before


# Who is not


def test_the_rejected_are_told_with_what_is_kept_in_their_stead(lightpool, why, pool, more):
    assert lightpool.append(pool, "--input", more)["version"] == 3
    sentence = why("near-0.png", 3)
    distance, nearest, version = parts(sentence)
    assert (nearest, version) == ("first/0.png", 1)
    assert 0 <= distance < 0.1
    assert sentence.endswith("; min_distance was 0.1")
    assert parts(why("near-4.png", 3))[1:] == ("second/4.png", 2)
    assert why("./near-0.png", 3) == sentence


def test_a_run_that_selected_nothing_tells_too(lightpool, why, pool, more):
    (more / "new.png").unlink()
    assert lightpool.append(pool, "--input", more)["version"] == 2
    assert parts(why("near-0.png"))[1] == "first/0.png"
    assert "knows no near-0.png" in lightpool.fails("history", "show", 1, "--pool", pool, "--why", "near-0.png")


def test_enough_samples_are_a_reason(lightpool, draw, tmp_path):
    for seed in range(5):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", tmp_path / "in", "--n-samples", 0.4)
    left = sorted({f"{seed}.png" for seed in range(5)} - set(Datapool.open(pool).filenames))[0]
    shown = lightpool("history", "show", 1, "--pool", pool, "--why", left)
    assert shown.out.endswith("; n_samples was 0.4, and 2 were chosen before it\n")
    assert parts(shown.out)[0] > 0.25
    lightpool.append(pool, "--process-all", "--n-samples", 0)
    assert "n_samples was 0, and 0 were chosen" in lightpool("history", "show", 1, "--pool", pool, "--why", left).out


def test_a_limit_is_not_taken_for_a_count(lightpool, draw, tmp_path):
    for seed in range(3):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", tmp_path / "in", "--n-samples", 1, "--max-per", "folder=1")
    left = sorted({f"{seed}.png" for seed in range(3)} - set(Datapool.open(pool).filenames))[0]
    assert "diversity left it out" in lightpool("history", "show", 1, "--pool", pool, "--why", left).out
    draw(tmp_path / "in" / "more.png", 7)
    assert "nothing meets the conditions: no new version" in lightpool("append", "--pool", pool).out


def test_with_nothing_kept_there_is_no_distance(lightpool, draw, tmp_path):
    draw(tmp_path / "in" / "a.png", 1)
    lightpool.append(tmp_path / "pool", "--input", tmp_path / "in", "--n-samples", 0)
    shown = lightpool("history", "show", 0, "--pool", tmp_path / "pool", "--why", "a.png")
    assert shown.out == "a.png: not chosen: nothing was kept; n_samples was 0, and 0 were chosen before it\n"


def test_a_sampler_may_have_reasons_of_its_own(lightpool, draw, tmp_path):
    for seed in range(3):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nimport numpy as np\nfrom lightpool_core import Selection\n"
        "@dataclass(frozen=True)\nclass Mine:\n    def select(self, candidates, pool, stop, rng):\n"
        "        return Selection(np.zeros(1, np.int64), np.full(1, np.inf, np.float32))\n",
        encoding="utf-8",
    )
    pool, mine = tmp_path / "pool", f"{tmp_path / 'mine.py'}:Mine"
    lightpool.append(pool, "--input", tmp_path / "in", "--sampler", mine, "--min-distance", 0)
    shown = lightpool("history", "show", 1, "--pool", pool, "--why", "1.png").out
    assert parts(shown)[1] == "0.png"
    assert "mine.py:Mine left it out" in shown


def test_what_was_rejected_and_joins_later_is_told_by_version(lightpool, why, pool, more):
    lightpool.append(pool, "--input", more)
    assert lightpool.append(pool, "--input", more, "--process-all", "--min-distance", 0)["version"] == 4
    assert "not chosen" in why("near-0.png", 3)
    assert "chosen as number" in why("near-0.png", 4)


def test_a_restored_version_is_told_by_the_runs_that_led_to_it(lightpool, why, pool, more):
    lightpool.append(pool, "--input", more)
    lightpool("history", "restore", 2, "--pool", pool)
    assert "not chosen" in why("near-0.png", 3)
    unknown = lightpool.fails("history", "show", 4, "--pool", pool, "--why", "near-0.png")
    assert "version 4 of" in unknown
    assert "knows no near-0.png" in unknown
    assert "chosen as number 1" in why(Datapool.open(pool).filenames[0], 4)
    lightpool.append(pool, "--input", more)
    assert "chosen as number 1 of 1 in version 5" in why("new.png", 5)
    assert parts(why("near-0.png", 5))[1] == "first/0.png"


# What was no candidate


@pytest.fixture
def odd(lightpool, pool, grown, videos, draw, tmp_path):
    """`pool` after a delivery in which nothing is a candidate."""
    inbox = tmp_path / "odd"
    inbox.mkdir()
    shutil.copy(grown / "in" / "first" / "0.png", inbox / "copy.png")
    with Image.open(grown / "in" / "first" / "1.png") as image:
        image.save(inbox / "pixels.bmp")
    (inbox / "bad.png").write_bytes(b"no picture")
    (inbox / "bad.mp4").write_bytes(videos["test"].read_bytes()[:200])
    assert lightpool.append(pool, "--input", inbox)["version"] == 2
    return inbox


def test_what_the_ledger_knows_of_other_files_is_told(why, odd):
    assert why("copy.png") == "copy.png: no candidate: duplicate, same bytes as first/0.png"
    assert why("pixels.bmp") == "pixels.bmp: no candidate: duplicate, looks the same as first/1.png"
    assert re.fullmatch(r"bad\.png: no candidate: corrupt, .+", why("bad.png"))
    assert re.fullmatch(r"bad\.mp4: no candidate: corrupt, .+", why("bad.mp4"))


def test_the_ledger_tells_without_the_runs_and_of_older_versions(lightpool, why, pool, odd, more):
    before = why("copy.png"), why("bad.png")
    lightpool.append(pool, "--input", more)
    assert (why("copy.png"), why("bad.png")) == before
    shutil.rmtree(pool / "runs")
    assert (why("copy.png", 3), why("bad.png", 3)) == before


def test_the_newest_word_on_a_file_counts(lightpool, why, pool, more, odd, draw, grown):
    draw(odd / "bad.png", 0, size=(128, 96))
    lightpool.append(pool, "--input", odd)
    assert parts(why("bad.png"))[1] == "first/0.png"
    shutil.copy(grown / "in" / "first" / "2.png", odd / "bad.png")
    lightpool.append(pool, "--input", odd)
    assert why("bad.png") == "bad.png: no candidate: duplicate, same bytes as first/2.png"


def test_a_touched_file_keeps_its_reason(lightpool, why, pool, more, odd):
    lightpool.append(pool, "--input", more)
    before = why("near-0.png", 3), why("copy.png", 3)
    os.utime(more / "near-0.png", (1, 1))
    os.utime(odd / "copy.png", (1, 1))
    lightpool.append(pool, "--input", more, "--input", odd)
    assert (why("near-0.png", 3), why("copy.png", 3)) == before


def test_a_known_picture_under_a_new_name_is_told_when_all_is_looked_at(lightpool, why, pool, grown, tmp_path):
    (tmp_path / "more").mkdir()
    shutil.copy(grown / "in" / "first" / "0.png", tmp_path / "more" / "again.png")
    lightpool.append(pool, "--input", tmp_path / "more", "--process-all")
    assert why("again.png") == "again.png: no candidate: duplicate, same bytes as first/0.png"


def test_a_video_is_told_by_its_frames(lightpool, why, pool):
    frames = [name for name in Datapool.open(pool).filenames if name.startswith("test-")]
    assert why("test.mp4") == f"test.mp4: a video; 3 of its frames were looked at, {len(frames)} are in version 2"
    assert "fractal.mp4: a video; 3 of its frames" in why("fractal.mp4")
    unknown = lightpool.fails("history", "show", 2, "--pool", pool, "--why", "test-05-mp4.png")
    assert "its video test.mp4 was looked at without it: fps leaves it out" in unknown


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_a_file_that_could_not_be_read_is_told(lightpool, why, pool, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.png").symlink_to("/proc/self/mem")
    lightpool.append(pool, "--input", tmp_path / "more", "--follow-links")
    assert "b.png: no candidate: corrupt, cannot be read" in why("b.png")


# What is not known


def test_an_unknown_name_is_one_line(lightpool, pool, tree):
    before = tree(pool)
    message = lightpool.fails("history", "show", 2, "--pool", pool, "--why", "nothing.png")
    assert "knows no nothing.png" in message
    assert "relative to the input" in message
    late = lightpool.fails("history", "show", 1, "--pool", pool, "--why", "second/4.png")
    assert "version 1 of" in late
    assert "the newest version is 2" in late
    assert tree(pool) == before


def test_reasons_that_are_gone_are_missed(lightpool, why, pool, more, videos):
    shutil.copy2(videos["game"], more)
    report = lightpool.append(pool, "--input", more, "--n-samples", 1)
    left = f"looked at in run {report['run']}, which left no account of its decisions"
    frames = (row for row in decisions(pool, report["run"]) if row["source"] == "game.mp4")
    frame = next(row["filename"] for row in frames if row["decision"] == "rejected")
    (pool / "runs" / report["run"] / "decisions.parquet").unlink()
    assert why("near-0.png", 3) == f"near-0.png: {left}"
    message = lightpool.fails("history", "show", 3, "--pool", pool, "--why", frame)
    assert f"its video game.mp4 was {left}" in message


def test_damaged_decisions_are_one_line(lightpool, pool, more):
    report = lightpool.append(pool, "--input", more)
    (pool / "runs" / report["run"] / "decisions.parquet").write_bytes(b"half")
    message = lightpool.fails("history", "show", 3, "--pool", pool, "--why", "near-0.png")
    assert report["run"] in message
    assert "delete it" in message


def test_as_json_it_is_one_object_with_the_promised_keys(lightpool, pool, odd, more):
    run = lightpool.append(pool, "--input", more)["run"]
    promised = (GOLDEN / "why_keys.txt").read_text(encoding="utf-8").split()
    answers = {}
    for name in ("new.png", "near-0.png", "copy.png", "test.mp4"):
        answers[name] = lightpool("history", "show", 3, "--pool", pool, "--why", name, "--json").json
        assert list(answers[name]) == promised
    told = {key: value for key, value in answers["near-0.png"].items() if value is not None}
    assert told.pop("distance") == next(row["distance"] for row in decisions(pool, run) if row["rank"] is None)
    assert told == {
        "filename": "near-0.png", "version": 3, "decision": "rejected", "run": run, "of": 1,
        "nearest": "first/0.png", "nearest_version": 1,
        "because": "min_distance", "min_distance": 0.1, "sampler": "diversity",
    }  # fmt: skip
    told = {key: value for key, value in answers["new.png"].items() if value is not None}
    assert told.pop("distance") >= 0.1
    assert told == {
        "filename": "new.png", "version": 3, "decision": "selected", "run": run, "joined": 3, "rank": 1, "of": 1,
        "min_distance": 0.1, "sampler": "diversity",
    }  # fmt: skip
    assert (answers["copy.png"]["decision"], answers["copy.png"]["reason"]) == (
        "duplicate",
        "same bytes as first/0.png",
    )
    assert answers["test.mp4"]["decision"] == "processed"
