"""`lightpool check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightpool_cli import console, options

_Repair = Annotated[
    bool,
    typer.Option(
        "--repair", help="Complete what was cut off, and make views and caches again; history is never touched."
    ),
]


def check(
    pool: options.Pool, repair: _Repair = False, no_wait: options.NoWait = False, json: options.Json = False
) -> None:
    """Check that a datapool is whole; repair what can be made again.

    Looks at everything: the history, the ledger, and all that is made from them. Exit 0 where it is whole,
    warnings aside, and 1 where something is damaged. Without --repair nothing is written.

    \b
    Examples:
      lightpool check --pool my_datapool
      lightpool check --pool my_datapool --repair
    """
    from lightpool_core.pool.checking import check as findings_of
    from lightpool_core.pool.mending import mend

    wait = None if no_wait else console.waiting()
    mended, left = mend(pool, wait) if repair else ([], findings_of(pool))
    n_damaged = sum(finding.severity == "damaged" for finding in left)
    if json:
        found = {"repaired": mended, "findings": left}
        console.json_result({name: [one.to_dict() for one in these] for name, these in found.items()})
    else:
        console.lines([*(f"repaired: {one.path}: {one.what}" for one in mended), *left])
        console.lines([f"{pool} is damaged" if n_damaged else f"{pool} is whole: {_newest(pool)}"])
    if n_damaged:
        raise typer.Exit(1)


def _newest(pool: Path) -> str:
    from lightpool_core import Datapool

    newest = Datapool.open(pool)
    return f"version {newest.version.number}, {len(newest)} samples"
