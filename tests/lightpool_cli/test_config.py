"""Selection configs and the options that stand beside them, through the command line."""

from __future__ import annotations

import json

import pytest

EXAMPLE = {
    "n_samples": 100,
    "strategies": [
        {
            "input": {"type": "EMBEDDINGS"},
            "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1, "strength": 1.0},
        }
    ],
}
BY_LABEL = """
proportion_samples: 0.5
strategies:
  - input: {type: METADATA, key: label}
    strategy: {type: BALANCE, distribution: UNIFORM}
  - input: {type: RANDOM, random_seed: 3}
    strategy: {type: WEIGHTS}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sel.json"
    path.write_text(json.dumps(EXAMPLE), encoding="utf-8")
    return path


@pytest.fixture
def by_label(tmp_path):
    path = tmp_path / "sel.yaml"
    path.write_text(BY_LABEL, encoding="utf-8")
    return path


def test_lightlys_example_runs_as_it_is_through_append_and_every_kind_of_select(lightpool, grown, config, tmp_path):
    pool = tmp_path / "new"
    report = lightpool.append(pool, "--input", grown / "in", "--config", config)
    assert report["sampler"] == "combined (strategies=DIVERSITY of EMBEDDINGS)"
    assert (report["n_samples"], report["min_distance"]) == (100, 0.1)
    assert report["samples"]["selected"] == report["pool_size"] > 5
    by_hand = lightpool.append(tmp_path / "other", "--input", grown / "in", "--n-samples", 100, "--min-distance", 0.1)
    assert by_hand["pool_size"] == report["pool_size"]
    for where in (["--pool", pool], ["--embeddings", pool / "datapool_latest.csv"]):
        assert len(lightpool("select", *where, "--config", config).lines) == report["pool_size"]
    assert lightpool("select", "--pool", pool, "--input", grown / "in", "--config", config).lines == []


def test_a_bare_append_repeats_the_config_that_made_the_pool(lightpool, grown, config, draw, tmp_path):
    pool = tmp_path / "new"
    first = lightpool.append(pool, "--input", grown / "in" / "first", "--config", config)
    config.unlink()
    again = lightpool.append(pool, "--input", grown / "in" / "second")
    assert (again["sampler"], again["n_samples"], again["min_distance"]) == (first["sampler"], 100, 0.1)
    assert again["samples"]["selected"] == 2
    written = (pool / "datapool.toml").read_text(encoding="utf-8")
    assert '[[sampler.strategies]]\ninput = {type = "EMBEDDINGS"}\n' in written


def test_the_command_line_wins_over_the_config(lightpool, pool, config):
    assert len(lightpool("select", "--pool", pool, "--config", config, "--n-samples", 3).lines) == 3
    everything = lightpool("select", "--pool", pool, "--config", config, "--min-distance", 0, "--n-samples", -1)
    assert everything.lines == lightpool("select", "--pool", pool, "--sampler", "diversity").lines


def test_a_config_in_yaml_balances_by_label(lightpool, grown, by_label, tmp_path):
    report = lightpool.append(tmp_path / "new", "--input", grown / "in", "--config", by_label, "--min-distance", 0)
    assert report["sampler"] == "combined (strategies=BALANCE of METADATA label × WEIGHTS of RANDOM)"
    assert report["samples"]["selected"] == report["samples"]["candidates"] // 2
    assert report["n_samples"] == 0.5


def test_init_keeps_all_of_it_in_the_settings(lightpool, config, tmp_path):
    (tmp_path / "about.csv").write_text("filename,weather\na.png,rain\n", encoding="utf-8")
    pool = tmp_path / "new"
    lightpool(
        "init", "--pool", pool, "--embedder", "gist", "--config", config, "--metadata", tmp_path / "about.csv",
        "--predictions", tmp_path, "--scores", tmp_path / "about.csv", "--compute-metadata", "--sequence-length", 3,
        "--min-seconds", 2.5, "--max-per", "video=3", "--max-per", "weather=20",
    )  # fmt: skip
    written = (pool / "datapool.toml").read_text(encoding="utf-8").splitlines()
    assert {
        f'metadata = "{tmp_path / "about.csv"}"',
        f'predictions = "{tmp_path}"',
        f'scores = "{tmp_path / "about.csv"}"',
        "compute_metadata = true",
        "sequence_length = 3",
        "min_seconds = 2.5",
        "video = 3",
        "weather = 20",
        "n_samples = 100",
        "min_distance = 0.1",
    } <= set(written)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"DIVERSITY"', '"DIVERSTY"', "strategies[0].strategy.type 'DIVERSTY' is unknown; did you mean DIVERSITY?"),
        (
            '{"type": "EMBEDDINGS"}',
            '{"type": "METADATA"}',
            "strategies[0].input.key is missing; it has to be given",
        ),
        ("1.0", "0", "strategies[0].strategy.strength 0 takes the strategy away; leave the strategy out instead"),
        (
            "0.1",
            "0.000001",
            "strategies[0].strategy.stopping_condition_minimum_distance 1e-06 is below 1e-05,"
            " what float32 can tell; 0 keeps everything",
        ),
        (
            '{"type": "EMBEDDINGS"}',
            '{"type": "METADATA", "key": "lightly.nope"}',
            "strategies[0].input.key 'lightly.nope' is nothing that is computed; take one of lightly.contrast,"
            " lightly.height, lightly.luminance, lightly.mean.blue, lightly.mean.green, lightly.mean.red,"
            " lightly.sharpness, lightly.sizeInBytes, lightly.snr, lightly.uniformRowRatio, lightly.width",
        ),
        (
            '"type": "EMBEDDINGS"',
            '"type": "EMBEDDINGS", "type": "RANDOM"',
            "strategies[0].input.type is given twice, again in line 1; leave one out",
        ),
        ("100", "-5", "n_samples -5 is negative; give a count, a fraction, or -1 for off"),
    ],
)
@pytest.mark.parametrize("command", ["append", "init", "select"])
def test_a_bad_config_is_one_line_with_its_place_and_makes_nothing(
    lightpool, grown, config, tmp_path, tree, command, old, new, said
):
    config.write_text(config.read_text().replace(old, new))
    before = tree(tmp_path)
    where = [] if command == "select" else ["--pool", tmp_path / "new"]
    answer = lightpool.fails(command, *where, "--input", grown / "in", "--embedder", "gist", "--config", config)
    assert answer == f"lightpool: config {config}: {said}\n"
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--config {config} --sampler random", "--config is for the sampler combined, not for random; leave one out"),
        ("--sampler combined", "sampler combined needs the option strategies; it comes with --config FILE"),
        (
            "--sampler combined -s strategies=DIVERSITY",
            "option strategies of sampler combined is 'DIVERSITY';"
            " it has to be a list of tables, which comes with --config FILE",
        ),
        ("--min-seconds abc", "--min-seconds 'abc' is no number"),
        ("--min-seconds -3", "min_seconds -3.0 is no number of seconds from 0 up; -1 is off"),
        ("--min-seconds nan", "min_seconds nan is no number of seconds from 0 up; -1 is off"),
        ("--max-per 3", "--max-per '3' should have the form key=value"),
        ("--max-per video=few", "--max-per video 'few' is no whole number"),
        ("--max-per video=0", "max_per video 0 is no whole number from 1 up; -1 is off"),
        ("--max-per =3", "max_per has a limit for no key; name video, folder, label or a metadata key"),
        ("--sequence-length x", "--sequence-length 'x' is no whole number"),
        (
            "--sequence-length 3 --max-per folder=3 --max-per video=2",
            "max_per video 2 is less than one sequence of 3 frames; give 3 or more",
        ),
        ("--sequence-length 1", "sequence_length 1 is not 2 frames or more; -1 is off"),
    ],
)
def test_a_bad_option_is_one_line_and_changes_nothing(lightpool, pool, config, tree, options, said):
    before = tree(pool)
    words = options.format(config=config).split()
    assert lightpool.fails("append", "--pool", pool, "--process-all", *words) == f"lightpool: {said}\n"
    assert tree(pool) == before


def test_computing_metadata_needs_raw_input(lightpool, pool):
    assert lightpool.fails("select", "--pool", pool, "--compute-metadata") == (
        "lightpool: --compute-metadata is for raw input; give --input DIR as well, or leave it out\n"
    )


def test_minus_one_takes_a_limit_away(lightpool, grown, tmp_path):
    pool = tmp_path / "new"
    one = lightpool.append(pool, "--input", grown / "in", "--min-distance", 0, "--max-per", "folder=1")
    assert one["pool_size"] == 3
    rest = lightpool.append(pool, "--input", grown / "in", "--process-all", "--max-per", "folder=-1")
    assert rest["pool_size"] == one["samples"]["candidates"]
