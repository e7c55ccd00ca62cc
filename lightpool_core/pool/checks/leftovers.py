"""What lies in a pool and does not belong there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from lightpool_core.pool.checks.tables import State, states
from lightpool_core.pool.datapool import CHECKPOINT_NAME
from lightpool_core.pool.delta_log import LOG, TABLES
from lightpool_core.pool.finding import Finding, warning
from lightpool_core.pool.latest import CSV_NAME
from lightpool_core.settings import SETTINGS_NAME

_KNOWN = (
    rf"{re.escape(SETTINGS_NAME)}|{re.escape(CSV_NAME)}|{re.escape(CHECKPOINT_NAME)}|\.latest\.json|\.lock[\w-]*|\.under-way|\.moving\.[^/]+",
    rf"({'|'.join(TABLES)})/({LOG}/.*|part-[\w.-]+\.parquet)",
    r"index/(index\.json|rows\.f32|(prefixes-\d+\.npy|cells-\d+\.npz|graph-\d+\.hnsw))",
    r"runs/[\w-]+/(report\.json|(decisions|pending)\.parquet|sequence_information\.json|candidates\.f32)",
    r"runs/[\w-]+/filenames/\w+\.txt",
    r"runs/[\w-]+/(journal|embeddings)/(journal\.json|part-\d+\.parquet)",
)
_KNOWN_PATH = re.compile("|".join(f"(?:{pattern})" for pattern in _KNOWN))
_REPLACING = re.compile(r"\.\d+\.tmp$")
"""What is added to the name of a file that takes its place when it is complete."""
_TEMPORARY = re.compile(rf"^runs/[\w-]+/\.embeddings\.|^({'|'.join(TABLES)})/.*(_commit_[^/]*|#\d+)$")


def leftover_findings(pool: Path, whole: Sequence[str]) -> Iterator[Finding]:
    """Files that nothing needs, and files that no command of lightpool writes; the tables in `whole` have no damage."""
    for path in sorted(pool.rglob("*")):
        name = path.relative_to(pool).as_posix()
        if (path.is_file() or path.is_symlink()) and not _is_temporary(name) and not _KNOWN_PATH.fullmatch(name):
            yield warning(path, "nothing of a datapool is called so", "move it elsewhere if it is yours")
    for path in temporaries(pool):
        yield warning(path, "a command that was cut off left this temporary file", "--repair takes it away")
    for table in whole:
        for path in orphans(pool / table):
            yield warning(path, "no version needs this file", "--repair takes it away")


def temporaries(pool: Path) -> list[Path]:
    """Files that commands write to before they put them in place."""
    files = (path for path in pool.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if _is_temporary(path.relative_to(pool).as_posix()))


def _is_temporary(name: str) -> bool:
    whole = _REPLACING.sub("", name)
    return bool(_TEMPORARY.search(name)) or (whole != name and bool(_KNOWN_PATH.fullmatch(whole)))


def orphans(table: Path) -> list[Path]:
    """Data files that no commit in the log names."""
    found = list(states(table))
    named = {unquote(name) for state in found if isinstance(state, State) for name in state.files}
    return [path for path in sorted(table.glob("part-*.parquet")) if path.name not in named]
