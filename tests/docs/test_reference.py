"""docs/reference/cli.md is what the commands say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_of_the_command_line_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "reference" / "generate.py", "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
