from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lightpool_core.annotations import Predictions
from lightpool_core.arrays import unit_rows
from lightpool_core.candidates import Query
from lightpool_core.errors import SettingsError
from lightpool_core.selection.combined import check_inputs
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.stop import Stop
from tests.annotated import EMBEDDINGS, annotated, chosen, nothing, pool_of, predicted, strategies
from tests.plain_greedy import Bounds, Wanted, assert_greedy
from tests.strategies import distance_matrix, unit_vectors

SPEED = {"type": "METADATA", "key": "speed"}
WEATHER = {"type": "METADATA", "key": "weather"}
CARS = {"type": "PREDICTIONS", "task": "cars", "name": "CATEGORY_COUNT"}
WEIGHTS = {"type": "WEIGHTS"}
DIVERSE = (EMBEDDINGS, {"type": "DIVERSITY"})
UNIFORM = {"type": "BALANCE", "distribution": "UNIFORM"}
SKIES = ["sun"] * 20 + ["rain"] * 6 + ["fog"] * 4
"""Of thirty pictures, most of one kind."""


def above(threshold: float, operation: str = "BIGGER") -> dict[str, Any]:
    return {"type": "THRESHOLD", "threshold": threshold, "operation": operation}


def skies_of(picks: np.ndarray) -> Counter[str]:
    return Counter(SKIES[pick] for pick in picks)


def test_weights_alone_take_the_heaviest_first_and_of_equals_the_first() -> None:
    about = annotated(5, {"speed": [2, 5, 2, 0, 7]})
    assert chosen(about, (SPEED, WEIGHTS), stop=4).indices.tolist() == [4, 1, 0, 2]
    lightest = chosen(about, (SPEED, {**WEIGHTS, "strength": -1}))
    assert lightest.indices.tolist() == [3, 0, 2, 1, 4]


@pytest.mark.parametrize("strength", [0.5, 1, 3])
def test_negative_weights_keep_their_order(strength: float) -> None:
    about = annotated(4, {"speed": [-5, 3, -1, 0]})
    found = chosen(about, (SPEED, {**WEIGHTS, "strength": strength}))
    assert found.indices.tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize(
    "given",
    [
        {"type": "SCORES", "task": "cars", "score": "loss"},
        {"type": "PREDICTIONS", "task": "cars", "name": "CATEGORY_COUNT", "categories": ["lorry"]},
        {"type": "METADATA", "key": "label"},
    ],
)
def test_weights_come_from_every_input_that_is_a_number(given: Mapping[str, Any]) -> None:
    cars = predicted(["car", "lorry"], [[9, 1], [0, 3], [5, 0], [0, 2]])
    about = annotated(4, {}, {"cars/loss": [0.1, 0.3, 0.0, 0.2]}, {"cars": cars}, labels=[1, 3, 0, 2])
    assert chosen(about, (given, WEIGHTS)).indices.tolist() == [1, 3, 0, 2]


def test_random_weights_shuffle_by_the_seed_of_the_run_or_their_own() -> None:
    about, own = annotated(40), {"type": "RANDOM", "random_seed": 3}
    first, again, other = (chosen(about, ({"type": "RANDOM"}, WEIGHTS), seed=seed) for seed in (1, 1, 2))
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()
    by_own = [chosen(about, (own, WEIGHTS), seed=seed).indices.tolist() for seed in (1, 2)]
    assert by_own[0] == by_own[1]
    assert sorted(by_own[0]) == list(range(40))


@pytest.mark.parametrize(
    ("operation", "passing"),
    [("SMALLER", [0, 1]), ("SMALLER_EQUAL", [0, 1, 2]), ("BIGGER", [3, 4]), ("BIGGER_EQUAL", [2, 3, 4])],
)
def test_thresholds_bar_what_does_not_meet_them_wherever_they_stand(operation: str, passing: list[int]) -> None:
    about = annotated(5, {"speed": [0, 1, 2, 3, 4]})
    threshold = (SPEED, above(2, operation))
    for pairs in ([threshold], [threshold, DIVERSE], [DIVERSE, threshold], [(SPEED, WEIGHTS), threshold]):
        assert sorted(chosen(about, *pairs).indices.tolist()) == passing


def test_a_threshold_that_nothing_meets_leaves_nothing() -> None:
    about = annotated(5, {"speed": [0, 1, 2, 3, 4]})
    for pairs in ([], [DIVERSE], [(SPEED, WEIGHTS)]):
        found = chosen(about, (SPEED, above(9)), *pairs)
        assert len(found.indices) == len(found.distances) == 0
        assert found.achieved[0].values == {"passed": 0.0, "candidates": 5.0}


