"""The documentation mentions everything, its snippets run, and its links lead somewhere."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
import pytest
import typer.main
from PIL import Image

from lightpool_cli.app import app
from lightpool_core import errors

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [page for page in PAGES if "reference" not in page.parts and "changelog" not in page.parts]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in WRITTEN)
REFERENCE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
HELP = {"-h", "--help", "--show-completion"}


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for sub, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {sub}")


COMMANDS = dict(commands(typer.main.get_command(app), "lightpool"))
ERRORS = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown_in_use(name: str) -> None:
    assert re.search(rf"{name}(?![\w-])", TEXT)
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_mentioned_in_one_of_its_spellings(name: str) -> None:
    spellings = [{*option.opts, *option.secondary_opts} for option in COMMANDS[name].params if option.opts[0][0] == "-"]
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", TEXT))
    assert [options for options in spellings if not options & (words | HELP)] == []


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_mentioned(name: str) -> None:
    assert re.search(rf"\b{name}\b", TEXT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not heading or heading in headings(target), f"{page.name}: {link}"


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with `videos` and `photos`, as the snippets expect it."""
    (tmp_path / "videos").mkdir()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-f", "lavfi"]
    source = ["-i", "testsrc=size=96x64:rate=5", "-t", "3", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, *source, tmp_path / "videos" / "street.mp4"], check=True)
    rng = np.random.default_rng(0)
    for label in ("night", "day"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path


def lay_out(page: Path, folder: Path) -> Path:
    """Python blocks that begin with `# NAME.py` as such files; all others, one after the other, as one script."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    script = []
    for block in blocks:
        if named := re.match(r"# (\w+\.py)\n", block):
            (folder / named[1]).write_text(block, encoding="utf-8")
        else:
            script.append(block)
    (folder / "snippets.py").write_text("\n".join(script), encoding="utf-8")
    return folder / "snippets.py"


@pytest.mark.parametrize("name", ["README.md", "docs/python-api.md", "docs/plugins.md"])
def test_python_snippets_run(name: str, workplace: Path) -> None:
    run(workplace, sys.executable, lay_out(ROOT / name, workplace))


def test_the_commands_of_the_plugin_tutorial_run(workplace: Path) -> None:
    page = ROOT / "docs" / "plugins.md"
    lay_out(page, workplace)
    lines = re.findall(r"^\$ lightpool (append .+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        run(workplace, sys.executable, "-c", "from lightpool_cli.app import main; main()", *line.split())


def run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
