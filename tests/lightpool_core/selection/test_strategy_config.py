from __future__ import annotations

import math
from typing import Any

import pytest

from lightpool_core.candidates import Query
from lightpool_core.errors import SettingsError
from lightpool_core.selection.strategies import Input, Strategy
from lightpool_core.selection.strategy_config import parsed_strategies

EMBEDDINGS = {"type": "EMBEDDINGS"}
SCORES = {"type": "SCORES", "task": "cars", "score": "uncertainty_entropy"}
METADATA = {"type": "METADATA", "key": "weather.description"}
SHARES = {"type": "PREDICTIONS", "task": "cars", "name": "CLASS_DISTRIBUTION"}
COUNTS = {"type": "PREDICTIONS", "task": "cars", "name": "CATEGORY_COUNT"}
RANDOM = {"type": "RANDOM"}


def parsed(read: Any, strategy: Any, **beside: Any) -> Strategy:
    [found] = parsed_strategies([{"input": read, "strategy": strategy, **beside}])
    return found


def complaint(entry: Any) -> str:
    """What is said of `entry`, standing second."""
    good = {"input": EMBEDDINGS, "strategy": {"type": "DIVERSITY"}}
    with pytest.raises(SettingsError) as caught:
        parsed_strategies([good, entry])
    return str(caught.value)


