from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightpool_core.candidates import Candidates, Query
from lightpool_core.errors import SettingsError
from lightpool_core.report import Achieved
from lightpool_core.selection.goals import Plan, achieved, plan_of
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.strategies import Input, Strategy
from tests.annotated import EMBEDDINGS, annotated, nothing, pool_of, predicted, strategies
from tests.plain_greedy import full

WEATHER: Mapping[str, Any] = {"type": "METADATA", "key": "weather"}
SPEED: Mapping[str, Any] = {"type": "METADATA", "key": "speed"}
ABOUT: Mapping[str, Any] = {"weather": ["sun", "sun", "rain", "fog", None, "sun"], "speed": [0, 1, 2, 3, 4, 5]}


def planned(candidates: Candidates, *pairs: tuple[Any, Any], pool: ArrayView | None = None) -> Plan:
    return plan_of(strategies(*pairs), candidates, pool or nothing(), np.random.default_rng(0), "cpu")


def balance(**more: Any) -> dict[str, Any]:
    return {"type": "BALANCE", **more}


def picked(*rows: int, distances: tuple[float, ...] | None = None) -> Selection:
    return Selection(np.array(rows, dtype=np.int64), np.array(distances or [1.0] * len(rows), dtype=np.float32))


@pytest.mark.parametrize(
    ("wanted", "categories", "target"),
    [
        (balance(distribution="UNIFORM"), ("fog", "rain", "sun"), [1 / 3, 1 / 3, 1 / 3]),
        (balance(distribution="INPUT"), ("fog", "rain", "sun"), [0.2, 0.2, 0.6]),
        (balance(target={"sun": 0.5, "fog": 0.25, "rain": 0.25}), ("sun", "fog", "rain"), [0.5, 0.25, 0.25]),
        (balance(target={"rain": 0.5, "fog": 0.5}), ("rain", "fog", "(other)"), [0.5, 0.5, 0]),
        (balance(target={"rain": 0.5, "snow": 0.5}), ("rain", "snow", "(other)"), [0.5, 0.5, 0]),
        (balance(target={"rain": 1.0005}), ("rain", "(other)"), [1, 0]),
    ],
)
def test_targets_are_shares_of_categories_and_what_they_do_not_mention_is_not_wanted(
    wanted: Any, categories: tuple[str, ...], target: list[float]
) -> None:
    [(_, found)] = planned(annotated(6, ABOUT), (WEATHER, wanted)).balances
    assert found.counts.categories == categories
    np.testing.assert_allclose(found.target, target)
    assert full(found.counts).sum() == 5
    assert full(found.counts)[4].tolist() == [0] * len(categories)
    if categories[-1] == "(other)":
        others = [row for row in range(6) if ABOUT["weather"][row] not in {None, *wanted["target"]}]
        assert np.flatnonzero(full(found.counts)[:, -1]).tolist() == others


def test_what_the_pool_has_counts() -> None:
    pool = pool_of(annotated(4, {"weather": ["sun", "fog", "snow", None]}))
    [(_, found)] = planned(annotated(6, ABOUT), (WEATHER, balance(distribution="UNIFORM")), pool=pool).balances
    assert found.counts.categories == ("fog", "rain", "sun", "snow")
    assert found.kept.tolist() == [1, 0, 1, 1]
    assert not full(found.counts)[:, 3].any()
    [(_, found)] = planned(annotated(6, ABOUT), (WEATHER, balance(target={"sun": 1})), pool=pool).balances
    assert found.kept.tolist() == [1, 2]


def test_a_target_that_occurs_nowhere_is_told_with_what_there_is() -> None:
    with pytest.raises(SettingsError) as caught:
        planned(annotated(6, ABOUT), (EMBEDDINGS, {"type": "DIVERSITY"}), (WEATHER, balance(target={"snow": 1})))
    assert str(caught.value) == (
        "strategies[1].strategy.target: none of snow occurs in METADATA weather; it has fog, rain, sun"
    )


@pytest.mark.parametrize("distribution", ["UNIFORM", "INPUT"])
def test_nothing_can_be_balanced_where_nothing_is_known(distribution: str) -> None:
    with pytest.raises(SettingsError) as caught:
        planned(annotated(2, {"weather": [None, None]}), (WEATHER, balance(distribution=distribution)))
    said = "strategies[0]: METADATA weather is unknown for all candidates; nothing to balance"
    assert str(caught.value) == said


def test_the_target_of_predictions_may_be_a_category_that_no_candidate_has() -> None:
    about = annotated(2, predictions={"t": predicted(["dog", "cat"], [[1, 0], [1, 0]])})
    given = {"type": "PREDICTIONS", "task": "t", "name": "CLASS_DISTRIBUTION"}
    [(_, found)] = planned(about, (given, balance(target={"cat": 1}))).balances
    assert found.counts.categories == ("cat", "(other)")
    assert full(found.counts).tolist() == [[0, 1], [0, 1]]


