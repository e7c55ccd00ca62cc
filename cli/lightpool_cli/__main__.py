"""The `lightpool` command from its first moment: one that is stopped while it is being imported says so as well."""

from __future__ import annotations

import signal
import sys

from lightpool_cli import STOPPED


def main() -> None:
    """Import the command line and run it."""
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in heard:
            signal.signal(number, _interrupt)
        from lightpool_cli.app import main as run
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"lightpool: {STOPPED}\n")
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_DFL)
    run()


def _interrupt(number: int, *_: object) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    main()
