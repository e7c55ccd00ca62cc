from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.lightpool_cli.test_append import without_journals

# Each: what a person wrote, and what the answer has to mention. {…} are places made by `place`.
WRONG_OPTIONS = {
    "a misspelt embedder": ("append --pool {new} --input {in} --embedder gits", "gist"),
    "a misspelt sampler": ("append --pool {pool} --sampler diversty", "diversity"),
    "an unknown embedder": ("append --pool {pool} --embedder zzz", "zzz"),
    "an unknown option of the embedder": ("append --pool {new} --input {in} --embedder gist -e size=3", "size"),
    "an unknown option of the sampler": ("append --pool {pool} -s strength=3", "strength"),
    "an option without a value": ("append --pool {pool} -s strength", "key=value"),
    "an option of the wrong type": ("append --pool {pool} --sampler {py}:Typed -s depth=deep", "depth"),
    "a plugin file that is missing": ("append --pool {pool} --sampler {missing}.py:Mine", "does not exist"),
    "a plugin file without the class": ("append --pool {pool} --sampler {py}:Other", "Other"),
    "a plugin file that is broken": ("append --pool {pool} --sampler {brokenpy}:Mine", "SyntaxError"),
    "a plugin that is no dataclass": ("append --pool {pool} --sampler {py}:Plain", "dataclass"),
    "n-samples that is no number": ("append --pool {pool} --n-samples abc", "abc"),
    "negative n-samples": ("append --pool {pool} --n-samples -5", "-5"),
    "n-samples between count and fraction": ("append --pool {pool} --n-samples 1.5", "1.5"),
    "n-samples nan": ("append --pool {pool} --n-samples nan", "nan"),
    "min-distance that is no number": ("append --pool {pool} --min-distance abc", "abc"),
    "a negative min-distance": ("append --pool {pool} --min-distance -0.3", "-0.3"),
    "min-distance above 2": ("append --pool {pool} --min-distance 3", "from 0 to 2"),
    "min-distance nan": ("append --pool {pool} --min-distance nan", "nan"),
    "fps 0": ("append --pool {pool} --fps 0", "fps"),
    "negative fps": ("append --pool {pool} --fps -1", "fps"),
    "fps that is no number": ("append --pool {pool} --fps abc", "all"),
    "fps nan": ("append --pool {pool} --fps nan", "fps"),
    "a seed that is no number": ("append --pool {pool} --seed x", "seed"),
    "a negative seed": ("append --pool {pool} --seed -3", "seed"),
    "init with a wrong option": ("init --pool {new} --embedder gist --min-distance 3", "from 0 to 2"),
    "init with an unknown sampler": ("init --pool {new} --embedder gist --sampler zzz", "zzz"),
    "init with a negative seed": ("init --pool {new} --embedder gist --seed -3", "seed"),
    "select with a wrong condition": ("select --pool {pool} --n-samples -5", "-5"),
    "select with a negative seed": ("select --pool {pool} --sampler random --seed -3", "seed"),
}
WRONG_PLACES = {
    "append to a file": ("append --pool {file} --input {in} --embedder gist", "no datapool"),
    "append to another folder": ("append --pool {in} --input {in} --embedder gist", "no datapool"),
    "append without inputs": ("append --pool {new} --embedder gist", "--input"),
    "append to a new pool from a missing input": ("append --pool {new} --input {missing} --embedder gist", "missing"),
    "info on a missing pool": ("info --pool {missing}", "does not exist"),
    "info on a folder without a pool": ("info --pool {in}", "holds no datapool"),
    "info on a file": ("info --pool {file}", "holds no datapool"),
    "history of a missing pool": ("history list --pool {missing}", "does not exist"),
    "select from a missing pool": ("select --pool {missing}", "does not exist"),
    "select from nothing": ("select", "--pool"),
    "init on a pool": ("init --pool {pool} --embedder gist", "already"),
    "init on a folder that is not empty": ("init --pool {in} --embedder gist", "no datapool"),
    "init on a file": ("init --pool {file} --embedder gist", "no datapool"),
    "a missing input": ("append --pool {pool} --input {missing}", "does not exist"),
    "an empty input": ("append --pool {pool} --input {empty}", "no images or videos"),
    "an input of another kind": ("append --pool {pool} --input {py}", "no images or videos"),
    "an empty list": ("append --pool {pool} --filenames {file}", "empty"),
    "a missing list": ("append --pool {pool} --filenames {missing}", "cannot be read"),
    "a list of something missing": ("append --pool {pool} --filenames {py}", "listed in"),
    "an output that is a file": ("append --pool {pool} --process-all --min-distance 0 --output {file}/x", "written"),
    "version 99": ("history show 99 --pool {pool}", "keeps 0, 1, 2"),
    "why an unknown file": ("history show 1 --pool {pool} --why nothing.png", "nothing.png"),
    "why and all filenames": ("history show 1 --pool {pool} --why a.png --filenames", "one of them"),
    "why at version 99": ("history show 99 --pool {pool} --why a.png", "keeps 0, 1, 2"),
    "diff with version 99": ("history diff 1 99 --pool {pool}", "99"),
    "restore version 99": ("history restore 99 --pool {pool}", "99"),
    "restore version -1": ("history restore --pool {pool} -- -1", "-1"),
    "restore abc": ("history restore abc --pool {pool}", "whole number"),
    "a missing embeddings file": ("select --embeddings {missing}.csv", "does not exist"),
    "an embeddings file of another kind": ("select --embeddings {py}", ".py"),
    "an empty CSV": ("select --embeddings {empty.csv}", "empty.csv"),
    "a CSV without embeddings": ("select --embeddings {plain.csv}", "embedding_0"),
    "a CSV without labels": ("select --embeddings {unlabelled.csv}", "labels"),
    "a CSV with a gap": ("select --embeddings {gap.csv}", "in this order"),
    "a CSV with words": ("select --embeddings {words.csv}", "words.csv"),
    "an empty npy": ("select --embeddings {empty.npy}", "empty.npy"),
    "a broken npy": ("select --embeddings {broken.npy}", "broken.npy"),
    "an npy of another shape": ("select --embeddings {line.npy}", "(N, D)"),
    "a broken parquet": ("select --embeddings {broken.parquet}", "broken.parquet"),
}
BROKEN_SETTINGS = {
    "syntax": ("seed = 0", "seed = ", "datapool.toml"),
    "an unknown key": ("seed = 0", "sead = 0", "sead"),
    "a number that is a word": ("seed = 0", 'seed = "zero"', "seed"),
    "a truth that is a number": ("keep_history = true", "keep_history = 1", "keep_history"),
    "a distance out of range": ("min_distance = 0.1", "min_distance = 3.0", "from 0 to 2"),
    "inputs that are no list": ("inputs = [", 'seed = 1\ninputs = "x" #[', "datapool.toml"),
    "inputs that are no paths": ("inputs = [", "inputs = [1, ", "inputs"),
    "an embedder without a name": ('name = "gist"', "", "name"),
    "a sampler that is not there": ('name = "diversity"', 'name = "diversty"', "diversity"),
    "a negative seed": ("seed = 0", "seed = -1", "seed"),
}
USAGE = {
    "an unknown flag": "append --pool {pool} --frobnicate",
    "an unknown flag of init": "init --pool {new} --frobnicate",
    "no pool": "append",
    "no pool for init": "init",
    "no pool for history": "history list",
    "an unknown command": "grow --pool {pool}",
    "an unknown command of history": "history forget --pool {pool}",
    "a version that is not said": "history restore --pool {pool}",
    "an option without its value": "append --pool",
    "an argument too many": "info --pool {pool} more",
}


