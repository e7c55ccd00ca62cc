from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightpool_core.errors import ContractViolation, SettingsError
from lightpool_core.selection.sampler import Sampler, Selection, checked
from lightpool_core.selection.stop import Stop
from lightpool_plugins.samplers.diversity import Diversity
from lightpool_plugins.samplers.random import Random


def selection(*indices: int) -> Selection:
    return Selection(np.array(indices, np.int64), np.zeros(len(indices), np.float32))


@pytest.mark.parametrize("off", [-1, -1.0, None])
def test_minus_one_switches_a_condition_off(off: float | None) -> None:
    assert Stop.of(off, off) == Stop()
    assert Stop.of(off, off).count(7) == 7


@pytest.mark.parametrize(
    ("n_samples", "n_candidates", "count"),
    [(1, 10, 1), (1.0, 10, 10), (0, 10, 0), (0.0, 10, 0), (0.5, 10, 5), (0.5, 5, 2), (99, 10, 10), (0.5, 1, 0)],
)
def test_a_whole_number_is_a_count_and_a_decimal_a_fraction(n_samples: float, n_candidates: int, count: int) -> None:
    assert Stop(n_samples).count(n_candidates) == count


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_the_fraction_of_a_count_gives_that_count(part: int, whole: int) -> None:
    part = min(part, whole)
    assert Stop(part / whole).count(whole) == part


@pytest.mark.parametrize("n_samples", [-2, -0.5, 1.5, 2.0, float("nan"), float("inf"), float("-inf")])
def test_a_number_of_samples_that_means_nothing_is_refused(n_samples: float) -> None:
    with pytest.raises(SettingsError, match="n_samples") as caught:
        Stop.of(n_samples, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("min_distance", [-2, -0.1, 2.0001, 3, float("nan"), float("inf")])
def test_a_distance_that_unit_vectors_cannot_have_is_refused(min_distance: float) -> None:
    with pytest.raises(SettingsError, match="min_distance") as caught:
        Stop.of(None, min_distance)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("min_distance", [0, 0.0, 1, 2, 2.0])
def test_distances_from_zero_to_two_are_taken(min_distance: float) -> None:
    assert Stop.of(None, min_distance).min_distance == min_distance


def test_the_samplers_in_the_box_are_samplers() -> None:
    assert isinstance(Diversity(), Sampler)
    assert isinstance(Random(), Sampler)


def test_a_good_selection_comes_back_as_it_is() -> None:
    good = selection(2, 0)
    assert checked(good, 3, Stop(2), "Mine") is good
    empty = selection()
    assert checked(empty, 0, Stop(), "Mine") is empty


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (selection(0, 3), "none of the 3"),
        (selection(-1), "none of the 3"),
        (selection(1, 1), "twice"),
        (selection(0, 1, 2), "more than n_samples 2"),
        (Selection(np.array([0]), np.zeros(1)), "distances float64"),
        (Selection(np.array([0]), np.zeros(2, np.float32)), "distances float32"),
        (Selection(np.array([0.0]), np.zeros(1, np.float32)), "indices float64"),
        (Selection(np.array([True]), np.zeros(1, np.float32)), "indices bool"),
        (Selection(np.array([[0]]), np.zeros((1, 1), np.float32)), "indices int64"),
    ],
)
def test_a_selection_that_breaks_the_contract_is_blamed_on_its_sampler(bad: Selection, complaint: str) -> None:
    with pytest.raises(ContractViolation, match=complaint) as caught:
        checked(bad, 3, Stop(2), "Mine")
    assert "sampler Mine" in str(caught.value)
