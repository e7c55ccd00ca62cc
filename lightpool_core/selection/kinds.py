"""Kinds of candidates: those that all balances of a selection see alike.

N: candidates. U: kinds. R: some candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import ExactDistances, Rows
from lightpool_core.selection.farthest_first import highest
from lightpool_core.selection.objectives import Balance

_MANY = 512
"""Kinds that are not told apart any more."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Candidates that all balances see alike are of one kind; where there are many kinds, all are taken together."""

    which: Rows
    """(N,)"""
    examples: Rows
    """(U,) one candidate of each kind."""
    together: bool

    @classmethod
    def of(cls, balances: Sequence[Balance], n: int) -> Kinds:
        """The kinds of N = `n` candidates to `balances`."""
        seen = np.column_stack([np.zeros(n, np.int64), *(balance.which for balance in balances)])
        _, examples, which = np.unique(seen, axis=0, return_index=True, return_inverse=True)
        if len(examples) > _MANY:
            return cls(np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64), together=True)
        return cls(which.reshape(-1), examples, together=False)

    def leading(self, rows: Rows, values: ExactDistances, count: int) -> Rows:
        """Of each kind those of `rows` (R,), sorted, with the highest `values` (R,), of equals the first.

        As many of each kind, `count` in all, but one of each at least.
        """
        kind = self.which[rows]
        order = np.argsort(kind, kind="stable")
        starts = np.flatnonzero(np.diff(kind[order], prepend=-1))
        each = max(1, count // len(self.examples))
        found = [highest(values, mine, each)[0] for mine in np.split(order, starts[1:])]
        return rows[np.concatenate(found)]
