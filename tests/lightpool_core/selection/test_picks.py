from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings
from lightpool_core.selection import picks as module
from lightpool_core.selection.picks import Picks
from lightpool_core.selection.products import Products
from lightpool_core.selection.stop import Stop
from tests.strategies import KINDS, off_length, squares_to, textbook_greedy, unit_vectors


class Traversal:
    """The picks of a traversal of `candidates`, added block by block, and what is true after each of them."""

    def __init__(self, candidates: Embeddings, n_samples: int, size: int) -> None:
        rows, gained = textbook_greedy(candidates, candidates[:0], Stop(n_samples))
        columns = [squares_to(candidates, candidates[row]) for row in rows]
        self.squares = np.stack(columns, axis=1)
        """(N, K) of every candidate to every pick."""
        self.picks = Picks(len(rows), candidates.shape[1], Products("cpu"))
        for start in range(0, len(rows), size):
            new = np.array(rows[start : start + size])
            self.picks.add(new, candidates[new], np.array(gained[start : start + size]) ** 2, self._nearest(new, start))

    def _nearest(self, rows: np.ndarray, start: int) -> np.ndarray:
        before = [self.squares[row, : start + i] for i, row in enumerate(rows)]
        return np.array([squares.argmin() if len(squares) else -1 for squares in before])


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.integers(2, 70),
    st.integers(1, 9),
    st.integers(1, 30),
    st.sampled_from([0.05, 0.2, 0.5, 1.0]),
    st.sampled_from([5, 50, 1000]),
    st.integers(0, 999),
)
def test_a_pick_that_is_nearer_than_the_nearest_before_always_matters(
    kind: str, n: int, dim: int, size: int, dense: float, at_most: int, seed: int
) -> None:
    candidates = off_length(unit_vectors(n, dim, kind, seed), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DENSE", dense)
        patch.setattr(module, "_PAIRS_AT_MOST", at_most)
        patch.setattr(module, "_SAMPLE", 5)
        patch.setattr(module, "_AT_ONCE", 6)
        traversal = Traversal(candidates, n // 2 + 1, size)
    for first in range(1, len(traversal.picks)):
        nearest = traversal.squares[:, :first].argmin(axis=1)
        before = traversal.squares[np.arange(n), nearest][:, None]
        # A pick is made only when what is known of every candidate is no farther than the pick itself.
        later = (traversal.squares < before) & (before <= traversal.picks.squares)
        later[:, :first] = False
        for row in np.flatnonzero(later.any(axis=1)):
            assert_all_matter(traversal.picks, nearest[row : row + 1], first, later[row])
        together = later.any(axis=1)
        assert_all_matter(traversal.picks, nearest[together], first, later.any(axis=0))


def assert_all_matter(picks: Picks, nearest: np.ndarray, first: int, nearer: np.ndarray) -> None:
    mattering = np.zeros(len(picks), dtype=bool)
    mattering[picks.that_matter(nearest, first)] = True
    assert not mattering[:first].any()
    assert mattering[nearer].all()


def test_in_a_video_few_picks_matter_to_one_candidate() -> None:
    traversal = Traversal(unit_vectors(900, 32, "walk"), 300, 50)
    picks = traversal.picks
    n_mattering = [len(np.arange(300)[picks.that_matter(np.array([number]), 0)]) for number in range(300)]
    assert picks.everywhere < 300
    assert np.mean(n_mattering) < 150


def test_among_candidates_that_are_all_far_apart_every_pick_matters() -> None:
    picks = Traversal(unit_vectors(300, 32), 100, 20).picks
    assert picks.everywhere == 100
    assert picks.that_matter(np.array([3]), 7) == slice(7, 100)


def test_more_close_pairs_than_are_worth_it_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = unit_vectors(900, 32, "walk")
    assert Traversal(candidates, 300, 50).picks.everywhere < 150
    monkeypatch.setattr(module, "_PAIRS_AT_MOST", 50)
    picks = Traversal(candidates, 300, 50).picks
    assert picks.everywhere > 150
    assert picks.that_matter(np.array([1]), 0) == slice(0, 300) or picks.everywhere < 300


def test_every_pick_matters_to_what_is_nearest_to_the_pool() -> None:
    picks = Traversal(unit_vectors(900, 32, "walk"), 300, 50).picks
    assert not isinstance(picks.that_matter(np.array([1]), 0), slice)
    assert picks.that_matter(np.array([1, -1]), 5) == slice(5, 300)


def test_picks_are_remembered_in_their_order() -> None:
    candidates = unit_vectors(90, 8, "clusters")
    rows, gained = textbook_greedy(candidates, candidates[:0], Stop(40))
    picks = Traversal(candidates, 40, 7).picks
    assert len(picks) == 40
    assert picks.rows.tolist() == rows
    np.testing.assert_array_equal(picks.squares, np.array(gained) ** 2)
    np.testing.assert_array_equal(picks.loaded.numpy(), candidates[rows])
