from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Array
from lightpool_core.pool.metadata import columns_of, texts_of

NAN = float("nan")


def objects(*values: object) -> Array:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def read_back(metadata: dict[str, Array], n: int) -> dict[str, list[Any]]:
    return {key: column.tolist() for key, column in columns_of(texts_of(metadata, n), {}).items()}


def test_a_sample_is_one_object_with_sorted_keys_and_without_what_is_unknown() -> None:
    metadata = {"weather": objects("rain", None), "lightly.snr": np.array([2.5, NAN]), "n": np.array([3.0, -1.0])}
    assert texts_of(metadata, 2) == ['{"lightly.snr": 2.5, "n": 3, "weather": "rain"}', '{"n": -1}']


def test_the_size_has_columns_of_its_own() -> None:
    size = {name: np.array([64.0]) for name in ("width", "height", "lightly.width", "lightly.height")}
    assert texts_of({**size, "lightly.sizeInBytes": np.array([9.0])}, 1) == ['{"lightly.sizeInBytes": 9}']


def test_where_nothing_is_known_the_object_is_empty() -> None:
    assert texts_of({}, 2) == ["{}", "{}"]
    assert columns_of(["{}", None, ""], {}) == {}


@pytest.mark.parametrize(
    "values",
    [
        [1.5, 2.0, -0.1],
        [1 / 3, 1e300, 5e-324],
        [2.0**53, 2.0**60, -(2.0**53)],
        ["rain", "Straße ☃", 'quo"ted, {"}'],
        [True, False, True],
        ["rain", 3, True],
    ],
    ids=str,
)
def test_what_is_known_reads_back_as_it_was(values: list[Any]) -> None:
    column = np.array(values) if isinstance(values[0], float) else objects(*values)
    assert read_back({"a": column}, 3) == {"a": values}


def test_numbers_come_back_as_numbers_and_all_else_as_objects() -> None:
    columns = columns_of(['{"a": 1, "b": true, "c": "x"}', "{}"], {})
    assert {key: column.dtype.kind for key, column in columns.items()} == {"a": "f", "b": "O", "c": "O"}
    np.testing.assert_array_equal(columns["a"], [1.0, NAN])
    assert (columns["b"].tolist(), columns["c"].tolist()) == ([True, None], ["x", None])


@pytest.mark.parametrize("value", [NAN, float("inf"), -float("inf")])
def test_what_json_has_no_number_for_is_unknown(value: float) -> None:
    assert texts_of({"a": np.array([value]), "b": objects(value)}, 1) == ["{}"]


def test_numbers_of_numpy_are_numbers() -> None:
    assert json.loads(texts_of({"a": objects(np.int64(3)), "b": objects(np.bool_(True))}, 1)[0]) == {"a": 3, "b": True}


def test_the_size_is_known_under_both_names() -> None:
    size = {"width": np.array([64.0, NAN]), "height": np.array([48.0, 32.0])}
    columns = columns_of(["{}", "{}"], size)
    assert sorted(columns) == ["height", "lightly.height", "lightly.width", "width"]
    np.testing.assert_array_equal(columns["lightly.width"], size["width"])
