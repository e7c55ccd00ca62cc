"""Writes cli.md beside this file, from the commands themselves: python docs/reference/generate.py [--check]"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
HEAD = "<!-- Made by docs/reference/generate.py: do not edit. -->\n\n"


def reference() -> str:
    """What Typer says of the commands, with examples set as code and no summary cut short."""
    command = [sys.executable, "-m", "typer", "lightpool_cli.app", "utils", "docs", "--name", "lightpool"]
    text = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    text = re.sub(r"\n+(Examples?):\n((?:  .+\n)+)", _fenced, text)
    return HEAD + _with_whole_summaries(text).strip() + "\n"


def _fenced(match: re.Match[str]) -> str:
    lines = (f"$ {line.strip()}" for line in match[2].splitlines())
    return "\n\n".join(["", f"**{match[1]}**:", "```console\n" + "\n".join(lines) + "\n```\n"])


def _with_whole_summaries(text: str) -> str:
    """The lists of commands with the first line of each command's own section."""
    first_lines = dict(re.findall(r"^#+ `lightpool (.+)`\n\n(.+)$", text, re.MULTILINE))
    group = ""
    lines = []
    for line in text.splitlines():
        if title := re.match(r"#+ `lightpool ?(.*)`$", line):
            group = f"{title[1]} ".lstrip()
        entry = re.match(r"\* `([a-z-]+)`: ", line)
        whole = first_lines.get(group + entry[1]) if entry else None
        lines.append(f"{entry[0]}{whole}" if entry and whole else line)
    return "\n".join(lines)


if __name__ == "__main__":
    made = reference()
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == made else f"{PAGE} is stale: python {__file__}")
    PAGE.write_text(made, encoding="utf-8")
