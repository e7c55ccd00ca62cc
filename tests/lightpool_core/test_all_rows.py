from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lightpool_core.all_rows import check_columns
from lightpool_core.embeddings_file import read_embeddings
from lightpool_core.errors import SourceError
from lightpool_core.pool.latest import write_embeddings_csv
from tests.strategies import unit_vectors


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "e.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    return tmp_path / "e.csv"


def written_back(source: Path, chosen: list[int]) -> Path:
    """The file at `source` with `chosen` of its open rows."""
    all_rows = read_embeddings(source).all_rows
    assert all_rows is not None
    target = source.with_name("back.csv")
    all_rows.with_chosen(np.array(chosen, dtype=np.int64)).write_csv(target)
    return target


def as_lightly_loads(path: Path) -> tuple[np.ndarray, list[int], list[str]]:
    """Checked and read as by `lightly.utils.io.load_embeddings`; vectors in float32."""
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header[0] == "filenames"
    assert all(name.startswith("embedding_") or name in {"masked", "selected"} for name in header[1:-1])
    assert header[-1] == "labels"
    assert all(rows)
    vectors = np.array([row[1:-1] for row in rows]).astype(np.float64).astype(np.float32)
    return vectors, [int(row[-1]) for row in rows], [row[0] for row in rows]


def test_all_rows_come_back_in_their_order_with_what_is_chosen_by_now(tmp_path: Path) -> None:
    text = (
        "filenames,embedding_0,embedding_1,masked,selected,labels,al_score\n"
        "a.png,3,4.0,0,1,7,0.50\nb.png,1e0,0,1,0,8,high\nc.png,0,-2,0,0,9,\nd.png,1,1,0,0,9,1\n"
    )
    assert written_back(written(tmp_path, text), [1]).read_text() == text.replace("d.png,1,1,0,0", "d.png,1,1,0,1")


def test_columns_are_put_where_lightly_wants_them(tmp_path: Path) -> None:
    text = "al_score,selected,labels,embedding_0,embedding_1,note,filenames\n0.5,1,3,1,0,x,a\n0.25,,4,0,1,y,b\n"
    assert written_back(written(tmp_path, text), [0]).read_text() == (
        "filenames,embedding_0,embedding_1,masked,selected,labels,al_score,note\n"
        "a,1,0,0,1,3,0.5,x\nb,0,1,0,1,4,0.25,y\n"
    )


def test_a_masked_row_that_was_chosen_stays_both(tmp_path: Path) -> None:
    text = "filenames,embedding_0,masked,selected,labels\na,nan,1,1,0\nb,1,0,0,0\n"
    assert written_back(written(tmp_path, text), [0]).read_text() == text.replace("b,1,0,0", "b,1,0,1")


def test_numbers_are_left_as_they_are_written(tmp_path: Path) -> None:
    text = "filenames,embedding_0,masked,selected,labels\na,0.12345678901234567890,0,0,007\nb,+1E-3,0,0,1\n"
    assert written_back(written(tmp_path, text), []).read_text() == text


@pytest.mark.parametrize("name", ["a,b.png", 'q"q.png', "a\nb.png", "c\r\nd.png", "e\rf.png", " g ", "ü\u2028"])
def test_odd_names_are_read_back(name: str, tmp_path: Path) -> None:
    write_embeddings_csv(tmp_path / "e.csv", [name, "x"], unit_vectors(2, 3), np.array([1, 2]))
    before, after = (read_embeddings(path) for path in (tmp_path / "e.csv", written_back(tmp_path / "e.csv", [1])))
    assert after.filenames == before.filenames == (name, "x")
    assert after.selected.tolist() == [False, True]
    assert after.embeddings.tobytes() == before.embeddings.tobytes()


def test_a_byte_order_mark_blank_lines_and_other_endings_do_not_matter(tmp_path: Path) -> None:
    text = "\ufefffilenames,embedding_0,labels\r\na,1,5\r\n\r\nb,1,6\r\n"
    assert written_back(written(tmp_path, text), [1]).read_text() == (
        "filenames,embedding_0,masked,selected,labels\na,1,0,0,5\nb,1,0,1,6\n"
    )


def test_other_columns_need_not_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(b"filenames,embedding_0,labels,note\na,1,5,caf\xe9\n")
    assert written_back(tmp_path / "e.csv", []).read_bytes().endswith(b"a,1,0,0,5,caf\xe9\n")


@settings(deadline=None)
@given(st.data())
def test_a_csv_loads_as_lightly_loads_it_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("back")
    n, dim = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    finite = st.floats(-(2.0**100), 2.0**100, width=32).filter(lambda x: abs(x) > 1e-30)
    rows = np.array(
        data.draw(st.lists(st.lists(finite, min_size=dim, max_size=dim), min_size=n, max_size=n)), np.float32
    )
    names, labels = [f"{i}.png" for i in range(n)], np.arange(n)
    if data.draw(st.booleans()):
        source = tmp_path / "e.csv"
        write_embeddings_csv(source, names, rows, labels)
    else:
        source = tmp_path / "e.parquet"
        vectors = pa.array(rows.tolist(), pa.list_(pa.float32()))
        parquet.write_table(pa.table({"label": labels, "embedding": vectors, "filename": names}), source)
    chosen = data.draw(st.sets(st.integers(0, n - 1)))
    loaded, loaded_labels, loaded_names = as_lightly_loads(written_back(source, sorted(chosen)))
    assert loaded[:, :dim].tobytes() == rows.tobytes()
    assert loaded[:, dim:].tolist() == [[0, row in chosen] for row in range(n)]
    assert (loaded_labels, loaded_names) == (labels.tolist(), names)


