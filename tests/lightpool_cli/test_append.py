from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightpool_core import Datapool
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.pool.ledger import Ledger
from lightpool_core.pool.runs import Run

GOLDEN = Path(__file__).parents[1] / "golden"
REAL = Path(__file__).parents[2].parent / "shared" / "data"


def closest_pairs(new: np.ndarray, all_rows: np.ndarray) -> np.ndarray:
    """For each of the last rows `new` of `all_rows` the distance to its nearest other row, by brute force."""
    a, b = new.astype(np.float64), all_rows.astype(np.float64)
    distances = np.array([np.linalg.norm(b - row, axis=1) for row in a]).reshape(len(a), len(b))
    first = len(b) - len(a)
    distances[np.arange(len(a)), first + np.arange(len(a))] = np.inf
    return distances.min(axis=1)


def adds_up(report: dict) -> None:
    sources, samples = report["sources"], report["samples"]
    assert sources["found"] == sources["skipped"] + sources["new"]
    assert sources["new"] == sources["processed"] + sources["duplicates"] + sources["corrupt"]
    assert samples["decoded"] == samples["candidates"] + samples["duplicates"]
    assert samples["candidates"] == samples["selected"] + samples["rejected"]


def run_list(pool: Path, report: dict, kind: str) -> list[str]:
    path = pool / "runs" / report["run"] / "filenames" / f"{kind}_filenames.txt"
    return path.read_text(encoding="utf-8").splitlines()


def decoded(video: Path, index: int) -> np.ndarray:
    """Frame `index`, asked for from ffmpeg directly."""
    pick = ["-vf", f"select=eq(n\\,{index})", "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"]
    command = [ffmpeg_command(), "-nostdin", "-loglevel", "error", "-i", str(video), *pick]
    ppm = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(ppm[-64 * 48 * 3 :], dtype=np.uint8).reshape(48, 64, 3)


# The story


def test_three_then_five_videos_by_the_same_command(lightpool, videos, tmp_path, csv_of):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    inbox.mkdir()
    for name in ("bars", "fractal", "test"):
        shutil.copy2(videos[name], inbox)
    command = ("--input", inbox, "--fps", 5, "--min-distance", 0.15)
    first = lightpool.append(pool, *command)
    adds_up(first)
    assert (first["version"], first["sources"]["new"], first["sources"]["skipped"]) == (1, 3, 0)
    before = csv_of(pool)[0]

    for name in ("game", "sweep"):
        shutil.copy2(videos[name], inbox)
    second = lightpool("append", "--pool", pool, *command, "--json").json
    adds_up(second)
    assert (second["version"], second["sources"]["new"], second["sources"]["skipped"]) == (2, 2, 3)
    assert second["samples"]["decoded"] == 30
    names, rows, _ = csv_of(pool)
    assert names[: len(before)] == before
    assert len(names) == second["pool_size"] == len(before) + second["samples"]["selected"]
    assert {name.split("-")[0] for name in names[len(before) :]} == {"game", "sweep"}
    for start in (0, len(before)):
        added = closest_pairs(rows[start:], rows)
        assert added.min() >= 0.15

    third = lightpool("append", "--pool", pool, *command)
    assert "nothing new" in third.out
    assert Datapool.open(pool).version.number == 2
    bare = lightpool.append(pool)
    assert (bare["version"], bare["sources"]["new"], bare["samples"]["selected"]) == (2, 0, 0)


