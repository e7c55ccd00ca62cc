"""Compare what bandit finds in our code with the accepted findings of docs/security-findings.md, one by one.

Fails for a finding that nobody argued for, and for an argument whose finding is gone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("lightpool_core", "cli", "plugins")
ACCEPTED = ROOT / "docs" / "security-findings.md"


def main() -> int:
    """0 where found and accepted are the same."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "json", *PACKAGES]
    answer = json.loads(subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE).stdout)
    found = {(result["filename"], result["test_id"]): result for result in answer["results"]}
    accepted = set(re.findall(r"(?m)^\| `([\w/.]+)` \| (B\d+) \| \S", ACCEPTED.read_text(encoding="utf-8")))
    for key in sorted(found.keys() - accepted):
        result = found[key]
        print(f"{key[0]}:{result['line_number']}: {key[1]} {result['issue_text']}")
        print(f"  mend it, or argue for it in {ACCEPTED.relative_to(ROOT)}")
    for file, test in sorted(accepted - found.keys()):
        print(f"{file}: {test} is found no more; take its line out of {ACCEPTED.relative_to(ROOT)}")
    for error in answer["errors"]:
        print(f"{error['filename']}: {error['reason']}")
    print(f"bandit: {len(found)} kinds of findings, {len(found.keys() & accepted)} of them accepted")
    return int(found.keys() != accepted or bool(answer["errors"]))


if __name__ == "__main__":
    sys.exit(main())
