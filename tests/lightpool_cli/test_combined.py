"""The example of a selection config as it stands in Lightly's pages, through whole runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightpool_core import Datapool
from tests.strategies import distance_matrix

EXAMPLE = (
    '{"n_samples": 100, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY",'
    ' "stopping_condition_minimum_distance": 0.1, "strength": 1.0}}]}'
)
N_SCENES, N_COPIES = 110, 15


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "selection.json"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def delivery(tmp_path_factory, draw):
    """Different scenes, and some of them once more, a little brighter."""
    folder = tmp_path_factory.mktemp("delivery")
    for seed in range(N_SCENES):
        draw(folder / "scenes" / f"{seed:03}.png", seed)
    for seed in range(N_COPIES):
        pixels = np.asarray(Image.open(folder / "scenes" / f"{seed:03}.png")).astype(int)
        (folder / "copies").mkdir(exist_ok=True)
        Image.fromarray(np.minimum(pixels + 2, 255).astype(np.uint8)).save(folder / "copies" / f"{seed:03}.png")
    return folder


def test_append_keeps_a_hundred_that_differ_and_repeats_that_for_later_deliveries(
    lightpool, config, delivery, draw, tmp_path, tree
):
    pool, inbox = tmp_path / "pool", Path(shutil.copytree(delivery, tmp_path / "in"))
    report = lightpool.append(pool, "--input", inbox, "--config", config)
    assert report["samples"]["candidates"] == N_SCENES + N_COPIES
    assert report["samples"]["selected"] == report["pool_size"] == 100
    [told] = report["achieved"]
    assert told["objective"] == "DIVERSITY of EMBEDDINGS"
    assert told["values"]["least distance"] >= 0.1
    first = Datapool.open(pool)
    among = distance_matrix(first.embeddings, first.embeddings)[np.triu_indices(100, 1)]
    assert among.min() >= 0.1
    assert told["values"]["least distance"] == pytest.approx(among.min(), abs=1e-6)
    config.unlink()

    before = tree(pool / "history")
    assert lightpool("append", "--pool", pool, "--json").json["samples"]["selected"] == 0
    assert tree(pool / "history") == before

    for seed in range(500, 620):
        draw(inbox / "later" / f"{seed}.png", seed)
    for seed in range(5):
        pixels = np.asarray(Image.open(delivery / "scenes" / f"{seed:03}.png")).astype(int)
        Image.fromarray(np.maximum(pixels - 2, 0).astype(np.uint8)).save(inbox / "later" / f"copy_{seed}.png")
    again = lightpool("append", "--pool", pool, "--json").json
    assert (again["n_samples"], again["min_distance"], again["sampler"]) == (100, 0.1, report["sampler"])
    assert again["samples"]["candidates"] == 125
    assert again["samples"]["selected"] == 100
    grown = Datapool.open(pool)
    assert len(grown) == 200
    assert distance_matrix(grown.embeddings, grown.embeddings)[np.triu_indices(200, 1)].min() >= 0.1


def test_select_makes_the_same_choice_from_raw_files_from_a_pool_and_from_embeddings(
    lightpool, config, delivery, tmp_path
):
    everything = tmp_path / "everything"
    lightpool.append(everything, "--input", delivery, "--n-samples", 1.0, "--min-distance", -1)
    raw = lightpool("select", "--input", delivery, "--embedder", "gist", "--config", config).lines
    assert len(raw) == len(set(raw)) == 100
    copies = {name.rpartition("/")[2] for name in raw if name.startswith("copies/")}
    scenes = {name.rpartition("/")[2] for name in raw if name.startswith("scenes/")}
    assert not copies & scenes
    by_hand = ("--sampler", "diversity", "--n-samples", 100, "--min-distance", 0.1)
    for where in (["--pool", everything], ["--embeddings", everything / "datapool_latest.csv"]):
        assert sorted(lightpool("select", *where, "--config", config).lines) == sorted(raw)
        assert lightpool("select", *where, *by_hand).lines == lightpool("select", *where, "--config", config).lines
    told = lightpool("select", "--pool", everything, "--config", config, "--json").json
    assert told["selected"] == lightpool("select", "--pool", everything, "--config", config).lines
    assert told["distances"][0] is None
    assert min(told["distances"][1:]) >= 0.1


@pytest.mark.parametrize(
    ("given", "wanted", "said", "kept"),
    [
        (
            '{"type": "METADATA", "key": "widht"}',
            '{"type": "WEIGHTS"}',
            "strategies[0]: no metadata is called 'widht'; did you mean width?",
            False,
        ),
        (
            '{"type": "METADATA", "key": "label"}',
            '{"type": "BALANCE", "target": {"dog": 1}}',
            "strategies[0].strategy.target: none of dog occurs in METADATA label; it has 1",
            True,
        ),
        (
            '{"type": "SCORES", "score": "uncertainty"}',
            '{"type": "WEIGHTS"}',
            "strategies[0]: no score is called 'uncertainty'; none were given (--metadata, --predictions, --scores)",
            False,
        ),
    ],
    ids=["an unknown key", "what only pictures show", "an unknown score"],
)
def test_a_strategy_that_does_not_fit_is_one_line_with_its_place_and_chooses_nothing(
    lightpool, draw, tmp_path, tree, given, wanted, said, kept
):
    config = tmp_path / "selection.json"
    config.write_text(f'{{"strategies": [{{"input": {given}, "strategy": {wanted}}}]}}', encoding="utf-8")
    for seed in range(4):
        draw(tmp_path / "in" / "sub" / f"{seed}.png", seed)
    before = tree(tmp_path / "in")
    command = ("--input", tmp_path / "in", "--embedder", "gist", "--config", config, "--quiet")
    for line in (lightpool.fails("select", *command), lightpool.fails("append", "--pool", tmp_path / "pool", *command)):
        assert line.startswith(f"lightpool: config {config}: {said}")
    assert tree(tmp_path / "in") == before
    if kept:  # the embeddings made so far are not lost
        assert len(Datapool.open(tmp_path / "pool")) == 0
    else:  # nothing was embedded
        assert not list((tmp_path / "pool").iterdir())
