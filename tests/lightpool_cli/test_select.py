from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core import Datapool

HEADER = "filenames,embedding_0,embedding_1,labels"
ON_A_CIRCLE = {"east": (1.0, 0.0), "north": (0.0, 1.0), "west": (-1.0, 0.0), "almost_east": (0.8, 0.6)}


def write_csv(path, rows, header=HEADER):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def circle(tmp_path):
    return write_csv(tmp_path / "circle.csv", [(name, *xy, n) for n, (name, xy) in enumerate(ON_A_CIRCLE.items())])


def test_the_most_diverse_of_a_pool(lightpool, pool, tree):
    before = tree(pool)
    chosen = lightpool("select", "--pool", pool, "--n-samples", 3).lines
    datapool = Datapool.open(pool)
    assert len(chosen) == len(set(chosen)) == 3
    assert set(chosen) < set(datapool.filenames)
    rows = datapool.embeddings[[datapool.filenames.index(name) for name in chosen]].astype(np.float64)
    to_first_two = np.linalg.norm(datapool.embeddings[:, None].astype(np.float64) - rows[None, :2], axis=2).min(1)
    assert np.argmax(to_first_two) == datapool.filenames.index(chosen[2])
    assert tree(pool) == before


def test_without_a_condition_the_whole_pool_is_ranked(lightpool, pool):
    ranked = lightpool("select", "--pool", pool, "--json").json
    assert sorted(ranked["selected"]) == sorted(Datapool.open(pool).filenames)
    assert ranked["distances"][0] is None
    assert ranked["distances"][1:] == sorted(ranked["distances"][1:], reverse=True)
    fewer = lightpool("select", "--pool", pool, "--n-samples", 4).lines
    assert fewer == ranked["selected"][:4]


def test_json_has_names_and_distances(lightpool, circle):
    answer = lightpool("select", "--embeddings", circle, "--n-samples", 3, "--json").json
    assert list(answer) == ["selected", "distances"]
    assert len(answer["selected"]) == len(answer["distances"]) == 3
    assert answer["distances"][0] is None
    assert {"east", "west"} & set(answer["selected"])


def test_min_distance_holds_in_a_file(lightpool, circle):
    chosen = lightpool("select", "--embeddings", circle, "--min-distance", 1).lines
    assert set(chosen) >= {"west"}
    points = np.array([ON_A_CIRCLE[name] for name in chosen])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(len(points))
    assert distances.min() >= 1


@pytest.mark.parametrize("form", ["lightly", "plain", "list"])
def test_parquet_is_read_like_csv(lightpool, circle, tmp_path, form):
    names, points = list(ON_A_CIRCLE), np.array(list(ON_A_CIRCLE.values()), dtype=np.float32)
    if form == "lightly":
        columns = {"filenames": names, "embedding_0": points[:, 0], "embedding_1": points[:, 1], "labels": [0] * 4}
    else:
        kind = pa.list_(pa.float32(), 2) if form == "list" else pa.list_(pa.float32())
        columns = {"filename": names, "embedding": pa.array(points.tolist(), kind), "label": [0] * 4}
    parquet.write_table(pa.table(columns), tmp_path / "circle.parquet")
    from_csv = lightpool("select", "--embeddings", circle).lines
    assert lightpool("select", "--embeddings", tmp_path / "circle.parquet").lines == from_csv


def test_npy_gives_row_numbers(lightpool, circle, tmp_path):
    np.save(tmp_path / "circle.npy", np.array(list(ON_A_CIRCLE.values())) * 7)
    names = list(ON_A_CIRCLE)
    chosen = lightpool("select", "--embeddings", tmp_path / "circle.npy").lines
    assert sorted(chosen) == ["0", "1", "2", "3"]
    order = [names[int(row)] for row in chosen]
    assert lightpool("select", "--embeddings", circle).lines == order


def test_a_file_against_a_pool(lightpool, pool, tmp_path):
    datapool = Datapool.open(pool)
    lightpool("select", "--pool", pool, "--output", tmp_path / "all.csv", "--quiet")
    command = ("select", "--embeddings", tmp_path / "all.csv", "--pool", pool, "--min-distance", 0.001)
    assert lightpool(*command).lines == []
    far = -datapool.embeddings[:1]
    np.save(tmp_path / "far.npy", np.concatenate([datapool.embeddings[1:2], far]))
    command = ("select", "--embeddings", tmp_path / "far.npy", "--pool", pool, "--min-distance", 0.01)
    assert lightpool(*command).lines == ["1"]