def test_rejected_frames_have_a_kept_neighbour_closer_than_min_distance(lightpool, videos, tmp_path, csv_of):
    lightpool.append(tmp_path / "kept", "--input", videos["test"], "--fps", "all", "--min-distance", 0.2)
    lightpool.append(tmp_path / "all", "--input", videos["test"], "--fps", "all", "--min-distance", 0)
    names, kept, _ = csv_of(tmp_path / "kept")
    all_names, rows, _ = csv_of(tmp_path / "all")
    assert 0 < len(names) < len(all_names)
    for name, row in zip(all_names, rows.astype(np.float64), strict=True):
        if name not in names:
            assert np.linalg.norm(kept.astype(np.float64) - row, axis=1).min() < 0.2


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data is not there")
def test_the_real_videos_three_then_five(lightpool, tmp_path, csv_of):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    inbox.mkdir()
    for name in ("bottle-detection", "cups", "coffee"):
        (inbox / f"{name}.mp4").symlink_to(REAL / "videos" / f"{name}.mp4")
    options = ("--embedder", "gist", "--fps", 0.2, "--follow-links", "--json")
    command = ("append", "--pool", pool, "--input", inbox, *options)
    first = lightpool(*command).json
    assert (first["sources"]["new"], first["version"]) == (3, 1)
    for name in ("car-detection", "one-by-one-person-detection"):
        (inbox / f"{name}.mp4").symlink_to(REAL / "videos" / f"{name}.mp4")
    second = lightpool(*command).json
    assert (second["sources"]["new"], second["sources"]["skipped"], second["version"]) == (2, 3, 2)
    assert second["min_distance_from"] == "embedder"
    rows = csv_of(pool)[1]
    assert closest_pairs(rows[first["pool_size"] :], rows).min() >= second["min_distance"]
    assert closest_pairs(rows, rows).min() >= second["min_distance"]
    third = lightpool(*command).json
    assert (third["sources"]["new"], third["version"], third["samples"]["selected"]) == (0, 2, 0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data is not there")
def test_the_real_photos_enter_once_and_the_broken_one_is_reported(lightpool, tmp_path):
    report = lightpool.append(tmp_path / "pool", "--input", REAL / "neardup")
    adds_up(report)
    assert report["sources"]["corrupt"] == len(report["corrupt"]) >= 1
    assert report["samples"]["selected"] >= 10
    again = lightpool.append(tmp_path / "pool")
    assert (again["sources"]["new"], again["version"]) == (0, 1)


# What a run looks at


def test_process_all_looks_at_everything_and_adds_nothing(lightpool, pool):
    report = lightpool.append(pool, "--process-all")
    adds_up(report)
    assert (report["sources"]["skipped"], report["sources"]["processed"]) == (0, 8)
    assert (report["version"], report["samples"]["selected"]) == (2, 0)
    assert lightpool.append(pool)["sources"]["new"] == 0


def test_a_run_that_selects_nothing_records_its_sources(lightpool, pool, grown, draw, tmp_path):
    near = draw(tmp_path / "more" / "near.png", 0, size=(128, 96))
    report = lightpool.append(pool, "--input", near.parent)
    adds_up(report)
    assert (report["sources"]["processed"], report["samples"]["selected"], report["version"]) == (1, 0, 2)
    assert run_list(pool, report, "removed") == ["near.png"]
    assert lightpool.append(pool, "--input", near.parent)["sources"]["new"] == 0


def test_renamed_and_copied_files_are_recognised(lightpool, draw, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    a, b = draw(inbox / "a.png", 1), draw(inbox / "b.png", 2)
    lightpool.append(pool, "--input", inbox)
    a.rename(inbox / "sub-a.png")
    shutil.copy(b, inbox / "copy.png")
    report = lightpool.append(pool)
    adds_up(report)
    assert (report["sources"]["duplicates"], report["samples"]["decoded"], report["version"]) == (2, 0, 1)
    assert run_list(pool, report, "duplicate") == ["copy.png", "sub-a.png"]
    assert lightpool.append(pool)["sources"]["new"] == 0


def test_copies_of_a_video_are_recognised(lightpool, videos, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(videos["game"], tmp_path / "in" / "one.mp4")
    shutil.copy(videos["game"], tmp_path / "in" / "two.mp4")
    report = lightpool.append(tmp_path / "pool", "--input", tmp_path / "in")
    assert (report["sources"]["processed"], report["sources"]["duplicates"]) == (1, 1)


@pytest.mark.parametrize("together", [True, False])
def test_the_same_pixels_in_another_format_enter_once(lightpool, draw, tmp_path, together):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "a.png", 1)
    if not together:
        lightpool.append(pool, "--input", inbox, "--min-distance", 0)
    draw(inbox / "b.bmp", 1)
    report = lightpool.append(pool, "--input", inbox, "--min-distance", 0)
    adds_up(report)
    assert report["pool_size"] == 1
    assert (report["sources"]["duplicates"], report["samples"]["duplicates"]) == (1, 1)
    assert run_list(pool, report, "duplicate") == ["b.bmp"]


def test_a_touched_file_is_skipped(lightpool, draw, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    files = [draw(inbox / f"{seed}.png", seed) for seed in range(2)]
    lightpool.append(pool, "--input", inbox)
    os.utime(files[0], ns=(1, 1))
    report = lightpool.append(pool)
    adds_up(report)
    assert (report["sources"]["new"], report["sources"]["skipped"], report["version"]) == (0, 2, 1)


def test_a_touched_copy_is_skipped(lightpool, draw, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "a.png", 1)
    copy = draw(inbox / "b.png", 1)
    lightpool.append(pool, "--input", inbox)
    os.utime(copy, ns=(1, 1))
    assert lightpool.append(pool)["sources"]["new"] == 0


def test_changed_content_is_new_under_a_distinct_name(lightpool, draw, tmp_path, csv_of):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "a.png", 1)
    lightpool.append(pool, "--input", inbox)
    draw(inbox / "a.png", 2)
    report = lightpool.append(pool)
    assert (report["sources"]["processed"], report["samples"]["selected"]) == (1, 1)
    assert csv_of(pool)[0] == ["a.png", "in/a.png"]
    draw(inbox / "a.png", 3)
    assert lightpool.append(pool)["samples"]["selected"] == 1
    assert len(set(csv_of(pool)[0])) == 3


def test_a_second_input_with_the_same_path_gets_its_folders_name(lightpool, draw, tmp_path, csv_of):
    pool = tmp_path / "pool"
    draw(tmp_path / "monday" / "sub" / "a.png", 1)
    draw(tmp_path / "tuesday" / "sub" / "a.png", 2)
    lightpool.append(pool, "--input", tmp_path / "monday")
    lightpool.append(pool, "--input", tmp_path / "tuesday")
    assert csv_of(pool)[0] == ["sub/a.png", "tuesday/sub/a.png"]
    both = tmp_path / "both"
    lightpool.append(both, "--input", tmp_path / "monday", "--input", tmp_path / "tuesday")
    assert sorted(csv_of(both)[0]) == ["sub/a.png", "tuesday/sub/a.png"]


def test_combining_two_datasets_is_appending_the_second(lightpool, draw, tmp_path, csv_of):
    for seed in range(6):
        draw(tmp_path / "ab"[seed % 2] / f"{seed}.png", seed)
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    lightpool.append(parts, "--input", tmp_path / "a", "--min-distance", 0)
    lightpool.append(parts, "--input", tmp_path / "b")
    lightpool.append(whole, "--input", tmp_path / "a", "--input", tmp_path / "b", "--min-distance", 0)
    assert sorted(csv_of(parts)[0]) == sorted(csv_of(whole)[0]) == [f"{seed}.png" for seed in range(6)]
    rows = [dict(zip(names, vectors.tolist(), strict=True)) for names, vectors, _ in map(csv_of, (parts, whole))]
    assert rows[0] == rows[1]


def test_a_list_of_filenames_narrows_the_input(lightpool, grown, tmp_path, csv_of):
    (tmp_path / "list.txt").write_text("first/1.png\n\nfirst/2.png\n", encoding="utf-8")
    report = lightpool.append(tmp_path / "pool", "--input", grown / "in", "--filenames", tmp_path / "list.txt")
    assert report["sources"]["found"] == 2
    assert sorted(csv_of(tmp_path / "pool")[0]) == ["first/1.png", "first/2.png"]


# What cannot be read


def test_corrupt_files_are_counted_listed_and_not_tried_again(lightpool, draw, videos, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "good.png", 1)
    (inbox / "bad.png").write_bytes(b"no picture")
    (inbox / "empty.jpg").touch()
    (inbox / "empty2.jpg").touch()
    (inbox / "bad.mp4").write_bytes(videos["test"].read_bytes()[:200])
    report = lightpool.append(pool, "--input", inbox)
    adds_up(report)
    assert (report["sources"]["corrupt"], report["sources"]["processed"], report["pool_size"]) == (4, 1, 1)
    names = ["bad.mp4", "bad.png", "empty.jpg", "empty2.jpg"]
    assert sorted(run_list(pool, report, "corrupt")) == names
    assert sorted(problem["filename"] for problem in report["corrupt"]) == names
    assert all(problem["reason"] for problem in report["corrupt"])
    again = lightpool.append(pool)
    assert (again["sources"]["new"], again["sources"]["skipped"]) == (0, 5)


def test_a_mended_file_is_new(lightpool, draw, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "a.png", 1)
    (inbox / "b.png").write_bytes(b"half")
    lightpool.append(pool, "--input", inbox)
    draw(inbox / "b.png", 2)
    assert lightpool.append(pool)["samples"]["selected"] == 1


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_unreadable_files_are_tried_again(lightpool, draw, tmp_path):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "a.png", 1)
    (inbox / "b.png").symlink_to("/proc/self/mem")
    for _ in range(2):
        report = lightpool.append(pool, "--input", inbox, "--follow-links")
        adds_up(report)
        assert report["sources"]["corrupt"] == 1
        assert "cannot be read" in report["corrupt"][0]["reason"]
    (inbox / "b.png").unlink()
    draw(inbox / "b.png", 2)
    assert lightpool.append(pool)["samples"]["selected"] == 1


# Dry runs


def test_a_dry_run_changes_no_byte(lightpool, pool, draw, tmp_path, tree):
    draw(tmp_path / "more" / "new.png", 50)
    before = tree(pool)
    report = lightpool.append(pool, "--input", tmp_path / "more", "--dry-run")
    adds_up(report)
    assert (report["dry_run"], report["samples"]["selected"], report["run"]) == (True, 1, "")
    assert tree(pool) == before
    assert "nothing was written" in lightpool("append", "--pool", pool, "--dry-run").out
    assert tree(pool) == before
    assert lightpool.append(pool, "--input", tmp_path / "more")["samples"] == report["samples"]


def test_a_dry_run_without_a_pool_makes_none(lightpool, grown, tmp_path):
    pool = tmp_path / "deep" / "pool"
    report = lightpool.append(pool, "--input", grown / "in", "--dry-run")
    assert report["samples"]["selected"] > 0
    assert report["pool"] == str(pool)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_is_refused_where_the_run_would_be(lightpool, grown, tmp_path):
    (tmp_path / "file").touch()
    message = lightpool.fails(
        "append", "--pool", tmp_path / "file", "--input", grown / "in", "--embedder", "gist", "--dry-run"
    )
    assert "is no datapool" in message


# What is written


def test_output_holds_the_new_samples_as_images(lightpool, videos, draw, tmp_path, csv_of):
    inbox, pool, out = tmp_path / "in", tmp_path / "pool", tmp_path / "out"
    draw(inbox / "old.png", 1)
    lightpool.append(pool, "--input", inbox)
    draw(inbox / "sub" / "new.png", 2)
    video = Path(shutil.copy2(videos["test"], inbox / "sub"))
    report = lightpool.append(pool, "--output", out, "--fps", 5, "--min-distance", 0.05)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == set(csv_of(pool)[0]) - {"old.png"}
    assert len(written) == report["samples"]["selected"] > 2
    frames = [name for name in written if "mp4" in name]
    for name in frames:
        with Image.open(out / name) as image:
            index = int(name.split("-")[1])
            assert np.array_equal(np.asarray(image), decoded(video, index))
    assert (out / "sub" / "new.png").read_bytes() == (inbox / "sub" / "new.png").read_bytes()


def test_frame_names_follow_the_lightly_rule(lightpool, videos, tmp_path, csv_of):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    shutil.copy2(videos["test"], tmp_path / "in" / "sub" / "my.clip.mp4")
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", tmp_path / "in", "--fps", 1, "--min-distance", 0)
    assert sorted(csv_of(pool)[0]) == [f"sub/my.clip-{n}-mp4.png" for n in ("00", "10", "20")]
    frame = Datapool.open(pool).to_frame().sort_values("frame")
    assert frame["frame"].tolist() == [0, 10, 20]
    assert frame["time"].tolist() == pytest.approx([0, 1, 2])


def test_labels_stand_for_subfolders_and_videos_and_last(lightpool, videos, draw, tmp_path, csv_of):
    inbox, pool = tmp_path / "in", tmp_path / "pool"
    draw(inbox / "flat.png", 1)
    draw(inbox / "b" / "x.png", 2)
    draw(inbox / "b" / "deep" / "y.png", 3)
    shutil.copy2(videos["test"], inbox)
    lightpool.append(pool, "--input", inbox, "--min-distance", 0)
    labels = dict(zip(*csv_of(pool)[::2], strict=True))
    assert labels["flat.png"] == 0
    assert labels["b/x.png"] == labels["b/deep/y.png"] != 0
    assert labels["test-00-mp4.png"] == labels["test-10-mp4.png"] not in (0, labels["b/x.png"])
    mapping = Datapool.open(pool).label_names
    draw(inbox / "a" / "z.png", 4)
    draw(inbox / "b" / "w.png", 5)
    lightpool.append(pool)
    later = Datapool.open(pool).label_names
    assert later == {**mapping, "a": max(mapping.values()) + 1}
    now = dict(zip(*csv_of(pool)[::2], strict=True))
    assert {**now, **labels} == now
    assert now["b/w.png"] == mapping["b"]


def test_the_order_in_which_files_arrive_changes_nothing(lightpool, videos, draw, tmp_path):
    answers = set()
    for seed in range(2):
        inbox, pool = tmp_path / f"{seed}" / "in", tmp_path / f"{seed}" / "pool"
        order = list(range(6))
        random.Random(seed).shuffle(order)
        for position, n in enumerate(order):
            made = draw(inbox / f"{n % 3}" / f"{n}.png", n) if n else inbox / "v.mp4"
            if not n:
                inbox.mkdir(parents=True, exist_ok=True)
                shutil.copy2(videos["game"], made)
            os.utime(made, (position, position))
        lightpool.append(pool, "--input", inbox)
        answers.add((pool / "datapool_latest.csv").read_bytes())
    assert len(answers) == 1


def test_the_csv_is_the_pool_bit_for_bit(pool, csv_of):
    import pandas as pd

    names, rows, labels = csv_of(pool)
    datapool = Datapool.open(pool)
    assert names == datapool.filenames
    assert rows.tobytes() == datapool.embeddings.tobytes()
    assert labels == datapool.labels.tolist()
    frame = pd.read_csv(pool / "datapool_latest.csv", dtype={f"embedding_{i}": "float32" for i in range(datapool.dim)})
    assert frame.iloc[:, 1:-1].to_numpy(np.float32).tobytes() == rows.tobytes()
    header = (pool / "datapool_latest.csv").read_text(encoding="utf-8").partition("\n")[0]
    assert header == (GOLDEN / "csv_header.txt").read_text(encoding="utf-8").strip()


def test_the_report_has_the_promised_keys(lightpool, pool, grown):
    def keys(value, path=""):
        if isinstance(value, dict) and path not in (".seconds", ".max_per"):
            return [line for key, inner in value.items() for line in keys(inner, f"{path}.{key}")]
        return [path[1:]]

    promised = (GOLDEN / "report_keys.txt").read_text(encoding="utf-8").split()
    assert keys(lightpool.append(pool, "--dry-run")) == promised
    stored = [json.loads(path.read_text(encoding="utf-8")) for path in pool.glob("runs/*/report.json")]
    assert len(stored) == 2
    for report in stored:
        assert keys(report) == promised
        adds_up(report)
        assert all(seconds >= 0 for seconds in report["seconds"].values())
        assert {"listing", "comparing", "embedding", "selecting"} <= set(report["seconds"])


# Settings


def test_append_makes_the_pool_with_its_options_as_settings(lightpool, grown, tmp_path):
    pool = tmp_path / "pool"
    options = ("--input", grown / "in", "--sampler", "random", "--n-samples", 3, "--fps", 2, "--seed", 5)
    assert lightpool.append(pool, *options)["samples"]["selected"] == 3
    info = lightpool("info", "--pool", pool, "--json").json
    assert (info["sampler"], info["n_samples"], info["min_distance"], info["fps"]) == ("random", 3, None, 2)
    assert (info["embedder"], info["inputs"], info["keep_history"]) == ("gist", [str(grown / "in")], True)
    assert "seed = 5" in (pool / "datapool.toml").read_text(encoding="utf-8")


def test_options_hold_for_one_run_only(lightpool, pool, draw, tmp_path):
    settings = (pool / "datapool.toml").read_bytes()
    for seed in range(20, 24):
        draw(tmp_path / "more" / f"{seed}.png", seed)
    more = ("--input", tmp_path / "more")
    report = lightpool.append(pool, *more, "--n-samples", 2, "--sampler", "random")
    assert (report["n_samples"], report["min_distance"], report["sampler"]) == (2, 0.1, "random")
    assert report["samples"]["selected"] == 2
    assert (pool / "datapool.toml").read_bytes() == settings
    bare = lightpool.append(pool)
    assert (bare["n_samples"], bare["min_distance"], bare["sampler"]) == (None, 0.1, "diversity")


def test_minus_one_switches_a_stopping_condition_off(lightpool, pool, tmp_path, grown):
    off = lightpool.append(pool, "--min-distance", -1, "--dry-run")
    assert (off["min_distance"], off["min_distance_from"]) == (0.25, "embedder")
    report = lightpool.append(pool, "--min-distance", -1, "--n-samples", "1.0", "--dry-run", "--process-all")
    assert (report["min_distance"], report["n_samples"], report["min_distance_from"]) == (None, 1.0, "settings")
    made = tmp_path / "made"
    lightpool("init", "--pool", made, "--embedder", "gist", "--n-samples", "-1", "--min-distance", "-1")
    assert lightpool.append(made, "--input", grown / "in" / "first")["min_distance"] == 0.25


@pytest.mark.parametrize(("n_samples", "chosen"), [("0", 0), ("1", 1), ("1.", 6), ("0.5", 3)])
def test_n_samples_is_a_count_or_a_fraction(lightpool, draw, tmp_path, n_samples, chosen):
    for seed in range(6):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    report = lightpool.append(tmp_path / "pool", "--input", tmp_path / "in", "--n-samples", n_samples)
    assert report["samples"]["selected"] == chosen


def test_fewer_samples_are_a_prefix_of_more(lightpool, grown, tmp_path, csv_of):
    few, many = tmp_path / "few", tmp_path / "many"
    lightpool.append(few, "--input", grown / "in" / "first", "--n-samples", 2)
    lightpool.append(many, "--input", grown / "in" / "first", "--n-samples", 4)
    assert csv_of(many)[0][:2] == csv_of(few)[0]


def test_no_keep_history_leaves_the_newest_version(lightpool, pool, draw, tmp_path):
    draw(tmp_path / "more" / "a.png", 77)
    lightpool.append(pool, "--input", tmp_path / "more", "--no-keep-history")
    assert [version["number"] for version in lightpool("history", "list", "--pool", pool, "--json").json] == [3]
    draw(tmp_path / "more" / "b.png", 78)
    lightpool.append(pool, "--input", tmp_path / "more")
    assert [version["number"] for version in lightpool("history", "list", "--pool", pool, "--json").json] == [3, 4]


def test_a_pool_inside_its_own_input_is_not_eaten(lightpool, draw, tmp_path):
    draw(tmp_path / "in" / "a.png", 1)
    pool = tmp_path / "in" / "pool"
    lightpool.append(pool, "--input", tmp_path / "in")
    draw(pool / "runs" / "picture.png", 2)
    draw(tmp_path / "in" / "b.png", 3)
    assert lightpool.append(pool)["sources"]["found"] == 2


def test_the_pool_may_come_from_the_environment(lightpool, pool, monkeypatch):
    monkeypatch.setenv("LIGHTPOOL_POOL", str(pool))
    assert lightpool("append", "--json").json["pool"] == str(pool)


def test_quiet_says_nothing(lightpool, pool):
    done = lightpool("append", "--pool", pool, "--quiet")
    assert (done.out, done.err) == ("", "")


def test_a_relative_input_holds_from_anywhere(lightpool, draw, tmp_path, monkeypatch):
    draw(tmp_path / "in" / "a.png", 1)
    monkeypatch.chdir(tmp_path)
    lightpool.append(Path("pool"), "--input", "in")
    monkeypatch.chdir("/")
    assert lightpool.append(tmp_path / "pool")["sources"] == {
        "found": 1, "skipped": 1, "new": 0, "processed": 0, "duplicates": 0, "corrupt": 0,
    }  # fmt: skip


# Cut off anywhere


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product may catch it."""


def cut(monkeypatch, owner, name):
    """Let the next call of a method be the last thing that the process does."""
    whole = getattr(owner, name)

    def killed(*args, **kwargs):
        monkeypatch.setattr(owner, name, whole)
        raise Killed

    monkeypatch.setattr(owner, name, killed)


def without_journals(tree):
    """`tree` of a pool but for the embeddings that runs which were cut off leave to the next run."""
    cut_off = {path.removesuffix("/journal") for path in tree if path.endswith("/journal")}
    left = {path for path in tree if path.split("/journal")[0] in cut_off}
    return {path: digest for path, digest in tree.items() if path not in left}


def killed_append(monkeypatch, pool, inbox):
    from lightpool_core import Overrides, append

    with pytest.raises(Killed):
        append(pool, Overrides(inputs=(inbox,)))


@pytest.fixture
def delivery(draw, tmp_path):
    for seed in (60, 61):
        draw(tmp_path / "more" / f"{seed}.png", seed)
    return tmp_path / "more"


@pytest.mark.parametrize(("owner", "step"), [(Ledger, "record_rows"), (Run, "settle")])
def test_killed_between_samples_and_views_is_repaired(lightpool, pool, delivery, monkeypatch, csv_of, owner, step):
    cut(monkeypatch, owner, step)
    killed_append(monkeypatch, pool, delivery)
    report = lightpool.append(pool, "--input", delivery)
    assert (report["version"], report["sources"]["new"], report["samples"]["selected"]) == (3, 0, 0)
    names = csv_of(pool)[0]
    assert len(names) == len(set(names)) == report["pool_size"]
    assert sorted(names[-2:]) == ["60.png", "61.png"]
    assert not list(pool.glob("runs/*/pending*"))
    assert lightpool.append(pool, "--input", delivery, "--process-all")["samples"]["selected"] == 0


def test_killed_before_the_samples_leaves_the_old_version(lightpool, pool, delivery, monkeypatch, csv_of, tree):
    before = tree(pool)
    cut(monkeypatch, Datapool, "commit")
    killed_append(monkeypatch, pool, delivery)
    assert Datapool.open(pool).version.number == 2
    lightpool.append(pool)
    assert without_journals(tree(pool)) == before
    assert lightpool.append(pool, "--input", delivery)["samples"]["selected"] == 2
    assert without_journals(tree(pool)) == tree(pool)


def test_killed_and_then_restored_keeps_every_version_restorable(lightpool, pool, delivery, monkeypatch, csv_of):
    cut(monkeypatch, Ledger, "record_rows")
    killed_append(monkeypatch, pool, delivery)
    lightpool("history", "restore", 1, "--pool", pool)
    lightpool("history", "restore", 3, "--pool", pool)
    assert {"60.png", "61.png"} <= set(csv_of(pool)[0])
    assert lightpool.append(pool, "--input", delivery)["sources"]["new"] == 0


def test_killed_in_a_restore_is_repaired(lightpool, pool, monkeypatch, csv_of):
    first = set(Datapool.open(pool, 1).filenames)
    cut(monkeypatch, Ledger, "restore")
    with pytest.raises(Killed):
        Datapool.open(pool).restore(1)
    report = lightpool.append(pool)
    assert report["sources"]["new"] == 3
    assert first < set(csv_of(pool)[0])
    assert report["version"] == 4


@pytest.mark.parametrize("name", ["datapool_latest.csv", "checkpoint_latest.ckpt"])
@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_views_are_rebuilt_by_the_next_append(lightpool, pool, delivery, name, how):
    whole = (pool / name).read_bytes()
    (pool / name).unlink()
    if how == "changed":
        (pool / name).write_bytes(whole[:100])
    lightpool.append(pool)
    assert (pool / name).exists()
    assert name != "datapool_latest.csv" or (pool / name).read_bytes() == whole
    assert lightpool.append(pool, "--input", delivery)["samples"]["selected"] == 2
    assert len((pool / name).read_bytes()) > 100


def test_csv_false_leaves_the_view_out(lightpool, pool, delivery):
    settings = (pool / "datapool.toml").read_text(encoding="utf-8").replace("csv = true", "csv = false")
    (pool / "datapool.toml").write_text(settings, encoding="utf-8")
    assert lightpool.append(pool, "--input", delivery)["samples"]["selected"] == 2
    assert not (pool / "datapool_latest.csv").exists()


def test_a_name_that_is_not_utf_8_stops_nothing(lightpool, tmp_path, draw):
    draw(tmp_path / "in" / "a.png", 1)
    (tmp_path / "in" / "a.png").rename(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.png"))
    pool = tmp_path / "pool"
    assert lightpool.append(pool, "--input", tmp_path / "in", "--embedder", "gist")["samples"]["selected"] == 1
    assert lightpool.append(pool)["sources"]["skipped"] == 1


def test_a_picture_under_the_name_of_a_video_is_read_once_it_has_its_own(lightpool, tmp_path, draw):
    image = draw(tmp_path / "in" / "a.png", 1)
    image.rename(image.with_suffix(".mp4"))
    pool = tmp_path / "pool"
    assert lightpool.append(pool, "--input", tmp_path / "in", "--embedder", "gist")["sources"]["corrupt"] == 1
    image.with_suffix(".mp4").rename(image)
    assert lightpool.append(pool)["samples"]["selected"] == 1


def test_a_pool_is_not_made_with_settings_that_cannot_work(lightpool, tmp_path):
    inbox, pool, config = tmp_path / "in", tmp_path / "pool", tmp_path / "config.json"
    inbox.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(inbox / "a.png")
    similar = {"input": {"type": "EMBEDDINGS", "text": "a red truck"}, "strategy": {"type": "SIMILARITY"}}
    config.write_text(json.dumps({"strategies": [similar]}))
    command = ("append", "--pool", pool, "--input", inbox, "--embedder", "gist")
    assert "cannot embed the text" in lightpool.fails(*command, "--config", config)
    assert not list(pool.iterdir())
    unknown = {"input": {"type": "METADATA", "key": "weather"}, "strategy": {"type": "WEIGHTS"}}
    config.write_text(json.dumps({"strategies": [unknown]}))
    assert f"{config}: strategies[0]: no metadata is called 'weather'" in lightpool.fails(*command, "--config", config)
    assert not list(pool.iterdir())
    done = lightpool(*command, "--sampler", "diversity", "--json").json
    assert done["samples"]["selected"] == 1
