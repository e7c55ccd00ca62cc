from __future__ import annotations

import json

import pytest

from tests.lightpool_cli.test_append import without_journals

FIRST_ONLY = '''
from dataclasses import dataclass

import numpy as np

from lightpool_core import Selection


@dataclass(frozen=True)
class FirstOnly:
    """Takes the first few."""

    count: int = 1

    def select(self, candidates, pool, stop, rng):
        """See Sampler."""
        n = min(self.count, stop.count(len(candidates)))
        return Selection(np.arange(n), np.full(n, np.inf, dtype=np.float32))


@dataclass(frozen=True)
class Twice:
    """Chooses a candidate twice."""

    def select(self, candidates, pool, stop, rng):
        """See Sampler."""
        return Selection(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.float32))
'''


@pytest.fixture
def sampler_file(tmp_path):
    path = tmp_path / "my_file.py"
    path.write_text(FIRST_ONLY, encoding="utf-8")
    return path


def test_an_option_that_only_a_file_can_hold_is_shown_as_what_it_is(lightpool):
    assert "strategies (a list of tables)" in lightpool("plugins").out
    [combined] = [plugin for plugin in lightpool("plugins", "--json").json if plugin["name"] == "combined"]
    assert {"name": "strategies", "type": "list of tables", "default": None, "required": True} in combined["options"]


def test_those_in_the_box_are_listed_with_their_options(lightpool):
    found = {(plugin["kind"], plugin["name"]): plugin for plugin in lightpool("plugins", "--json").json}
    embedders, samplers = ("gist", "open-clip", "timm"), ("diversity", "random")
    box = {*(("embedder", name) for name in embedders), *(("sampler", name) for name in samplers)}
    assert box <= set(found)
    for key in box:
        assert found[key]["description"]
        assert found[key]["error"] == ""
        assert found[key]["distribution"].startswith("lightpool ")
    options = {option["name"]: option["default"] for option in found["embedder", "open-clip"]["options"]}
    assert options["model"] == "ViT-B-32"
    assert options["pretrained"] == "datacomp_xl_s13b_b90k"
    assert options["device"] == options["precision"] == "auto"


def test_the_table_shows_the_same(lightpool):
    shown = lightpool("plugins").out
    assert all(word in shown for word in ("gist", "open-clip", "diversity", "random", "model=ViT-B-32"))


def test_a_broken_plugin_is_listed_with_its_reason_and_hurts_nothing(subprocess_run, tmp_path):
    site = tmp_path / "site"
    info = site / "stranger-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[lightpool.samplers]\nbroken = stranger_module:Broken\ngone = no_such_module:Gone\n"
        "odd = stranger_odd:NoDataclass\nfine = stranger_fine:FirstOnly\n",
        encoding="utf-8",
    )
    (site / "stranger_module.py").write_text("raise RuntimeError('out of\\norder')\n", encoding="utf-8")
    (site / "stranger_odd.py").write_text("class NoDataclass: pass\n", encoding="utf-8")
    (site / "stranger_fine.py").write_text(FIRST_ONLY, encoding="utf-8")
    code = (
        "import sys\nfrom lightpool_cli.app import main\n"
        "for words in ['plugins', '--json'], ['plugins'], ['select', '--pool', 'x', '--sampler', 'broken']:\n"
        "    sys.argv = ['lightpool', *words]\n"
        "    try:\n        main()\n    except SystemExit as done:\n        print('\\0', done.code, end='\\0')\n"
    )
    done = subprocess_run(code=code, PYTHONPATH=str(site), COLUMNS="200")
    listed, _, table, code_of_table, *_ = done.out.split("\0")
    found = {plugin["name"]: plugin for plugin in json.loads(listed)}
    assert "RuntimeError: out of order" in found["broken"]["error"]
    assert found["broken"]["distribution"] == "stranger 1.2"
    assert "no_such_module" in found["gone"]["error"]
    assert found["odd"]["error"]
    assert {name for name, plugin in found.items() if not plugin["error"]} >= {
        "gist", "open-clip", "diversity", "random", "fine",
    }  # fmt: skip
    assert "out of order" in table
    assert code_of_table.strip() == "0"


def test_a_class_in_a_file_is_a_plugin_from_anywhere(lightpool, grown, sampler_file, tmp_path, monkeypatch):
    pool = tmp_path / "pool"
    monkeypatch.chdir(tmp_path)
    options = ("--sampler", "my_file.py:FirstOnly", "-s", "count=2")
    report = lightpool.append(pool, "--input", grown / "in" / "first", *options)
    assert report["samples"]["selected"] == 2
    monkeypatch.chdir("/")
    report = lightpool.append(pool, "--input", grown / "in" / "second")
    assert report["samples"]["selected"] == 2
    assert str(sampler_file) in report["sampler"]


def test_options_of_a_file_are_converted(lightpool, pool, sampler_file):
    command = ("select", "--pool", pool, "--sampler", f"{sampler_file}:FirstOnly")
    assert len(lightpool(*command, "-s", "count=3").lines) == 3
    assert "count" in lightpool.fails(*command, "-s", "count=three")


def test_a_bad_answer_blames_the_plugin_by_name(lightpool, pool, sampler_file, tree):
    before = tree(pool)
    message = lightpool.fails("append", "--pool", pool, "--process-all", "--min-distance", 0, "--sampler",
                              f"{sampler_file}:Twice")  # fmt: skip
    assert "Twice" in message
    assert without_journals(tree(pool)) == before
