from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lightpool_core.annotations import Predictions
from lightpool_core.candidates import Candidates
from lightpool_core.errors import SettingsError
from lightpool_core.selection.inputs import classes, kept_counts, numbers
from tests.annotated import annotated, predicted, strategies
from tests.plain_greedy import full

PEOPLE = predicted(["person", "dog", "cat"], [[2, 1, 0], [0, 0, 0], [1, 0, 3]])


def read(
    candidates: Candidates, given: Mapping[str, Any], wanted: Mapping[str, Any] | None = None, seed: int = 0
) -> Any:
    [strategy] = strategies((given, wanted or {"type": "WEIGHTS"}))
    return numbers(strategy, candidates, np.random.default_rng(seed))


def divided(candidates: Candidates, given: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[float]]]:
    [strategy] = strategies((given, {"type": "BALANCE", "distribution": "UNIFORM"}))
    found = classes(strategy, candidates)
    return found.categories, full(found).tolist()


def complaint(candidates: Candidates, given: Mapping[str, Any], wanted: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        read(candidates, given, wanted)
    said = str(caught.value)
    assert said.startswith("strategies[0]: ")
    assert "\n" not in said
    return said.removeprefix("strategies[0]: ")


def metadata(key: str) -> dict[str, str]:
    return {"type": "METADATA", "key": key}


def test_metadata_is_read_by_its_key_also_where_keys_are_nested() -> None:
    about = annotated(3, {"speed": [3, 1.5, -2], "gps.height": [10, 20, 30], "ok": [True, False, True]})
    assert read(about, metadata("speed")).tolist() == [3, 1.5, -2]
    assert read(about, metadata("gps.height")).tolist() == [10, 20, 30]
    assert read(about, metadata("ok")).tolist() == [1, 0, 1]


def test_the_weak_label_is_metadata_unless_there_is_another_of_that_name() -> None:
    assert read(annotated(3, labels=[4, 0, 7]), metadata("label")).tolist() == [4, 0, 7]
    assert read(annotated(3, {"label": [9, 8, 7]}, labels=[4, 0, 7]), metadata("label")).tolist() == [9, 8, 7]
    assert divided(annotated(3, labels=[4, 0, 4]), metadata("label")) == (("0", "4"), [[0, 1], [1, 0], [0, 1]])


def test_scores_are_read_by_task_and_name_or_by_name_alone() -> None:
    about = annotated(2, scores={"cars/uncertainty": [0.1, 0.9], "sharpness": [5, 6]})
    assert read(about, {"type": "SCORES", "task": "cars", "score": "uncertainty"}).tolist() == [0.1, 0.9]
    assert read(about, {"type": "SCORES", "score": "uncertainty"}).tolist() == [0.1, 0.9]
    assert read(about, {"type": "SCORES", "score": "sharpness"}).tolist() == [5, 6]
    assert read(about, {"type": "SCORES", "task": "cars", "score": "sharpness"}).tolist() == [5, 6]


def test_objects_are_counted_all_or_those_of_some_categories() -> None:
    about = annotated(3, predictions={"people": PEOPLE})
    counted = {"type": "PREDICTIONS", "task": "people", "name": "CATEGORY_COUNT"}
    assert read(about, counted).tolist() == [3, 0, 4]
    assert read(about, {**counted, "categories": ["dog", "cat"]}).tolist() == [1, 0, 3]


def test_lots_are_those_of_the_run_or_of_a_seed_of_their_own() -> None:
    about = annotated(50)
    plain, seeded = {"type": "RANDOM"}, {"type": "RANDOM", "random_seed": 7}
    assert read(about, plain, seed=1).tolist() == read(about, plain, seed=1).tolist()
    assert read(about, plain, seed=1).tolist() != read(about, plain, seed=2).tolist()
    assert read(about, seeded, seed=1).tolist() == read(about, seeded, seed=2).tolist()
    assert len(set(read(about, plain))) == 50


def test_values_are_categories_by_what_json_calls_them_in_sorted_order() -> None:
    about = annotated(5, {"weather": ["sun", "rain", None, "sun", ""], "lanes": [3, 2.0, np.nan, 2.5, 3]})
    assert divided(about, metadata("weather")) == (
        ("", "rain", "sun"),
        [[0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]],
    )
    categories, rows = divided(about, metadata("lanes"))
    assert categories == ("2", "2.5", "3")
    assert np.array(rows).sum(axis=1).tolist() == [1, 1, 0, 1, 1]
    assert divided(annotated(3, {"night": [True, False, None]}), metadata("night"))[0] == ("false", "true")


def test_predictions_are_divided_by_objects_or_by_their_distributions_and_unknown_ones_not_at_all() -> None:
    counts, shares = [[2, 2], [np.nan, np.nan], [1, 0]], [[0.6, 0.4], [np.nan, np.nan], [0.75, 0.25]]
    known = Predictions(("person", "dog"), np.array(counts, dtype=float), np.array(shares))
    about = annotated(3, predictions={"people": known})
    given = {"type": "PREDICTIONS", "task": "people"}
    categories, rows = divided(about, {**given, "name": "CLASS_DISTRIBUTION"})
    assert categories == ("person", "dog")
    np.testing.assert_allclose(rows, [[2.4, 1.6], [0, 0], [0.75, 0.25]])
    assert divided(about, {**given, "name": "CATEGORY_COUNT"})[1] == [[2, 2], [0, 0], [1, 0]]


def test_what_is_kept_is_counted_by_category_as_far_as_it_is_known() -> None:
    kept = annotated(4, {"weather": ["sun", "fog", None, "sun"], "lanes": [2, 2, np.nan, 3]}).annotations
    [weather, lanes, other] = strategies(
        *((metadata(key), {"type": "BALANCE", "distribution": "UNIFORM"}) for key in ("weather", "lanes", "other"))
    )
    assert kept_counts(weather, kept) == {"fog": 1, "sun": 2}
    assert kept_counts(lanes, kept) == {"2": 2, "3": 1}
    assert kept_counts(other, kept) == {}


def test_weak_labels_of_what_is_kept_count_by_what_the_pool_calls_them() -> None:
    [label] = strategies((metadata("label"), {"type": "BALANCE", "distribution": "UNIFORM"}))
    assert kept_counts(label, annotated(3, {"weak_label": [2, 2, 1]}).annotations) == {"1": 1, "2": 2}
    about = {"weak_label": [2, 2, 1], "label": [1, 1, 1]}
    assert kept_counts(label, annotated(3, about).annotations) == {"1": 3}


def test_predictions_of_what_is_kept_are_counted_by_the_names_of_categories() -> None:
    found = Predictions(("dog", "person"), np.array([[1.0, 3], [0, 2]]), np.array([[0.5, 0.5], [0.25, 0.75]]))
    kept = annotated(2, predictions={"people": found}).annotations
    given = {"type": "PREDICTIONS", "task": "people"}
    shared, counted, unknown = strategies(
        *(
            ({**given, **more}, {"type": "BALANCE", "distribution": "UNIFORM"})
            for more in (
                {"name": "CLASS_DISTRIBUTION"},
                {"name": "CATEGORY_COUNT"},
                {"name": "CATEGORY_COUNT", "task": "x"},
            )
        )
    )
    assert [kept_counts(shared, kept)[name] for name in ("person", "dog")] == [3.5, 2.5]
    assert [kept_counts(counted, kept)[name] for name in ("person", "dog")] == [5, 1]
    assert kept_counts(unknown, kept) == {}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("wether", "no metadata is called 'wether'; did you mean weather?"),
        ("lable", "no metadata is called 'lable'; did you mean label?"),
        ("iso", "no metadata is called 'iso'; there are label, speed, weather"),
        ("weather", "METADATA weather is 'sun' for some, no number; WEIGHTS takes numbers"),
        (
            "speed",
            "METADATA speed is unknown for 1 of 3 candidates, the first 00001.png; give each a value, or the key a"
            " default value",
        ),
    ],
)
def test_metadata_that_is_missing_unknown_or_no_number_is_told_in_one_line(key: str, said: str) -> None:
    about = annotated(3, {"weather": [None, "sun", 3.0], "speed": [1, np.nan, 2]})
    assert complaint(about, metadata(key)) == said


