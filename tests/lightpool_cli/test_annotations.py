"""Metadata, predictions and scores from files, through the command line, for candidates and for the pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core import Datapool

ALL = ("--n-samples", 1.0, "--min-distance", -1)


def config(path: Path, *strategies: tuple[dict, dict], **more) -> Path:
    entries = [{"input": given, "strategy": strategy} for given, strategy in strategies]
    path.write_text(json.dumps({"n_samples": 1000, **more, "strategies": entries}), encoding="utf-8")
    return path


def above(threshold: float, **given: str) -> tuple[dict, dict]:
    return given, {"type": "THRESHOLD", "threshold": threshold, "operation": "BIGGER"}


def heaviest(**given: str) -> tuple[dict, dict]:
    return given, {"type": "WEIGHTS"}


def put(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def inbox(videos, draw, tmp_path):
    """Six pictures and a video of 30 frames, of which three are looked at."""
    for seed in range(6):
        draw(tmp_path / "in" / "sub" / f"{seed}.png", seed)
    shutil.copy2(videos["test"], tmp_path / "in" / "clip.mp4")
    return tmp_path / "in"


@pytest.fixture
def speeds(tmp_path):
    rows = [*(f"sub/{i}.png,{i}.5,{'fog' if i % 2 else 'sun'}" for i in range(6)), "clip.mp4,9,rain"]
    return put(tmp_path / "about.csv", "\n".join(["filename,speed,weather", *rows, ""]))


@pytest.fixture
def detections(tmp_path):
    """As many persons as the number of the picture, less and less certain; none in frames of the video."""
    folder = tmp_path / "lightly" / ".lightly" / "predictions"
    put(folder / "tasks.json", ["people"])
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    put(folder / "people" / "schema.json", {"task_type": "object-detection", "categories": categories})
    names = [*(f"sub/{i}.png" for i in range(6)), *(f"clip-{i:02}-mp4.png" for i in range(30))]
    for name in names:
        objects = int(Path(name).stem) if name.startswith("sub") else 0
        found = [{"category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.95 - 0.05 * objects}] * objects
        put(folder / "people" / Path(name).with_suffix(".json"), {"file_name": name, "predictions": found})
    return tmp_path / "lightly"


def joined(pool: Path) -> list[str]:
    return sorted(Datapool.open(pool).filenames)


def test_append_chooses_by_the_metadata_of_a_table(lightpool, inbox, speeds, tmp_path):
    fast = config(tmp_path / "c.json", above(3, type="METADATA", key="speed"))
    report = lightpool.append(tmp_path / "pool", "--input", inbox, "--metadata", speeds, "--config", fast)
    assert report["samples"]["selected"] == 6
    frames = [name for name in joined(tmp_path / "pool") if name.startswith("clip")]
    assert len(frames) == 3
    assert [n for n in joined(tmp_path / "pool") if n not in frames] == ["sub/3.png", "sub/4.png", "sub/5.png"]


def test_what_samples_joined_with_is_kept_when_the_file_speaks_of_others(lightpool, inbox, speeds, draw, tmp_path):
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, "--metadata", speeds, *ALL)
    draw(inbox / "late.png", 77)
    put(speeds, "filename,weather\nlate.png,snow\n")
    assert lightpool.append(pool)["samples"]["selected"] == 1
    grown = Datapool.open(pool)
    weather = dict(zip(grown.filenames, grown.annotations.metadata["weather"], strict=True))
    assert (weather["late.png"], weather["sub/0.png"], weather["sub/1.png"]) == ("snow", "sun", "fog")
    assert weather[next(name for name in weather if name.startswith("clip"))] == "rain"
    # And the pool's members count: as many as joined with fog are limited by what the history tells.
    shown = lightpool("select", "--pool", pool, "--metadata", -1, "--max-per", "weather=1", *ALL).lines
    assert sorted(weather[name] for name in shown) == ["fog", "rain", "snow", "sun"]


def test_append_chooses_by_predictions_and_the_scores_computed_from_them(lightpool, inbox, detections, tmp_path):
    crowded = config(
        tmp_path / "c.json",
        above(1, type="SCORES", task="people", score="object_frequency"),
        heaviest(type="SCORES", task="people", score="uncertainty_margin"),
    )
    command = ("--input", inbox, "--predictions", detections, "--config", crowded, "--min-distance", 0)
    lightpool.append(tmp_path / "pool", *command)
    assert Datapool.open(tmp_path / "pool").filenames == ["sub/5.png", "sub/4.png", "sub/3.png", "sub/2.png"]


def test_every_kind_of_select_reads_a_table_of_scores(lightpool, inbox, tmp_path):
    scores = tmp_path / "s.jsonl"
    rows = [{"filename": f"sub/{i}.png", "people/loss": i / 10} for i in range(6)]
    put(scores, "".join(json.dumps(row) + "\n" for row in [*rows, {"filename": "clip.mp4", "people/loss": -1}]))
    worst = config(tmp_path / "c.json", heaviest(type="SCORES", task="people", score="loss"), n_samples=2)
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, *ALL)
    file = pool / "datapool_latest.csv"
    for where in (["--pool", pool], ["--embeddings", file], ["--input", inbox, "--embedder", "gist"]):
        shown = lightpool("select", *where, "--scores", scores, "--config", worst, "--min-distance", -1).lines
        assert shown == ["sub/5.png", "sub/4.png"]


def test_a_video_in_a_table_tells_of_bare_names_of_frames(lightpool, inbox, speeds, tmp_path):
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, *ALL)
    wet = config(tmp_path / "c.json", above(8, type="METADATA", key="speed"))
    command = ("select", "--embeddings", pool / "datapool_latest.csv", "--metadata", speeds, "--config", wet)
    assert [name.partition("-")[0] for name in lightpool(*command).lines] == ["clip"] * 3


def test_other_columns_of_an_embeddings_file_are_metadata_and_scores(lightpool, tmp_path):
    header = "filenames,embedding_0,embedding_1,masked,selected,labels,al_score,weather\n"
    rows = ["a,1,0,0,0,0,0.1,fog", "b,0,1,1,0,0,0.9,fog", "c,-1,0,0,0,0,0.5,fog", "d,0,-1,0,1,0,0.7,sun"]
    file = put(tmp_path / "e.csv", header + "\n".join([*rows, "e,1,1,0,0,0,0.2,sun", ""]))
    columns = {
        "filename": list("ace"),
        "embedding": [[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]],
        "label": [0, 0, 0],
        "al_score": [0.1, 0.5, 0.2],
    }
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    for kind in ("METADATA", "SCORES"):
        names = {"key": "al_score"} if kind == "METADATA" else {"score": "al_score"}
        by_score = config(tmp_path / "c.json", heaviest(type=kind, **names))
        for given in (file, tmp_path / "e.parquet"):
            assert lightpool("select", "--embeddings", given, "--config", by_score).lines == ["c", "e", "a"]
    # d is selected already, under the sun.
    assert lightpool("select", "--embeddings", file, "--max-per", "weather=1", *ALL).lines in (["a"], ["c"])


def test_a_file_about_others_ends_the_run_with_one_name_of_each_side(lightpool, inbox, tmp_path, tree):
    pool = tmp_path / "pool"
    about = put(tmp_path / "about.csv", "filename,x\nimages/a.jpg,1\n")
    said = lightpool.fails("append", "--pool", pool, "--input", inbox, "--embedder", "gist", "--metadata", about)
    assert f"none of the 9 candidates is in {about}: it has 'images/a.jpg', the candidates 'clip-00-mp4.png'" in said
    assert f"mend {pool / 'datapool.toml'}, then append again" in said
    assert len(Datapool.open(pool)) == 0
    report = lightpool.append(pool, "--metadata", -1)
    assert report["samples"]["selected"] > 0
    assert lightpool.append(pool)["samples"]["candidates"] == 0  # with nothing new, nobody asks


def test_with_a_broken_file_no_pool_is_made_and_nothing_is_embedded(lightpool, inbox, tmp_path):
    table = put(tmp_path / "t.csv", "name\n")
    options = (("--metadata", table, "'filename'"), ("--scores", table, "'filename'"), ("--predictions", inbox, "nor"))
    for option, path, said in options:
        assert said in lightpool.fails("append", "--pool", tmp_path / "pool", "--input", inbox, option, path)
        assert not (tmp_path / "pool").exists()
    lightpool.append(tmp_path / "pool", "--input", inbox, *ALL)
    (inbox / "late.png").write_bytes((inbox / "sub" / "0.png").read_bytes() + b"more")
    assert "'filename'" in lightpool.fails("append", "--pool", tmp_path / "pool", "--metadata", table)
    assert not list((tmp_path / "pool" / "runs").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("options", "strategy", "said"),
    [
        (
            ["--max-per", "wether=2"],
            None,
            "max_per wether: these samples have no metadata of that name; there are folder",
        ),
        (["--max-per", "lightly.snr=2"], None, "max_per lightly.snr: these samples have no metadata of that name"),
        (
            [],
            {"type": "METADATA", "key": "wether"},
            "strategies[1]: no metadata is called 'wether'; did you mean weather?",
        ),
        (
            [],
            {"type": "SCORES", "task": "people", "score": "margin"},
            "strategies[1]: no score is called 'people/margin'",
        ),
        (
            [],
            {"type": "PREDICTIONS", "task": "people", "name": "CATEGORY_COUNT", "categories": ["dogs"]},
            "strategies[1]: task people has no category 'dogs'; did you mean dog?",
        ),
    ],
)
def test_a_key_that_nobody_knows_is_told_before_anything_is_embedded(
    lightpool, inbox, speeds, detections, tmp_path, options, strategy, said
):
    # A query that is looked for later shows the order; it would be the first to be embedded.
    alike = ({"type": "EMBEDDINGS", "images": "missing"}, {"type": "SIMILARITY"})
    c = config(tmp_path / "c.json", alike, *([heaviest(**strategy)] if strategy else []))
    files = ("--metadata", speeds, "--predictions", detections, "--config", c, *options)
    where = f"config {c}: " if strategy else ""
    fresh = ("--input", inbox, "--embedder", "gist", *files)
    for command in (["append", "--pool", tmp_path / "new", *fresh], ["select", *fresh]):
        assert lightpool.fails(*command).startswith(f"lightpool: {where}{said}")
    assert not list((tmp_path / "new").iterdir())
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, *ALL)
    for command in (["--pool", pool], ["--embeddings", pool / "datapool_latest.csv"]):
        assert lightpool.fails("select", *command, *files).startswith(f"lightpool: {where}{said}")


def test_limits_and_strategies_by_what_files_tell_pass(lightpool, inbox, speeds, detections, tmp_path):
    c = config(
        tmp_path / "c.json",
        heaviest(type="METADATA", key="speed"),
        heaviest(type="METADATA", key="lightly.snr"),
        heaviest(type="SCORES", score="object_frequency"),
        heaviest(type="PREDICTIONS", task="people", name="CATEGORY_COUNT", categories=["person"]),
    )
    limits = ("--max-per", "weather=2", "--max-per", "lightly.width=7", "--max-per", "weak_label_name=5")
    files = ("--metadata", speeds, "--predictions", detections, "--config", c, "--min-distance", 0)
    report = lightpool.append(tmp_path / "pool", "--input", inbox, *files, *limits)
    assert report["samples"]["selected"] == 6


def test_a_key_beyond_the_schema_of_a_folder_of_metadata_is_found_in_its_files(lightpool, inbox, tmp_path):
    put(tmp_path / "about" / "schema.json", [])
    for i in range(6):
        put(tmp_path / "about" / "sub" / f"{i}.json", {"file_name": f"sub/{i}.png", "metadata": {"town": f"t{i % 2}"}})
    command = ("--input", inbox, "--metadata", tmp_path / "about", *ALL)
    assert lightpool.append(tmp_path / "pool", *command, "--max-per", "town=1")["samples"]["selected"] == 5
    said = lightpool.fails("append", "--pool", tmp_path / "no", "--embedder", "gist", *command, "--max-per", "twon=1")
    assert "max_per twon: these samples have no metadata of that name" in said


def test_an_empty_pool_need_not_know_a_key(lightpool, tmp_path):
    lightpool("init", "--pool", tmp_path / "pool", "--embedder", "gist")
    c = config(tmp_path / "c.json", heaviest(type="METADATA", key="weather"))
    assert lightpool("select", "--pool", tmp_path / "pool", "--config", c, "--max-per", "town=1").lines == []


def test_a_split_keeps_together_what_a_column_of_the_embeddings_file_says(lightpool, tmp_path):
    rows = [f"{i},{i % 5 - 2},{i % 3 + 0.5},0,{'abcd'[i % 4]}" for i in range(40)]
    file = put(tmp_path / "e.csv", "\n".join(["filenames,embedding_0,embedding_1,labels,car", *rows, ""]))
    command = ("select", "--embeddings", file, "--split", "train=0.5,val=0.5", "--group", "car", "--min-distance", 0)
    lightpool(*command, "--output", tmp_path / "split.csv")
    split = dict(line.split(",") for line in (tmp_path / "split.csv").read_text().splitlines()[1:])
    assert len({(int(name) % 4, part) for name, part in split.items()}) == 4