def test_a_threshold_alone_leaves_the_rest_in_their_order_after_the_one_farthest_from_the_mean() -> None:
    about = annotated(6, {"speed": range(6)}, embeddings=unit_vectors(6, 3))
    found = chosen(about, (SPEED, above(1))).indices.tolist()
    rows = about.embeddings[2:]
    first = 2 + int(distance_matrix(rows, rows.mean(axis=0)[None]).argmax())
    assert found == [first, *(row for row in range(2, 6) if row != first)]


def test_the_fraction_is_one_of_all_candidates_and_not_of_those_that_pass() -> None:
    about = annotated(10, {"speed": range(10)})
    assert len(chosen(about, (SPEED, above(1)), (SPEED, WEIGHTS), stop=Stop(0.5)).indices) == 5


def test_diversity_alone_is_the_sampler_diversity() -> None:
    rows, pool = unit_vectors(80, 6, "clusters"), unit_vectors(9, 6, seed=2)
    about = annotated(80, {"speed": [1] * 80}, embeddings=rows)
    view = pool_of(annotated(9, embeddings=pool))
    for stop in (Stop(), Stop(30), Stop(min_distance=0.2)):
        for kept in (nothing(6), view):
            plain = farthest_first(rows, kept, stop, device="cpu")
            for pairs in ([DIVERSE], [DIVERSE, (SPEED, above(0))]):
                found = chosen(about, *pairs, stop=stop, pool=kept)
                assert found.indices.tolist() == plain.indices.tolist()
                assert found.distances.tolist() == plain.distances.tolist()


def test_diversity_among_what_passes_is_that_of_these_alone() -> None:
    rows = unit_vectors(60, 5, "clusters")
    speed = np.arange(60) % 3
    about = annotated(60, {"speed": speed.tolist()}, embeddings=rows)
    found = chosen(about, DIVERSE, (SPEED, above(0)), stop=12)
    passing = np.flatnonzero(speed)
    alone = farthest_first(rows[passing], nothing(5), Stop(12), device="cpu")
    assert found.indices.tolist() == passing[alone.indices].tolist()
    radius = distance_matrix(rows[passing], rows[found.indices]).min(axis=1).max()
    assert found.achieved[1].values["radius"] == pytest.approx(radius)


def test_the_minimum_distance_of_a_strategy_holds_and_the_larger_one_wins() -> None:
    rows = unit_vectors(80, 3)
    about = annotated(80, embeddings=rows)
    strategy = {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.4}
    for stop, least in ((Stop(), 0.4), (Stop(min_distance=0.2), 0.4), (Stop(min_distance=0.6), 0.6)):
        found = chosen(about, (EMBEDDINGS, strategy), stop=stop).indices
        assert found.tolist() == farthest_first(rows, nothing(3), Stop(min_distance=least)).indices.tolist()


def test_a_minimum_distance_beside_weights_skips_and_goes_on() -> None:
    rows, speed = unit_vectors(200, 3), np.linspace(9, 1, 200)
    about = annotated(200, {"speed": speed.tolist()}, embeddings=rows)
    for pairs in ([(SPEED, WEIGHTS)], [(SPEED, {**WEIGHTS, "strength": 5}), DIVERSE]):
        found = chosen(about, *pairs, stop=Stop(min_distance=0.3)).indices
        rest = np.setdiff1d(np.arange(200), found)
        assert distance_matrix(rows[rest], rows[found]).min(axis=1).max() < 0.3
        among = distance_matrix(rows[found], rows[found])[np.triu_indices(len(found), 1)]
        assert among.min() >= 0.3


def test_balance_brings_the_shares_to_the_target() -> None:
    about = annotated(30, {"weather": SKIES})
    for target in ({"sun": 0.5, "rain": 0.25, "fog": 0.25}, {"fog": 0.25, "sun": 0.5, "rain": 0.25}):
        found = chosen(about, (WEATHER, {"type": "BALANCE", "target": target}), stop=16)
        assert skies_of(found.indices) == {"sun": 8, "rain": 4, "fog": 4}
        assert found.achieved[0].values == pytest.approx(target)
        assert found.achieved[0].targets == target
    assert skies_of(chosen(about, (WEATHER, UNIFORM), stop=12).indices) == {"sun": 4, "rain": 4, "fog": 4}
    assert skies_of(chosen(about, (WEATHER, {**UNIFORM, "distribution": "INPUT"}), stop=15).indices) == {
        "sun": 10, "rain": 3, "fog": 2,
    }  # fmt: skip


def test_the_opposite_of_balance_takes_what_there_is_enough_of() -> None:
    about = annotated(30, {"weather": SKIES})
    pool = pool_of(annotated(3, {"weather": ["sun"] * 3}))
    assert skies_of(chosen(about, (WEATHER, {**UNIFORM, "strength": -1}), stop=9, pool=pool).indices) == {"sun": 9}


