"""Ask PyPI by pip-audit whether a pinned dependency (requirements-dev.txt) has a known vulnerability.

Where PyPI's JSON cannot be reached, says so and passes: a build without a network is no insecure one. Accepted
vulnerabilities are argued in docs/security-findings.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = "https://pypi.org/pypi/pip/25.0/json"
"""Of any version: what pip-audit asks for."""
ACCEPTED = ROOT / "docs" / "security-findings.md"


def main() -> int:
    """pip-audit's own exit code: 1 where it found something."""
    if (reason := _unreachable()) is not None:
        print(f"pip-audit: NOT DONE, {SERVICE} does not answer ({reason})")
        return 0
    accepted = re.findall(r"(?m)^\| `((?:PYSEC|CVE|GHSA)-[\w-]+)` \| \S", ACCEPTED.read_text(encoding="utf-8"))
    ignored = [f"--ignore-vuln={name}" for name in accepted]
    options = ["--requirement=requirements-dev.txt", "--disable-pip", "--progress-spinner=off", *ignored]
    return subprocess.run([sys.executable, "-m", "pip_audit", *options], cwd=ROOT, check=False).returncode


def _unreachable() -> str | None:
    try:
        with urllib.request.urlopen(SERVICE, timeout=10):
            return None
    except (OSError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
