"""Farthest-first traversal: always the candidate that is farthest from everything kept.

Gonzalez, Clustering to minimize the maximum intercluster distance, 1985; conditioned on a pool as in
Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018.

The same picks as by looking at every candidate after every pick, without doing so. Each candidate has an upper
bound of its distance to the nearest kept, which an older pick proved and later picks can only lower; as in
Minoux, Accelerated greedy algorithms, 1978, only the highest bounds are brought up to date, in blocks.
N: candidates. K: picks. D: dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Mask, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.exact import in_blocks, nearest_of_pairs, squares_of_pairs
from lightpool_core.selection.picks import Picks
from lightpool_core.selection.products import Contenders, Products
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop

_BLOCK = 8192
"""Candidates at most brought up to date at once."""
_SHARE = 16
"""And at most one in so many, where they are few."""
_LEADERS = 2048
"""Candidates at most among which picks are made before the next block."""
_EARLY = 2048
_LATE = 512
"""Candidates that are compared with the same picks."""
_PAIRS = 16_000_000
"""Candidates times picks at once, where the picks are many."""
_BEYOND = 5.0
"""Above every squared distance of unit vectors."""
_TAKEN = -1.0


def farthest_first(
    embeddings: Embeddings, pool: PoolView, stop: Stop, *, device: str = "auto", progress: Progress = SILENT
) -> Selection:
    """Choose among `embeddings` (N, D) unit rows, greedily and exactly; ties go to the lower index.

    With an empty pool the first pick is the candidate farthest from the mean of all, so that the choice
    does not hang on the order. Fewer n_samples give a prefix; distances never grow along the picks.
    Raises SettingsError for a `device` that is not there.
    """
    wanted = stop.count(len(embeddings))
    search = _Search(embeddings, pool, Products(device), wanted, stop.min_distance or 0.0)
    with progress.stage("selecting", wanted) as stage:
        done = 0
        while len(search.picks) < wanted and search.advance():
            now = max(len(search.picks), wanted * search.n_decided() // len(embeddings))
            stage.advance(now - done)
            done = now
        stage.advance(wanted - done)
    return search.selection


class _Search:
    """Upper bounds of all candidates' squared distances to the nearest kept, and the picks so far."""

    def __init__(
        self, embeddings: Embeddings, pool: PoolView, products: Products, wanted: int, min_distance: float
    ) -> None:
        n, dim = embeddings.shape
        self.picks = Picks(wanted, dim, products)
        self._embeddings = embeddings
        self._pool = pool
        self._products = products
        self._margin = products.margin(dim)
        self._looseness = 4 * products.margin(dim, coarse=products.coarse)
        self._least = _smallest_square(min_distance)
        self._bounds = np.full(n, _BEYOND)
        self._nearest = np.full(n, -1, dtype=np.int64)
        """The number of the pick that the bound comes from; -1 where it comes from the pool."""
        self._loose = np.zeros(n, dtype=bool)
        """Where products gave the bound: it is more than the distance to that pick, by at most `_looseness`."""
        self._seen = np.zeros(n, dtype=np.int32)
        """How many picks, from the first on, the bound knows of."""
        self._pool_asked = np.full(n, not len(pool))
        if len(pool):
            distances, _ = pool.near(embeddings)
            self._bounds = np.minimum(distances**2, _BEYOND)
        elif wanted:
            first = np.array([_farthest_from_mean(embeddings, self._margin)])
            self._take(first, np.array([np.inf]))
            self._refresh(np.arange(n))

    @property
    def selection(self) -> Selection:
        """The picks so far."""
        n = len(self.picks)
        return Selection(self.picks.rows[:n].copy(), np.sqrt(self.picks.squares[:n]).astype(np.float32))

    def n_decided(self) -> int:
        """Candidates that are picked, or certainly closer than min_distance to a kept one."""
        return int((self._bounds < self._least).sum())

    def advance(self) -> bool:
        """Make the next picks, if any; False where nothing is left to pick."""
        size = min(_BLOCK, len(self._bounds) // _SHARE + _SHARE)
        rows, level = _highest(self._bounds, np.flatnonzero(self._bounds >= self._least), size)
        if not len(rows):
            return False
        self._refresh(rows)
        leaders, level = self._leaders(rows, level)
        if len(leaders):
            self._pick_among(leaders, level)
        return True

    def _refresh(self, rows: Rows) -> None:
        """Bring the bounds of `rows` up to date with all picks."""
        stale = rows[(self._seen[rows] < len(self.picks)) & (self._bounds[rows] > 0)]
        # Together go those that lack about the same picks: early ones, or those around the same place.
        early = stale[self._seen[stale] < self.picks.everywhere]
        late = stale[self._seen[stale] >= self.picks.everywhere]
        early = early[np.argsort(self._seen[early], kind="stable")]
        late = late[np.argsort(self.picks.groups[self._nearest[late]], kind="stable")]
        size = max(_LATE, min(_EARLY, _PAIRS // max(1, len(self.picks))))
        for part in (*in_blocks(early, size), *in_blocks(late, _LATE)):
            first = int(self._seen[part].min())
            matter = self.picks.that_matter(self._nearest[part], first)
            numbers = np.arange(first, len(self.picks)) if isinstance(matter, slice) else matter
            if len(numbers):
                block = self._embeddings.take(part, axis=0)
                found = self._products.contenders(block, self.picks.loaded[matter], self._bounds[part])
                self._lower(part, block, found, numbers)
        self._seen[rows] = len(self.picks)

    def _lower(self, rows: Rows, block: Embeddings, found: Contenders, numbers: Rows) -> None:
        """Lower the bounds of `rows`, with embeddings `block`, by what was found among the picks `numbers`."""
        bounds, nearest, loose = self._bounds[rows], self._nearest[rows], self._loose[rows]
        upper = 2.0 - 2.0 * found.dots.astype(np.float64) + 2 * found.margin
        alone = np.bincount(found.queries, minlength=len(rows))[found.queries] == 1
        clear = alone & (upper + np.where(loose, self._looseness, 0.0)[found.queries] < bounds[found.queries])
        at = found.queries[clear]
        bounds[at], nearest[at], loose[at] = upper[clear], numbers[found.rows[clear]], True
        # Where products cannot tell which pick is nearest, differences do, the pick of a loose bound included.
        i, j = found.queries[~clear], numbers[found.rows[~clear]]
        again = np.unique(i[loose[i]])
        i, j = np.concatenate([i, again]), np.concatenate([j, nearest[again]])
        bounds[again], loose[again] = _BEYOND, False
        order = np.lexsort((j, i))
        at, smallest, to = nearest_of_pairs(block, self._embeddings, i[order], j[order], self.picks.rows)
        smallest = _settled(smallest)
        closer = smallest < bounds[at]
        bounds[at[closer]], nearest[at[closer]] = smallest[closer], to[closer]
        self._bounds[rows], self._nearest[rows], self._loose[rows] = bounds, nearest, loose

    def _leaders(self, rows: Rows, level: _Level) -> tuple[Rows, _Level]:
        """Those of `rows` that are certainly above everything else, with bounds that are true distances."""
        rows = rows[level.reached_by(self._bounds, rows)]
        rows, lower = _highest(self._bounds, rows, _LEADERS)
        loose = rows[self._loose[rows]]
        nearest = self.picks.rows[self._nearest[loose]]
        self._bounds[loose] = _settled(squares_of_pairs(self._embeddings, self._embeddings, loose, nearest))
        self._loose[loose] = False
        level = max(level, lower, key=lambda level: (level.value, -level.row))
        rows = rows[level.reached_by(self._bounds, rows)]
        unasked = rows[~self._pool_asked[rows]]
        if len(unasked):
            distances, _ = self._pool.nearest(self._embeddings[unasked], within=np.sqrt(self._bounds[unasked]))
            closer = unasked[np.isfinite(distances)]
            self._bounds[closer], self._nearest[closer] = distances[np.isfinite(distances)] ** 2, -1
            self._pool_asked[unasked] = True
            rows = rows[level.reached_by(self._bounds, rows)]
        return rows[self._bounds[rows] >= self._least], level

    def _pick_among(self, leaders: Rows, level: _Level) -> None:
        """Pick from `leaders`, whose bounds are true distances, until one outside may be as far."""
        block, squares, nearest = self._embeddings[leaders], self._bounds[leaders], self._nearest[leaders]
        dots = self._products.among_themselves(block)
        floor = self._floor(squares)
        room = len(self.picks.rows) - len(self.picks)
        taken: list[int] = []
        distances: list[float] = []
        while len(taken) < room:
            best = int(squares.argmax())
            if squares[best] < self._least or not level.is_reached(squares[best], leaders[best]):
                break
            taken.append(best)
            distances.append(squares[best])
            squares[best], floor[best] = _TAKEN, np.inf
            close = np.flatnonzero(dots[best] >= floor)
            if len(close):
                exact = _settled(squares_of_pairs(block, block, close, np.full(len(close), best)))
                close, exact = close[exact < squares[close]], exact[exact < squares[close]]
                squares[close], nearest[close] = exact, len(self.picks) + len(taken) - 1
                floor[close] = self._floor(exact)
        self._bounds[leaders], self._nearest[leaders] = squares, nearest
        if taken:
            self._take(leaders[taken], np.array(distances))
        self._seen[leaders] = len(self.picks)

    def _floor(self, squares: ExactDistances) -> Distances:
        """The least dot product that could mean less than `squares`; none does where that is 0."""
        return np.where(squares > 0, 1.0 - squares / 2 - self._margin, np.inf).astype(np.float32)

    def _take(self, rows: Rows, squares: ExactDistances) -> None:
        self.picks.add(rows, self._embeddings[rows], squares, self._nearest[rows])
        self._bounds[rows] = _TAKEN


@dataclass(frozen=True, slots=True)
class _Level:
    """Above everything that is not in a block: at least `value`, and of that value only rows before `row`."""

    value: float
    row: int

    def is_reached(self, value: float, row: int) -> bool:
        return value > self.value or (value == self.value and row < self.row)

    def reached_by(self, values: ExactDistances, rows: Rows) -> Mask:
        return np.asarray((values[rows] > self.value) | ((values[rows] == self.value) & (rows < self.row)))


def _highest(values: ExactDistances, rows: Rows, count: int) -> tuple[Rows, _Level]:
    """The `count` of `rows` (sorted) with the highest values, the first of equals, and the level of the others."""
    if len(rows) <= count:
        return rows, _Level(-np.inf, 0)
    mine = values[rows]
    value = float(np.partition(mine, len(mine) - count)[len(mine) - count])
    ties = np.flatnonzero(mine == value)
    n_ties = count - int((mine > value).sum())
    mask = mine > value
    mask[ties[:n_ties]] = True
    # Without a tie outside, whatever has this value is in the block.
    row = int(rows[ties[n_ties]]) if n_ties < len(ties) else len(values)
    return rows[mask], _Level(value, row)


def _settled(squares: ExactDistances) -> ExactDistances:
    """Squares of the rounded roots, as those of the pool are: what is a tie as a distance is one as a square."""
    return np.asarray(np.sqrt(squares) ** 2)


def _smallest_square(distance: float) -> float:
    """The smallest number whose root is at least `distance`: a tie is a tie, squared or not."""
    square = distance**2
    while np.sqrt(np.nextafter(square, 0)) >= distance > 0:
        square = float(np.nextafter(square, 0))
    while np.sqrt(square) < distance:
        square = float(np.nextafter(square, np.inf))
    return square


def _farthest_from_mean(embeddings: Embeddings, margin: float) -> int:
    """The row farthest from the mean of all: float32 finds those that may be, float64 decides."""
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in in_blocks(embeddings)) / len(embeddings)
    dots = np.concatenate([block @ mean.astype(np.float32) for block in in_blocks(embeddings)])
    rows = np.flatnonzero(dots <= dots.min() + 2 * margin)
    squares = squares_of_pairs(embeddings, mean[None], rows, np.zeros(len(rows), dtype=np.int64))
    return int(rows[squares.argmax()])