def test_what_the_target_does_not_mention_comes_last() -> None:
    about = annotated(30, {"weather": SKIES})
    found = chosen(about, (WEATHER, {"type": "BALANCE", "target": {"rain": 0.5, "fog": 0.5}}), stop=14).indices
    assert skies_of(found[:8]) == {"rain": 4, "fog": 4}
    assert skies_of(found[8:10]) == {"rain": 2}
    assert skies_of(found[10:]) == {"sun": 4}


def test_balance_makes_up_for_what_the_pool_has() -> None:
    about = annotated(30, {"weather": SKIES})
    pool = pool_of(annotated(6, {"weather": ["sun"] * 5 + ["rain"]}))
    found = chosen(about, (WEATHER, UNIFORM), stop=9, pool=pool)
    assert skies_of(found.indices) == {"rain": 4, "fog": 4, "sun": 1} or skies_of(found.indices)["sun"] == 0
    assert sum(found.achieved[0].values.values()) == pytest.approx(1)


def test_balance_takes_words_numbers_and_yes_and_no_as_a_config_writes_them() -> None:
    about = annotated(6, {"lanes": [2, 2, 2, 2, 3, 3], "night": [True, False, False, False, False, True]})
    lanes = ({"type": "METADATA", "key": "lanes"}, {"type": "BALANCE", "target": {"3": 0.5, "2": 0.5}})
    night = ({"type": "METADATA", "key": "night"}, {"type": "BALANCE", "target": {"true": 0.5, "false": 0.5}})
    assert sorted(chosen(about, lanes, stop=4).indices)[-2:] == [4, 5]
    assert {0, 5} < set(chosen(about, night, stop=4).indices.tolist())


def test_balance_of_predictions_counts_objects_or_sums_their_distributions() -> None:
    """By their likeliest class all are cats and dogs; by distributions the first ones are half of each."""
    counts = np.array([[2.0, 0], [2, 0], [2, 0], [0, 2], [0, 2], [0, 2]])
    shares = np.where(counts > 0, [[0.55]] * 3 + [[0.95]] * 3, [[0.45]] * 3 + [[0.05]] * 3)
    about = annotated(6, predictions={"pets": Predictions(("cat", "dog"), counts, shares)})
    pool = pool_of(annotated(1, predictions={"pets": predicted(["dog", "cat"], [[2, 2]])}))
    given = {"type": "PREDICTIONS", "task": "pets"}
    by_objects = chosen(about, ({**given, "name": "CATEGORY_COUNT"}, UNIFORM), stop=4, pool=pool).indices
    assert by_objects.tolist() == [0, 3, 1, 4]
    by_shares = chosen(about, ({**given, "name": "CLASS_DISTRIBUTION"}, UNIFORM), stop=3, pool=pool).indices
    assert by_shares.tolist() == [0, 1, 2]


def test_similarity_takes_what_is_nearest_to_any_query_first() -> None:
    query = Query(images="wanted")
    rows, looked_for = unit_vectors(50, 4), unit_vectors(3, 4, seed=9)
    about = annotated(50, embeddings=rows, queries={query: looked_for})
    nearest = distance_matrix(rows, looked_for).min(axis=1)
    pair = {**EMBEDDINGS, "images": "wanted"}
    assert chosen(about, (pair, {"type": "SIMILARITY"})).indices.tolist() == np.argsort(nearest).tolist()
    away = chosen(about, (pair, {"type": "SIMILARITY", "strength": -1})).indices
    assert away.tolist() == np.argsort(-nearest).tolist()


def test_typicality_takes_what_lies_in_the_thick_of_it_first() -> None:
    rows = np.concatenate([unit_vectors(5, 8), unit_rows(np.ones(8) + 0.1 * unit_vectors(30, 8, seed=3))])
    about = annotated(35, embeddings=rows)
    found = chosen(about, (EMBEDDINGS, {"type": "TYPICALITY", "num_nearest_neighbors": 5})).indices
    assert sorted(found[-5:].tolist()) == [0, 1, 2, 3, 4]