@pytest.fixture
def place(pool, grown, tmp_path):
    """Paths by name, for the commands above."""
    paths = {
        name: tmp_path / name
        for name in (
            "new", "missing", "file", "empty", "py", "brokenpy", "empty.csv", "plain.csv", "unlabelled.csv", "gap.csv",
            "words.csv", "empty.npy", "broken.npy", "line.npy", "broken.parquet",
        )
    }  # fmt: skip
    paths |= {"pool": pool, "in": grown / "in", "py": tmp_path / "mine.py", "brokenpy": tmp_path / "broken.py"}
    paths["py"].write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Typed:\n    depth: int = 1\n"
        "class Plain:\n    pass\n",
        encoding="utf-8",
    )
    paths["brokenpy"].write_text("def", encoding="utf-8")
    paths["file"].touch()
    paths["empty"].mkdir()
    paths["empty.csv"].touch()
    paths["plain.csv"].write_text("filenames,labels\na,0\n", encoding="utf-8")
    paths["unlabelled.csv"].write_text("filenames,embedding_0\na,1\n", encoding="utf-8")
    paths["gap.csv"].write_text("filenames,embedding_0,embedding_2,labels\na,1,1,0\n", encoding="utf-8")
    paths["words.csv"].write_text("filenames,embedding_0,embedding_1,labels\na,one,two,0\n", encoding="utf-8")
    paths["empty.npy"].touch()
    paths["broken.npy"].write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    np.save(paths["line.npy"], np.ones(3))
    paths["broken.parquet"].write_bytes(b"PAR1 no more")
    return paths


def words(command: str, place: dict[str, Path]) -> list[str]:
    return [word.replace("{", "\0").partition("\0")[0] + filled(word, place) for word in command.split()]


def filled(word: str, place: dict[str, Path]) -> str:
    """What stands for the braces in `word`, and what follows them."""
    _, brace, rest = word.partition("{")
    name, _, after = rest.partition("}")
    return f"{place[name]}{after}" if brace else ""


def cases(names, table):
    return pytest.mark.parametrize(
        names, [pytest.param(*case, id=key.replace(" ", "-")) for key, case in table.items()]
    )


@cases(("command", "mentions"), WRONG_OPTIONS | WRONG_PLACES)
def test_bad_input_is_one_line_and_changes_nothing(lightpool, place, tmp_path, tree, command, mentions):
    before = tree(tmp_path)
    assert mentions in lightpool.fails(*words(command, place))
    after = tree(tmp_path)
    assert {path: digest for path, digest in after.items() if "__pycache__" not in path} == before


