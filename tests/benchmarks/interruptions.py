"""Is a run that is killed again and again the same as one that is left alone?

    python tests/benchmarks/interruptions.py DATA [--kills 20] [--seed 0]

Appends the photos and videos in DATA to a new datapool, kills the command with -9 while it embeds, gives the same
command again, and so on; then lets it come to its end. Prints how many pictures were embedded more than once, and
whether the CSV is byte for byte that of a run that nobody killed. Exits with 1 where it is not, or where kills
cost more than one batch each, on average.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_MOST_BATCHES, _MOST_SECONDS = 3, 0.08
"""That a run is left at work."""
_LOOK = 0.002
_PLUGIN = '''
import os
from dataclasses import dataclass

from lightpool_plugins.embedders.gist import Gist


@dataclass(frozen=True)
class Counted(Gist):
    """Gist that writes down how many pictures it embeds."""

    log: str = ""
    batch_size = 32

    def embed(self, batch):
        import torch  # takes seconds, in which nothing is embedded

        with open(self.log, "a") as log:
            log.write(f"{len(batch)}\\n")
        return super().embed(batch)
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "counted.py").write_text(_PLUGIN)
        _run(place, "alone", given.data)
        n_pictures, batch = sum(_log(place, "alone")), max(_log(place, "alone"))
        print(f"left alone: {n_pictures} pictures, {batch} in a batch", flush=True)
        for number in range(given.kills):
            # At work, and after it got on by a share.
            kill = (rng.randint(1, _MOST_BATCHES), rng.uniform(0, _MOST_SECONDS))
            ended = _run(place, "killed", given.data, kill)
            how = "came to its end" if ended else f"killed {kill[1]:.3f} s after it began its batch {kill[0]}"
            print(f"{number + 1:>3}. {how}: {sum(_log(place, 'killed'))} embedded so far", flush=True)
        _run(place, "killed", given.data)
        again = sum(_log(place, "killed")) - n_pictures
        csv = [(place / name / "datapool_latest.csv").read_bytes() for name in ("alone", "killed")]
        same = csv[0] == csv[1]
        print(f"embedded again: {again} pictures, {again / given.kills:.1f} for each kill, a batch has {batch}")
        print(f"CSV byte for byte the same: {same} ({len(csv[0]):,} bytes)")
        return 0 if same and again <= given.kills * batch else 1


def _run(place: Path, name: str, data: Path, kill: tuple[int, float] | None = None) -> bool:
    """The command, killed so many seconds after it began that batch, unless it ended before; True where it did."""
    command = [sys.executable, "-c", "from lightpool_cli.app import main; main()", "append", "--quiet"]
    command += ["--pool", str(place / name), "--embedder", f"{place / 'counted.py'}:Counted"]
    command += ["-e", f"log={place / name}.log", "--fps", "5"]
    command += ["--input", str(data / "images"), "--input", str(data / "videos")]
    if (place / name).exists():  # its settings are the same
        command = [*command[:4], "--quiet", "--pool", str(place / name)]
    known = len(_log(place, name))
    process = subprocess.Popen(command, env=os.environ)
    while kill and process.poll() is None and len(_log(place, name)) < known + kill[0]:
        time.sleep(_LOOK)
    if kill and process.poll() is None:
        time.sleep(kill[1])
        process.send_signal(signal.SIGKILL)
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"the append failed with code {code}")
    return code == 0


def _log(place: Path, name: str) -> list[int]:
    log = place / f"{name}.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


if __name__ == "__main__":
    sys.exit(main())
