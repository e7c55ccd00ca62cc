from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from lightpool_cli.app import app

GOLDEN = Path(__file__).parents[1] / "golden"
HEAVY = ("torch", "open_clip", "timm", "hnswlib", "pandas", "pyarrow", "deltalake", "numpy", "PIL")


def commands():
    """Every command with the words that lead to it."""

    def walk(command, path):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))

    return list(walk(typer.main.get_command(app), ()))


COMMANDS = [pytest.param(path, command, id=" ".join(path) or "lightpool") for path, command in commands()]


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_every_command_and_option_has_help(path, command):
    assert command.help
    assert len(command.help.split()) > 3
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name} has no help"


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_help_is_shown_with_an_example(lightpool, path, command):
    shown = lightpool(*path, "--help").out
    assert shown.startswith("Usage: lightpool")
    if path and not hasattr(command, "commands"):
        assert "Example" in shown
        assert f"lightpool {' '.join(path)}" in shown.partition("Example")[2]
    assert lightpool(*path, "-h").out == shown


def test_the_main_help_is_the_golden_one(lightpool, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert lightpool("--help").out == (GOLDEN / "help.txt").read_text(encoding="utf-8")


def test_nothing_at_all_shows_the_help(lightpool):
    done = lightpool.attempt()
    assert done.code == 2
    assert "Commands:" in done.out + done.err


def test_version(lightpool):
    assert lightpool("--version").out == f"lightpool {version('lightpool')}\n"


def imported_by(subprocess_run, *arguments, **environment):
    code = (
        "import sys\nfrom lightpool_cli.app import main\nsys.argv[0] = 'lightpool'\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('imported:', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess_run(*arguments, code=code, **environment)
    return done.out, done.err.rpartition("imported:")[2].split()


@pytest.mark.parametrize("arguments", [["--help"], ["append", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(subprocess_run, arguments):
    shown, heavy = imported_by(subprocess_run, *arguments)
    assert shown
    assert heavy == []


def completions(subprocess_run, line):
    """What bash would offer after `line`, and what was imported for it."""
    typed = line.split(" ")
    environment = {
        "_LIGHTPOOL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(typed) - 1),
    }  # fmt: skip
    shown, heavy = imported_by(subprocess_run, **environment)
    return shown.split(), heavy


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("lightpool ", {"init", "append", "select", "history", "info", "plugins", "demo"}),
        ("lightpool history ", {"list", "show", "diff", "restore"}),
        ("lightpool append --pool x --embedder ", {"gist", "open-clip", "timm"}),
        ("lightpool append --pool x --sampler div", {"diversity"}),
    ],
)
def test_completion_offers_names_and_imports_nothing_heavy(subprocess_run, line, offers):
    offered, heavy = completions(subprocess_run, line)
    assert offers <= set(offered)
    assert heavy == []


def test_completion_offers_version_numbers(subprocess_run, pool):
    offered, _ = completions(subprocess_run, f"lightpool history restore --pool {pool} ")
    assert {"0", "1", "2"} <= set(offered)


def test_the_console_script_runs(subprocess_run):
    script = Path(sys.executable).with_name("lightpool")
    if not shutil.which(str(script)):
        pytest.skip("the console script is not beside this Python")
    done = subprocess_run("--version")
    assert (done.code, done.err) == (0, "")