@pytest.mark.parametrize(
    ("read", "strategy", "wanted"),
    [
        (EMBEDDINGS, {"type": "DIVERSITY"}, Strategy(Input("EMBEDDINGS"), "DIVERSITY")),
        (
            EMBEDDINGS,
            {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1, "strength": 0.6},
            Strategy(Input("EMBEDDINGS"), "DIVERSITY", strength=0.6, min_distance=0.1),
        ),
        (
            EMBEDDINGS,
            {"type": "DIVERSITY", "stopping_condition_minimum_distance": -1},
            Strategy(Input("EMBEDDINGS"), "DIVERSITY"),
        ),
        (
            SCORES,
            {"type": "WEIGHTS", "strength": -2},
            Strategy(Input("SCORES", task="cars", score="uncertainty_entropy"), "WEIGHTS", strength=-2.0),
        ),
        (
            {"type": "METADATA", "key": "lightly.sharpness"},
            {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER_EQUAL"},
            Strategy(Input("METADATA", key="lightly.sharpness"), "THRESHOLD", threshold=20.0, operation="BIGGER_EQUAL"),
        ),
        (
            METADATA,
            {"type": "BALANCE", "target": {"sunny": 0.2, "verySunny": 0.8}},
            Strategy(Input("METADATA", key="weather.description"), "BALANCE", target={"sunny": 0.2, "verySunny": 0.8}),
        ),
        (
            SHARES,
            {"type": "BALANCE", "distribution": "UNIFORM"},
            Strategy(Input("PREDICTIONS", task="cars", name="CLASS_DISTRIBUTION"), "BALANCE", distribution="UNIFORM"),
        ),
        (
            {**COUNTS, "categories": ["car", "bus"]},
            {"type": "WEIGHTS"},
            Strategy(Input("PREDICTIONS", task="cars", name="CATEGORY_COUNT", categories=("car", "bus")), "WEIGHTS"),
        ),
        ({**RANDOM, "random_seed": 42}, {"type": "WEIGHTS"}, Strategy(Input("RANDOM", random_seed=42), "WEIGHTS")),
        (
            EMBEDDINGS,
            {"type": "TYPICALITY", "num_nearest_neighbors": 5},
            Strategy(Input("EMBEDDINGS"), "TYPICALITY", n_neighbours=5),
        ),
        (EMBEDDINGS, {"type": "TYPICALITY"}, Strategy(Input("EMBEDDINGS"), "TYPICALITY")),
        (
            {**EMBEDDINGS, "images": "queries"},
            {"type": "SIMILARITY"},
            Strategy(Input("EMBEDDINGS", query=Query(images="queries")), "SIMILARITY"),
        ),
        (
            {**EMBEDDINGS, "samples": ["a.png"]},
            {"type": "SIMILARITY"},
            Strategy(Input("EMBEDDINGS", query=Query(samples=("a.png",))), "SIMILARITY"),
        ),
        (
            {**EMBEDDINGS, "text": "a red truck in fog"},
            {"type": "SIMILARITY"},
            Strategy(Input("EMBEDDINGS", query=Query(text="a red truck in fog")), "SIMILARITY"),
        ),
    ],
)
def test_each_strategy_is_read_with_its_options(read: Any, strategy: Any, wanted: Strategy) -> None:
    assert parsed(read, strategy) == wanted


@pytest.mark.parametrize("strategy", ["WEIGHTS", "THRESHOLD"])
@pytest.mark.parametrize("read", [SCORES, METADATA, COUNTS, RANDOM])
def test_all_numbers_go_with_weights_and_thresholds(read: Any, strategy: str) -> None:
    more = {"threshold": 0.5, "operation": "SMALLER"} if strategy == "THRESHOLD" else {}
    assert parsed(read, {"type": strategy, **more}).type == strategy


@pytest.mark.parametrize("read", [METADATA, SHARES, COUNTS])
def test_all_classes_go_with_balance(read: Any) -> None:
    assert parsed(read, {"type": "BALANCE", "distribution": "INPUT"}).distribution == "INPUT"


def test_strength_may_stand_beside_the_strategy() -> None:
    assert parsed(EMBEDDINGS, {"type": "DIVERSITY"}, strength=3) == parsed(
        EMBEDDINGS, {"type": "DIVERSITY", "strength": 3.0}
    )


def test_names_in_camel_case_and_the_old_name_of_diversity_are_understood() -> None:
    assert parsed({**RANDOM, "randomSeed": 7}, {"type": "WEIGHTS"}).input.random_seed == 7
    assert parsed(EMBEDDINGS, {"type": "TYPICALITY", "numNearestNeighbors": 3}).n_neighbours == 3
    assert parsed(EMBEDDINGS, {"type": "DIVERSIFY"}).type == "DIVERSITY"


def test_what_is_null_or_empty_is_not_given() -> None:
    assert parsed({**EMBEDDINGS, "task": "", "dataset_id": None}, {"type": "DIVERSITY", "strength": None}) == Strategy(
        Input("EMBEDDINGS"), "DIVERSITY"
    )


def test_scores_may_be_known_by_their_name_alone() -> None:
    assert parsed({"type": "SCORES", "score": "al_score"}, {"type": "WEIGHTS"}).input == Input(
        "SCORES", score="al_score"
    )


def test_each_strategy_knows_its_place() -> None:
    entries = [{"input": RANDOM, "strategy": {"type": "WEIGHTS"}}] * 2
    assert [found.place for found in parsed_strategies(entries, "sampler.strategies")] == [
        "sampler.strategies[0]",
        "sampler.strategies[1]",
    ]


def test_each_query_knows_its_place() -> None:
    queries = ({"text": "fog"}, {"images": "in"}, {"samples": ["a.png"]})
    entries = [{"input": {**EMBEDDINGS, **query}, "strategy": {"type": "SIMILARITY"}} for query in queries]
    found = [strategy.input.query for strategy in parsed_strategies(entries)]
    assert [query.place for query in found if query] == [
        "strategies[0].input.text",
        "strategies[1].input.images",
        "strategies[2].input.samples",
    ]


def test_shares_may_miss_their_sum_by_rounding() -> None:
    target = {"a": 0.333, "b": 0.333, "c": 0.333}
    assert parsed(METADATA, {"type": "BALANCE", "target": target}).target == target


def balance(**strategy: Any) -> dict[str, Any]:
    return {"input": METADATA, "strategy": {"type": "BALANCE", **strategy}}


def diversity(**strategy: Any) -> dict[str, Any]:
    return {"input": EMBEDDINGS, "strategy": {"type": "DIVERSITY", **strategy}}


def typicality(**strategy: Any) -> dict[str, Any]:
    return {"input": EMBEDDINGS, "strategy": {"type": "TYPICALITY", **strategy}}


def weights(**strategy: Any) -> dict[str, Any]:
    return {"input": SCORES, "strategy": {"type": "WEIGHTS", **strategy}}


def threshold(**strategy: Any) -> dict[str, Any]:
    return {"input": SCORES, "strategy": {"type": "THRESHOLD", **strategy}}


def of(read: Any, strategy: str = "WEIGHTS") -> dict[str, Any]:
    return {"input": read, "strategy": {"type": strategy}}


# Each: a bad entry, and the whole line behind `strategies[1]`.
BAD = {
    "no table": ("DIVERSITY", " 'DIVERSITY' should be a table of named values"),
    "no input": ({"strategy": {"type": "DIVERSITY"}}, ".input is missing; it has to be given"),
    "no strategy": ({"input": EMBEDDINGS}, ".strategy is missing; it has to be given"),
    "a misspelt part": ({"inputs": EMBEDDINGS}, ".inputs is unknown; did you mean input?"),
    "a part that is none": ({**diversity(), "colour": 3}, ".colour is unknown; known are input, strategy, strength"),
    "an input that is no table": (of("EMBEDDINGS"), ".input 'EMBEDDINGS' should be a table of named values"),
    "an input without a type": (of({}), ".input.type is missing; it has to be given"),
    "a misspelt input": (of({"type": "EMBEDDING"}), ".input.type 'EMBEDDING' is unknown; did you mean EMBEDDINGS?"),
    "an input in small letters": (
        of({"type": "embeddings"}),
        ".input.type 'embeddings' is unknown; did you mean EMBEDDINGS?",
    ),
    "an input that is none": (
        of({"type": "PIXELS"}),
        ".input.type 'PIXELS' is unknown; known are EMBEDDINGS, METADATA, SCORES, PREDICTIONS, RANDOM",
    ),
    "an input that is no word": (
        of({"type": ["RANDOM"]}),
        ".input.type ['RANDOM'] is unknown; did you mean RANDOM?",
    ),
    "a misspelt strategy": (
        of(EMBEDDINGS, "DIVERSTY"),
        ".strategy.type 'DIVERSTY' is unknown; did you mean DIVERSITY?",
    ),
    "a strategy that is none": (
        of(EMBEDDINGS, "BEST"),
        ".strategy.type 'BEST' is unknown; known are DIVERSITY, WEIGHTS, THRESHOLD, BALANCE, SIMILARITY, TYPICALITY",
    ),
    "a strategy that is a number": (
        of(EMBEDDINGS, 3),  # type: ignore[arg-type]
        ".strategy.type 3 is unknown; known are DIVERSITY, WEIGHTS, THRESHOLD, BALANCE, SIMILARITY, TYPICALITY",
    ),
    "a misspelt field of an input": (
        of({"type": "METADATA", "keys": "a"}),
        ".input.keys is unknown; did you mean key?",
    ),
    "a misspelt field of a strategy": (
        balance(tarqet={"a": 1}),
        ".strategy.tarqet is unknown; did you mean target?",
    ),
    "a field of another input": (
        of({**RANDOM, "key": "a"}),
        ".input.key is for METADATA, not for RANDOM; leave it out",
    ),
    "a field of other inputs": (
        of({**METADATA, "task": "a"}),
        ".input.task is for EMBEDDINGS and SCORES and PREDICTIONS, not for METADATA; leave it out",
    ),
    "a field of another strategy": (
        diversity(threshold=3),
        ".strategy.threshold is for THRESHOLD, not for DIVERSITY; leave it out",
    ),
    "a field in two spellings": (
        of({**RANDOM, "random_seed": 3, "randomSeed": 4}),
        ".input.random_seed is given twice; leave one out",
    ),
    "a share in two spellings": (
        balance(target={2: 0.5, "2": 0.5}),
        ".strategy.target.2 is given twice; leave one out",
    ),
    "metadata without a key": (of({"type": "METADATA"}), ".input.key is missing; it has to be given"),
    "a key that is a number": (of({"type": "METADATA", "key": 3}), ".input.key 3 should be a text, in quotes"),
    "metadata that nobody computes": (
        of({"type": "METADATA", "key": "lightly.sharpnes"}),
        ".input.key 'lightly.sharpnes' is nothing that is computed; did you mean lightly.sharpness?",
    ),
    "scores without a score": (of({"type": "SCORES", "task": "a"}), ".input.score is missing; it has to be given"),
    "predictions without a task": (
        of({"type": "PREDICTIONS", "name": "CATEGORY_COUNT"}),
        ".input.task is missing; it has to be given",
    ),
    "predictions without a name": (
        of({"type": "PREDICTIONS", "task": "a"}),
        ".input.name is missing; it has to be given",
    ),
    "predictions by a misspelt name": (
        of({**COUNTS, "name": "CLASS_DISTRIBUTIONS"}),
        ".input.name 'CLASS_DISTRIBUTIONS' is unknown; did you mean CLASS_DISTRIBUTION?",
    ),
    "categories that are no list": (
        of({**COUNTS, "categories": "car"}),
        ".input.categories 'car' should be a list of names, such as ['car', 'bus']",
    ),
    "no categories": (
        of({**COUNTS, "categories": []}),
        ".input.categories [] should be a list of names, such as ['car', 'bus']",
    ),
    "a category twice": (of({**COUNTS, "categories": ["car", "car"]}), ".input.categories names 'car' twice"),
    "categories of shares": (
        of({**SHARES, "categories": ["car"]}, "BALANCE"),
        ".input.categories is for CATEGORY_COUNT, not for CLASS_DISTRIBUTION; leave it out",
    ),
    "a seed that is no number": (
        of({**RANDOM, "random_seed": "x"}),
        ".input.random_seed 'x' should be a whole number from 0 up",
    ),
    "a negative seed": (of({**RANDOM, "random_seed": -3}), ".input.random_seed -3 should be a whole number from 0 up"),
    "embeddings of objects": (
        of({**EMBEDDINGS, "task": "cars"}, "DIVERSITY"),
        ".input.task asks for embeddings of objects, which are not supported; leave it out for those of whole pictures",
    ),
    "a dataset of the platform": (
        of({**EMBEDDINGS, "dataset_id": "0123", "tag_name": "initial-tag"}, "SIMILARITY"),
        '.input.dataset_id names a dataset of the Lightly platform, which is not asked; write "images": "DIR" instead',
    ),
    "a tag of the platform": (
        of({**EMBEDDINGS, "tag_name": "initial-tag"}, "SIMILARITY"),
        '.input.tag_name names a tag of the Lightly platform, which is not asked; write "images": "DIR" instead',
    ),
    "diversity of numbers": (
        of(SCORES, "DIVERSITY"),
        ".input SCORES does not go with DIVERSITY; DIVERSITY takes EMBEDDINGS",
    ),
    "typicality of numbers": (
        of(METADATA, "TYPICALITY"),
        ".input METADATA does not go with TYPICALITY; TYPICALITY takes EMBEDDINGS",
    ),
    "similarity of numbers": (
        of(RANDOM, "SIMILARITY"),
        ".input RANDOM does not go with SIMILARITY; SIMILARITY takes EMBEDDINGS",
    ),
    "weights of embeddings": (
        of(EMBEDDINGS),
        ".input EMBEDDINGS does not go with WEIGHTS;"
        " WEIGHTS takes METADATA, SCORES, PREDICTIONS CATEGORY_COUNT or RANDOM",
    ),
    "weights of shares": (
        of(SHARES),
        ".input PREDICTIONS CLASS_DISTRIBUTION does not go with WEIGHTS;"
        " WEIGHTS takes METADATA, SCORES, PREDICTIONS CATEGORY_COUNT or RANDOM",
    ),
    "a balance of scores": (
        of(SCORES, "BALANCE"),
        ".input SCORES does not go with BALANCE;"
        " BALANCE takes METADATA, PREDICTIONS CLASS_DISTRIBUTION or PREDICTIONS CATEGORY_COUNT",
    ),
    "similarity to nothing": (
        of(EMBEDDINGS, "SIMILARITY"),
        ".input has no query; SIMILARITY needs one of images, samples, text",
    ),
    "two queries": (
        of({**EMBEDDINGS, "images": "a", "text": "b"}, "SIMILARITY"),
        ".input has images and text; a query is one of images, samples, text",
    ),
    "samples that are no list": (
        of({**EMBEDDINGS, "samples": "a.png"}, "SIMILARITY"),
        ".input.samples 'a.png' should be a list of names, such as ['car', 'bus']",
    ),
    "a query of diversity": (
        of({**EMBEDDINGS, "text": "a"}, "DIVERSITY"),
        ".input has a query, which is for SIMILARITY, not for DIVERSITY; leave it out",
    ),
    "diversity twice": (
        diversity(strength=2),
        ".strategy.type DIVERSITY is there twice; add the strengths up in one",
    ),
    "a strength of 0": (
        diversity(strength=0),
        ".strategy.strength 0 takes the strategy away; leave the strategy out instead",
    ),
    "a strength of 0 beside": (
        {**diversity(), "strength": 0.0},
        ".strength 0 takes the strategy away; leave the strategy out instead",
    ),
    "a strength that is no number": (diversity(strength="1"), ".strategy.strength '1' should be a number"),
    "a strength that is true": (diversity(strength=True), ".strategy.strength True should be a number"),
    "a strength of nan": (diversity(strength=math.nan), ".strategy.strength nan should be a finite number"),
    "an infinite strength": (diversity(strength=math.inf), ".strategy.strength inf should be a finite number"),
    "a strength too large": (diversity(strength=2e9), ".strategy.strength 2e+09 is not from -1e9 to 1e9"),
    "two strengths": (
        {**diversity(strength=1), "strength": 1},
        ".strength is given in the strategy as well; give it once",
    ),
    "a distance above 2": (
        diversity(stopping_condition_minimum_distance=3),
        ".strategy.stopping_condition_minimum_distance 3 is not from 0 to 2; -1 is off",
    ),
    "a negative distance": (
        diversity(stopping_condition_minimum_distance=-0.5),
        ".strategy.stopping_condition_minimum_distance -0.5 is not from 0 to 2; -1 is off",
    ),
    "a distance too small": (
        diversity(stopping_condition_minimum_distance=1e-6),
        ".strategy.stopping_condition_minimum_distance 1e-06 is below 1e-05, what float32 can tell; 0 keeps everything",
    ),
    "a distance that is no number": (
        diversity(stopping_condition_minimum_distance="far"),
        ".strategy.stopping_condition_minimum_distance 'far' should be a number",
    ),
    "a sum to stop at": (
        weights(stopping_condition_max_sum=3),
        ".strategy.stopping_condition_max_sum is not supported; leave it out and give n_samples",
    ),
    "a range of sums": (
        weights(target_range={"min_sum": 3}),
        ".strategy.target_range is not supported; leave it out and give n_samples",
    ),
    "a typicality to stop at": (
        typicality(stopping_condition_minimum_typicality=0.3),
        ".strategy.stopping_condition_minimum_typicality is not supported; leave it out and give n_samples",
    ),
    "no neighbours": (
        typicality(num_nearest_neighbors=0),
        ".strategy.num_nearest_neighbors 0 should be a whole number from 1 up",
    ),
    "half a neighbour": (
        typicality(num_nearest_neighbors=2.5),
        ".strategy.num_nearest_neighbors 2.5 should be a whole number from 1 up",
    ),
    "a threshold without a value": (
        threshold(operation="BIGGER"),
        ".strategy.threshold is missing; it has to be given",
    ),
    "a threshold without an operation": (
        threshold(threshold=3),
        ".strategy.operation is missing; it has to be given",
    ),
    "an unknown operation": (
        threshold(threshold=3, operation="LARGER"),
        ".strategy.operation 'LARGER' is unknown; known are SMALLER, SMALLER_EQUAL, BIGGER, BIGGER_EQUAL",
    ),
    "a threshold of nan": (
        threshold(threshold=math.nan, operation="BIGGER"),
        ".strategy.threshold nan should be a finite number",
    ),
    "a balance without a target": (balance(), ".strategy.target is missing; it has to be given"),
    "a misspelt distribution": (
        balance(distribution="UNIFROM"),
        ".strategy.distribution 'UNIFROM' is unknown; did you mean UNIFORM?",
    ),
    "a target of an even distribution": (
        balance(distribution="UNIFORM", target={"a": 1}),
        ".strategy.target is for distribution TARGET, not for UNIFORM; leave one out",
    ),
    "a target that is no table": (
        balance(target=["a", "b"]),
        ".strategy.target ['a', 'b'] should be a table of named values",
    ),
    "a share that is no number": (
        balance(target={"a": "half", "b": 0.5}),
        ".strategy.target.a 'half' should be a number",
    ),
    "a share of nan": (
        balance(target={"a": math.nan, "b": 0.5}),
        ".strategy.target.a nan should be a finite number",
    ),
    "a negative share": (
        balance(target={"a": 1.5, "b": -0.5}),
        ".strategy.target.b -0.5 is negative; a share is from 0 to 1",
    ),
    "shares that sum to less": (
        balance(target={"a": 0.2, "b": 0.4}),
        ".strategy.target sums to 0.6, not to 1; give a share for every value that is wanted",
    ),
    "shares that sum to more": (
        balance(target={"a": 0.6, "b": 0.6}),
        ".strategy.target sums to 1.2, not to 1; give a share for every value that is wanted",
    ),
    "no shares": (
        balance(target={}),
        ".strategy.target sums to 0, not to 1; give a share for every value that is wanted",
    ),
}


@pytest.mark.parametrize(("entry", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_told_in_one_line_with_its_place(entry: Any, said: str) -> None:
    assert complaint(entry) == f"strategies[1]{said}"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "strategies is empty; give at least one, with an input and a strategy"),
        ({}, "strategies should be a list of tables, each with an input and a strategy"),
        ("DIVERSITY", "strategies should be a list of tables, each with an input and a strategy"),
    ],
)
def test_a_list_of_strategies_has_to_be_there(raw: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed_strategies(raw)
    assert str(caught.value) == said


def test_a_long_value_is_cut_in_the_message() -> None:
    assert complaint(of("EMBEDDINGS" * 20)) == (
        f"strategies[1].input '{('EMBEDDINGS' * 20)[:56]}... should be a table of named values"
    )
