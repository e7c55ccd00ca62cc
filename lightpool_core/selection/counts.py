"""How samples divide among categories. Most categories are not in most samples, so only what is there is held.

N: samples. C: categories. P: pairs of a sample and a category that is in it. U: distinct rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightpool_core.arrays import ExactDistances, Rows


@dataclass(frozen=True, slots=True)
class Counts:
    """A sparse table (N, C) of how much of each category is in each sample, above 0; by sample, then category."""

    n: int
    categories: tuple[str, ...]
    rows: Rows
    """(P,)"""
    columns: Rows
    """(P,)"""
    values: ExactDistances
    """(P,)"""

    @classmethod
    def of_table(cls, categories: tuple[str, ...], table: ExactDistances) -> Counts:
        """Those of a full table (N, C)."""
        rows, columns = np.nonzero(table)
        return cls(len(table), categories, rows, columns, table[rows, columns])

    @classmethod
    def of_names(cls, names: Sequence[str | None]) -> Counts:
        """1 of its name in each sample, nothing in one without a name; categories in sorted order."""
        categories = sorted({name for name in names if name is not None})
        number = {name: i for i, name in enumerate(categories)}
        rows = np.array([row for row, name in enumerate(names) if name is not None], dtype=np.int64)
        columns = np.array([number[name] for name in names if name is not None], dtype=np.int64)
        return cls(len(names), tuple(categories), rows, columns, np.ones(len(rows)))

    def times(self, factor: float) -> Counts:
        """`factor`, above 0, times as much of everything."""
        return replace(self, values=self.values * factor)

    def recast(self, categories: tuple[str, ...], columns: Sequence[int]) -> Counts:
        """Among other `categories`: what was category c is now `columns[c]`, summed up where several become one."""
        new = np.asarray(columns, dtype=np.int64)[self.columns] if len(self.columns) else self.columns
        cells, where = np.unique(self.rows * len(categories) + new, return_inverse=True)
        values = np.bincount(where, self.values, minlength=len(cells)).astype(float)
        return Counts(self.n, categories, cells // len(categories), cells % len(categories), values)

    def by_category(self, samples: Rows | None = None) -> ExactDistances:
        """(C,) how much of each category is in `samples`, or in all."""
        held = slice(None) if samples is None else np.isin(self.rows, samples)
        return np.bincount(self.columns[held], self.values[held], minlength=len(self.categories)).astype(float)

    def by_sample(self) -> ExactDistances:
        """(N,) how much of anything is in each."""
        return np.bincount(self.rows, self.values, minlength=self.n).astype(float)

    def row(self, sample: int) -> slice:
        """Which pairs are those of `sample`."""
        return slice(*np.searchsorted(self.rows, [sample, sample + 1]))

    def distinct(self) -> tuple[Counts, Rows]:
        """The U rows that differ, and which of these each sample is, (N,)."""
        lengths = np.bincount(self.rows, minlength=self.n)
        place = np.arange(len(self.rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        padded = np.full((self.n, 2 * int(lengths.max(initial=0)) + 1), -1.0)  # a column at least
        padded[self.rows, 2 * place], padded[self.rows, 2 * place + 1] = self.columns, self.values
        _, examples, which = np.unique(padded, axis=0, return_index=True, return_inverse=True)
        number = np.full(self.n, -1)
        number[examples] = np.arange(len(examples))
        held = np.flatnonzero(number[self.rows] >= 0)
        held = held[np.argsort(number[self.rows[held]], kind="stable")]
        found = replace(self, n=len(examples), rows=number[self.rows[held]])
        return replace(found, columns=self.columns[held], values=self.values[held]), which.reshape(-1)
