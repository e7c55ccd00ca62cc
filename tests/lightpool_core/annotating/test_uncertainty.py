from __future__ import annotations

import numpy as np
import pytest

from lightpool_core.annotating.uncertainty import estimated, uncertainties


def test_certainty_is_0_and_indifference_is_1_in_every_score() -> None:
    for n_categories in (2, 3, 80):
        rows = np.stack([np.eye(n_categories)[0], np.full(n_categories, 1 / n_categories)])
        for values in uncertainties(rows).values():
            np.testing.assert_allclose(values, [0, 1], atol=1e-12)


def test_the_scores_are_those_that_lightly_computes() -> None:
    """The example of its own tests of the scorers."""
    scores = uncertainties(np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.5, 0.41, 0.09]]))
    np.testing.assert_allclose(scores["uncertainty_least_confidence"], np.array([0.3, 0.5, 0.5]) / (1 - 1 / 3))
    np.testing.assert_allclose(scores["uncertainty_margin"], [0.5, 0.9, 0.91])
    np.testing.assert_allclose(scores["uncertainty_entropy"], [0.72985, 0.85867, 0.84547], atol=1e-4)


def test_unknown_probabilities_give_unknown_scores() -> None:
    for values in uncertainties(np.array([[np.nan, np.nan], [1.0, 0.0]])).values():
        np.testing.assert_array_equal(values, [np.nan, 0])


def test_a_single_category_counts_as_it_or_not_it() -> None:
    scores = uncertainties(np.array([[0.75], [1.0], [0.5]]))
    assert scores["uncertainty_least_confidence"].tolist() == [0.5, 0, 1]
    assert scores["uncertainty_margin"].tolist() == [0.5, 0, 1]
    assert scores["uncertainty_entropy"] == pytest.approx([0.8112781, 0, 1])


def test_a_confidence_alone_leaves_the_rest_to_the_others() -> None:
    np.testing.assert_allclose(
        estimated(np.array([0.8, np.nan]), np.array([1, 0]), 3), [[0.1, 0.8, 0.1], [np.nan, np.nan, np.nan]]
    )
    np.testing.assert_allclose(estimated(np.array([0.8]), np.array([0]), 1), [[0.8]])
