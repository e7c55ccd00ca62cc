from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightpool_core.pool import latest
from lightpool_core.pool.latest import write_embeddings_csv
from tests.strategies import unit_vectors

ODD_NAMES = ["a,b.png", 'q"q".png', "new\nline.png", "cr\r\nlf.png", "übung ☃.png", " space .png", "007", "NA"]


def test_the_csv_is_what_lightly_reads(tmp_path: Path) -> None:
    rows = np.array([[1, 0, -0.5], [0.1, 2e-7, 0.33333334]], np.float32)
    write_embeddings_csv(tmp_path / "e.csv", ["a.png", "sub/b.png"], rows, np.array([0, 12]))
    assert (tmp_path / "e.csv").read_bytes() == (
        b"filenames,embedding_0,embedding_1,embedding_2,labels\na.png,1,0,-0.5,0\nsub/b.png,0.1,2e-7,0.33333334,12\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]


def test_without_samples_there_is_a_header(tmp_path: Path) -> None:
    write_embeddings_csv(tmp_path / "e.csv", [], np.empty((0, 2), np.float32), np.empty(0, np.int64))
    assert (tmp_path / "e.csv").read_bytes() == b"filenames,embedding_0,embedding_1,labels\n"


def test_odd_names_are_read_back_by_csv_and_pandas(tmp_path: Path) -> None:
    rows = unit_vectors(len(ODD_NAMES), 3)
    write_embeddings_csv(tmp_path / "e.csv", ODD_NAMES, rows, np.arange(len(ODD_NAMES)))
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as stream:
        read = list(csv.reader(stream))
    assert [row[0] for row in read[1:]] == ODD_NAMES
    assert [row[-1] for row in read[1:]] == [str(i) for i in range(len(ODD_NAMES))]
    frame = pd.read_csv(tmp_path / "e.csv", dtype={"filenames": str}, keep_default_na=False)
    assert frame["filenames"].tolist() == ODD_NAMES


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_come_back_bit_for_bit(tmp_path: Path, values: list[float]) -> None:
    rows = np.array(values, np.float32)[:, None]
    write_embeddings_csv(tmp_path / "e.csv", ["a"] * len(rows), rows, np.zeros(len(rows), np.int64))
    with (tmp_path / "e.csv").open(newline="") as stream:
        read = np.array([row[1] for row in csv.reader(stream)][1:]).astype(np.float32)
    frame = pd.read_csv(tmp_path / "e.csv", dtype={"embedding_0": np.float32})
    np.testing.assert_array_equal(read.view(np.int32), rows[:, 0].view(np.int32))
    np.testing.assert_array_equal(frame["embedding_0"].to_numpy(), rows[:, 0])


def test_more_rows_than_a_block_are_all_written(tmp_path: Path) -> None:
    rows = unit_vectors(9000, 2)
    write_embeddings_csv(tmp_path / "e.csv", [f"{i}.png" for i in range(9000)], rows, np.arange(9000))
    frame = pd.read_csv(tmp_path / "e.csv")
    assert frame["labels"].tolist() == list(range(9000))
    np.testing.assert_array_equal(frame["embedding_1"].astype(np.float32), rows[:, 1])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("old")
    with pytest.raises((ValueError, IndexError)):
        write_embeddings_csv(tmp_path / "e.csv", ["a", "b"], unit_vectors(2, 2), np.array([1]))
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]
    assert (tmp_path / "e.csv").read_text() == "old"


def test_the_csv_is_current_only_untouched_and_at_its_version(tmp_path: Path) -> None:
    assert not latest.is_current(tmp_path, 0)
    (tmp_path / latest.CSV_NAME).write_text("x")
    latest.mark_current(tmp_path, 3)
    assert latest.is_current(tmp_path, 3)
    assert not latest.is_current(tmp_path, 4)
    os.utime(tmp_path / latest.CSV_NAME, ns=(1, 1))
    assert not latest.is_current(tmp_path, 3)
    latest.mark_current(tmp_path, 3)
    (tmp_path / ".latest.json").write_text("{")
    assert not latest.is_current(tmp_path, 3)
    latest.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []
    latest.remove(tmp_path)
