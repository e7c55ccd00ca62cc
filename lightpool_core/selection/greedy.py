"""Greedy selection by several objectives at once: always the candidate with the highest score.

The score: strength × log of each objective, summed; see `objectives`. The same picks as by scoring every candidate
after every pick, without doing so: distances are upper bounds until they matter (`kept`), and picks are made among
some leaders as long as none of the others can have overtaken them, which the growth of the objectives tells.
N: candidates. K: picks. D: dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Mask, Rows
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.exact import squares_of_pairs
from lightpool_core.selection.farthest_first import farthest_from_mean, highest
from lightpool_core.selection.kept import BEYOND, TAKEN, Kept, settled
from lightpool_core.selection.kinds import Kinds
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.objectives import Balance, Sum, log_growth
from lightpool_core.selection.products import Products
from lightpool_core.selection.sampler import PoolView
from lightpool_core.selection.spread import Spread
from lightpool_core.selection.stop import Stop

_BLOCK = 8192
"""Candidates at most brought up to date at once."""
_LEADERS = 1024
"""Candidates at most among which picks are made before the next block."""
_LEAST = 1e-300
_ROUNDING = 1e-12
"""Of a score, at strength 1: who is so little above the others is compared with them again."""


@dataclass(frozen=True, slots=True)
class Goals:
    """What the chosen are to be."""

    sums: Sequence[Sum] = ()
    balances: Sequence[Balance] = ()
    diversity: float = 0.0
    """Strength of diversity; 0 for none, below 0 for the opposite."""

    @property
    def is_one_value(self) -> bool:
        """True if one value of each candidate decides, whatever is chosen already: no total changes their order."""
        return not self.balances and len(self.sums) + bool(self.diversity) <= 1

    @property
    def total_strength(self) -> float:
        """Of all objectives, whichever way they pull."""
        strengths = [self.diversity, *(one.strength for one in self.sums), *(one.strength for one in self.balances)]
        return sum(map(abs, strengths))

    def take(self, row: int) -> None:
        """Candidate `row` is chosen."""
        for one in self.sums:
            one.take(row)
        for balance in self.balances:
            balance.take(row)

    def mark(self) -> None:
        """Remember the state, for what has grown since."""
        for one in self.sums:
            one.mark()
        for balance in self.balances:
            balance.mark()


def greedy(
    embeddings: Embeddings,
    pool: PoolView,
    stop: Stop,
    goals: Goals,
    limits: Limits,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Kept:
    """Choose among `embeddings` (N, D) unit rows what `limits` allow; of equal scores the lowest index.

    What is closer than min_distance to something kept is skipped. Where nothing is kept and all scores are equal,
    the first pick is the candidate farthest from the mean of all. Fewer n_samples give a prefix.
    """
    wanted = stop.count(len(embeddings))
    search = _Search(embeddings, pool, stop, goals, limits, Products(device))
    with progress.stage("selecting", wanted) as stage:
        done = 0
        while len(search.kept) < wanted and search.advance():
            stage.advance(len(search.kept) - done)
            done = len(search.kept)
        stage.advance(wanted - done)
    return search.kept


class _Search:
    def __init__(
        self, embeddings: Embeddings, pool: PoolView, stop: Stop, goals: Goals, limits: Limits, products: Products
    ) -> None:
        wanted, dim = stop.count(len(embeddings)), embeddings.shape[1]
        self.kept = Kept(embeddings, pool, products, wanted, stop.min_distance or 0.0, descending=False)
        self._margin = products.margin(dim)
        self._goals = goals
        self._alone = goals.is_one_value
        self._rounding = _ROUNDING * goals.total_strength
        self._limits = limits
        self._spread = Spread(wanted if goals.diversity else 0, dim, self._margin)
        self._nothing_kept = not len(pool)
        self._kinds = Kinds.of(goals.balances, len(embeddings))
        # Who wants what is near needs true distances: a bound from above says nothing of how near something is.
        self._all = np.arange(len(embeddings)) if goals.diversity < 0 else None

    def advance(self) -> bool:
        """Make the next picks, if any; False where nothing is left to pick."""
        if self._nothing_kept:
            return self._first()
        kept = self.kept
        if self._all is not None:
            self._make_true(self._all[kept.bounds > 0])
        rows = self._eligible()
        if not len(rows):
            return False
        block = self._leading(rows, _BLOCK)
        if self._goals.diversity or kept.least > 0:
            kept.refresh(block)
            block = block[kept.bounds[block] >= kept.least]
        leaders = self._leading(block, _LEADERS)
        if not len(leaders):
            return True
        self._make_true(leaders)
        self._pick_among(leaders)
        return True

    def _leading(self, rows: Rows, count: int) -> Rows:
        """At most `count` of `rows` with the highest scores; half of them with the highest of their kind, if there are.

        With every pick balances come to want another kind, the first of which is to be at hand.
        """
        squares, kinds = self.kept.bounds[rows], self._kinds
        if len(kinds.examples) == 1 or len(rows) <= count:
            return _best(rows, self._scores(rows, squares), count)
        overall = _best(rows, self._scores(rows, squares), count // 2 + 1)
        return np.union1d(overall, kinds.leading(rows, self._rest(rows, squares), count // 2))

    def _eligible(self) -> Rows:
        """The candidates that may still be picked, as far as their bounds tell."""
        return np.flatnonzero((self.kept.bounds >= self.kept.least) & self._limits.allowed)

    def _first(self) -> bool:
        """Pick where nothing is kept, and no distance tells candidates apart."""
        rows = np.flatnonzero(self._limits.allowed)
        if not len(rows):
            return False
        scores = self._scores(rows, np.ones(len(rows)))
        best = int(rows[scores.argmax()])
        if scores.min() == scores.max():
            best = int(rows[farthest_from_mean(self.kept.embeddings[rows], self._margin)])
        self._take(np.array([best]), np.array([np.inf]))
        self._nothing_kept = False
        return True

    def _make_true(self, rows: Rows) -> None:
        """Make the bounds of `rows` true distances."""
        self.kept.refresh(rows)
        self.kept.tighten(rows)
        self.kept.ask_pool(rows)

    def _scores(self, rows: Rows, squares: ExactDistances) -> ExactDistances:
        """Of `rows`, at squared distances `squares` from what is kept."""
        return self._rest(rows, squares) + self._balance(rows)

    def _rest(self, rows: Rows, squares: ExactDistances) -> ExactDistances:
        """The scores but for what the balances give."""
        scores = np.zeros(len(rows))
        for one in self._goals.sums:
            scores += one.logs(rows)
        if self._goals.diversity:
            scores += self._goals.diversity * np.log(np.maximum(self._spread.total + squares, _LEAST))
        return scores

    def _balance(self, rows: Rows) -> ExactDistances:
        return np.asarray(sum((balance.logs(rows) for balance in self._goals.balances), np.zeros(len(rows))))

    def _outside(self, leaders: Rows) -> _Outside:
        """The highest score of each kind but for its balance, of those that are not `leaders`."""
        kinds = self._kinds
        inside = np.zeros(len(self.kept.bounds), dtype=bool)
        inside[leaders] = True
        rows = self._eligible()
        rows = rows[~inside[rows]]
        kind, bounds = kinds.which[rows], self.kept.bounds[rows]
        scores = self._scores(rows, bounds) if kinds.together else self._rest(rows, bounds)
        best, first = np.full(len(kinds.examples), -np.inf), np.full(len(kinds.examples), len(inside))
        np.maximum.at(best, kind, scores)
        ties = scores == best[kind]
        np.minimum.at(first, kind[ties], rows[ties])
        self._goals.mark()
        return _Outside(best, first, self._spread.total)

    def _is_above(self, score: float, row: int, outside: _Outside) -> bool:
        """True if nothing outside can come before `row`, with its `score`."""
        diversity, kinds = self._goals.diversity, self._kinds
        grown = sum(one.growth() for one in self._goals.sums)
        if diversity:
            grown += log_growth(outside.spread, self._spread.total, (0.0, BEYOND), diversity)
        if kinds.together:
            grown += sum(balance.growth() for balance in self._goals.balances)
            now = outside.best
        else:
            now = outside.best + self._balance(kinds.examples)  # added as in a score: a tie is a tie
        if grown:
            return bool(score > now.max() + grown + self._rounding)
        return bool(((score > now) | ((score == now) & (row < outside.first))).all())

    def _pick_among(self, leaders: Rows) -> None:
        """Pick from `leaders`, whose bounds are true distances, until one outside may have a higher score."""
        kept = self.kept
        block, squares, nearest = kept.embeddings[leaders], kept.bounds[leaders], kept.nearest[leaders]
        floor, outside = self._floor(squares), self._outside(leaders)
        # Who wants what is near: a pick may bring one outside nearer, and so above, which no bound foresees.
        room = 1 if self._goals.diversity < 0 else len(kept.picks.rows) - len(kept)
        taken: list[int] = []
        distances: list[float] = []
        while len(taken) < room:
            scores = self._scores(leaders, squares)
            scores[(squares < kept.least) | ~self._limits.allowed[leaders]] = -np.inf
            best = int(scores.argmax())
            if scores[best] == -np.inf:
                break
            if not self._is_above(scores[best], int(leaders[best]), outside):
                outside = self._outside(leaders)  # may have grown by less than it seems
                if not self._is_above(scores[best], int(leaders[best]), outside):
                    break
            taken.append(best)
            distances.append(squares[best])
            self._count(int(leaders[best]), squares[best])
            squares[best], floor[best] = TAKEN, np.inf
            close = self._closer(block, best, squares, floor)
            nearest[close] = len(kept) + len(taken) - 1
        kept.bounds[leaders], kept.nearest[leaders] = squares, nearest
        if taken:
            kept.take(leaders[taken], np.array(distances))
        kept.seen[leaders] = len(kept)

    def _closer(self, block: Embeddings, best: int, squares: ExactDistances, floor: Distances) -> Rows:
        """Lower `squares` by the distance to row `best` of `block`; those that became lower."""
        close = np.flatnonzero(block @ block[best] >= floor)
        exact = settled(squares_of_pairs(block, block, close, np.full(len(close), best)))
        lower: Mask = exact < squares[close]
        close, exact = close[lower], exact[lower]
        squares[close], floor[close] = exact, self._floor(exact)
        return close

    def _floor(self, squares: ExactDistances) -> Distances:
        """The least dot product that could mean less than `squares`; none does where that is 0."""
        return np.where(squares > 0, 1.0 - squares / 2 - self._margin, np.inf).astype(np.float32)

    def _take(self, rows: Rows, squares: ExactDistances) -> None:
        for row, square in zip(rows.tolist(), squares.tolist(), strict=True):
            self._count(row, square)
        self.kept.take(rows, squares)

    def _count(self, row: int, square: float) -> None:
        """Tell the objectives and limits of a pick."""
        self._limits.take(row)
        if self._alone:
            return
        self._goals.take(row)
        if self._goals.diversity:
            self._spread.add(self.kept.embeddings[row], square)


def _best(rows: Rows, scores: ExactDistances, count: int) -> Rows:
    """The `count` of `rows` (sorted) with the highest `scores`, of equals the first."""
    places, _ = highest(scores, np.arange(len(rows)), count)
    return rows[places]


@dataclass(frozen=True, slots=True)
class _Outside:
    """What is not among the leaders: for each kind the highest score, and the first candidate that has it."""

    best: ExactDistances
    """Without what the balances give the kind; with it where all kinds are taken together."""
    first: Rows
    spread: float
    """The spread at that time."""
