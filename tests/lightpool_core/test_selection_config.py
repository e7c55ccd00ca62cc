from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightpool_core.errors import SettingsError
from lightpool_core.selection_config import SelectionConfig, read_config

EXAMPLE = {
    "n_samples": 100,
    "strategies": [
        {
            "input": {"type": "EMBEDDINGS"},
            "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1, "strength": 1.0},
        }
    ],
}
DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
AS_YAML = """
n_samples: 100
strategies:
  - input: {type: EMBEDDINGS}
    strategy:
      type: DIVERSITY
      stopping_condition_minimum_distance: 0.1
      strength: 1.0
"""
AS_TOML = """
n_samples = 100
[[strategies]]
input = {type = "EMBEDDINGS"}
strategy = {type = "DIVERSITY", stopping_condition_minimum_distance = 0.1, strength = 1.0}
"""
WITH_COMMENTS = """{
\t"n_samples": 100, # set to the number of samples you want to select
\t"strategies": [{
\t\t"input": {"type": "EMBEDDINGS"},
\t\t"strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1, "strength": 1.0}, # optional
\t}]
}"""


def read(folder: Path, content: Any, name: str = "sel.json") -> SelectionConfig:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return read_config(folder / name)


def complaint(folder: Path, content: Any, name: str = "sel.json") -> str:
    """What is said behind the name of the file."""
    with pytest.raises(SettingsError) as caught:
        read(folder, content, name)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert said.startswith(f"config {folder / name}: ")
    return said.removeprefix(f"config {folder / name}: ")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (EXAMPLE, "sel.json"),
        (json.dumps(EXAMPLE), "sel"),
        ("\ufeff" + json.dumps(EXAMPLE), "sel.json"),
        (WITH_COMMENTS, "sel.json"),
        (AS_YAML, "sel.yaml"),
        (AS_YAML, "sel.yml"),
        (json.dumps(EXAMPLE), "sel.yaml"),
        (AS_TOML, "sel.toml"),
        ({"selection_config": EXAMPLE, "worker_config": {"shutdown_when_job_finished": True}}, "sel.json"),
        ({"selectionConfig": EXAMPLE}, "sel.json"),
    ],
    ids=["JSON", "JSON without a suffix", "JSON with a mark", "JSON with comments", "YAML", "yml", "JSON named YAML",
         "TOML", "a whole config", "a whole config in camel case"],
)  # fmt: skip
def test_a_config_says_the_same_in_every_form(content: Any, name: str, tmp_path: Path) -> None:
    assert read(tmp_path, content, name) == SelectionConfig(
        ({"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY", "strength": 1.0}},), 100, 0.1
    )


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, None),
        ({"n_samples": 1}, 1),
        ({"nSamples": 7}, 7),
        ({"n_samples": -1}, -1),
        ({"n_samples": 0.25}, 0.25),
        ({"n_samples": None, "proportion_samples": 0.1}, 0.1),
        ({"n_samples": -1, "proportion_samples": 1}, 1.0),
        ({"n_samples": 5, "proportion_samples": -1}, 5),
    ],
)
def test_the_count_may_be_a_proportion_and_minus_one_is_off(said: Any, wanted: Any, tmp_path: Path) -> None:
    found = read(tmp_path, {**said, "strategies": [DIVERSITY]}).n_samples
    assert found == wanted
    assert type(found) is type(wanted)


