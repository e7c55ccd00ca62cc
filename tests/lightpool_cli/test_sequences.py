"""Sequences of frames, from the command line: whole clips join, and are told about as clips."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from lightpool_core import Datapool

ALL = ("--fps", "all", "--min-distance", -1, "--n-samples", 1.0)


@pytest.fixture
def inbox(videos, draw, tmp_path):
    """Two videos of 30 frames, of which some look the same as the one before, and a picture."""
    (tmp_path / "in").mkdir()
    for name in ("fractal", "test"):
        shutil.copy2(videos[name], tmp_path / "in")
    draw(tmp_path / "in" / "a.png", 70)
    return tmp_path / "in"


@pytest.fixture
def clips(lightpool, inbox, tmp_path):
    """A pool of clips of four frames, and the report of its run."""
    command = ("--input", inbox, "--fps", "all", "--n-samples", 18, "--sequence-length", 4)
    return tmp_path / "pool", lightpool.append(tmp_path / "pool", *command)


def told(folder):
    return json.loads((folder / "sequence_information.json").read_text(encoding="utf-8"))


def test_whole_clips_join(clips, csv_of):
    pool, report = clips
    names, _, _ = csv_of(pool)
    assert (report["samples"]["selected"], report["sequence_length"]) == (16, 4)
    table = Datapool.open(pool).columns("source", "frame", "distance").to_pylist()
    decisions = parquet.read_table(pool / "runs" / report["run"] / "decisions.parquet").to_pylist()
    looked_at = {}
    for row in decisions:
        looked_at.setdefault(row["source"], []).append(row["filename"])
    for start in range(0, 16, 4):
        four = table[start : start + 4]
        assert len({row["source"] for row in four}) == 1
        assert len({row["distance"] for row in four}) == 1
        of_video = looked_at[four[0]["source"]]
        first = of_video.index(names[start])
        assert first % 4 == 0
        assert of_video[first : first + 4] == names[start : start + 4]


def test_the_run_tells_of_its_sequences_as_lightly_does(clips):
    pool, report = clips
    information = told(pool / "runs" / report["run"])
    assert [name for clip in information for name in clip["frame_names"]] == Datapool.open(pool).filenames
    for clip in information:
        assert list(clip) == [
            "video_name", "frame_names", "frame_timestamps_pts", "frame_timestamps_sec", "frame_indices",
        ]  # fmt: skip
        assert clip["video_name"] in {"fractal.mp4", "test.mp4"}
        assert clip["frame_timestamps_sec"] == pytest.approx([index / 10 for index in clip["frame_indices"]])
        assert clip["frame_timestamps_pts"] == [round(1e6 * time) for time in clip["frame_timestamps_sec"]]


def test_with_an_output_folder_it_lies_there_as_well(lightpool, clips, videos, tmp_path):
    pool, _ = clips
    shutil.copy2(videos["game"], tmp_path / "in")
    report = lightpool.append(pool, "--n-samples", 4, "--output", tmp_path / "out")
    (clip,) = told(tmp_path / "out")
    assert clip == told(pool / "runs" / report["run"])[0]
    assert all(Image.open(tmp_path / "out" / name).size == (64, 48) for name in clip["frame_names"])


def test_pictures_and_what_is_left_of_a_video_are_rejected_with_that_reason(lightpool, clips):
    pool, report = clips
    samples = report["samples"]
    assert samples["candidates"] == samples["selected"] + samples["rejected"]
    show = ("history", "show", 1, "--pool", pool, "--why")
    line = "a.png: not chosen: it is in no whole sequence of 4 frames\n"
    assert lightpool(*show, "a.png").out == line
    answer = lightpool(*show, "a.png", "--json").json
    assert (answer["because"], answer["sequence"], answer["sequence_length"]) == ("sequence", None, 4)


def test_why_tells_of_frames_with_their_sequences(lightpool, clips):
    pool, report = clips
    names = Datapool.open(pool).filenames
    show = ("history", "show", 1, "--pool", pool, "--why")
    sentence = lightpool(*show, names[6]).out
    assert f"{names[6]}: chosen with its sequence, which begins with {names[4]}, as number 7 of 16" in sentence
    decisions = parquet.read_table(pool / "runs" / report["run"] / "decisions.parquet").to_pylist()
    left = next(row for row in decisions if row["decision"] == "rejected" and row["sequence"])
    sentence = lightpool(*show, left["filename"]).out
    assert f"not chosen: its sequence, which begins with {left['sequence']}, is " in sentence
    assert f"from {left['nearest']}, kept in version 1; n_samples was 18, and 16 were chosen before it" in sentence
    assert left["nearest"] in names[::4]
    shutil.rmtree(pool / "runs")
    assert "chosen as number 7 of 16" in lightpool(*show, names[6]).out


def test_min_distance_holds_between_clips_and_not_inside_of_them(lightpool, inbox, tmp_path):
    everything, pool = tmp_path / "all", tmp_path / "pool"
    command = ("--input", inbox, "--fps", "all", "--sequence-length", 3)
    lightpool.append(everything, *command, "--n-samples", 1.0)
    report = lightpool.append(pool, *command, "--min-distance", 0.3)
    rows = Datapool.open(pool).embeddings.astype(np.float64)
    means = rows.reshape(-1, 3, rows.shape[1]).mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    apart = np.linalg.norm(means[:, None] - means[None], axis=2) + 9 * np.eye(len(means))
    assert 0 < report["samples"]["selected"] < len(Datapool.open(everything))
    assert apart.min() >= 0.3 - 1e-6
    assert min(np.linalg.norm(rows[0] - rows[1]), np.linalg.norm(rows[1] - rows[2])) < 0.3
    shown = lightpool("history", "show", 1, "--pool", pool, "--why", left_out(pool, report)).out
    assert "min_distance was 0.3" in shown


def left_out(pool, report):
    decisions = parquet.read_table(pool / "runs" / report["run"] / "decisions.parquet").to_pylist()
    return next(row["filename"] for row in decisions if row["decision"] == "rejected" and row["sequence"])


def test_appending_twice_is_appending_once(lightpool, clips, tree):
    pool, _ = clips
    before = tree(pool)
    assert lightpool.append(pool)["samples"]["candidates"] == 0
    assert tree(pool) == before
    again = lightpool.append(pool, "--process-all", "--n-samples", 1.0)
    names = Datapool.open(pool).filenames
    assert len(names) == len(set(names)) == 16 + again["samples"]["selected"]


def test_a_delivery_without_a_whole_clip_adds_nothing(lightpool, draw, tmp_path):
    draw(tmp_path / "in" / "a.png", 70)
    report = lightpool.append(tmp_path / "pool", "--input", tmp_path / "in", "--sequence-length", 4)
    assert (report["samples"]["selected"], report["samples"]["rejected"]) == (0, 1)
    assert told(tmp_path / "pool" / "runs" / report["run"]) == []
    done = lightpool("append", "--pool", tmp_path / "pool", "--process-all")
    assert "no video has 4 frames in a row" in " ".join(done.out.split())


# Picking


def test_clips_of_raw_input_are_picked(lightpool, clips, inbox, tmp_path):
    pool, _ = clips
    command = ("select", "--input", inbox, "--embedder", "gist", "--fps", "all", "--n-samples", 18)
    assert lightpool(*command, "--sequence-length", 4).lines == Datapool.open(pool).filenames


def test_clips_of_a_pool_and_of_a_file_are_picked_by_the_names_of_frames(lightpool, inbox, tmp_path):
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, *ALL)
    lightpool("select", "--pool", pool, "--output", tmp_path / "all.csv", "--quiet")
    picked = ("--sequence-length", 5, "--n-samples", 10, "--json")
    of_pool = lightpool("select", "--pool", pool, *picked).json
    of_file = lightpool("select", "--embeddings", tmp_path / "all.csv", *picked).json
    assert of_pool == of_file
    assert len(of_pool["selected"]) == 10
    assert len({name.rpartition("-")[0].rpartition("-")[0] for name in of_pool["selected"][:5]}) == 1
    assert of_pool["selected"][:5] == sorted(of_pool["selected"][:5])
    assert of_pool["distances"][:5] == [None] * 5


def test_a_pool_of_clips_is_picked_from_by_frames_unless_asked(lightpool, clips):
    pool, _ = clips
    assert len(lightpool("select", "--pool", pool, "--n-samples", 3).lines) == 3


def test_a_file_without_frames_is_refused(lightpool, tmp_path):
    np.save(tmp_path / "f.npy", np.eye(3))
    message = lightpool.fails("select", "--embeddings", tmp_path / "f.npy", "--sequence-length", 2)
    assert "no video has so many frames among the 3 candidates" in message


def test_raw_input_without_a_whole_clip_is_refused(lightpool, draw, inbox, tmp_path):
    draw(tmp_path / "flat" / "a.png", 70)
    command = ("select", "--embedder", "gist", "--sequence-length", 4)
    said = "--sequence-length 4: no video has so many frames among the 1 candidates; a higher --fps takes more"
    assert said in lightpool.fails(*command, "--input", tmp_path / "flat")
    videos = lightpool.fails(*command, "--input", inbox, "--sequence-length", 1000)
    assert "--sequence-length 1000: no video has so many frames" in videos


def test_the_curve_of_clips_counts_frames(lightpool, inbox):
    command = ("select", "--input", inbox, "--embedder", "gist", "--fps", "all", "--sequence-length", 4, "--curve")
    curve = lightpool(*command, "--json").json
    steps = curve["min_distance"]
    assert len(steps) == curve["candidates"]
    assert len(steps) % 4 == 0
    assert steps[::4] == steps[3::4]
