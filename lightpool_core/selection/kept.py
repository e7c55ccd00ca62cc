"""What is kept so far, and how far each candidate certainly is from it at most.

Each candidate has an upper bound of its distance to the nearest kept, which an older pick proved and later picks
can only lower; as in Minoux, Accelerated greedy algorithms, 1978, only the bounds that matter are brought up to
date, in blocks. N: candidates. K: picks. D: dimension.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.selection.exact import in_blocks, nearest_of_pairs, squares_of_pairs
from lightpool_core.selection.picks import Picks
from lightpool_core.selection.products import Contenders, Products
from lightpool_core.selection.sampler import PoolView

_EARLY = 2048
_LATE = 512
"""Candidates that are compared with the same picks."""
_PAIRS = 16_000_000
"""Candidates times picks at once, where the picks are many."""
BEYOND = 5.0
"""Above every squared distance of unit vectors."""
TAKEN = -1.0


class Kept:
    """The pool and the picks, up to `wanted`, and upper bounds of squared distances to them.

    `descending` promises that no pick is farther from what is kept than the one before it, which makes it faster.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        pool: PoolView,
        products: Products,
        wanted: int,
        min_distance: float,
        *,
        descending: bool,
    ) -> None:
        n, dim = embeddings.shape
        self.picks = Picks(wanted, dim, products, descending=descending)
        self.embeddings = embeddings
        self.bounds = np.full(n, BEYOND)
        """(N,) a pick has a negative one."""
        self.least = smallest_square(min_distance)
        """Squared distance that a pick must have."""
        self.nearest = np.full(n, -1, dtype=np.int64)
        """(N,) the number of the pick that the bound comes from; -1 where it comes from the pool."""
        self.loose = np.zeros(n, dtype=bool)
        """(N,) where products gave the bound: it is more than the distance to that pick, by at most `_looseness`."""
        self.seen = np.zeros(n, dtype=np.int32)
        """(N,) how many picks, from the first on, the bound knows of."""
        self._pool = pool
        self._products = products
        self._looseness = 4 * products.margin(dim, coarse=products.coarse)
        self._pool_asked = np.full(n, not len(pool))
        if len(pool):
            distances, _ = pool.near(embeddings)
            self.bounds = np.minimum(distances**2, BEYOND)

    def __len__(self) -> int:
        return len(self.picks)

    def n_decided(self) -> int:
        """Candidates that are picked, or certainly closer than min_distance to a kept one."""
        return int((self.bounds < self.least).sum())

    def refresh(self, rows: Rows) -> None:
        """Bring the bounds of `rows` up to date with all picks."""
        stale = rows[(self.seen[rows] < len(self.picks)) & (self.bounds[rows] > 0)]
        # Together go those that lack about the same picks: early ones, or those around the same place.
        early = stale[self.seen[stale] < self.picks.everywhere]
        late = stale[self.seen[stale] >= self.picks.everywhere]
        early = early[np.argsort(self.seen[early], kind="stable")]
        late = late[np.argsort(self.picks.groups[self.nearest[late]], kind="stable")]
        size = max(_LATE, min(_EARLY, _PAIRS // max(1, len(self.picks))))
        for part in (*in_blocks(early, size), *in_blocks(late, _LATE)):
            first = int(self.seen[part].min())
            matter = self.picks.that_matter(self.nearest[part], first)
            numbers = np.arange(first, len(self.picks)) if isinstance(matter, slice) else matter
            if len(numbers):
                block = self.embeddings.take(part, axis=0)
                found = self._products.contenders(block, self.picks.loaded[matter], self.bounds[part])
                self._lower(part, block, found, numbers)
        self.seen[rows] = len(self.picks)

    def _lower(self, rows: Rows, block: Embeddings, found: Contenders, numbers: Rows) -> None:
        """Lower the bounds of `rows`, with embeddings `block`, by what was found among the picks `numbers`."""
        bounds, nearest, loose = self.bounds[rows], self.nearest[rows], self.loose[rows]
        upper = 2.0 - 2.0 * found.dots.astype(np.float64) + 2 * found.margin
        alone = np.bincount(found.queries, minlength=len(rows))[found.queries] == 1
        clear = alone & (upper + np.where(loose, self._looseness, 0.0)[found.queries] < bounds[found.queries])
        at = found.queries[clear]
        bounds[at], nearest[at], loose[at] = upper[clear], numbers[found.rows[clear]], True
        # Where products cannot tell which pick is nearest, differences do, the pick of a loose bound included.
        i, j = found.queries[~clear], numbers[found.rows[~clear]]
        again = np.unique(i[loose[i]])
        i, j = np.concatenate([i, again]), np.concatenate([j, nearest[again]])
        bounds[again], loose[again] = BEYOND, False
        order = np.lexsort((j, i))
        at, smallest, to = nearest_of_pairs(block, self.embeddings, i[order], j[order], self.picks.rows)
        smallest = settled(smallest)
        closer = smallest < bounds[at]
        bounds[at[closer]], nearest[at[closer]] = smallest[closer], to[closer]
        self.bounds[rows], self.nearest[rows], self.loose[rows] = bounds, nearest, loose

    def tighten(self, rows: Rows) -> None:
        """Make the bounds of `rows`, which are up to date, true distances to the picks, but for the pool."""
        loose = rows[self.loose[rows]]
        nearest = self.picks.rows[self.nearest[loose]]
        self.bounds[loose] = settled(squares_of_pairs(self.embeddings, self.embeddings, loose, nearest))
        self.loose[loose] = False

    def ask_pool(self, rows: Rows) -> None:
        """Make the bounds of `rows`, which are tight, true distances to what is kept."""
        unasked = rows[~self._pool_asked[rows]]
        if len(unasked):
            distances, _ = self._pool.nearest(self.embeddings[unasked], within=np.sqrt(self.bounds[unasked]))
            closer = unasked[np.isfinite(distances)]
            self.bounds[closer], self.nearest[closer] = distances[np.isfinite(distances)] ** 2, -1
            self._pool_asked[unasked] = True

    def radius(self, rows: Rows) -> float:
        """How far any of `rows` is from what is kept; 0 where all are, infinite where nothing is."""
        if not len(self) and not len(self._pool):
            return float("inf") if len(rows) else 0.0
        while len(rows):
            block = rows[np.argsort(-self.bounds[rows], kind="stable")[:_EARLY]]
            before = self.bounds[block].copy()
            self.refresh(block)
            self.tighten(block)
            self.ask_pool(block)
            if self.bounds[block].max() >= before[-1] or len(block) == len(rows):
                return float(np.sqrt(max(0.0, self.bounds[block].max())))
        return 0.0

    def take(self, rows: Rows, squares: ExactDistances) -> None:
        """Pick `rows`, at squared distances `squares`, in that order."""
        self.picks.add(rows, self.embeddings[rows], squares, self.nearest[rows])
        self.bounds[rows] = TAKEN


def settled(squares: ExactDistances) -> ExactDistances:
    """Squares of the rounded roots, as those of the pool are: what is a tie as a distance is one as a square."""
    return np.asarray(np.sqrt(squares) ** 2)


def smallest_square(distance: float) -> float:
    """The smallest number whose root is at least `distance`: a tie is a tie, squared or not."""
    square = distance**2
    while np.sqrt(np.nextafter(square, 0)) >= distance > 0:
        square = float(np.nextafter(square, 0))
    while np.sqrt(square) < distance:
        square = float(np.nextafter(square, np.inf))
    return square