def test_weak_labels_are_suggested_once_where_they_are_metadata_too() -> None:
    about = annotated(1, {"label": [3], "width": [640]})
    assert complaint(about, metadata("iso")) == "no metadata is called 'iso'; there are label, width"


def test_thresholds_take_numbers_only_and_say_so() -> None:
    about = annotated(2, {"weather": ["sun", "rain"]})
    threshold = {"type": "THRESHOLD", "threshold": 1, "operation": "BIGGER"}
    said = complaint(about, metadata("weather"), threshold)
    assert said == "METADATA weather is 'sun' for some, no number; THRESHOLD takes numbers"


def test_what_is_neither_number_nor_word_is_told_as_well() -> None:
    about = annotated(2, {"box": [[1, 2], None]})
    assert complaint(about, metadata("box")) == "METADATA box is [1, 2] for some, no number; WEIGHTS takes numbers"


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_numbers_are_unknown(value: float) -> None:
    assert "unknown for 1 of 2 candidates" in complaint(annotated(2, {"speed": [1, value]}), metadata("speed"))


@pytest.mark.parametrize("value", [1e200, -1e200])
def test_numbers_that_no_sum_can_hold_are_refused(value: float) -> None:
    said = complaint(annotated(2, {"speed": [1, value]}), metadata("speed"))
    assert said == "METADATA speed is 1e+200 for some; give numbers up to 1e+150"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"score": "uncertanty"}, "no score is called 'uncertanty'; did you mean uncertainty?"),
        ({"task": "car", "score": "loss"}, "no score is called 'car/loss'; did you mean cars/loss?"),
        ({"task": "ships", "score": "iou"}, "no score is called 'ships/iou'; there are cars/loss, uncertainty"),
        (
            {"task": "cars", "score": "loss"},
            "SCORES cars loss is unknown for 2 of 2 candidates, the first 00000.png; give each a value, or the key a"
            " default value",
        ),
    ],
)
def test_a_score_that_is_missing_or_unknown_is_told_in_one_line(given: Mapping[str, str], said: str) -> None:
    about = annotated(2, scores={"uncertainty": [1, 2], "cars/loss": [np.nan, np.nan]})
    assert complaint(about, {"type": "SCORES", **given}) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "peple"}, "there are no predictions of task 'peple'; did you mean people?"),
        ({"task": "ships"}, "there are no predictions of task 'ships'; there are people"),
        ({"task": "people", "categories": ["dog", "cart"]}, "task people has no category 'cart'; did you mean cat?"),
        (
            {"task": "people", "categories": ["lorry"]},
            "task people has no category 'lorry'; there are cat, dog, person",
        ),
    ],
)
def test_a_task_or_category_that_is_missing_is_told_in_one_line(given: Mapping[str, Any], said: str) -> None:
    about = annotated(3, predictions={"people": PEOPLE})
    assert complaint(about, {"type": "PREDICTIONS", "name": "CATEGORY_COUNT", **given}) == said


@pytest.mark.parametrize(
    "given",
    [
        {"type": "SCORES", "score": "loss"},
        {"type": "PREDICTIONS", "task": "people", "name": "CATEGORY_COUNT"},
    ],
)
def test_where_nothing_was_given_the_options_that_give_it_are_named(given: Mapping[str, Any]) -> None:
    assert complaint(annotated(2), given).endswith("; none were given (--metadata, --predictions, --scores)")


def test_pictures_without_predictions_cannot_be_counted() -> None:
    unknown = Predictions(("dog",), np.array([[1.0], [np.nan]]), np.array([[1.0], [np.nan]]))
    said = complaint(
        annotated(2, predictions={"t": unknown}), {"type": "PREDICTIONS", "task": "t", "name": "CATEGORY_COUNT"}
    )
    assert said.startswith("PREDICTIONS t CATEGORY_COUNT is unknown for 1 of 2 candidates, the first 00001.png")
