from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from lightpool_core import Datapool
from tests.strategies import distance_matrix, unit_vectors

SHARES = {"train": 0.8, "val": 0.2}


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def write_csv(path, names, rows, labels=None):
    header = ["filenames", *(f"embedding_{i}" for i in range(rows.shape[1])), "labels"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(
            [name, *row.tolist(), n] for name, row, n in zip(names, rows, labels or [0] * 999, strict=False)
        )
    return path


@pytest.fixture
def frames(tmp_path):
    """20 videos of five frames each that are nothing like each other."""
    names = [f"v{video:02}-{frame}-mp4.png" for video in range(20) for frame in range(5)]
    return write_csv(tmp_path / "frames.csv", names, np.eye(100, dtype=np.float32))


def test_every_sample_of_a_pool_is_in_one_split(lightpool, pool, tree):
    before = tree(pool)
    answer = lightpool("select", "--pool", pool, "--split", "train=0.7,val=0.3", "--json").json
    assert list(answer) == ["train", "val"]
    assert sorted(answer["train"] + answer["val"]) == sorted(Datapool.open(pool).filenames)
    assert tree(pool) == before


def test_no_two_samples_across_are_closer_than_the_distance(lightpool, tmp_path):
    rows = unit_vectors(300, 16, "walk")
    names = [f"{i}.png" for i in range(300)]
    file = write_csv(tmp_path / "walk.csv", names, rows)
    split = ("select", "--embeddings", file, "--split", "train=0.6,val=0.2,test=0.2", "--min-distance", 0.3)
    answer = lightpool(*split, "--json").json
    side = np.array([next(name for name in answer if file in answer[name]) for file in names])
    distances = distance_matrix(rows, rows)
    assert len(set(side)) == 3
    assert distances[side[:, None] != side[None, :]].min() >= 0.3
    assert (distances[side[:, None] == side[None, :]] < 0.3).sum() > 600
    assert lightpool(*split, "--json").json == answer


def test_the_distance_of_a_pool_is_the_embedders_near_duplicate(lightpool, grown, tmp_path, csv_of):
    pool = tmp_path / "all"
    lightpool.append(pool, "--input", grown / "in", "--n-samples", "1.")
    answer = lightpool("select", "--pool", pool, "--split", "train=0.5,val=0.5", "--json").json
    names, rows, _ = csv_of(pool)
    side = np.array([name in answer["val"] for name in names])
    across = distance_matrix(rows[side], rows[~side])
    assert across.min() >= 0.25
    within = distance_matrix(rows[~side], rows[~side]) + 9 * np.eye((~side).sum())
    assert within.min() < 0.25
    given = lightpool("select", "--pool", pool, "--split", "train=0.5,val=0.5", "--min-distance", 0.25, "--json").json
    assert given == answer


def test_frames_of_one_video_stay_together(lightpool, frames):
    split = ("select", "--embeddings", frames, "--split", "train=0.8,val=0.2", "--min-distance", -1, "--json")
    answer = lightpool(*split, "--group", "video").json
    videos = {name: {frame.partition("-")[0] for frame in answer[name]} for name in answer}
    assert not videos["train"] & videos["val"]
    assert (len(answer["train"]), len(answer["val"])) == (80, 20)
    alone = lightpool(*split).json
    assert {frame.partition("-")[0] for frame in alone["train"]} & {frame.partition("-")[0] for frame in alone["val"]}


def test_groups_add_up(lightpool, tmp_path):
    names = ["a/v-0-mp4.png", "a/x.png", "b/v-0-mp4.png", "b/v-1-mp4.png", "c/y.png", "d/z.png"]
    file = write_csv(tmp_path / "f.csv", names, np.eye(6, dtype=np.float32), [1, 2, 3, 4, 1, 5])
    split = ("select", "--embeddings", file, "--split", "a=0.5,b=0.5", "--min-distance", -1, "--json")
    answer = lightpool(*split, "--group", "folder", "--group", "label").json
    sides = [set(side) for side in answer.values()]
    assert any({"a/v-0-mp4.png", "a/x.png", "c/y.png"} <= side for side in sides)
    assert any({"b/v-0-mp4.png", "b/v-1-mp4.png"} <= side for side in sides)


def test_samples_of_the_same_metadata_stay_together(lightpool, pool, tmp_path):
    names = Datapool.open(pool).filenames
    weather = {name: ("rain", "sun", "fog", "snow")[i % 4] for i, name in enumerate(names[:-2])}
    lines = ["filename,weather", *(f"{name},{value}" for name, value in weather.items())]
    (tmp_path / "weather.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    split = ("select", "--pool", pool, "--split", "a=0.5,b=0.5", "--min-distance", -1)
    answer = lightpool(*split, "--metadata", tmp_path / "weather.csv", "--group", "weather", "--json").json
    assert not {weather.get(name) for name in answer["a"]} & {weather.get(name, "?") for name in answer["b"]}
    assert "no metadata of that name; there are folder, label, video" in lightpool.fails(*split, "--group", "weather")


def test_the_file_has_a_row_for_every_sample_in_their_order(lightpool, frames, tmp_path):
    split = (
        "select",
        "--embeddings",
        frames,
        "--split",
        "train=0.8,val=0.2",
        "--group",
        "video",
        "--min-distance",
        0.1,
    )
    shown = lightpool(*split, "--output", tmp_path / "split.csv")
    header, *rows = read(tmp_path / "split.csv")
    assert header == ["filename", "split"]
    assert [row[0] for row in rows] == [row[0] for row in read(frames)[1:]]
    answer = lightpool(*split, "--json").json
    assert all(name in answer[side] for name, side in rows)
    assert shown.err == ""
    assert [line.split() for line in shown.lines if "%" in line] == [
        ["│", "train", "│", "80.0%", "│", "80.0%", "│", "80", "│", "16", "│"],
        ["│", "val", "│", "20.0%", "│", "20.0%", "│", "20", "│", "4", "│"],
    ]
    assert lightpool(*split, "--output", tmp_path / "split.csv", "--quiet").out == ""


def test_the_seed_decides_among_equals(lightpool, frames):
    split = ("select", "--embeddings", frames, "--split", "train=0.5,val=0.5", "--min-distance", 0.1, "--json")
    answers = [lightpool(*split, "--seed", seed).out for seed in (0, 0, 1, 2)]
    assert answers[0] == answers[1]
    assert len(set(answers)) == 3


def test_a_group_that_no_split_has_room_for_is_named(lightpool, tmp_path):
    names = [f"long-{i:02}-mp4.png" for i in range(70)] + [f"short-{i:02}-mp4.png" for i in range(30)]
    file = write_csv(tmp_path / "f.csv", names, np.eye(100, dtype=np.float32))
    split = ("select", "--embeddings", file, "--split", "train=0.9,val=0.1", "--group", "video", "--min-distance", 0)
    done = lightpool(*split, "--json")
    assert [len(side) for side in done.json.values()] == [70, 30]
    assert done.err == (
        "warning: train gets 70.0% instead of 90.0%, val gets 30.0% instead of 10.0%; 30 samples belong together"
        " (short-00-mp4.png, video short.mp4); leaving out --group video may part them\n"
    )
    assert lightpool(*split, "--quiet").err == ""
    labelled = lightpool(*split, "--group", "label", "--json").err
    assert "(long-00-mp4.png, video long.mp4 and 1 more, label 0); leaving out --group video or label may" in labelled


def test_a_group_that_the_distance_joined_may_be_parted_by_a_smaller_one(lightpool, tmp_path):
    """Also where groups have a part in it: two videos of five frames each that are near one another."""
    rows = np.eye(16, dtype=np.float32)
    rows[5] = rows[4] * np.cos(0.1) + rows[5] * np.sin(0.1)
    names = [f"{video}-{i}-mp4.png" for video in "ab" for i in range(5)] + [f"{i}.png" for i in range(6)]
    file = write_csv(tmp_path / "f.csv", names, rows)
    split = ("select", "--embeddings", file, "--split", "train=0.5,val=0.5", "--group", "video", "--json")
    assert lightpool(*split, "--min-distance", 0.2).err.endswith(
        "10 samples belong together (a-0-mp4.png, video a.mp4 and 1 more); a smaller --min-distance may part them\n"
    )
    assert lightpool(*split, "--min-distance", 0.05).err == ""


def test_where_samples_are_too_few_for_the_shares_no_group_is_blamed(lightpool, tmp_path):
    file = write_csv(tmp_path / "f.csv", [f"{i}.png" for i in range(10)], np.eye(10, dtype=np.float32))
    done = lightpool("select", "--embeddings", file, "--split", "train=0.97,val=0.03", "--min-distance", 0.1, "--json")
    assert [len(side) for side in done.json.values()] == [9, 1]
    assert done.err.endswith("; no split stays empty, and 10 samples are too few for such shares\n")


def test_a_kept_split_is_gone_on_with_as_the_pool_grows(lightpool, pool, draw, tmp_path):
    split = ("select", "--pool", pool, "--split", "train=0.6,val=0.4")
    lightpool(*split, "--output", tmp_path / "split.csv")
    before = dict(read(tmp_path / "split.csv")[1:])
    for seed in range(50, 60):
        draw(tmp_path / "more" / f"{seed}.png", seed)
    lightpool.append(pool, "--input", tmp_path / "more")
    lightpool(*split, "--keep", tmp_path / "split.csv", "--seed", 5, "--output", tmp_path / "split.csv")
    after = dict(read(tmp_path / "split.csv")[1:])
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before


def test_a_kept_split_that_divides_what_belongs_together_is_told(lightpool, frames, tmp_path):
    (tmp_path / "kept.csv").write_text(
        "filename,split\nv00-0-mp4.png,val\nv00-1-mp4.png,train\ngone.png,val\n", encoding="utf-8"
    )
    split = ("select", "--embeddings", frames, "--split", "train=0.8,val=0.2", "--group", "video", "--min-distance", 0)
    done = lightpool(*split, "--keep", tmp_path / "kept.csv", "--json")
    assert "v00-0-mp4.png" in done.json["val"]
    assert "v00-1-mp4.png" in done.json["train"]
    assert "the kept split divides 1 group of samples that belong together" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,split\nv00-0-mp4.png,test\n", "in 'test', and the splits are train, val"),
        ("filename,split\na,val\na,train\n", "has a in two splits"),
        ("name,split\na,val\n", "needs columns filename and split"),
        ("", "needs columns filename and split"),
        ("filename,split\nstranger.png,val\n", "names none of the"),
        ("filename,split\na\n", "has a in '', and the splits are train, val"),
    ],
)
def test_a_kept_file_that_is_none_is_named(lightpool, frames, tmp_path, text, said):
    (tmp_path / "kept.csv").write_text(text, encoding="utf-8")
    split = ("select", "--embeddings", frames, "--split", "train=0.8,val=0.2", "--min-distance", 0)
    message = lightpool.fails(*split, "--keep", tmp_path / "kept.csv", "--output", tmp_path / "split.csv")
    assert said in message
    assert "kept.csv" in message
    assert not (tmp_path / "split.csv").exists()