def test_raw_input_against_a_pool(lightpool, pool, grown, draw, tmp_path, tree):
    draw(tmp_path / "more" / "new.png", 40)
    draw(tmp_path / "more" / "known.bmp", 1)
    draw(tmp_path / "more" / "near.png", 2, size=(128, 96))
    before = tree(pool)
    chosen = lightpool("select", "--pool", pool, "--input", tmp_path / "more", "--json").json
    assert chosen["selected"] == ["new.png"]
    assert chosen["distances"][0] >= 0.1
    assert tree(pool) == before
    ranked = lightpool("select", "--pool", pool, "--input", tmp_path / "more", "--n-samples", 5).lines
    assert ranked == ["new.png", "near.png"]


def test_raw_input_without_a_pool(lightpool, grown, tmp_path):
    command = ("select", "--input", grown / "in" / "first", "--embedder", "gist", "--n-samples", 2)
    assert len(lightpool(*command).lines) == 2


def test_output_holds_the_embeddings_bit_for_bit(lightpool, pool, tmp_path, csv_of):
    names, rows, labels = csv_of(pool)
    chosen = lightpool("select", "--pool", pool, "--n-samples", 5, "--output", tmp_path / "out.csv").lines
    (tmp_path / "out.csv").rename(tmp_path / "datapool_latest.csv")
    out_names, out_rows, out_labels = csv_of(tmp_path)
    where = [names.index(name) for name in chosen]
    assert out_names == chosen
    assert out_rows.tobytes() == rows[where].tobytes()
    assert out_labels == [labels[i] for i in where]
    lightpool("select", "--embeddings", tmp_path / "datapool_latest.csv", "--output", tmp_path / "two.csv", "-q")
    again = (tmp_path / "two.csv").read_text(encoding="utf-8").splitlines()
    assert sorted(again) == sorted((tmp_path / "datapool_latest.csv").read_text(encoding="utf-8").splitlines())


def test_masked_rows_influence_nothing(lightpool, tmp_path):
    header = "filenames,embedding_0,embedding_1,masked,selected,labels,al_score"
    rows = [("east", 1, 0, 0, 0, 0, 0.5), ("broken", "nan", 0, 1, 0, 0, 0.5), ("west", -1, 0, 0, 0, 0, 0.5)]
    file = write_csv(tmp_path / "f.csv", rows, header)
    assert sorted(lightpool("select", "--embeddings", file).lines) == ["east", "west"]


def test_selected_rows_are_kept_away_from(lightpool, tmp_path):
    rows = [(name, *xy, int(name == "east"), 0) for name, xy in ON_A_CIRCLE.items()]
    file = write_csv(tmp_path / "f.csv", rows, "filenames,embedding_0,embedding_1,selected,labels")
    answer = lightpool("select", "--embeddings", file, "--n-samples", 1, "--json").json
    assert answer == {"selected": ["west"], "distances": [2.0]}
    assert "almost_east" not in lightpool("select", "--embeddings", file, "--min-distance", 0.7).lines


def test_random_picks_by_the_seed(lightpool, pool):
    def command(seed):
        return lightpool("select", "--pool", pool, "--sampler", "random", "--seed", seed).lines

    assert command(1) == command(1)
    assert len({tuple(command(seed)) for seed in range(4)}) > 1


def test_a_nan_row_is_refused_by_name(lightpool, tmp_path):
    file = write_csv(tmp_path / "f.csv", [("good", 1, 0, 0), ("the_bad_one", "nan", 0, 0)])
    assert "the_bad_one" in lightpool.fails("select", "--embeddings", file)


def test_another_dimension_is_refused(lightpool, pool, circle, tree):
    before = tree(pool)
    message = lightpool.fails("select", "--embeddings", circle, "--pool", pool)
    assert "dimension 2" in message
    assert tree(pool) == before


