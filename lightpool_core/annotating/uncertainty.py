"""How uncertain a model was, from its probabilities: active-learning scores.

As Lightly computes them (https://docs.lightly.ai/docs/active-learning-scorers), after section 3.1 of Settles,
"Active Learning Literature Survey", 2009. K: objects. C: categories.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import ExactDistances, Rows

UNCERTAINTIES = ("uncertainty_least_confidence", "uncertainty_margin", "uncertainty_entropy")


def uncertainties(probabilities: ExactDistances) -> dict[str, ExactDistances]:
    """Three scores (K,) of `probabilities` (K, C), rows of sum 1; NaN where they are NaN.

    With p1 and p2 the highest and second highest of a row, each is 0 where one category has it all and 1 where all
    have the same:

    - uncertainty_least_confidence = (1 - p1) / (1 - 1 / C)
    - uncertainty_margin = 1 - (p1 - p2)
    - uncertainty_entropy = -sum(p * log2(p)) / log2(C)

    A single category counts as two: it, or not it.
    """
    if probabilities.shape[1] == 1:
        probabilities = np.hstack([probabilities, 1 - probabilities])
    n_categories = probabilities.shape[1]
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    logarithms = np.log2(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropy = -np.sum(probabilities * logarithms, axis=1) / np.log2(n_categories)
    return {
        "uncertainty_least_confidence": np.clip((1 - first) / (1 - 1 / n_categories), 0, 1),
        "uncertainty_margin": np.clip(1 - (first - second), 0, 1),
        "uncertainty_entropy": np.clip(entropy, 0, 1),
    }


def estimated(confidences: ExactDistances, categories: Rows, n_categories: int) -> ExactDistances:
    """Probabilities (K, C) where only the confidence (K,) in one category each is known.

    The other categories share the rest equally.
    """
    rest = (1 - confidences) / max(1, n_categories - 1)
    probabilities = np.repeat(rest[:, None], n_categories, axis=1)
    probabilities[np.arange(len(confidences)), categories] = confidences
    return probabilities
