"""The picks of a traversal, and which of them can matter to a candidate.

By the triangle inequality a pick that is at least twice as far from the pick nearest to a candidate as the
candidate itself is cannot be nearer to it: Elkan, Using the triangle inequality to accelerate k-means, 2003.
Between unit vectors it holds for angles, where it says more than for Euclidean distances.
K: picks. R: some candidates. D: dimension.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import Selection

_SAMPLE = 256
_DENSE = 0.1
"""Share of close pairs among picks from which knowing them saves nothing."""
_PAIRS_AT_MOST = 10_000_000
"""Close pairs worth remembering; beyond, all picks so far matter to all candidates."""
_AT_ONCE = 4096


class Picks:
    """Up to `wanted` picks, in order.

    `descending`: every pick is at most as far from the earlier ones as those were. Without that, all matter always.
    """

    def __init__(self, wanted: int, dim: int, products: Products, *, descending: bool = True) -> None:
        self.rows = np.empty(wanted, dtype=np.int64)
        """(K,) which candidates; only the first `len` are set, here and below."""
        self.squares = np.empty(wanted)
        """(K,) squared distance to the nearest kept when picked."""
        self.loaded = products.load(np.empty((wanted, dim), dtype=np.float32))
        """(K, D) on the device."""
        self.groups = np.zeros(wanted, dtype=np.int64)
        """(K,) picks in the same place have the same number."""
        self.everywhere = 0
        """So many picks, the first, matter to all candidates."""
        self._n = 0
        self._descending = descending
        self._products = products
        self._margin = products.margin(dim)
        self._close: tuple[Rows, Rows] = (np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        return self._n

    @property
    def selection(self) -> Selection:
        """The picks so far."""
        return Selection(self.rows[: self._n].copy(), np.sqrt(self.squares[: self._n]).astype(np.float32))

    def add(self, rows: Rows, embeddings: Embeddings, squares: ExactDistances, nearest: Rows) -> None:
        """Append candidates `rows` with `embeddings`, (R, D), picked at `squares`; `nearest` earlier picks, or -1.

        If they are descending, no candidate may be farther from what is kept than the first of `squares`.
        """
        start, end = self._n, self._n + len(rows)
        new = slice(start, end)
        self.rows[new], self.squares[new] = rows, squares
        self.loaded[new] = self._products.load(embeddings)
        self._n = end
        if not self._descending:
            self.everywhere = end
            return
        cosine = 1.0 - min(squares[0], 2.0) / 2.0
        at = 2.0 * cosine**2 - 1.0 - 4.0 * self._margin  # the cosine of twice the angle
        sample = self.loaded[start - _SAMPLE if start > _SAMPLE else 0 : end][:_SAMPLE] @ self.loaded[new].T
        if squares[0] >= 2 or float((sample > at).float().mean()) > _DENSE:
            self.everywhere, self._close = end, (np.empty(0, np.int64), np.empty(0, np.int64))
            self.groups[new] = np.arange(start, end)
            return
        for number, parent in zip(range(start, end), nearest, strict=True):
            self.groups[number] = self.groups[parent] if parent >= 0 else number
        self._remember(start, at)

    def _remember(self, start: int, at: float) -> None:
        """Note which earlier picks have a dot product above `at` with those from `start` on."""
        if len(self._close[0]) > _PAIRS_AT_MOST:
            self.everywhere, self._close = self._n, (np.empty(0, np.int64), np.empty(0, np.int64))
            return
        older, newer = ([column] for column in self._close)
        for first in range(0, self._n, _AT_ONCE):
            dots = self.loaded[first : min(first + _AT_ONCE, self._n)] @ self.loaded[start : self._n].T
            i, j = (dots > at).nonzero(as_tuple=True)
            earlier = (i + first) < (j + start)
            older.append((i[earlier] + first).cpu().numpy())
            newer.append((j[earlier] + start).cpu().numpy())
        self._close = (np.concatenate(older), np.concatenate(newer))

    def that_matter(self, nearest: Rows, first: int) -> Rows | slice:
        """The picks from number `first` on that may be nearer to candidates than `nearest` (R,), the nearest before.

        A `nearest` of -1 is none of the picks.
        """
        everything = slice(first, self._n)
        if self.everywhere >= self._n or (nearest < 0).any():
            return everything
        marked, wanted = np.zeros((2, self._n), dtype=bool)
        marked[nearest] = True
        older, newer = self._close
        wanted[newer[marked[older]]] = True
        wanted[: self.everywhere] = True
        wanted[:first] = False
        numbers = np.flatnonzero(wanted)
        return numbers if 2 * len(numbers) < self._n - first else everything
