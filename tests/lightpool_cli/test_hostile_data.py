"""Tables, configs and annotations that are made to do harm."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

BILLION = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)), "strategies: *a39"]
)
CONFIGS = {
    "a billion laughs.yaml": BILLION,
    "a circle.yaml": "strategies: &a [*a]",
    "python.yaml": "strategies: !!python/object/apply:os.mkdir ['{mark}']",
    "deep.json": "[" * 100_000,
    "deep.yaml": "[" * 20_000,
    "deep.toml": "strategies = " + "[" * 20_000,
    "a long number.json": '{{"n_samples": ' + "9" * 10_000 + "}}",
    "a large number.json": '{{"n_samples": 1e400, "strategies": []}}',
    "many names.json": "{{" + ", ".join(f'"{n}": 1' for n in range(100_000)) + "}}",
}


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def vectors(tmp_path):
    """An embeddings file of two samples, one of which would lead out of a folder."""
    path = tmp_path / "embeddings.csv"
    path.write_text("filenames,embedding_0,embedding_1,labels\na.png,1,0,0\n../secret.png,0,1,0\n/etc/b.png,1,1,0\n")
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_swells_or_runs_something_is_one_line(lightpool, vectors, tmp_path, name):
    (tmp_path / name).write_text(CONFIGS[name].format(mark=tmp_path / "ran"))
    assert name in lightpool.fails("select", "--embeddings", vectors, "--config", tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["objects.npy", "pickle.npy", "claims.npy", "long header.npy"])
def test_an_array_of_objects_is_refused_without_unpickling(lightpool, tmp_path, name):
    file, mark = tmp_path / name, tmp_path / "ran"
    if name == "objects.npy":
        np.save(file, np.array([[Malice(mark)]], dtype=object), allow_pickle=True)
    elif name == "pickle.npy":
        file.write_bytes(pickle.dumps(Malice(mark)))
    else:
        shape = "(10000000000000, 512)" if name == "claims.npy" else "(" * 50_000
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        file.write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    assert name in lightpool.fails("select", "--embeddings", file)
    assert not mark.exists()


@pytest.mark.parametrize(
    "line", ["a" * 40_000_000, "a," * 20_000_000, '"' + "a" * 40_000_000], ids=lambda line: line[:2]
)
@pytest.mark.parametrize("header", ["", "filenames,embedding_0,labels\n"], ids=["as header", "as row"])
def test_a_line_without_end_is_one_line_of_complaint(lightpool, tmp_path, line, header):
    (tmp_path / "long.csv").write_text(header + line)
    assert "long.csv" in lightpool.fails("select", "--embeddings", tmp_path / "long.csv")
    assert "long.csv" in lightpool.fails(
        "select", "--embeddings", tmp_path / "long.csv", "--metadata", tmp_path / "long.csv"
    )


def test_names_from_a_table_read_no_annotations_outside_of_their_folder(lightpool, vectors, tmp_path):
    folder = tmp_path / "predictions"
    (folder / "task").mkdir(parents=True)
    (folder / "tasks.json").write_text('["task"]')
    schema = {"task_type": "classification", "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}
    (folder / "task" / "schema.json").write_text(json.dumps(schema))
    known = {"file_name": "a.png", "predictions": [{"category_id": 0, "score": 1, "probabilities": [1, 0]}]}
    (folder / "task" / "a.json").write_text(json.dumps(known))
    os.mkfifo(folder / "secret.json")  # ../secret.json from the task: who reads it waits for ever, or complains
    assert len(lightpool("select", "--embeddings", vectors, "--predictions", folder).lines) == 3


@pytest.mark.parametrize("task", ["../elsewhere", "/etc", "task/../../elsewhere", "link"])
def test_a_task_outside_of_the_predictions_is_refused(lightpool, vectors, tmp_path, task):
    folder = tmp_path / "predictions"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "tasks.json").write_text(json.dumps([task]))
    assert "not in the folder" in lightpool.fails("select", "--embeddings", vectors, "--predictions", folder)


def test_a_pipe_among_annotations_is_one_line(lightpool, vectors, tmp_path):
    folder = tmp_path / "metadata"
    folder.mkdir()
    (folder / "schema.json").write_text(
        '[{"name": "x", "path": "x", "defaultValue": 0, "valueDataType": "NUMERIC_INT"}]'
    )
    os.mkfifo(folder / "a.json")
    assert "no file" in lightpool.fails("select", "--embeddings", vectors, "--metadata", folder)
