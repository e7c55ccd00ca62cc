"""What is known of samples beside their pixels: metadata, scores, predictions.

N: samples. C: categories of a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lightpool_core.arrays import Array, ExactDistances, Rows


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model found in N pictures, for one task; rows of NaN where nothing is known of a picture."""

    categories: tuple[str, ...]
    """(C,) names, in the order of their ids."""
    counts: ExactDistances
    """(N, C) float64: how many objects of each category; for a classification 1 for the likeliest."""
    shares: ExactDistances
    """(N, C) float64: how the picture divides among the categories, by probabilities where they are given."""

    def take(self, rows: Rows) -> Predictions:
        """Only `rows`, in that order."""
        return Predictions(self.categories, self.counts[rows], self.shares[rows])


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is known of N samples, all columns in the order of the samples."""

    metadata: Mapping[str, Array] = field(default_factory=dict)
    """By key, (N,): float64 with NaN for unknown, or objects (str, bool) with None for unknown."""
    scores: Mapping[str, Array] = field(default_factory=dict)
    """By `task/score`, or by `score` alone, (N,): float64 with NaN for unknown."""
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """By task."""

    def take(self, rows: Rows) -> Annotations:
        """Only `rows`, in that order."""
        return Annotations(
            {name: column[rows] for name, column in self.metadata.items()},
            {name: column[rows] for name, column in self.scores.items()},
            {task: found.take(rows) for task, found in self.predictions.items()},
        )