def test_all_of_them_at_once_pick_what_is_best_for_their_product() -> None:
    rng, n, query = np.random.default_rng(0), 120, Query(samples=("a",))
    rows, looked_for, kept = unit_vectors(n, 5, "clusters"), unit_vectors(2, 5, seed=4), unit_vectors(7, 5, seed=8)
    speed, skies = rng.random(n), rng.choice(["sun", "rain", "fog"], n, p=[0.7, 0.2, 0.1])
    about = annotated(
        n, {"speed": speed.tolist(), "weather": skies.tolist()}, embeddings=rows, queries={query: looked_for}
    )
    pool = annotated(7, {"weather": ["sun"] * 6 + ["rain"]}, embeddings=kept)
    found = chosen(
        about,
        (EMBEDDINGS, {"type": "DIVERSITY", "strength": 1.5}),
        (SPEED, {"type": "WEIGHTS", "strength": 0.7}),
        (WEATHER, UNIFORM),
        ({**EMBEDDINGS, "samples": ["a"]}, {"type": "SIMILARITY", "strength": 2}),
        (SPEED, above(0.2)),
        stop=Stop(40, 0.05),
        pool=pool_of(pool),
    )
    nearest = distance_matrix(rows, looked_for).min(axis=1)
    classes = np.array([[float(sky == name) for name in ("fog", "rain", "sun")] for sky in skies])
    wanted = Wanted(
        ((speed, 0.7), (np.exp(-nearest / nearest.mean()), 2.0)),
        ((classes, np.ones(3) / 3, np.array([0.0, 1, 6]), 1.0),),
        1.5,
    )
    bounds = Bounds(barred=frozenset(np.flatnonzero(speed <= 0.2).tolist()))
    assert_greedy(found, rows, kept, Stop(40, 0.05), wanted, bounds)
    assert [one.objective.split()[0] for one in found.achieved] == [
        "THRESHOLD", "DIVERSITY", "WEIGHTS", "SIMILARITY", "BALANCE",
    ]  # fmt: skip


def test_fewer_samples_are_a_prefix_for_every_strategy() -> None:
    about = annotated(30, {"weather": SKIES, "speed": list(range(30))}, queries={Query(text="x"): unit_vectors(1, 4)})
    for pairs in (
        [(WEATHER, UNIFORM)],
        [({"type": "RANDOM"}, WEIGHTS), DIVERSE],
        [({**EMBEDDINGS, "text": "x"}, {"type": "SIMILARITY"}), (WEATHER, UNIFORM)],
        [(EMBEDDINGS, {"type": "TYPICALITY"}), DIVERSE, (SPEED, above(4))],
    ):
        longest = chosen(about, *pairs).indices.tolist()
        for n in (0, 1, 7, 29):
            assert chosen(about, *pairs, stop=n).indices.tolist() == longest[:n]


def test_nothing_is_chosen_from_nothing_whatever_is_asked_for() -> None:
    pairs = [DIVERSE, (WEATHER, UNIFORM), (SPEED, WEIGHTS), (SPEED, above(1)), (EMBEDDINGS, {"type": "TYPICALITY"})]
    found = chosen(annotated(0), *pairs, stop=Stop(max_per={"camera": 1}))
    assert found.indices.dtype == np.int64
    assert found.distances.dtype == np.float32
    assert len(found.indices) == len(found.distances) == 0


def test_an_error_names_the_place_of_the_strategy_that_does_not_fit() -> None:
    with pytest.raises(SettingsError, match=r"^strategies\[2\]: no metadata is called 'sped'; did you mean speed\?$"):
        chosen(annotated(3, {"speed": [1, 2, 3]}), DIVERSE, (SPEED, WEIGHTS), ({**SPEED, "key": "sped"}, WEIGHTS))


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        ({**SPEED, "key": "sped"}, WEIGHTS, r"no metadata is called 'sped'; did you mean speed\?"),
        ({**SPEED, "key": "sped"}, above(1), r"no metadata is called 'sped'; did you mean speed\?"),
        ({**WEATHER, "key": "wether"}, UNIFORM, r"no metadata is called 'wether'; did you mean weather\?"),
        ({"type": "SCORES", "score": "los"}, WEIGHTS, r"no score is called 'los'; did you mean loss\?"),
        ({**CARS, "task": "car"}, WEIGHTS, r"there are no predictions of task 'car'; did you mean cars\?"),
        ({**CARS, "categories": ["bus"]}, WEIGHTS, "task cars has no category 'bus'; there are car"),
    ],
)
def test_what_columns_are_missing_shows_without_any_row(given: Any, wanted: Any, said: str) -> None:
    known = annotated(0, {"speed": [], "weather": []}, {"loss": []}, {"cars": predicted(["car"], np.empty((0, 1)))})
    typical, lots = (EMBEDDINGS, {"type": "TYPICALITY"}), ({"type": "RANDOM"}, WEIGHTS)
    check_inputs(strategies(DIVERSE, typical, lots, (SPEED, above(1)), (WEATHER, UNIFORM), (CARS, WEIGHTS)), known)
    with pytest.raises(SettingsError, match=rf"^strategies\[1\]: {said}"):
        check_inputs(strategies(DIVERSE, (given, wanted)), known)


def test_an_infinite_radius_is_not_told() -> None:
    """No JSON has a number for it."""
    [told] = chosen(annotated(3), DIVERSE, stop=0).achieved
    assert told.values == {}
