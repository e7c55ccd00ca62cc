"""The `lightpool` command from its first moment: one that is stopped while it is being imported says so as well."""

from __future__ import annotations

import sys

from lightpool_cli import STOPPED


def main() -> None:
    """Import the command line and run it."""
    try:
        from lightpool_cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write(f"lightpool: {STOPPED}\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
