from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.tables import Table
from lightpool_core.arrays import Array
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef

ROWS: list[dict[str, Any]] = [
    {"filename": "sub/a.jpg", "weather": "fog", "speed": 3.5, "night": True, "day": "2024-01-02", "lanes": 2},
    {"filename": "b.jpg", "weather": None, "speed": None, "night": None, "day": None, "lanes": None},
    {"filename": "sub/clip.mp4", "weather": "rain", "speed": 9.0, "night": False, "day": "2024-01-03", "lanes": 4},
    {"filename": "sub/clip-012-mp4.png", "weather": "snow", "speed": None, "night": True, "day": "2024", "lanes": 1},
]


def written(tmp_path: Path, form: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    path = tmp_path / f"known.{form}"
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif form == "csv":
        cells = [[json.dumps(v) if isinstance(v, bool) else v for v in row.values()] for row in rows]
        lines = [",".join("" if cell is None else str(cell) for cell in line) for line in [list(rows[0]), *cells]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(*names: str, required: bool = True) -> Asked:
    return Asked.of([SampleRef(name, name) for name in names], required=required)


def values(columns: Mapping[str, Array]) -> dict[str, list[Any]]:
    return {name: [None if value != value else value for value in column] for name, column in columns.items()}


def complaint(path: Path, *names: str) -> str:
    with pytest.raises(SourceError) as caught:
        Table.read(path).columns_for(asked(*names))
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", ["csv", "jsonl", "ndjson", "parquet"])
def test_every_form_gives_numbers_as_floats_and_all_else_as_objects(form: str, tmp_path: Path) -> None:
    columns = Table.read(written(tmp_path, form)).columns_for(asked("b.jpg", "gone.jpg", "sub/a.jpg"))
    assert values(columns) == {
        "weather": [None, None, "fog"],
        "speed": [None, None, 3.5],
        "night": [None, None, True],
        "day": [None, None, "2024-01-02"],
        "lanes": [None, None, 2.0],
    }
    assert {name: column.dtype.kind for name, column in columns.items()} == {
        "weather": "O",
        "speed": "f",
        "night": "O",
        "day": "O",
        "lanes": "f",
    }


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_row_named_like_a_video_tells_of_its_frames_what_their_own_rows_leave_open(form: str, tmp_path: Path) -> None:
    table = Table.read(written(tmp_path, form))
    columns = table.columns_for(asked("sub/clip-000-mp4.png", "sub/clip-012-mp4.png", "clip-000-mp4.png"))
    assert values(columns) == {
        "weather": ["rain", "snow", None],
        "speed": [9.0, 9.0, None],
        "night": [False, True, None],
        "day": ["2024-01-03", "2024", None],
        "lanes": [4.0, 1.0, None],
    }


def test_a_decoded_frame_finds_its_video_by_its_source(tmp_path: Path) -> None:
    table = Table.read(written(tmp_path, "csv"))
    frame = Asked.of([SampleRef("renamed.png", "sub/clip.mp4", frame=3, time=0.1)])
    assert table.columns_for(frame)["weather"].tolist() == ["rain"]


@pytest.mark.parametrize("name", ["filenames", "file_name"])
def test_the_column_of_names_may_be_spelled_otherwise(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"x,{name}\n1,007\n2,NA\n", encoding="utf-8")
    assert Table.read(tmp_path / "t.csv").columns_for(asked("NA", "007"))["x"].tolist() == [2, 1]


def test_nested_values_are_named_with_dots_and_lists_are_left_out(tmp_path: Path) -> None:
    row = {"filename": "a", "weather": {"sky": {"cover": 0.5}, "at": "2024-01-01T10:00:00"}, "boxes": [1, 2]}
    for form in ("jsonl", "parquet"):
        columns = Table.read(written(tmp_path, form, [row])).columns_for(asked("a"))
        assert values(columns) == {"weather.sky.cover": [0.5], "weather.at": ["2024-01-01T10:00:00"]}


def test_parquet_types_that_others_write_are_understood(tmp_path: Path) -> None:
    columns = {
        "filename": pa.array(["a", "b"]).dictionary_encode(),
        "kind": pa.array(["x", None]).dictionary_encode(),
        "when": pa.array([datetime.date(2024, 1, 2), None]),
        "price": pa.array([1, None], pa.decimal128(5, 2)),
        "image": pa.array([b"\xff", b"\xfe"]),
        "nothing": pa.nulls(2),
        "n": pa.array([1, 2], pa.uint8()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=1)
    found = Table.read(tmp_path / "t.parquet").columns_for(asked("b", "a"))
    assert values(found) == {
        "kind": [None, "x"],
        "when": [None, "2024-01-02"],
        "price": [None, 1.0],
        "nothing": [None, None],
        "n": [2.0, 1.0],
    }


def test_a_type_that_shows_late_in_a_csv_counts_for_the_whole_column(tmp_path: Path) -> None:
    rows = 300_000  # more than one block of what is read at a time
    lines = [f"{i:06}.jpg,{'0.5' if i == rows - 1 else i % 7},{'x' * 60}" for i in range(rows)]
    (tmp_path / "t.csv").write_text("filename,n,text\n" + "\n".join(lines), encoding="utf-8")
    columns = Table.read(tmp_path / "t.csv").columns_for(asked("299999.jpg", "000008.jpg"))
    assert columns["n"].tolist() == [0.5, 1.0]


def test_names_in_an_excel_csv_with_line_breaks_are_found(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes('﻿filename,note\r\na.jpg,"two\r\nlines, one cell"\r\n'.encode())
    assert Table.read(tmp_path / "t.csv").columns_for(asked("a.jpg"))["note"].tolist() == ["two\r\nlines, one cell"]


def test_a_table_that_knows_no_candidate_shows_one_name_of_each_side(tmp_path: Path) -> None:
    path = written(tmp_path, "csv")
    said = complaint(path, *(f"images/{i}.jpg" for i in range(25)))
    assert f"none of the 25 candidates is in {path}: it has 'sub/a.jpg', the candidates 'images/0.jpg'" in said
    columns = Table.read(path).columns_for(asked("images/0.jpg", required=False))
    assert columns["weather"].tolist() == [None]


def test_a_table_without_rows_knows_nobody_and_nobody_asked_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("filename,x\n", encoding="utf-8")
    assert "it has no names at all" in complaint(tmp_path / "t.csv", "a")
    assert Table.read(written(tmp_path, "csv")).columns_for(asked())["speed"].shape == (0,)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "name,x\na,1\n", "no column 'filename'; it has name, x"),
        ("t.csv", "filename,x\na,1\nb,2\na,3\n", "two rows for 'a'"),
        ("t.csv", "filename,x\na,1\n,2\n", "a row without a filename"),
        ("t.csv", "filename,x,x\na,1,2\n", "two columns 'x'"),
        ("t.csv", "filename,x\na,1,2\n", "cannot be read"),
        ("t.csv", "", "cannot be read"),
        ("t.jsonl", '{"filename": "a"}\n{"filename": ', "cannot be read"),
        ("t.jsonl", '{"filename": "a", "x": 1}\n{"filename": "b", "x": "y"}\n', "cannot be read"),
        ("t.jsonl", '{"x": 1}\n', "no column 'filename'"),
        ("t.jsonl", "\n null\n", "a line that is null"),
        ("t.jsonl", '{"filename": null, "x": 1}\n', "a row without a filename"),
        ("t.parquet", "PAR1", "cannot be read"),
        ("t.json", "[]", "unknown form '.json'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert said in complaint(tmp_path / name, "a")


def test_a_small_parquet_file_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    rows = [0] * 1_000_000
    texts = pa.DictionaryArray.from_arrays(pa.array(rows, pa.int8()), pa.array(["a" * 1000]))
    parquet.write_table(pa.table({"filename": texts}), tmp_path / "texts.parquet", compression="zstd")
    nulls = pa.nulls(len(rows), pa.float64())
    parquet.write_table(pa.table({f"column {i}": nulls for i in range(80)}), tmp_path / "nulls.parquet")
    for name, size in (("texts", "1.0"), ("nulls", "0.6")):
        assert (tmp_path / f"{name}.parquet").stat().st_size < 1_000_000
        with pytest.raises(SourceError, match=f"it unpacks to {size} GB"):
            Table.read(tmp_path / f"{name}.parquet")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"gone.csv is not there"):
        Table.read(tmp_path / "gone.csv")