def test_an_output_that_cannot_be_written_is_one_line(lightpool, pool, tmp_path):
    assert "missing" in lightpool.fails("select", "--pool", pool, "--output", tmp_path / "missing" / "out.csv")


FLAGGED = "filenames,embedding_0,embedding_1,masked,selected,labels,al_score"


def test_a_file_with_flags_is_written_back_whole(lightpool, tmp_path):
    rows = [("east", "1.0", 0, 0, 1, 4, "0.50"), ("hidden", "nan", 0, 1, 0, 5, ""), ("west", -1, 0, 0, 0, 6, 1),
            ("almost_east", 0.8, "6e-1", 0, 0, 7, 1)]  # fmt: skip
    file, out = write_csv(tmp_path / "f.csv", rows, FLAGGED), tmp_path / "out.csv"
    select = ("select", "--embeddings", file, "--n-samples", 1, "--output", out)
    assert lightpool(*select).lines == ["west"]
    assert out.read_text() == file.read_text().replace("west,-1,0,0,0", "west,-1,0,0,1")
    lightpool(*select, "--chosen-rows")
    assert out.read_text() == "filenames,embedding_0,embedding_1,labels\nwest,-1,0,6\n"
    lightpool(*select)
    again = ("select", "--embeddings", out, "--output", out, "--json")
    assert lightpool(*again).json["selected"] == ["almost_east"]
    assert lightpool(*again).json["selected"] == []


def test_columns_of_one_name_are_not_written_back_as_one(lightpool, tmp_path):
    file, out = tmp_path / "f.csv", tmp_path / "out.csv"
    file.write_text("filenames,embedding_0,embedding_1,masked,selected,labels,k,k\na,1,0,0,0,1,2,3\n")
    assert "two columns 'k'" in lightpool.fails("select", "--embeddings", file, "--n-samples", 1, "--output", out)
    assert not out.exists()


def test_columns_that_cannot_be_written_back_are_told_before_the_choice(lightpool, tmp_path):
    # The embedding that is not finite would be told while the file is read.
    columns = {"filename": ["a"], "embedding": [[np.nan]], "label": [0], "selected": [0], "boxes": [[1]]}
    parquet.write_table(pa.table(columns), tmp_path / "e.parquet")
    command = ("select", "--embeddings", tmp_path / "e.parquet", "--output", tmp_path / "out.csv")
    for flags in ((), ("--all-rows",)):
        assert "columns 'boxes' (list<element: int64>); take them out" in lightpool.fails(*command, *flags)
    assert "is zero or not finite" in lightpool.fails(*command, "--chosen-rows")
    assert not (tmp_path / "out.csv").exists()
    parquet.write_table(pa.table({**columns, "embedding": [[1.0]]}), tmp_path / "e.parquet")
    assert lightpool(*command, "--chosen-rows").lines == ["a"]
    assert lightpool(*command[:3]).lines == ["a"]


def test_all_rows_of_a_plain_file_are_written_when_asked_for(lightpool, circle, tmp_path):
    select = ("select", "--embeddings", circle, "--n-samples", 2, "--output", tmp_path / "out.csv")
    chosen = lightpool(*select, "--all-rows").lines
    flagged = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert flagged[0] == ["filenames", "embedding_0", "embedding_1", "masked", "selected", "labels"]
    assert [row[0] for row in flagged[1:]] == list(ON_A_CIRCLE)
    assert {row[0] for row in flagged[1:] if row[4] == "1"} == set(chosen)
    assert {row[3] for row in flagged[1:]} == {"0"}
    lightpool(*select)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_all_rows_need_a_file_with_rows_and_an_output(lightpool, pool, circle, tmp_path):
    np.save(tmp_path / "f.npy", np.eye(2))
    out = ("--output", tmp_path / "out.csv", "--all-rows")
    for start in (("--pool", pool), ("--embeddings", tmp_path / "f.npy")):
        assert "--all-rows writes a .csv or .parquet file back" in lightpool.fails("select", *start, *out)
    for flag in ("--all-rows", "--chosen-rows"):
        assert f"{flag} says what --output writes" in lightpool.fails("select", "--embeddings", circle, flag)
    assert not (tmp_path / "out.csv").exists()
