from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core.embeddings_file import read_embeddings
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.pool.latest import write_embeddings_csv
from tests.strategies import unit_vectors


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "e.csv").write_text(text, encoding="utf-8")
    return tmp_path / "e.csv"


def complaint(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_embeddings(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_lightly_csv_is_read_by_column_names(tmp_path: Path) -> None:
    text = (
        "filenames,embedding_0,embedding_1,masked,selected,labels,al_score\n"
        "a.png,3,4,0,1,7,0.5\nb.png,1,0,1,0,8,0.5\nc.png,0,-2,0,0,9,0.5\n"
    )
    file = read_embeddings(written(tmp_path, text))
    assert file.filenames == ("a.png", "c.png")
    np.testing.assert_array_equal(file.embeddings, np.array([[0.6, 0.8], [0, -1]], np.float32))
    assert file.embeddings.dtype == np.float32
    assert file.labels.tolist() == [7, 9]
    assert file.labels.dtype == np.int64
    assert file.selected.tolist() == [True, False]


def test_names_stay_text_whatever_they_look_like(tmp_path: Path) -> None:
    text = "filenames,embedding_0,labels\n007,1,0\nNA,1,0\n1e5,1,0\n"
    assert read_embeddings(written(tmp_path, text)).filenames == ("007", "NA", "1e5")


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["a,b.png", 'q"q.png'], ["a\nb.png", "c\r\nd.png"]])
def test_what_a_pool_writes_is_read_back_bit_for_bit(names: list[str], tmp_path: Path) -> None:
    rows = unit_vectors(2, 512)
    write_embeddings_csv(tmp_path / "e.csv", names, rows, np.array([3, -4]))
    file = read_embeddings(tmp_path / "e.csv")
    assert list(file.filenames) == names
    np.testing.assert_array_equal(file.embeddings, rows)
    assert file.labels.tolist() == [3, -4]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_endings_and_a_byte_order_mark_do_not_matter(ending: str, tmp_path: Path) -> None:
    text = ending.join(["\ufefffilenames,embedding_0,labels", "a,1,5", ""])
    (tmp_path / "e.csv").write_bytes(text.encode())
    file = read_embeddings(tmp_path / "e.csv")
    assert (file.filenames, file.labels.tolist()) == (("a",), [5])


def test_parquet_has_the_columns_of_the_csv_or_a_list_column(tmp_path: Path) -> None:
    rows = unit_vectors(3, 2)
    wide = {"filenames": ["a", "b", "c"], "embedding_0": rows[:, 0], "embedding_1": rows[:, 1], "labels": [1, 2, 3]}
    lists = {"filename": ["a", "b", "c"], "embedding": pa.array(rows.tolist(), pa.list_(pa.float32()))}
    for columns in (wide, {**lists, "label": [1, 2, 3]}):
        parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
        file = read_embeddings(tmp_path / "e.parquet")
        assert file.filenames == ("a", "b", "c")
        np.testing.assert_array_equal(file.embeddings, rows)
        assert file.labels.tolist() == [1, 2, 3]


def test_a_bare_array_gets_its_row_numbers_as_names(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", unit_vectors(3, 4).astype(np.float64) * 5)
    file = read_embeddings(tmp_path / "e.npy")
    assert file.filenames == ("0", "1", "2")
    np.testing.assert_allclose(file.embeddings, unit_vectors(3, 4), atol=1e-7)
    assert not file.labels.any()
    assert not file.selected.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filenames,embedding_0\na,1\n", "no column 'labels'"),
        ("embedding_0,labels\n1,1\n", "no column 'filenames'"),
        ("filenames,labels\na,1\n", "no columns embedding_0"),
        ("filenames,embedding_1,embedding_0,labels\na,1,2,3\n", "in this order"),
        ("filenames,embedding_0,embedding_2,labels\na,1,2,3\n", "in this order"),
        ("filenames,embedding_0,labels\na,1,x\n", "cannot be read"),
        ("filenames,embedding_0,labels\na,x,1\n", "cannot be read"),
        ("filenames,embedding_0,labels\na,1,2,3,4\n", "cannot be read"),
        ("filenames,embedding_0,labels\na,1,2\nb,0,3\n", "embedding of b is zero"),
        ("filenames,embedding_0,labels\na,1,2\nb,nan,3\n", "embedding of b is zero or not finite"),
        ("filenames,embedding_0,labels\na,1,2\nb,,3\n", "embedding of b is zero or not finite"),
        ("filenames,embedding_0,labels\na,1,\n", "label"),
        ("", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    assert said in complaint(written(tmp_path, text))


def test_masked_rows_may_hold_anything(tmp_path: Path) -> None:
    text = "filenames,embedding_0,masked,labels\na,1,0,1\nb,0,1,1\nc,nan,1,1\n"
    assert read_embeddings(written(tmp_path, text)).filenames == ("a",)


@pytest.mark.parametrize("vectors", [[[1.0, 0.0], [1.0]], [[1.0], [1.0, 0.0, 0.0]], [[1.0, 2.0], None]])
def test_lists_of_unequal_length_are_refused(vectors: list[list[float] | None], tmp_path: Path) -> None:
    table = pa.table({"filename": ["a", "b"], "embedding": vectors, "label": [0, 0]})
    parquet.write_table(table, tmp_path / "e.parquet")
    complaint(tmp_path / "e.parquet")


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    for array in (np.ones(3), np.ones((2, 2, 2)), np.array([["a"]]), np.ones((2, 2), complex)):
        np.save(tmp_path / "e.npy", array)
        assert "not numbers (N, D)" in complaint(tmp_path / "e.npy")


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    complaint(tmp_path / "e.npy")


@pytest.mark.parametrize("name", ["e.csv", "e.parquet", "e.npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\xff\xfe\x00garbage\n\x00"])
def test_damaged_files_are_source_errors(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    complaint(tmp_path / name)


def test_several_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", a=np.ones((2, 2)))
    (tmp_path / "e.npz").rename(tmp_path / "e.npy")
    complaint(tmp_path / "e.npy")


def test_a_missing_file_and_an_unknown_form_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        read_embeddings(tmp_path / "gone.csv")
    (tmp_path / "e.txt").touch()
    assert "unknown form '.txt'" in complaint(tmp_path / "e.txt")
