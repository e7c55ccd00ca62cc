from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection import cells as module
from lightpool_core.selection.cells import ROUNDING, Cells
from lightpool_core.selection.products import Products
from tests.strategies import KINDS, off_length, squares_to, unit_vectors

SIZES = st.fixed_dictionaries({
    "_PREFIX": st.sampled_from([2, 5, 128]),
    "_LEAF": st.integers(1, 20),
    "_SMALL_LEAF": st.integers(1, 5),
    "_BLOCK": st.integers(32, 60),
    "_SAMPLE": st.sampled_from([10, 16_384]),
    "_SWEEPS": st.integers(0, 3),
})  # fmt: skip


def assert_sound(cells: Cells, rows: Embeddings) -> None:
    """Every row is in one leaf, in one block, and no farther from the pivot than its leaf says."""
    assert len(cells) == len(rows)
    assert np.sort(cells.order).tolist() == list(range(len(rows)))
    for borders, last in ((cells.leaves, len(rows)), (cells.blocks, len(cells.pivots))):
        assert borders[0] == 0
        assert borders[-1] == last
        assert (np.diff(borders) > 0).all()
    assert len(cells.pivots) == len(cells.cosines) == len(cells.leaves) - 1
    np.testing.assert_allclose(cells.prefixes, cells.prefixes_of(rows)[cells.order], atol=1e-7)
    leaf = np.repeat(np.arange(len(cells.pivots)), np.diff(cells.leaves))
    members, pivots = unit(cells.prefixes), unit(cells.pivots)
    cosines = np.einsum("ms,ms->m", members, pivots[leaf])
    assert (cosines >= np.minimum(cells.cosines[leaf], 1)).all()


def unit(rows: Embeddings) -> np.ndarray:
    wide = rows.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(KINDS), st.integers(0, 300), st.integers(1, 12), st.integers(0, 120), st.integers(0, 999), SIZES)
def test_every_row_is_in_one_leaf_that_reaches_to_it(
    kind: str, n: int, dim: int, n_later: int, seed: int, sizes: dict[str, int]
) -> None:
    rows = off_length(unit_vectors(n + n_later, dim, kind, seed), seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(module, name, value)
        cells = Cells.over(rows[:n])
        assert_sound(cells, rows[:n])
        longer = cells.extended(rows)
        assert_sound(longer, rows)
        np.testing.assert_array_equal(longer.order[:n], cells.order)
        np.testing.assert_array_equal(longer.blocks[: len(cells.blocks)], cells.blocks)
        assert longer.extended(rows) is longer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [3, 128, 129, 300])
def test_prefixes_are_never_farther_apart_than_their_rows(kind: str, dim: int) -> None:
    rows = off_length(unit_vectors(400, dim, kind))
    cells = Cells.over(rows)
    prefixes = cells.prefixes_of(rows)
    assert prefixes.dtype == np.float32
    assert prefixes.shape == (400, min(dim, 128))
    np.testing.assert_allclose(np.linalg.norm(prefixes.astype(np.float64), axis=1), 1, atol=1.2e-6)
    for query in range(0, 400, 8):
        shorter, whole = squares_to(prefixes, prefixes[query]), squares_to(rows, rows[query])
        # As a dot product, and as the length of the difference.
        assert (shorter <= whole + 2 * ROUNDING).all()
        assert (np.sqrt(shorter) <= np.sqrt(whole) + 3e-7).all()


@pytest.mark.parametrize("kind", ["walk", "clusters"])
def test_prefixes_of_a_video_rule_out_nearly_as_much_as_whole_rows(kind: str) -> None:
    rows = unit_vectors(400, 300, kind)
    prefixes = Cells.over(rows).prefixes_of(rows)
    shorter, whole = squares_to(prefixes, prefixes[7]), squares_to(rows, rows[7])
    assert np.mean(shorter[whole > 0.5] / whole[whole > 0.5]) > 0.9


def test_a_short_row_is_its_own_prefix() -> None:
    rows = unit_vectors(50, 128)
    assert Cells.over(rows).prefixes_of(rows) is rows


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("dim", [2, 16, 128, 200])
def test_the_angle_of_a_tight_leaf_is_not_hidden_by_the_lengths_of_its_rows(dim: int, sign: int) -> None:
    """A product of rows of length 1 + 1e-6 is more than the cosine; the arc of 1e-6 is 1e-3."""
    rng = np.random.default_rng(0)
    pivot, aside = np.linalg.qr(rng.normal(size=(dim, 2)))[0].T
    angles = np.concatenate([[0], rng.uniform(-1.3e-3, 1.3e-3, size=60)])
    arc = np.cos(angles)[:, None] * pivot + np.sin(angles)[:, None] * aside
    rows = (arc * (1 + sign * 0.85e-6)).astype(np.float32)
    assert_sound(Cells.over(rows), rows)


def test_one_direction_needs_one_leaf_and_opposite_directions_two() -> None:
    row = unit_vectors(1, 8)
    assert len(Cells.over(np.repeat(row, 3000, axis=0)).pivots) == 1
    both = Cells.over(unit_rows(np.concatenate([row, -row] * 500)))
    assert len(both.pivots) == 2
    assert both.cosines.min() > 0.99


def test_rows_that_lie_together_share_blocks() -> None:
    rows = unit_vectors(20_000, 4, "clusters")[np.random.default_rng(0).permutation(20_000)]
    cells = Cells.over(rows)
    assert len(cells.blocks) - 1 >= 20_000 // (2 * module._BLOCK)
    leaves_per_block = [np.arange(a, b) for a, b in zip(cells.blocks, cells.blocks[1:], strict=False)]
    spreads = [np.linalg.norm(cells.pivots[leaves].mean(axis=0)) for leaves in leaves_per_block]
    assert np.mean(spreads) > 0.5 > np.linalg.norm(cells.pivots.mean(axis=0))


def test_the_bound_of_a_leaf_allows_for_rounding() -> None:
    rows = off_length(unit_vectors(300, 100, "jitter 1e-6"))
    cells = Cells.over(rows)
    assert (cells.cosines <= 1 - Products("cpu").margin(100) + 3e-6).all()


def test_nothing_has_no_cells() -> None:
    cells = Cells.over(np.empty((0, 5), np.float32))
    assert (len(cells), len(cells.pivots), cells.blocks.tolist()) == (0, 0, [0])
    rows = unit_vectors(40, 5)
    assert_sound(cells.extended(rows), rows)
