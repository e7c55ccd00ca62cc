from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lightpool_core.pool.content import NOTHING, grown

ROWS = pa.table({
    "name": ["a", "b", None],
    "n": pa.array([1, None, 3], pa.int64()),
    "embedding": pa.array([[1.0, 0.0], [0.5, -0.0], None], pa.list_(pa.float32())),
})  # fmt: skip


def test_order_and_portions_do_not_matter() -> None:
    whole = grown(NOTHING, ROWS)
    assert grown(NOTHING, ROWS.take([2, 0, 1])) == whole
    assert grown(grown(NOTHING, ROWS[1:]), ROWS[:1]) == whole
    assert grown(whole, ROWS[:0]) == whole


def test_lists_of_fixed_size_are_what_other_lists_are() -> None:
    fixed = ROWS[:2].cast(ROWS.schema.set(2, pa.field("embedding", pa.list_(pa.float32(), 2))))
    assert grown(NOTHING, fixed) == grown(NOTHING, ROWS[:2])


def test_a_column_of_nulls_changes_nothing() -> None:
    assert grown(NOTHING, ROWS.append_column("later", pa.nulls(3, pa.string()))) == grown(NOTHING, ROWS)


def test_what_is_unknown_stays_unknown() -> None:
    assert grown("", ROWS) == ""


@given(st.integers(0, 2), st.sampled_from(["name", "n", "embedding"]))
def test_every_value_counts(row: int, column: str) -> None:
    values = ROWS[column].to_pylist()
    values[row] = {"name": "other", "n": 99, "embedding": [1.0, 1e-7]}[column]
    changed = ROWS.set_column(
        ROWS.column_names.index(column), ROWS.schema.field(column), pa.array(values, ROWS.schema.field(column).type)
    )
    assert grown(NOTHING, changed) != grown(NOTHING, ROWS)


def test_the_sign_of_zero_counts() -> None:
    embedding = pa.array([[0.5, 0.0]], pa.list_(pa.float32()))
    assert grown(NOTHING, ROWS[1:2].set_column(2, "embedding", embedding)) != grown(NOTHING, ROWS[1:2])


def test_it_is_the_same_for_ever() -> None:
    assert grown(NOTHING, ROWS) == "8e3b758e14c7477d"
