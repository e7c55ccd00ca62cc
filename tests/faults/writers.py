"""Processes that write to, or read from, a pool that others write to as well, and tell what they did as JSON lines.

`python writers.py` reads requests as JSON lines, the arguments of `work` or the number of a process to wait for, and
answers each with a line: the number of the process that it forked, or its wait status. So they all begin at once;
importing everything takes seconds.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: F401  # what every append imports, and nobody twice

import lightpool_core as lightpool
from lightpool_core.appending import append
from lightpool_core.selecting import select
from tests import touchy
from tests.touchy import image, scene

FOLDERS = 1000
"""Pictures of one appender at most; their seeds lie so far apart."""


def overrides(inbox: Path, *, keep_history: bool = True) -> lightpool.Overrides:
    """An append that takes everything."""
    embedder = f"{touchy.__file__}:Touchy"
    return lightpool.Overrides(inputs=(inbox,), embedder=embedder, min_distance=0.0, keep_history=keep_history)


def waiting(text: str) -> None:
    """Writers that wait know for whom, or that it has only just begun."""
    assert " since " in text or "another process" in text, text


def appended(pool: Path, inbox: Path, seed: int, *, keep_history: bool = True) -> dict[str, Any]:
    """Append one new picture."""
    image(inbox / f"{seed:06}.png", scene(seed))
    wanted = overrides(inbox, keep_history=keep_history)
    report = append(pool, wanted, lightpool.Mode(wait=waiting))
    return {"run": report.run, "version": report.version, "selected": report.samples.selected}


def restored(pool: Path, dice: random.Random) -> dict[str, Any]:
    """Go back to any version."""
    old = dice.choice(lightpool.Datapool.open(pool).history()).number
    made = lightpool.Datapool.open(pool).restore(old, waiting)
    return {"old": old, "version": made.version.number}


def read(pool: Path, newest: int) -> int:
    """Look at everything; the version that was the newest, which is never older than `newest`."""
    seen = lightpool.Datapool.open(pool)
    number, size = seen.version.number, len(seen)
    assert number >= newest
    sizes = {version.number: version.samples for version in seen.history()}
    assert list(sizes) == list(range(min(sizes), max(sizes) + 1))
    assert max(sizes) >= number
    assert len(set(seen.filenames)) == size
    assert np.allclose(np.linalg.norm(seen.embeddings, axis=1), 1)
    assert [ref.filename for ref in seen.refs] == seen.filenames
    assert len(seen.ledger) >= 0
    if size:
        assert seen.why(seen.filenames[-1]).decision == "selected"
        picks = select(pool, overrides=lightpool.Overrides(n_samples=3))
        assert len(picks.filenames) == min(3, picks.candidates)
    with (pool / "datapool_latest.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert {len(row) for row in rows} <= {len(header)}
    later = {version.number: version.samples for version in lightpool.Datapool.open(pool).history()}
    forgotten = min(later) > number  # and perhaps what the CSV showed
    assert len(rows) in (sizes | later).values() or forgotten
    return number


def work(kind: str, pool: str, inbox: str, rounds: int, seed: int) -> None:
    """Work, and tell beside `inbox`, which is nobody else's.

    One that is to `append` puts a new picture into the folder `inbox` and appends it, to `forget` is the same and keeps
    no history, to `restore` goes back to some version, and to `read` looks at all that a reader can.
    """
    place, dice, newest = Path(pool), random.Random(seed), 0
    with Path(f"{inbox}.out").open("w") as out:
        for number in range(rounds):
            if kind in ("append", "forget"):
                told = appended(place, Path(inbox), seed * FOLDERS + number, keep_history=kind == "append")
            elif kind == "restore":
                told = restored(place, dice)
            else:
                newest = read(place, newest)
                told = {"version": newest}
            print(json.dumps({"kind": kind, **told}), flush=True, file=out)


def _forked(arguments: list[Any]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with Path(f"{arguments[2]}.err").open("w") as errors:
            os.dup2(errors.fileno(), 2)
        work(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        print(os.waitpid(request, 0)[1] if isinstance(request, int) else _forked(request), flush=True)