def test_masked_rows_are_in_no_split(lightpool, tmp_path):
    text = "filenames,embedding_0,embedding_1,masked,labels\na,1,0,0,0\nb,nan,0,1,0\nc,0,1,0,0\n"
    (tmp_path / "f.csv").write_text(text, encoding="utf-8")
    split = ("select", "--embeddings", tmp_path / "f.csv", "--split", "x=0.5,y=0.5", "--min-distance", 0.1)
    answer = json.loads(lightpool(*split, "--json").out)
    assert sorted(answer["x"] + answer["y"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--split", "train=0.8,val=0.3"), "sum to 1.1, not to 1"),
        (("--split", "train=2,val=-1"), "not above 0"),
        (("--split", "train=0.5,train=0.5"), "given twice"),
        (("--split", "train"), "it has no share"),
        (("--split", ""), "it has no share"),
        (("--split", "a=1", "--n-samples", 3), "--n-samples means nothing where everything is divided"),
        (("--split", "a=1", "--sampler", "random"), "--sampler means nothing"),
        (("--split", "a=1", "--input", "x"), "--input means nothing"),
        (("--split", "a=1", "--curve"), "--split divides everything, and --curve"),
        (("--split", "a=1", "--all-rows"), "--all-rows says what --output writes"),
        (("--split", "a=1", "--group", "wether"), "--group wether: these samples have no metadata of that name"),
        (("--split", "a=1", "--keep", "missing.csv"), "split file missing.csv does not exist"),
        (("--split", "a=1", "--min-distance", 3), "min_distance 3.0 is not from 0 to 2"),
        (("--group", "video"), "--group is for a split; give --split"),
        (("--keep", "x.csv"), "--keep is for a split; give --split"),
    ],
)
def test_wrong_options_are_one_line(lightpool, pool, arguments, said):
    assert said in lightpool.fails("select", "--pool", pool, *arguments)


def test_a_file_alone_needs_a_distance(lightpool, frames):
    split = ("select", "--embeddings", frames, "--split", "train=0.8,val=0.2")
    assert "give --min-distance X, or -1 to divide by groups alone" in lightpool.fails(*split)
    assert "nothing to divide" in lightpool.fails("select", "--split", "train=0.8,val=0.2")


def test_a_pool_tells_the_distance_for_a_file(lightpool, pool, tmp_path):
    lightpool("select", "--pool", pool, "--output", tmp_path / "all.csv", "--quiet")
    split = ("select", "--embeddings", tmp_path / "all.csv", "--split", "a=0.5,b=0.5", "--json")
    assert lightpool(*split, "--pool", pool).json == lightpool(*split, "--min-distance", 0.25).json


def test_an_empty_pool_cannot_be_divided(lightpool, tmp_path):
    lightpool("init", "--pool", tmp_path / "pool", "--embedder", "gist")
    assert "there are no samples to divide" in lightpool.fails("select", "--pool", tmp_path / "pool", "--split", "a=1")
