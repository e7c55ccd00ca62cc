"""The rows of `history/` and `sources/`, and whether they agree.

M: samples of a version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.compute as pc

from lightpool_core.errors import CorruptPool
from lightpool_core.pool.checks.files import DataFile
from lightpool_core.pool.checks.tables import State, file_finding, log_findings, states
from lightpool_core.pool.content import content_text
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.finding import COMPLETES, Finding, damaged, said, warning
from lightpool_core.pool.ledger import SCHEMA
from lightpool_core.pool.runs import unsettled
from lightpool_core.pool.table import Table


def table_findings(table: Path, *, all_versions: bool = True) -> Iterator[Finding]:
    """What is wrong with a table: its log, its versions, its data files, their rows.

    Without `all_versions` only the newest has to be whole.
    """
    yield from log_findings(table)
    found = list(states(table))
    yield from (one for one in found if isinstance(one, Finding))
    known = [one for one in found if isinstance(one, State)]
    known = known if all_versions else known[-1:]
    files: dict[str, DataFile] = {}
    for name, (state, said_of) in sorted({name: (s, f) for s in known for name, f in s.files.items()}.items()):
        finding = file_finding(table, name, said_of["size_bytes"])
        if finding:
            yield finding
            continue
        path = table / unquote(name)
        try:
            files[name] = DataFile.read(path, said_of, state.note.get("dim") if state.note else None)
        except Exception as error:  # whatever damaged bytes make of the library
            yield damaged(path, f"it cannot be read ({said(error)})")
            continue
        yield from (damaged(path, problem) for problem in files[name].problems)
    yield from _version_findings(table, [state for state in known if state.files.keys() <= files.keys()], files)


def _version_findings(table: Path, states: Sequence[State], files: Mapping[str, DataFile]) -> Iterator[Finding]:
    """Whether the files of each version make up what its note says."""
    sound: set[str] = set()
    blamed: set[str] = set()
    for state in states:
        if state.note is None or blamed & state.files.keys():
            continue
        problem = _problem(state, [files[name] for name in state.files])
        if problem is None:
            sound |= state.files.keys()
            continue
        suspects = state.files.keys() - sound
        blamed |= suspects
        yield damaged(table / unquote(min(suspects)) if len(suspects) == 1 else table, problem)


def _problem(state: State, files: Sequence[DataFile]) -> str | None:
    note = state.note or {}
    number, count = note["number"], sum(file.rows for file in files)
    content = sum(file.content for file in files)
    if not all(file.columns <= state.columns for file in files):
        return f"the log of version {number} lacks columns that the files have"
    if "samples" in note:  # history
        positions = np.concatenate([np.empty(0, np.int64), *(file.positions for file in files)])
        if count != note["samples"]:
            return f"version {number} has {count} samples, its note says {note['samples']}"
        if not np.array_equal(np.sort(positions), np.arange(count)):
            return f"the positions of version {number} are not 0 to {count - 1}, each once"
    if note.get("content") and content_text(content) != note["content"]:
        return f"version {number} does not hold what was written"
    return None


def note_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether the versions follow each other, and are all of one embedder."""
    versions = pool.history()
    numbers = [version.number for version in versions]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        yield damaged(pool.path / "history", f"it has the versions {numbers}, which do not follow each other")
    if len({(version.dim, version.fingerprint) for version in versions}) > 1:
        yield damaged(pool.path / "history", "its versions are of different embedders")


def name_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether every sample of the newest version has a name of its own."""
    names = pool.columns("filename")["filename"]
    if names.null_count:
        yield damaged(pool.path / "history", f"{names.null_count} samples have no name")
    counts = pc.value_counts(names.combine_chunks())
    double = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(double):
        example = double[0]["values"].as_py()
        yield damaged(pool.path / "history", f"{len(double)} names occur more than once, such as {example!r}")


def ledger_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether the ledger is that of the newest version, and knows the raw file of every sample."""
    folder = pool.path / "sources"
    ledger, number = pool.ledger.newest()["number"], pool.version.number
    if ledger > number:
        yield damaged(pool.path / "history", f"the ledger is of version {ledger}, the newest in history is {number}")
        return
    if ledger < number:
        yield _behind(pool, ledger)
        return
    samples = pool.columns("source", "source_digest").group_by(["source", "source_digest"]).aggregate([])
    known = Table(folder, SCHEMA).read(["digest"])["digest"].combine_chunks()
    unknown = samples.filter(pc.invert(pc.is_in(samples["source_digest"], value_set=known)))["source"]
    if len(unknown):
        yield damaged(folder, f"the ledger does not know {unknown[0].as_py()!r}, which samples come from")


def _behind(pool: Datapool, ledger: int) -> Finding:
    """The ledger is of version `ledger`, older than the pool: what the next command makes of that."""
    folder, version = pool.path / "sources", pool.version
    owing = [run for run in unsettled(pool.path) if run.name == version.run]
    if not owing and version.restored is None:
        return damaged(folder, f"the ledger is of version {ledger}, the newest in history is {version.number}")
    what = f"the command that made version {version.number} was cut off: the ledger is of version {ledger}"
    if version.restored is not None and not pool.ledger.knows(version.restored):
        return damaged(folder, f"{what}, and has no commit of version {version.restored}")
    try:
        for run in owing:
            run.owed()
    except CorruptPool:
        return damaged(folder, f"{what}, and what it lacks cannot be read in {owing[0].pending}")
    return warning(folder, what, COMPLETES)
