"""What a greedy selection maximises: objectives of the set of the chosen, each a number that a candidate changes.

The score of a candidate is the sum of strength × log of what each objective would be with it: their product, each
to the power of its strength. For few picks that is nearly the product of the candidates' own values, for many the
sum of what each adds relative to what is there. Logarithms of potentials are given for candidates by row.
N: candidates. U: distinct rows of counts. C: categories.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lightpool_core.arrays import ExactDistances, Rows
from lightpool_core.selection.counts import Counts

_LEAST = 1e-300
"""In place of 0 in a logarithm."""
_SHARE = 1e-10
"""Added to shares, so that a category without samples has a logarithm."""
_DIGITS = 12
"""Of an entropy behind the point."""


@dataclass
class Sum:
    """The sum of a value that each candidate has: weights, similarity, typicality, lots."""

    values: ExactDistances
    """(N,) at least 0."""
    strength: float = 1.0
    total: float = 0.0
    _marked: float = 0.0
    _range: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._range = (float(self.values.min(initial=np.inf)), float(self.values.max(initial=0.0)))

    def logs(self, rows: Rows) -> ExactDistances:
        """Logarithm of the objective with each of `rows` added, times strength."""
        return self.strength * np.log(np.maximum(self.total + self.values[rows], _LEAST))

    def take(self, row: int) -> None:
        """Candidate `row` is chosen."""
        self.total += float(self.values[row])

    def mark(self) -> None:
        """Remember the state, for `growth`."""
        self._marked = self.total

    def growth(self) -> float:
        """How much `logs` of any candidate can have grown since `mark`."""
        return log_growth(self._marked, self.total, self._range, self.strength)


@dataclass
class Balance:
    """How close the shares of categories among the chosen come to a target: its entropy over their cross entropy.

    1 when met, less otherwise: 1 / (1 + KL(target, shares) / H(target)) but for a constant factor.
    """

    rows: Counts
    """(U, C) what a candidate adds to each category."""
    which: Rows
    """(N,) which of these a candidate is."""
    target: ExactDistances
    """(C,) sum 1."""
    counts: ExactDistances
    """(C,) of what is chosen, the pool's included."""
    strength: float = 1.0
    _sizes: ExactDistances = field(init=False)
    """How much a candidate adds to all categories together: the different amounts."""
    _size_of: Rows = field(init=False)
    """(U,) which of these."""
    _now: ExactDistances = field(init=False)
    _marked: ExactDistances = field(init=False)

    def __post_init__(self) -> None:
        self.counts = self.counts.copy()
        self._sizes, size_of = np.unique(np.round(self.rows.by_sample(), _DIGITS), return_inverse=True)
        self._size_of = size_of.reshape(-1)
        self._now = self._marked = self._potentials()

    def logs(self, rows: Rows) -> ExactDistances:
        """See Sum."""
        return self._now[self.which[rows]]

    def take(self, row: int) -> None:
        """See Sum."""
        added = self.rows.row(self.which[row])
        self.counts[self.rows.columns[added]] += self.rows.values[added]
        self._now = self._potentials()

    def mark(self) -> None:
        """See Sum."""
        self._marked = self._now

    def growth(self) -> float:
        """See Sum."""
        return float((self._now - self._marked).max(initial=0.0))

    def _potentials(self) -> ExactDistances:
        """(U,)

        A candidate changes the shares of all categories alike, by what it adds in all, but those of the few that
        are in it.
        """
        rows, columns, added = self.rows.rows, self.rows.columns, self.rows.values
        totals = self.counts.sum() + self._sizes
        shares = self.counts / np.where(totals > 0, totals, 1.0)[:, None]
        alike = np.log(shares + _SHARE) @ self.target
        counts, total = self.counts[columns], totals[self._size_of[rows]]
        own = np.log((counts + added) / total + _SHARE) - np.log(counts / total + _SHARE)
        own = np.bincount(rows, own * self.target[columns], minlength=self.rows.n)
        # Rounded, so that what is a tie but for the order of a sum is one.
        entropies = np.round(-(alike[self._size_of] + own), _DIGITS)
        return np.asarray(-self.strength * np.log(np.maximum(entropies, _LEAST)))


def log_growth(before: float, now: float, values: tuple[float, float], strength: float) -> float:
    """How much strength × log(total + value) can have grown for any value from the least to the greatest of `values`.

    The total was `before` and is `now`. The growth is monotone in the value, so it is greatest at one of the ends.
    """
    if before == now:
        return 0.0
    ends = [strength * (np.log(max(now + v, _LEAST)) - np.log(max(before + v, _LEAST))) for v in values]
    return float(max(ends))