def test_the_minimum_distance_of_diversity_is_taken_out_and_minus_one_is_off(tmp_path: Path) -> None:
    lots = {"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}

    def diverse(distance: float) -> SelectionConfig:
        diversity = {**DIVERSITY, "strategy": {"type": "DIVERSITY", "stoppingConditionMinimumDistance": distance}}
        return read(tmp_path, {"strategies": [lots, diversity]})

    assert diverse(0.3) == SelectionConfig((lots, DIVERSITY), min_distance=0.3)
    assert diverse(0) == SelectionConfig((lots, DIVERSITY), min_distance=0.0)
    assert diverse(-1) == SelectionConfig((lots, DIVERSITY))


def test_query_images_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    def similar(images: str) -> Any:
        return {"input": {"type": "EMBEDDINGS", "images": images}, "strategy": {"type": "SIMILARITY"}}

    config = read(tmp_path, {"strategies": [similar("queries"), similar("/data/queries"), DIVERSITY]})
    images = [entry["input"].get("images") for entry in config.strategies]
    assert images == [str(tmp_path / "queries"), "/data/queries", None]


def test_names_that_yaml_reads_as_numbers_or_truth_are_text_as_in_json(tmp_path: Path) -> None:
    text = """
strategies:
  - input: {type: METADATA, key: lanes}
    strategy: {type: BALANCE, target: {2: 0.5, true: 0.25, No: 0.25}, distribution: null}
"""
    [entry] = read(tmp_path, text, "sel.yaml").strategies
    assert entry["strategy"] == {"type": "BALANCE", "target": {"2": 0.5, "true": 0.25, "false": 0.25}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([EXAMPLE], "[{'n_samples': 100, 'strategies': [{'input': {'type': 'EM... should be a table of named values"),
        ({}, "strategies is missing; it has to be given"),
        ({"n_samples": 3, "strategy": []}, "strategy is unknown; did you mean strategies?"),
        (
            {"strategies": [DIVERSITY], "epochs": 3},
            "epochs is unknown; known are n_samples, proportion_samples, strategies",
        ),
        (
            {"strategies": [DIVERSITY, {**DIVERSITY, "strategy": {"type": "DIVERSTY"}}]},
            "strategies[1].strategy.type 'DIVERSTY' is unknown; did you mean DIVERSITY?",
        ),
        (
            {"selection_config": {"strategies": [{**DIVERSITY, "strategy": {"type": "DIVERSTY"}}]}},
            "selection_config.strategies[0].strategy.type 'DIVERSTY' is unknown; did you mean DIVERSITY?",
        ),
        (
            {"selection_config": {"n_samples": 3}},
            "selection_config.strategies is missing; it has to be given",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": "many"},
            "n_samples 'many' should be a number",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": True},
            "n_samples True should be a number",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": -5},
            "n_samples -5 is negative; give a count, a fraction, or -1 for off",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": 1.5},
            "n_samples 1.5 is no fraction from 0 to 1; write a whole number for a count, -1 for off",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": float("nan")},
            "n_samples nan should be a finite number",
        ),
        (
            {"strategies": [DIVERSITY], "proportion_samples": 3},
            "proportion_samples 3 is not from 0 to 1; -1 is off",
        ),
        (
            {"strategies": [DIVERSITY], "proportion_samples": "half"},
            "proportion_samples 'half' should be a number",
        ),
        (
            {"strategies": [DIVERSITY], "n_samples": 3, "proportion_samples": 0.1},
            "n_samples and proportion_samples are both given; write -1 for one of them",
        ),
        (
            {"strategies": [DIVERSITY], "auto_tasks": []},
            "auto_tasks is not supported; give predictions with --predictions PATH",
        ),
        (
            {"strategies": [DIVERSITY], "lightlyPathRegex": ".*"},
            "lightly_path_regex is not supported; give what it would read off the names with --metadata FILE",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_file_and_place(content: Any, said: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, content) == said


TWICE = """
strategies:
  - input: {type: RANDOM}
    strategy:
      type: WEIGHTS
      strength: 2
      strength: 3
"""


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ('{"strategies": [], "strategies": []}', "sel.json", "strategies is given twice, again in line 1"),
        ('{"n_samples": 3,\n\t"strategies": [{"input": {"type": "A", "type": "A"}}]}', "sel.json",
         "strategies[0].input.type is given twice, again in line 2"),
        (TWICE, "sel.yaml", "strategies[0].strategy.strength is given twice, again in line 7"),
        ("n_samples: 3\n'n_samples': 3\n", "sel.yaml", "n_samples is given twice, again in line 2"),
        ("nSamples: 3\nn_samples: 4\nstrategies: []\n", "sel.yaml", "n_samples is given twice"),
        ("? [a, b]\n: 1\nn_samples: {<<: {a: 1}, a: 2, a: 3}\n", "sel.yaml",
         "n_samples.a is given twice, again in line 3"),
    ],
)  # fmt: skip
def test_a_name_that_is_given_twice_is_refused_with_its_place(text: str, name: str, said: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text, name) == f"{said}; leave one out"


def test_a_name_that_is_given_twice_in_toml_is_refused(tmp_path: Path) -> None:
    twice = '[[strategies]]\ninput = {type = "RANDOM", type = "RANDOM"}\n'
    assert complaint(tmp_path, twice, "sel.toml") == 'is no TOML: Key "type" already exists; mend the file'


def test_what_yaml_refers_to_or_overrides_is_not_given_twice(tmp_path: Path) -> None:
    text = """
strategies:
  - &first {input: {type: RANDOM, random_seed: 1}, strategy: {type: WEIGHTS}}
  - <<: *first
    strategy: {type: WEIGHTS, strength: 2}
  - *first
"""
    strengths = [entry["strategy"].get("strength") for entry in read(tmp_path, text, "sel.yaml").strategies]
    assert strengths == [None, 2, None]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ('{"strategies": [}', "sel.json", "is no JSON: "),
        ("strategies: [", "sel.yaml", "is neither JSON nor YAML: "),
        ("strategies: 2026-13-41", "sel.yaml", "is neither JSON nor YAML: "),
        ('{"strategies": # none\n', "sel.json", "is neither JSON nor YAML: "),
        ("strategies = [", "sel.toml", "is no TOML: "),
        ("", "sel.yaml", "None should be a table of named values"),
        ("hello", "sel.yaml", "'hello' should be a table of named values"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_named(text: str, name: str, said: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text, name).startswith(said)


def test_a_file_that_is_not_there_or_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"config .*missing\.json: cannot be read: "):
        read_config(tmp_path / "missing.json")
    (tmp_path / "sel.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match=r"config .*sel\.json: cannot be read: "):
        read_config(tmp_path / "sel.json")
    with pytest.raises(SettingsError, match="cannot be read: "):
        read_config(tmp_path)
