from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightpool_core import Datapool
from tests.strategies import unit_vectors

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def file(tmp_path):
    """300 embeddings, most of them in tight clusters."""
    rows = np.concatenate([unit_vectors(200, 6, "clusters"), unit_vectors(100, 6, "spread", seed=1)])
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"


def rows_of(table):
    """(min_distance, kept, share) of each row drawn."""
    cells = [[cell.strip() for cell in line.split("│")] for line in table if line.startswith("│")]
    return [(float(distance), int(kept), share) for _, distance, kept, share, *_ in cells]


def test_the_curve_is_drawn_as_in_the_golden_file(lightpool, file, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert lightpool("select", "--embeddings", file, "--curve").out == (GOLDEN / "curve.txt").read_text(
        encoding="utf-8"
    )


def test_every_row_tells_what_select_would_print(lightpool, file):
    rows = rows_of(lightpool("select", "--embeddings", file, "--curve").lines)
    assert rows[0] == (0, 300, "100.0%")
    for distance, kept, share in rows:
        chosen = lightpool("select", "--embeddings", file, "--min-distance", distance).lines
        assert len(chosen) == kept
        assert share == f"{kept / 300:.1%}"


def test_json_gives_a_min_distance_for_every_number_of_samples(lightpool, pool):
    curve = lightpool("select", "--pool", pool, "--curve", "--json").json
    n = len(Datapool.open(pool))
    assert (curve["candidates"], curve["kept_before"]) == (n, 0)
    assert curve["n_samples"] == list(range(1, n + 1))
    assert curve["min_distance"] == sorted(curve["min_distance"], reverse=True)
    ranked = lightpool("select", "--pool", pool, "--json").json["selected"]
    for k in (1, 2, n // 2, n):
        chosen = lightpool("select", "--pool", pool, "--min-distance", curve["min_distance"][k - 1]).lines
        assert chosen == ranked[:k]


def test_raw_input_is_ranked_to_the_last_against_the_pool(lightpool, pool, draw, tmp_path, tree):
    draw(tmp_path / "more" / "new.png", 40)
    draw(tmp_path / "more" / "near.png", 2, size=(128, 96))
    (tmp_path / "more" / "broken.png").write_bytes(b"no picture")
    before = tree(pool)
    command = ("select", "--pool", pool, "--input", tmp_path / "more", "--curve")
    curve = lightpool(*command, "--json").json
    assert (curve["candidates"], curve["kept_before"]) == (2, len(Datapool.open(pool)))
    assert curve["min_distance"][0] >= 0.1 > curve["min_distance"][1]
    off = ("--min-distance", -1, "--n-samples", -1)
    assert lightpool(*command, *off, "--json").json == curve
    drawn = lightpool(*command)
    assert f"2 candidates, beside {curve['kept_before']} that are kept already" in drawn.out
    assert "broken.png" in drawn.err
    assert lightpool(*command, "--quiet").err == ""
    assert tree(pool) == before


def test_a_condition_ends_the_curve(lightpool, file):
    whole = lightpool("select", "--embeddings", file, "--curve", "--json").json
    for condition in (("--n-samples", 40), ("--min-distance", whole["min_distance"][39])):
        ended = lightpool("select", "--embeddings", file, "--curve", *condition, "--json").json
        assert ended["candidates"] == 300
        assert ended["min_distance"] == whole["min_distance"][:40]
    drawn = lightpool("select", "--embeddings", file, "--curve", "--n-samples", 40)
    assert drawn.lines[0].strip() == "the first 40 of 300 candidates"
    assert rows_of(drawn.lines)[0] == (whole["min_distance"][39], 40, "13.3%")


def test_it_can_be_written_in_ascii(subprocess_run, file):
    done = subprocess_run("select", "--embeddings", file, "--curve", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert done.out.isascii()
    assert "----" in done.out


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--sampler", "random"], "sampler diversity"),
        (["--output", "chosen.csv"], "--output"),
        (["--n-samples", 0], "none of 300 candidates"),
        (["--n-samples", -5], "-5"),
        (["--fps", 2], "--input"),
    ],
)
def test_what_makes_no_curve_is_refused_in_one_line(lightpool, file, options, mentions):
    assert mentions in lightpool.fails("select", "--embeddings", file, "--curve", *options)


def test_the_sampler_of_a_pool_is_not_passed_over_in_silence(lightpool, pool):
    settings = pool / "datapool.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace('name = "diversity"', 'name = "random"'), encoding="utf-8")
    assert "instead of random" in lightpool.fails("select", "--pool", pool, "--curve")
    assert lightpool("select", "--pool", pool, "--curve", "--sampler", "diversity").out


def test_of_nothing_there_is_no_curve(lightpool, tmp_path, pool, grown):
    lightpool("init", "--pool", tmp_path / "new", "--embedder", "gist")
    assert "no candidates" in lightpool.fails("select", "--pool", tmp_path / "new", "--curve")
    known = ("--input", grown / "in" / "first")
    assert "no candidates" in lightpool.fails("select", "--pool", pool, *known, "--curve")
    assert "nothing to select from" in lightpool.fails("select", "--curve")
