"""Farthest-first traversal: always the candidate that is farthest from everything kept.

Gonzalez, Clustering to minimize the maximum intercluster distance, 1985; conditioned on a pool as in
Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018.

The same picks as by looking at every candidate after every pick, without doing so: see `kept`.
N: candidates. K: picks. D: dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Mask, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.exact import in_blocks, squares_of_pairs
from lightpool_core.selection.kept import TAKEN, Kept, settled
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop

_BLOCK = 8192
"""Candidates at most brought up to date at once."""
_SHARE = 16
"""And at most one in so many, where they are few."""
_LEADERS = 2048
"""Candidates at most among which picks are made before the next block."""


def farthest_first(
    embeddings: Embeddings, pool: PoolView, stop: Stop, *, device: str = "auto", progress: Progress = SILENT
) -> Selection:
    """Choose among `embeddings` (N, D) unit rows, greedily and exactly; ties go to the lower index.

    With an empty pool the first pick is the candidate farthest from the mean of all, so that the choice
    does not hang on the order. Fewer n_samples give a prefix; distances never grow along the picks.
    Raises SettingsError for a `device` that is not there.
    """
    return traversed(embeddings, pool, stop, device=device, progress=progress).picks.selection


def traversed(
    embeddings: Embeddings, pool: PoolView, stop: Stop, *, device: str = "auto", progress: Progress = SILENT
) -> Kept:
    """As `farthest_first`; what is kept in the end."""
    wanted = stop.count(len(embeddings))
    search = _Search(embeddings, pool, Products(device), wanted, stop.min_distance or 0.0)
    with progress.stage("selecting", wanted) as stage:
        done = 0
        while len(search.kept) < wanted and search.advance():
            now = max(len(search.kept), wanted * search.kept.n_decided() // len(embeddings))
            stage.advance(now - done)
            done = now
        stage.advance(wanted - done)
    return search.kept


class _Search:
    def __init__(
        self, embeddings: Embeddings, pool: PoolView, products: Products, wanted: int, min_distance: float
    ) -> None:
        self.kept = Kept(embeddings, pool, products, wanted, min_distance, descending=True)
        self._products = products
        self._margin = products.margin(embeddings.shape[1])
        if not len(pool) and wanted:
            self.kept.take(np.array([farthest_from_mean(embeddings, self._margin)]), np.array([np.inf]))
            self.kept.refresh(np.arange(len(embeddings)))

    def advance(self) -> bool:
        """Make the next picks, if any; False where nothing is left to pick."""
        kept = self.kept
        size = min(_BLOCK, len(kept.bounds) // _SHARE + _SHARE)
        rows, level = highest(kept.bounds, np.flatnonzero(kept.bounds >= kept.least), size)
        if not len(rows):
            return False
        kept.refresh(rows)
        leaders, level = self._leaders(rows, level)
        if len(leaders):
            self._pick_among(leaders, level)
        return True

    def _leaders(self, rows: Rows, level: Level) -> tuple[Rows, Level]:
        """Those of `rows` that are certainly above everything else, with bounds that are true distances."""
        kept = self.kept
        rows = rows[level.reached_by(kept.bounds, rows)]
        rows, lower = highest(kept.bounds, rows, _LEADERS)
        level = max(level, lower, key=lambda level: (level.value, -level.row))
        kept.tighten(rows)
        rows = rows[level.reached_by(kept.bounds, rows)]
        kept.ask_pool(rows)
        rows = rows[level.reached_by(kept.bounds, rows)]
        return rows[kept.bounds[rows] >= kept.least], level

    def _pick_among(self, leaders: Rows, level: Level) -> None:
        """Pick from `leaders`, whose bounds are true distances, until one outside may be as far."""
        kept = self.kept
        block, squares, nearest = kept.embeddings[leaders], kept.bounds[leaders], kept.nearest[leaders]
        dots = self._products.among_themselves(block)
        floor = self._floor(squares)
        room = len(kept.picks.rows) - len(kept)
        taken: list[int] = []
        distances: list[float] = []
        while len(taken) < room:
            best = int(squares.argmax())
            if squares[best] < kept.least or not level.is_reached(squares[best], leaders[best]):
                break
            taken.append(best)
            distances.append(squares[best])
            squares[best], floor[best] = TAKEN, np.inf
            close = np.flatnonzero(dots[best] >= floor)
            if len(close):
                exact = settled(squares_of_pairs(block, block, close, np.full(len(close), best)))
                close, exact = close[exact < squares[close]], exact[exact < squares[close]]
                squares[close], nearest[close] = exact, len(kept) + len(taken) - 1
                floor[close] = self._floor(exact)
        kept.bounds[leaders], kept.nearest[leaders] = squares, nearest
        if taken:
            kept.take(leaders[taken], np.array(distances))
        kept.seen[leaders] = len(kept)

    def _floor(self, squares: ExactDistances) -> Distances:
        """The least dot product that could mean less than `squares`; none does where that is 0."""
        return np.where(squares > 0, 1.0 - squares / 2 - self._margin, np.inf).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Level:
    """Above everything that is not in a block: at least `value`, and of that value only rows before `row`."""

    value: float
    row: int

    def is_reached(self, value: float, row: int) -> bool:
        """True if the row `row`, of that value, is above."""
        return value > self.value or (value == self.value and row < self.row)

    def reached_by(self, values: ExactDistances, rows: Rows) -> Mask:
        """Which of `rows` are above; `values` are of all rows."""
        return np.asarray((values[rows] > self.value) | ((values[rows] == self.value) & (rows < self.row)))


def highest(values: ExactDistances, rows: Rows, count: int) -> tuple[Rows, Level]:
    """The `count` of `rows` (sorted) with the highest values, the first of equals, and the level of the others."""
    if len(rows) <= count:
        return rows, Level(-np.inf, 0)
    mine = values[rows]
    value = float(np.partition(mine, len(mine) - count)[len(mine) - count])
    ties = np.flatnonzero(mine == value)
    n_ties = count - int((mine > value).sum())
    mask = mine > value
    mask[ties[:n_ties]] = True
    # Without a tie outside, whatever has this value is in the block.
    row = int(rows[ties[n_ties]]) if n_ties < len(ties) else len(values)
    return rows[mask], Level(value, row)


def farthest_from_mean(embeddings: Embeddings, margin: float) -> int:
    """The row farthest from the mean of all: float32 finds those that may be, float64 decides."""
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in in_blocks(embeddings)) / len(embeddings)
    dots = np.concatenate([block @ mean.astype(np.float32) for block in in_blocks(embeddings)])
    rows = np.flatnonzero(dots <= dots.min() + 2 * margin)
    squares = squares_of_pairs(embeddings, mean[None], rows, np.zeros(len(rows), dtype=np.int64))
    return int(rows[squares.argmax()])
