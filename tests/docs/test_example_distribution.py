"""The distribution in docs/examples can be installed, passes its own tests, and works through the CLI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "lightpool-example-plugins"


def run(*command: str | Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "LIGHTPOOL_POOL"}
    done = subprocess.run(
        [str(part) for part in command], env=environment | variables, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installers(source: Path, target: Path) -> list[str | Path]:
    if uv := shutil.which("uv"):
        start: list[str | Path] = [uv, "pip", "install", "--python", sys.executable]
    else:
        start = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    return [*start, "--no-deps", "--no-build-isolation", "--target", target, source]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution installed; built from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("example")
    source = folder / "source"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    run(*installers(source, folder / "target"))
    return folder / "target"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("night", "day"):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def lightpool(installed: Path, *arguments: str | Path) -> str:
    code = "from lightpool_cli.app import main; main()"
    return run(sys.executable, "-c", code, *arguments, PYTHONPATH=str(installed))


def test_both_plugins_are_listed_with_their_options(installed: Path) -> None:
    listed = {plugin["name"]: plugin for plugin in json.loads(lightpool(installed, "plugins", "--json"))}
    assert listed["mean-colour"]["distribution"].replace("_", "-") == "lightpool-example-plugins 1.0"
    assert [option["name"] for option in listed["mean-colour"]["options"]] == ["grid"]
    assert [option["default"] for option in listed["at-most"]["options"]] == [10]


def test_an_append_works_with_both(installed: Path, pictures: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    plugins = ("--embedder", "mean-colour", "-e", "grid=4", "--sampler", "at-most", "-s", "k=2")
    first = json.loads(lightpool(installed, "append", "--pool", pool, "--input", pictures, *plugins, "--json"))
    assert first["samples"] == {"decoded": 12, "duplicates": 0, "candidates": 12, "selected": 4, "rejected": 8}
    again = json.loads(lightpool(installed, "append", "--pool", pool, "--json"))
    assert again["sources"]["new"] == 0
    assert again["version"] == 1


def test_its_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    quietly = ("-q", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", tmp_path)
    run(sys.executable, "-m", "pytest", *quietly, EXAMPLE / "tests", PYTHONPATH=str(installed))