@cases(("old", "new", "mentions"), BROKEN_SETTINGS)
def test_broken_settings_are_one_line_naming_the_place(lightpool, pool, tree, old, new, mentions):
    path = pool / "datapool.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    before = tree(pool)
    assert mentions in lightpool.fails("append", "--pool", pool)
    assert tree(pool) == before


@pytest.mark.parametrize("table", ["history", "sources"])
@pytest.mark.parametrize("damage", ["no log", "no data", "half a log", "gone"])
def test_a_damaged_table_is_one_line(lightpool, pool, tree, table, damage):
    log = pool / table / "_delta_log"
    if damage == "no log":
        shutil.rmtree(log)
    elif damage == "gone":
        shutil.rmtree(pool / table)
    elif damage == "no data":
        for file in (pool / table).rglob("*.parquet"):
            file.unlink()
    else:
        for file in log.glob("*.json"):
            file.write_bytes(file.read_bytes()[:40])
    before = tree(pool)
    assert table in lightpool.fails("append", "--pool", pool, "--process-all")
    assert tree(pool) == before


def test_another_embedder_is_refused_with_the_reason(lightpool, pool, tree, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\nfrom lightpool_plugins.embedders.gist import Gist\n"
        "@dataclass(frozen=True)\nclass Mine(Gist):\n    fingerprint = 'mine-1'\n",
        encoding="utf-8",
    )
    before = tree(pool)
    message = lightpool.fails("append", "--pool", pool, "--embedder", f"{mine}:Mine")
    assert "mine.py:Mine" in message
    assert "was embedded by gist" in message
    assert tree(pool) == before


def test_a_failing_output_leaves_no_new_pool_behind(lightpool, grown, tmp_path):
    (tmp_path / "file").touch()
    command = ("append", "--pool", tmp_path / "new", "--input", grown / "in" / "first", "--embedder", "gist")
    lightpool.fails(*command, "--output", tmp_path / "file" / "x")
    assert not (tmp_path / "new").exists()


def test_a_pool_in_use_is_refused_at_once_where_it_is_not_to_be_waited_for(lightpool, pool):
    from lightpool_core.pool.lock import writing

    with writing(pool):
        message = lightpool.fails("append", "--pool", pool, "--no-wait")
        assert "is being written to by process" in message
        assert "written to" in lightpool.fails("history", "restore", 1, "--pool", pool, "--no-wait")
    lightpool("append", "--pool", pool, "--no-wait")


@pytest.mark.parametrize("command", [pytest.param(case, id=name.replace(" ", "-")) for name, case in USAGE.items()])
def test_wrong_usage_is_one_line_and_exit_2(lightpool, place, tmp_path, tree, command):
    before = tree(tmp_path)
    assert "--help" in lightpool.fails(*words(command, place), code=2)
    assert tree(tmp_path) == before


def test_ctrl_c_is_one_line_and_exit_130(lightpool, pool, tree, monkeypatch):
    def pressed(*args, **kwargs):
        raise KeyboardInterrupt

    before = tree(pool)
    monkeypatch.setattr("lightpool_core.assembly.embed_sources", pressed)
    assert "stopped" in lightpool.fails("append", "--pool", pool, "--process-all", code=130)
    assert tree(pool) == before


def test_ctrl_c_while_it_selects_leaves_the_pool_as_it_was(lightpool, pool, tree, monkeypatch, draw, tmp_path):
    def pressed(*args, **kwargs):
        raise KeyboardInterrupt

    before = tree(pool)
    monkeypatch.setattr("lightpool_core.selection.picks.Picks.add", pressed)
    new = ("--input", draw(tmp_path / "new" / "other.png", 77).parent, "--min-distance", 0)
    assert "stopped" in lightpool.fails("append", "--pool", pool, *new, code=130)
    assert "stopped" in lightpool.fails("select", "--pool", pool, code=130)
    assert without_journals(tree(pool)) == before
    monkeypatch.undo()
    assert lightpool.append(pool, *new)["samples"]["selected"] == 1


def test_a_device_that_is_not_there_is_refused_before_any_work(lightpool, pool, tree, monkeypatch):
    before = tree(pool)
    monkeypatch.setattr("lightpool_core.assembly.embed_sources", None)
    assert "there is no device 'abacus'" in lightpool.fails("append", "--pool", pool, "--device", "abacus")
    assert "there is no device 'abacus'" in lightpool.fails("select", "--pool", pool, "--device", "abacus")
    assert tree(pool) == before


def test_a_bug_keeps_its_traceback(lightpool, pool, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("lightpool_core.assembly.embed_sources", broken)
    with pytest.raises(ZeroDivisionError):
        lightpool.attempt("append", "--pool", pool, "--process-all")


def test_a_process_answers_the_same(subprocess_run, tmp_path):
    done = subprocess_run("info", "--pool", tmp_path / "missing")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "Traceback" not in done.err
