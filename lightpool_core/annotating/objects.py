"""From single objects that a model found to what is known of a picture.

N: samples. C: categories. K: objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lightpool_core.annotating.uncertainty import UNCERTAINTIES, estimated, uncertainties
from lightpool_core.annotations import Predictions
from lightpool_core.arrays import ExactDistances, Rows

AT_ONCE = 1024
"""Pictures to add to a tally at a time: each object is a row of probabilities."""


@dataclass(frozen=True, slots=True)
class Objects:
    """K objects; of a classification one for each picture."""

    pictures: Rows
    """(K,) row of the sample that each is in."""
    categories: Rows
    """(K,) column."""
    confidences: ExactDistances
    """(K,) 0 to 1; NaN where not given."""
    probabilities: ExactDistances
    """(K, C) rows of sum 1; NaN where not given."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model found, for one task."""

    predictions: Predictions
    scores: Mapping[str, ExactDistances]
    """(N,) by name: NaN where nothing is known, 0 for a picture without objects."""


class Tally:
    """The pictures of one task, added up a few at a time."""

    def __init__(self, n_samples: int, categories: tuple[str, ...]) -> None:
        self._categories = categories
        self._counts = np.full((n_samples, len(categories)), np.nan)
        self._shares = np.full((n_samples, len(categories)), np.nan)
        self._confidence = np.full(n_samples, np.nan)
        self._uncertainty: dict[str, ExactDistances] = {}

    def add(self, rows: Rows, objects: Objects) -> None:
        """The pictures `rows`, each once and for all, and all the objects in them."""
        pictures, n_categories = objects.pictures, len(self._categories)
        self._counts[rows] = self._shares[rows] = 0
        np.add.at(self._counts, (pictures, objects.categories), 1)
        certain = np.eye(n_categories)[objects.categories]
        np.add.at(self._shares, pictures, np.where(np.isnan(objects.probabilities), certain, objects.probabilities))
        self._shares[rows] /= np.maximum(self._counts[rows].sum(axis=1, keepdims=True), 1)

        probabilities = np.where(
            np.isnan(objects.probabilities),
            estimated(objects.confidences, objects.categories, n_categories),
            objects.probabilities,
        )
        for name, values in uncertainties(probabilities).items():
            column = self._uncertainty.setdefault(name, np.full(len(self._counts), np.nan))
            np.fmax.at(column, pictures, values)
        self._add_confidences(pictures, objects.confidences)

    def found(self, *, single: bool) -> Found:
        """All of it; `single` is a classification, where the number of objects says nothing."""
        n_objects = self._counts.sum(axis=1)
        scores = {} if single else {"object_frequency": n_objects}
        nothing = not np.nan_to_num(n_objects).any()
        unknown = {name: np.full(len(n_objects), np.nan) for name in UNCERTAINTIES if nothing}
        for name, column in {
            **unknown,
            **self._uncertainty,
            "objectness_least_confidence": 1 - self._confidence,
        }.items():
            if (nothing or not np.isnan(column).all()) and not (single and name.startswith("objectness")):
                scores[name] = np.where(n_objects == 0, 0.0, column)
        return Found(Predictions(self._categories, self._counts, self._shares), scores)

    def _add_confidences(self, pictures: Rows, confidences: ExactDistances) -> None:
        known = ~np.isnan(confidences)
        n_samples = len(self._confidence)
        sums = np.bincount(pictures[known], confidences[known], minlength=n_samples)
        n_known = np.bincount(pictures[known], minlength=n_samples)
        touched = n_known > 0
        self._confidence[touched] = sums[touched] / n_known[touched]
