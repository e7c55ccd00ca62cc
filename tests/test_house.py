"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [ROOT / "lightpool_core", ROOT / "cli" / "lightpool_cli", ROOT / "plugins" / "lightpool_plugins"]
MODULES = [path for folder in CODE for path in sorted(folder.rglob("*.py"))]
SILENT = [path for path in MODULES if "lightpool_cli" not in path.parts]
LONGEST_MODULE, LONGEST_FUNCTION = 300, 40


def modules(paths):
    return pytest.mark.parametrize("path", [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in paths])


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@modules(MODULES)
def test_modules_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    if "lightpool_cli" in path.parts:
        return  # a command's options are parameters, and its docstring is its help
    long = [f.name for f in functions(parsed(path)) if f.end_lineno - f.lineno + 1 > LONGEST_FUNCTION]
    assert long == []


@modules(SILENT)
def test_the_core_and_the_plugins_never_print(path):
    calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@modules(SILENT)
def test_what_is_public_has_a_docstring(path):
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module"
    bare = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            bare += [] if ast.get_docstring(node) else [node.name]
    assert bare == []


@modules(MODULES)
def test_nothing_is_left_for_later(path):
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8"))


def test_no_file_names_a_place_of_one_machine():
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    # Written in pieces, so that this file does not name them either.
    places = re.compile("|".join(["/wo" + "rk/", "/tm" + "p/", "/ho" + r"me/\w", "/Use" + r"rs/\w"]))
    found = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        found += [f"{name}:{n}" for n, line in enumerate(text.splitlines(), 1) if places.search(line)]
    assert found == []
