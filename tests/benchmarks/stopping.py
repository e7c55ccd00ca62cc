"""How soon is a command gone that is stopped, with all that it started?

    python tests/benchmarks/stopping.py [--rounds 5]

Starts `append`, `select` and `init`, lets each come to a point where it stays (an import, a file whose decoding hangs,
a batch, a selection, or a step inside a library that no signal interrupts), sends a signal, and waits until neither
the command nor a process of its is there. Prints the seconds: the median and the longest. Exits with 1 where it took
more than two.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.lightpool_cli.test_signals import APPEND, INIT, SELECT, furnished, stopped_at

_STAGES = [
    ("import", INIT, False),
    ("import", APPEND, False),
    ("decode", APPEND, False),
    ("embed", APPEND, False),
    ("select", APPEND, False),
    ("decode", SELECT, False),
    ("select", SELECT, False),
    ("embed", APPEND, True),
    ("select", SELECT, True),
]
_PROMISED = 2.0
"""Seconds."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    longest = 0.0
    print(f"{'command':8} {'at':8} {'uninterruptible':16} {'signal':8} {'median':>7} {'longest':>8}")
    with tempfile.TemporaryDirectory() as folder:
        made = furnished(Path(folder))
        for where, command, deep in _STAGES:
            for number in (signal.SIGINT, signal.SIGTERM):
                taken = [_once(made, where, command, deep, number) for _ in range(rounds)]
                longest = max(longest, *taken)
                what = f"{command[0]:8} {where:8} {'yes' if deep else '':16} {number.name:8}"
                print(f"{what} {statistics.median(taken):7.2f} {max(taken):8.2f}", flush=True)
    print(f"longest: {longest:.2f} s")
    return int(longest > _PROMISED)


def _once(made: Path, where: str, command: tuple[str, ...], deep: bool, number: signal.Signals) -> float:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(shutil.copytree(made, Path(folder) / "place"))
        return stopped_at(where, place, *command, number=number, deep=deep)


if __name__ == "__main__":
    sys.exit(main())
