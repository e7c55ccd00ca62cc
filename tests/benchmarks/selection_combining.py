"""The cases of several objectives at once: diversity, weights and a balance target, against lightly-mundig.

N: candidates. K: chosen. C: categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from selection_contest import Peer, Row, Settings, contest
from selection_data import SEED, data_file

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.media.source import SampleRef
from lightpool_core.selection.combined import combined
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from lightpool_core.selection.strategy_config import parsed_strategies

_CATEGORIES = 10
_CLOSE = 1e-5
"""Of a product of objectives, where distances come from float32 products."""
_AT_ONCE = 64


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
        class_of = rng.choice(_CATEGORIES, self.n, p=rng.dirichlet(np.ones(_CATEGORIES)))
        classes = np.eye(_CATEGORIES)[class_of]
        candidates = _candidates(embeddings, weights, class_of)
        target = np.full(_CATEGORIES, 1 / _CATEGORIES)
        mundig = _Mundig(embeddings, weights, classes, target)
        result = contest(
            lambda: _ours(candidates, self.k, settings.device),
            [Peer("lightly-mundig", lambda _: mundig.picks(self.k), mundig.prepare)],
            settings,
        )
        mine, theirs = result.ours.answer, result.peers["lightly-mundig"].answer
        reached = [_objective(embeddings, weights, classes, target, picks) for picks in (mine, theirs)]
        shared = np.intersect1d(mine, theirs).size / self.k
        ok = len(np.unique(mine)) == self.k and _is_greedy(embeddings, weights, class_of, target, mine)
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


def _candidates(embeddings: Embeddings, weights: ExactDistances, classes: Rows) -> Candidates:
    metadata = {"weight": weights, "class": np.array([f"class {number}" for number in classes], dtype=object)}
    refs = tuple(SampleRef(name, name) for name in (f"{number:07}.jpg" for number in range(len(embeddings))))
    labels = np.zeros(len(embeddings), dtype=np.int64)
    return Candidates(embeddings, labels, refs, annotations=Annotations(metadata))


def _ours(candidates: Candidates, k: int, device: str) -> Rows:
    nothing = ArrayView(candidates.embeddings[:0])
    strategies = parsed_strategies(
        (
            {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},
            {"input": {"type": "METADATA", "key": "weight"}, "strategy": {"type": "WEIGHTS"}},
            {
                "input": {"type": "METADATA", "key": "class"},
                "strategy": {"type": "BALANCE", "distribution": "UNIFORM"},
            },
        )
    )
    rng = np.random.default_rng(SEED)
    return combined(strategies, candidates, nothing, Stop(n_samples=k), rng, device=device).indices


def _is_greedy(
    embeddings: Embeddings, weights: ExactDistances, class_of: Rows, target: ExactDistances, picks: Rows
) -> bool:
    """True if after the first every pick was the best of all candidates at its time: the greedy of both sides."""
    near, own = np.full(len(embeddings), np.inf), np.full(len(picks), np.inf)
    counts, weight = np.zeros(len(target)), 0.0
    for i, pick in enumerate(picks):
        if i % _AT_ONCE == 0:
            products = embeddings[picks[i : i + _AT_ONCE]] @ embeddings.T
        if i:
            after = counts + np.eye(len(target))
            entropies = -(np.log(after / (i + 1) + 1e-10) @ target)
            spread = own[:i][np.isfinite(own[:i])].sum()
            scores = (spread + near) * (weight + weights) / entropies[class_of]
            if scores[pick] < (1 - _CLOSE) * scores.max(where=near > 0, initial=0.0):
                return False
        squares = np.maximum(2.0 - 2.0 * products[i % _AT_ONCE].astype(np.float64), 0.0)
        own[:i] = np.minimum(own[:i], squares[picks[:i]])
        own[i] = near[pick]
        near = np.minimum(near, squares)
        near[pick] = 0.0
        weight += weights[pick]
        counts[class_of[pick]] += 1
    return True


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
