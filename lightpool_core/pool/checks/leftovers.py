"""What lies in a pool and does not belong there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from lightpool_core.pool.checks.tables import State, states
from lightpool_core.pool.finding import Finding, warning
from lightpool_core.pool.parts import is_part, is_unfinished


def leftover_findings(pool: Path, whole: Sequence[str]) -> Iterator[Finding]:
    """Files that nothing needs, and files that no command of lightpool writes; the tables in `whole` have no damage."""
    for path in sorted(pool.rglob("*")):
        name = path.relative_to(pool).as_posix()
        if (path.is_file() or path.is_symlink()) and not is_unfinished(name) and not is_part(name):
            yield warning(path, "nothing of a datapool is called so", "move it elsewhere if it is yours")
    for path in temporaries(pool):
        yield warning(path, "a command that was cut off left this temporary file", "--repair takes it away")
    for table in whole:
        for path in orphans(pool / table):
            yield warning(path, "no version needs this file", "--repair takes it away")


def temporaries(pool: Path) -> list[Path]:
    """Files that commands write to before they put them in place."""
    files = (path for path in pool.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if is_unfinished(path.relative_to(pool).as_posix()))


def orphans(table: Path) -> list[Path]:
    """Data files that no commit in the log names."""
    found = list(states(table))
    named = {unquote(name) for state in found if isinstance(state, State) for name in state.files}
    return [path for path in sorted(table.glob("part-*.parquet")) if path.name not in named]
