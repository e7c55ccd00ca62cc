"""The cases of several objectives at once: diversity, weights and a balance target, against lightly-mundig.

N: candidates. K: chosen. C: categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from selection_contest import Peer, Row, Settings, contest
from selection_data import SEED, data_file

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.selection.greedy import Goals, greedy
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.objectives import Balance, Sum, by_distinct_rows
from lightpool_core.selection.stop import Stop

_CATEGORIES = 10
_CLOSE = 1e-3
"""Of the objective: mundig sums up in float32."""


@dataclass(frozen=True)
class Combining:
    """`k` of `n` candidates from an empty pool, by diversity, weights and a uniform target over ten classes."""

    kind: str
    n: int
    dim: int
    k: int

    def __str__(self) -> str:
        return f"combined, {self.kind} {self.n:,} × {self.dim}, k {self.k:,}"

    def rows(self, settings: Settings) -> list[Row]:
        """One against lightly-mundig with the same strategies."""
        embeddings = np.load(data_file(settings.work, self.kind, self.n, self.dim))
        rng = np.random.default_rng(SEED)
        weights = rng.random(self.n)
        classes = np.eye(_CATEGORIES)[rng.choice(_CATEGORIES, self.n, p=rng.dirichlet(np.ones(_CATEGORIES)))]
        target = np.full(_CATEGORIES, 1 / _CATEGORIES)
        mundig = _Mundig(embeddings, weights, classes, target)
        result = contest(
            lambda: _ours(embeddings, weights, classes, target, self.k, settings.device),
            [Peer("lightly-mundig", lambda _: mundig.picks(self.k), mundig.prepare)],
            settings,
        )
        mine, theirs = result.ours.answer, result.peers["lightly-mundig"].answer
        reached = [_objective(embeddings, weights, classes, target, picks) for picks in (mine, theirs)]
        shared = np.intersect1d(mine, theirs).size / self.k
        ok = len(np.unique(mine)) == self.k and reached[0] >= reached[1] - _CLOSE
        check = f"log objective {reached[0]:.4f}, theirs {reached[1]:.4f}; {shared:.1%} the same picks"
        return [result.row(str(self), "lightly-mundig", ok, check)]


class _Mundig:
    def __init__(
        self, embeddings: Embeddings, weights: ExactDistances, classes: ExactDistances, target: ExactDistances
    ) -> None:
        self._embeddings = embeddings
        self._weights = weights.tolist()
        self._classes = classes.tolist()
        self._target = target.tolist()

    def prepare(self) -> None:
        """A Selection goes on from its last run, so that each run needs a new one."""
        import lightly_mundig

        self._selection = lightly_mundig.Selection()
        self._selection.add_diversifying_strategy(self._embeddings, 1.0)
        self._selection.add_weighting_strategy(self._weights, 1.0)
        self._selection.add_balancing_strategy(self._classes, self._target, 1.0)

    def picks(self, k: int) -> Rows:
        return np.asarray(self._selection.run_selection([], len(self._embeddings), k), dtype=np.int64)


def _ours(
    embeddings: Embeddings,
    weights: ExactDistances,
    classes: ExactDistances,
    target: ExactDistances,
    k: int,
    device: str,
) -> Rows:
    nothing = ArrayView(np.empty((0, embeddings.shape[1]), dtype=np.float32))
    balance = Balance(*by_distinct_rows(classes), target, np.zeros(len(target)))
    goals = Goals([Sum(weights)], [balance], 1.0)
    limits = Limits(np.ones(len(embeddings), dtype=bool))
    return greedy(embeddings, nothing, Stop(n_samples=k), goals, limits, device=device).picks.rows[:k]


def _objective(
    embeddings: Embeddings, weights: ExactDistances, classes: ExactDistances, target: ExactDistances, picks: Rows
) -> float:
    """Logarithm of what both maximise, of the picks as a whole."""
    chosen = np.ascontiguousarray(embeddings[picks])
    to_others = _to_nearest_other(chosen)
    shares = classes[picks].mean(axis=0)
    entropy = -(np.log(shares + 1e-10) @ target)
    return float(np.log((to_others**2).sum()) + np.log(weights[picks].sum()) - np.log(entropy))


def _to_nearest_other(rows: Embeddings) -> ExactDistances:
    squares = 2.0 - 2.0 * (rows.astype(np.float64) @ rows.T.astype(np.float64))
    np.fill_diagonal(squares, np.inf)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0)))