def test_diversity_cannot_be_there_twice() -> None:
    diverse = Strategy(Input("EMBEDDINGS"), "DIVERSITY")
    with pytest.raises(SettingsError) as caught:
        plan_of([diverse, replace(diverse, place="strategies[1]")], annotated(2), nothing(), np.random.default_rng(0))
    assert str(caught.value) == "strategies[1]: DIVERSITY is there twice; add the strengths up in one"


def test_negative_values_are_moved_up_for_sums_and_told_as_they_are() -> None:
    plan = planned(annotated(3, {"speed": [-2, 0, 3]}), (SPEED, {"type": "WEIGHTS", "strength": 2}))
    [one] = plan.goals.sums
    assert one.values.tolist() == [0, 2, 5]
    assert one.strength == 2
    [told] = achieved(plan, picked(0, 2), None)
    assert told == Achieved("WEIGHTS of METADATA speed", {"mean": 0.5, "mean of candidates": pytest.approx(1 / 3)})


def test_similarity_needs_something_to_look_for() -> None:
    query = Query(text="fog")
    pair = ({**EMBEDDINGS, "text": "fog"}, {"type": "SIMILARITY"})
    for queries in ({}, {query: np.empty((0, 4), np.float32)}):
        with pytest.raises(SettingsError, match=r"strategies\[0\]: nothing is known of what to look for"):
            planned(annotated(3, queries=queries), pair)
    bare = Strategy(Input("EMBEDDINGS"), "SIMILARITY")
    with pytest.raises(SettingsError, match="nothing is known of what to look for"):
        plan_of([bare], annotated(3), nothing(), np.random.default_rng(0))


def test_thresholds_are_met_together_and_each_tells_how_many_meet_it() -> None:
    plan = planned(
        annotated(6, ABOUT),
        (SPEED, {"type": "THRESHOLD", "threshold": 1, "operation": "BIGGER_EQUAL"}),
        (SPEED, {"type": "THRESHOLD", "threshold": 3, "operation": "SMALLER"}),
    )
    assert np.flatnonzero(plan.passed).tolist() == [1, 2]
    first, second = achieved(plan, picked(1), None)
    assert first == Achieved("THRESHOLD of METADATA speed", {"passed": 5, "candidates": 6})
    assert second == Achieved("THRESHOLD of METADATA speed", {"passed": 3, "candidates": 6})


def test_shares_are_told_against_their_targets_with_what_was_kept_before() -> None:
    pool = pool_of(annotated(2, {"weather": ["sun", "sun"]}))
    plan = planned(annotated(6, ABOUT), (WEATHER, balance(target={"sun": 0.5, "rain": 0.5})), pool=pool)
    [told] = achieved(plan, picked(2, 3), None)
    assert told == Achieved(
        "BALANCE of METADATA weather",
        {"sun": 0.5, "rain": 0.25, "(other)": 0.25},
        {"sun": 0.5, "rain": 0.5, "(other)": 0.0},
    )


def test_shares_of_nothing_are_zeros() -> None:
    plan = planned(annotated(6, ABOUT), (WEATHER, balance(distribution="UNIFORM")))
    [told] = achieved(plan, picked(), None)
    assert set(told.values.values()) == {0.0}


def test_diversity_tells_its_distances_as_far_as_they_are_finite() -> None:
    plan = planned(annotated(6), (EMBEDDINGS, {"type": "DIVERSITY"}))
    told = achieved(plan, picked(0, 1, 2, distances=(np.inf, 1.0, 0.5)), 0.25)
    values = {"least distance": 0.5, "mean distance": 0.75, "radius": 0.25}
    assert told == (Achieved("DIVERSITY of EMBEDDINGS", values),)
    assert achieved(plan, picked(), np.inf) == (Achieved("DIVERSITY of EMBEDDINGS", {}),)


def test_objectives_are_told_by_what_they_look_at() -> None:
    about = annotated(6, ABOUT, {"cars/loss": range(6)}, {"t": predicted(["dog", "cat"], [[1, 2]] * 6)})
    pairs = [
        (EMBEDDINGS, {"type": "TYPICALITY"}),
        ({"type": "RANDOM", "random_seed": 1}, {"type": "WEIGHTS"}),
        ({"type": "SCORES", "task": "cars", "score": "loss"}, {"type": "WEIGHTS"}),
        (
            {"type": "PREDICTIONS", "task": "t", "name": "CATEGORY_COUNT", "categories": ["dog", "cat"]},
            {"type": "WEIGHTS"},
        ),
    ]
    assert [one.objective for one in achieved(planned(about, *pairs), picked(1), None)] == [
        "TYPICALITY of EMBEDDINGS",
        "WEIGHTS of RANDOM",
        "WEIGHTS of SCORES cars loss",
        "WEIGHTS of PREDICTIONS t CATEGORY_COUNT dog, cat",
    ]
