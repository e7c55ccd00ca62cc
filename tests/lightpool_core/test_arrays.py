from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import array_digest, unit_rows
from tests.strategies import unit_vectors


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 99), st.sampled_from([1e-20, 1e-3, 1.0, 1e15]))
def test_rows_get_length_one(n: int, dim: int, seed: int, scale: float) -> None:
    rows = unit_rows(np.random.default_rng(seed).normal(size=(n, dim)) * scale)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=2e-7)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(1, 64), st.integers(0, 99))
def test_unit_rows_stay_bit_for_bit(n: int, dim: int, seed: int) -> None:
    rows = unit_vectors(n, dim, seed=seed)
    np.testing.assert_array_equal(unit_rows(rows), rows)


def test_the_argument_stays_as_it_is() -> None:
    rows = np.full((2, 3), 2.0, np.float32)
    unit_rows(rows)
    assert (rows == 2).all()


def test_rows_too_large_or_small_for_float32_squares_have_a_direction() -> None:
    rows = unit_rows(np.array([[3e38, 4e38 / 2], [1e-30, 0]], np.float32))
    assert np.isfinite(rows).all()


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_row_without_a_direction_is_named(bad: float) -> None:
    rows = np.ones((4, 3))
    rows[2] = bad
    with pytest.raises(ValueError, match="row 2 is zero or not finite"):
        unit_rows(rows)


def test_equal_arrays_have_equal_digests() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert array_digest(pixels) == array_digest(pixels.copy()) == array_digest(np.asfortranarray(pixels))
    assert array_digest(pixels[::-1]) == array_digest(pixels[::-1].copy())


def test_other_values_or_another_shape_or_type_have_another_digest() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (
        len({array_digest(p) for p in (pixels, pixels + 1, pixels.reshape(4, 2, 3), pixels[:1], pixels.astype(int))})
        == 5
    )