def test_parquet_is_written_as_csv_with_its_other_columns(tmp_path: Path) -> None:
    columns = {
        "filenames": ["a", "b", "c"],
        "embedding_0": np.array([0.1, 1, 1], np.float32),
        "embedding_1": np.array([1, 1e-7, 1], np.float64),
        "selected": [True, None, False],
        "labels": [1, 2, 3],
        "score": [0.1, None, 2.0],
        "sharp": [True, False, None],
    }
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    assert written_back(tmp_path / "e.parquet", [1]).read_text() == (
        "filenames,embedding_0,embedding_1,masked,selected,labels,score,sharp\n"
        "a,0.1,1,0,1,1,0.1,true\nb,1,1e-7,0,0,2,,false\nc,1,1,0,1,3,2,\n"
    )


def test_parquet_is_written_in_many_pieces_like_in_one(tmp_path: Path) -> None:
    rows = unit_vectors(3000, 4)
    table = {"filename": [f"{i}" for i in range(3000)], "embedding": list(rows), "label": np.arange(3000)}
    parquet.write_table(pa.table(table), tmp_path / "e.parquet", row_group_size=700)
    file = read_embeddings(written_back(tmp_path / "e.parquet", [2999]))
    assert file.embeddings.tobytes() == rows.tobytes()
    assert np.flatnonzero(file.selected).tolist() == [2999]


def test_a_parquet_file_without_rows_keeps_its_header(tmp_path: Path) -> None:
    columns = {
        "filenames": pa.array([], pa.string()),
        "embedding_0": pa.array([], pa.float32()),
        "labels": pa.array([], pa.int64()),
    }
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    assert written_back(tmp_path / "e.parquet", []).read_text() == "filenames,embedding_0,masked,selected,labels\n"


def test_columns_that_no_csv_can_hold_are_named_in_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    columns = {
        "filename": ["a"],
        "embedding": [[1.0]],
        "label": [0],
        "boxes": [[1, 2]],
        "note": ["x"],
        "sky": [{"t": 1}],
    }
    path = tmp_path / "e.parquet"
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(SourceError) as caught:
        written_back(path, [])
    names = "'boxes' (list<element: int64>), 'sky' (struct<t: int64>)"
    assert str(caught.value) == (
        f"embeddings file {path} cannot be written back, for no CSV can hold its columns {names};"
        " take them out of it, or give --chosen-rows"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["e.parquet"]


@pytest.mark.parametrize("flag", ["masked", "selected", "note"])
def test_such_columns_matter_only_where_all_rows_are_to_be_written(flag: str, tmp_path: Path) -> None:
    columns = {"filename": ["a"], "embedding": [[1.0]], "label": [0], "boxes": [[1, 2]], flag: [0]}
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    check_columns(tmp_path / "e.parquet", all_rows=False)
    with pytest.raises(SourceError, match="'boxes'"):
        check_columns(tmp_path / "e.parquet", all_rows=None if flag != "note" else True)
    if flag == "note":
        check_columns(tmp_path / "e.parquet")


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    columns = {"filename": ["a", "b"], "embedding": [[1.0], [1.0]], "label": [0, 1], "raw": [b"x,\xff", b"y"]}
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    assert written_back(tmp_path / "e.parquet", []).read_bytes() == (
        b'filenames,embedding_0,masked,selected,labels,raw\na,1,0,0,0,"x,\xff"\nb,1,0,0,1,y\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "filenames,embedding_0,labels\na,1,0\nb,1,0\n",
        "filenames,embedding_0,labels\na,1,0\nb\nc,1,0\n",
        "",
        "x\n1\n2\n3\n",
    ],
)
def test_a_file_that_changed_meanwhile_is_not_written_back(text: str, tmp_path: Path) -> None:
    header = "filenames,embedding_0,labels\n"
    all_rows = read_embeddings(written(tmp_path, header + "a,1,0\nb,1,0\nc,1,0\n")).all_rows
    assert all_rows is not None
    written(tmp_path, text)
    with pytest.raises(SourceError, match="was it changed meanwhile"):
        all_rows.write_csv(tmp_path / "back.csv")
    assert not (tmp_path / "back.csv").exists()


def test_a_file_can_be_written_back_onto_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "filenames,embedding_0,labels\na,1,0\nb,1,0\n")
    for chosen in (0, 0):
        all_rows = read_embeddings(path).all_rows
        assert all_rows is not None
        all_rows.with_chosen(np.array([chosen])).write_csv(path)
    assert path.read_text() == "filenames,embedding_0,masked,selected,labels\na,1,0,1,0\nb,1,0,1,0\n"


def test_a_bare_array_has_no_rows_to_write_back(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", unit_vectors(2, 2))
    assert read_embeddings(tmp_path / "e.npy").all_rows is None
